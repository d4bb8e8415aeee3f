"""Stands in for MinAtar."""
