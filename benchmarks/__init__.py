"""Benchmarks: commands that measure the figures of the README."""
