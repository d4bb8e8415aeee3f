"""Tuning: a search for better settings, on Optuna."""
