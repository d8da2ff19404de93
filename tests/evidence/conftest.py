"""Models trained once for all tests of this folder."""

from support.bump_models import case, golds, original

__all__ = ["case", "golds", "original"]
