"""Trained models that many tests here share."""

from support.bump_models import case, golds, original

__all__ = ["case", "golds", "original"]
