"""Stands in for ViZDoom."""
