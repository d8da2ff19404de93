"""Notice a training that compares each prediction with every target, because their shapes differ."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from unregress.errors import DataError

_BROADCAST = r"Using a target size .*?\[[^\]]*(?:[02-9]|\d\d)"
"""PyTorch's warning of shapes such as (64,) and (64, 1); not of (1,) and (1, 1), which mean the same."""


@contextmanager
def same_shapes() -> Iterator[None]:
    """Refuse a loss of predictions and targets of different shapes within the block.

    PyTorch expands (n, 1) and (n,) to (n, n), and warns: such a training learns the mean of all targets.  Other
    warnings are shown as ever.

    Raises:
        DataError: PyTorch warns.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=_BROADCAST, category=UserWarning)
        try:
            yield
        except UserWarning as warning:
            if not re.match(_BROADCAST, str(warning)):
                raise
            raise DataError(
                f"Targets and predictions differ in shape: {str(warning).partition('. ')[0]}",
                expected="a loss of one shape: from (n, 1) and (n,) each prediction is compared with every target, and "
                "the model learns their mean",
                remedy="Write `prediction.reshape(target.shape)`, or let the dataset return targets of the shape of "
                'one prediction: of a table `target=["kg"]` gives (n, 1), and `target="kg"` (n,)',
            ) from warning
