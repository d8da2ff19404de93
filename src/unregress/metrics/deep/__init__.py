"""Metrics of methods rather than of single models; they train dozens of models."""
