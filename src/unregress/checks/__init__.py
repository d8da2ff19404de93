"""Checks of data, duplicates and model before any work; all problems are reported at once."""
