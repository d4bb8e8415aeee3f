"""Runs against published figures and against each other: table, curves, verdict; reads files only."""
