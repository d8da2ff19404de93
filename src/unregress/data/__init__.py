"""Datasets, forget requests, and cases that bring them together."""
