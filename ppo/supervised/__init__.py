"""Supervised training: policies from text, reward models from ratings."""
