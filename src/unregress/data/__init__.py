"""Datasets and forget requests, and the cases that bring them together."""
