"""The adapter for pytorch-forecasting's batches, `(x, (y, weight))`.  It imports nothing of that library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from unregress.errors import DataError, ModelError
from unregress.tasks.base import _AdapterTask
from unregress.tasks.losses import PerSampleLoss

ForecastBatch = Sequence[Any]
"""`(x, (y, weight))`, as `TimeSeriesDataSet` collates it; x is a dict of tensors."""


class ForecastingTask(_AdapterTask[ForecastBatch]):
    """Batches are pytorch-forecasting's `(x, (y, weight))`; the model is called with x and gives back `.prediction`.

    Targets are `(n, horizon)` in the units in which the dataset gives them.  Predictions are
    `(n, horizon, levels)`, and the point is the median; for a loss on points `(n, horizon, 1)`.  The loss of a
    sample is the sum over levels and the mean over its horizon.

    Args:
        build_model: makes a fresh, untrained model.
        loss: `quantile` for the levels 0.1, 0.5, 0.9 (paper Section 6.3), `Quantile((...))` for others, or as in
            `TensorTask`.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> task = ForecastingTask(nn.Identity)
    >>> batch = ({"decoder_lengths": torch.ones(2)}, (torch.zeros(2, 1), None))
    >>> model = lambda x: SimpleNamespace(prediction=torch.ones(2, 1, 3))
    >>> task.loss(task.predict(model, batch), task.target(batch))
    tensor([1.5000, 1.5000])
    """

    def __init__(self, build_model: Callable[[], nn.Module], loss: str | PerSampleLoss = "quantile") -> None:
        super().__init__(build_model, loss)

    def predict(self, model: nn.Module, batch: ForecastBatch) -> Tensor:
        """The model's prediction, `(n, horizon, levels)` or, for a loss on points, `(n, horizon)`.

        Raises:
            ModelError: the model gives back no prediction, or one for each of several targets.
        """
        x, _ = _opened(batch)
        output = model(x)
        if isinstance(output, Mapping):
            output = output.get("prediction")
        elif not isinstance(output, Tensor):
            output = getattr(output, "prediction", None)
        if not isinstance(output, Tensor):
            raise ModelError(
                f"The model's prediction is {_kind(output)}",
                expected="one tensor, returned as it is or under `prediction`",
                remedy="Of several targets choose one",
            )
        return self._fit_to(output, self.target(batch))

    def target(self, batch: ForecastBatch) -> Tensor:
        """The targets, `(n, horizon)`.

        Raises:
            DataError: there are several targets or weights, or samples differ in their horizon.
        """
        x, (y, weight) = _opened(batch)
        if not isinstance(y, Tensor):
            raise DataError(
                f"The batch's target is {_kind(y)}",
                expected="one target, a tensor (n, horizon)",
                remedy="Give `TimeSeriesDataSet` a single `target`, not a list",
            )
        if weight is not None:
            raise DataError(
                "The batch has weights, which methods and metrics would have to weigh samples by, and do not",
                expected="`(x, (y, None))`",
                remedy="Leave out `weight` of `TimeSeriesDataSet`",
            )
        lengths = x.get("decoder_lengths")
        # Shorter ones are padded with zeros, which are no targets.
        if lengths is not None and bool((lengths != y.shape[1]).any()):
            raise DataError(
                f"Samples of a batch are forecast {int(lengths.min())} to {int(lengths.max())} steps ahead",
                expected="one horizon",
                remedy="Give `TimeSeriesDataSet` a `min_prediction_length` equal to `max_prediction_length`",
            )
        return y

    def select(self, batch: ForecastBatch, rows: Tensor) -> ForecastBatch:
        """Some rows of a batch, padded no further than the longest of them.

        Models tell where the encoder ends by the longest encoder of the batch: padding beyond it would be taken for
        the forecast's own inputs.
        """
        x, y = super().select(batch, rows)
        x = dict(x)
        lengths = x.get("encoder_lengths")
        if lengths is not None and len(lengths):
            longest = int(lengths.max())
            for name in ("encoder_cat", "encoder_cont", "encoder_target"):
                if isinstance(x.get(name), Tensor):
                    x[name] = x[name][:, :longest]
        return x, y


def _opened(batch: ForecastBatch) -> tuple[Mapping[str, Any], tuple[Any, Any]]:
    if isinstance(batch, (list, tuple)) and len(batch) == 2:
        x, given = batch
        if isinstance(x, Mapping) and isinstance(given, (list, tuple)) and len(given) == 2:
            return x, (given[0], given[1])
    raise DataError(
        f"The batch is {_kind(batch)}, of another form",
        expected="`(x, (y, weight))`, as pytorch-forecasting makes them",
        remedy="Pass `collate=` (for a `TimeSeriesDataSet` its `_collate_fn`), or use another task adapter",
    )


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, (list, tuple)) else "")
