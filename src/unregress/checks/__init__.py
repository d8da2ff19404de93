"""Checks before any work: data, duplicates and the model, all complaints at once."""
