"""Supervised training: language models from text, reward models from ratings."""
