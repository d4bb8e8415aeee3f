"""Benchmarks: what the project claims, as commands that anyone can run."""
