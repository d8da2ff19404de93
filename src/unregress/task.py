"""What the library must know of a user's model and batches.

A `Task` is the only code that opens a batch.  Everything else hands batches through unopened, so
that any batch structure works: tuples, dicts, nested ones, forecasting batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Generic, TypeVar

from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn

from unregress.errors import ModelError
from unregress.losses import PerSampleLoss, Quantile, mean_over_outputs, named_loss, require_same_shape

B = TypeVar("B")


class Task(ABC, Generic[B]):
    """How to build a fresh model, and how to predict, target and lose on one batch.

    Subclass it for batches or outputs that no adapter below fits.
    """

    @abstractmethod
    def build_model(self) -> nn.Module:
        """A fresh, untrained model of the user's architecture (helper, gold); called under a seed."""

    @abstractmethod
    def predict(self, model: nn.Module, batch: B) -> Tensor:
        """The model's prediction for a batch, in target units; shape `(n, *out)`."""

    @abstractmethod
    def target(self, batch: B) -> Tensor:
        """The true targets of a batch; shape `(n, *out)`.

        Of several outputs some may be unknown, as NaN, if the loss leaves them out; the named losses do.
        """

    @abstractmethod
    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The unreduced training loss; shape `(n,)`."""

    def point(self, prediction: Tensor) -> Tensor:
        """The point prediction that metrics use, of the target's shape; by default the prediction.

        Override it where the model predicts more than a point: quantiles, a mean and a variance.
        """
        return prediction

    def imitation_loss(self, prediction: Tensor, teacher: Tensor) -> Tensor:
        """L_f of paper Eq. 7: the loss of a prediction against another model's; shape `(n,)`.

        By default the task's loss against the teacher's point prediction.
        """
        return self.checked_loss(prediction, self.point(teacher))

    def select(self, batch: B, rows: Tensor) -> B:
        """Some rows of a batch.

        Every tensor's first axis is indexed, and every list of texts; numbers, single texts and tensors
        without axes belong to the whole batch.

        Args:
            batch: a batch, however nested.
            rows: integer positions within the batch.
        """
        chosen: B = _select(batch, rows)
        return chosen

    def checked_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """`loss`, with its contract checked: no broadcasting, one loss per sample.

        Targets that are whole numbers by type are taken as numbers of the prediction's precision.

        Raises:
            ModelError: the shapes of prediction and target, or of the loss, do not fit.
        """
        require_same_shape(self.point(prediction), target)
        losses = self.loss(prediction, target if target.is_floating_point() else target.to(prediction.dtype))
        if losses.shape != target.shape[:1]:
            raise ModelError(
                f"The loss has shape {tuple(losses.shape)} for {len(target)} samples",
                expected=f"one unreduced loss per sample, shape ({len(target)},)",
                remedy="Return losses without reducing over samples (`reduction='none'`), averaged over outputs",
            )
        return losses


def _select(data: Any, rows: Tensor) -> Any:
    if isinstance(data, (list, tuple)) and data and all(isinstance(text, str) for text in data):
        return type(data)(data[row] for row in rows.tolist())
    if isinstance(data, list):
        return [_select(item, rows) for item in data]
    if isinstance(data, dict):
        return {key: _select(value, rows) for key, value in data.items()}
    # What remains, tuples with names and dataclasses among it, the library below takes apart and puts together.
    return apply_to_collection(data, Tensor, lambda tensor: tensor[rows] if tensor.ndim else tensor)


class _AdapterTask(Task[B]):
    """What the ready adapters share: a model factory and a per-sample loss."""

    def __init__(self, build_model: Callable[[], nn.Module], loss: str | PerSampleLoss = "l1") -> None:
        self._build_model = build_model
        self._loss = named_loss(loss)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(loss={getattr(self._loss, '__qualname__', self._loss)})"

    def build_model(self) -> nn.Module:
        return self._build_model()

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self._loss(prediction, target)

    def point(self, prediction: Tensor) -> Tensor:
        return self._loss.point(prediction) if isinstance(self._loss, Quantile) else prediction

    def imitation_loss(self, prediction: Tensor, teacher: Tensor) -> Tensor:
        # Pinball loss against a point would draw every quantile to that point: compare level by level.
        if isinstance(self._loss, Quantile):
            return mean_over_outputs((prediction - teacher).abs().sum(-1))
        return super().imitation_loss(prediction, teacher)

    def _fit_to(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Give a prediction that differs from its target by one trailing axis of size 1 the target's shape.

        `(n, 1)` and `(n,)` mean the same; any other difference is left for `checked_loss` to refuse.
        """
        if prediction.shape != target.shape and not isinstance(self._loss, Quantile):
            if prediction.shape == (*target.shape, 1):
                return prediction.squeeze(-1)
            if target.shape == (*prediction.shape, 1):
                return prediction.unsqueeze(-1)
        return prediction


class TensorTask(_AdapterTask[Sequence[Tensor]]):
    """Batches are `(x, y)` or `(x1, x2, ..., y)`; the model is called as `model(x1, x2, ...)`.

    Args:
        build_model: makes a fresh, untrained model.
        loss: `l1`, `mse`, `huber`, `quantile`, or a callable `(prediction, target) -> (n,)`.

    >>> import torch
    >>> task = TensorTask(build_model=lambda: nn.Linear(2, 1), loss="mse")
    >>> batch = [torch.ones(3, 2), torch.zeros(3)]
    >>> task.predict(task.build_model(), batch).shape
    torch.Size([3])
    """

    def predict(self, model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        *inputs, target = batch
        return self._fit_to(model(*inputs), target)

    def target(self, batch: Sequence[Tensor]) -> Tensor:
        return batch[-1]


class MappingTask(_AdapterTask[Mapping[str, Any]]):
    """Batches are dicts; the model is called with every entry but the target and `ignore` as keyword arguments.

    With the default keys a batch looks like `{"input_ids": ..., "labels": ...}`, and a model returns its
    prediction as a tensor or under `logits`.

    Args:
        build_model: makes a fresh, untrained model.
        loss: as in `TensorTask`.
        target: key of the targets, as Hugging Face names it.
        output: where the model returns a mapping or an object, the entry to take (`logits`).
        ignore: keys of entries that the model does not take, such as a record's id.

    >>> import torch
    >>> task = MappingTask(build_model=lambda: nn.Linear(2, 1), ignore=["record_id"])
    >>> batch = {"input": torch.ones(3, 2), "record_id": torch.arange(3), "labels": torch.zeros(3)}
    >>> task.predict(task.build_model(), batch).shape
    torch.Size([3])
    """

    def __init__(
        self,
        build_model: Callable[[], nn.Module],
        loss: str | PerSampleLoss = "l1",
        *,
        target: str = "labels",
        output: str = "logits",
        ignore: Collection[str] = (),
    ) -> None:
        super().__init__(build_model, loss)
        self._target, self._output = target, output
        # A single key is a collection of its letters.
        self._left_out = (target, *([ignore] if isinstance(ignore, str) else ignore))

    def predict(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        target = self.target(batch)
        output = model(**{key: value for key, value in batch.items() if key not in self._left_out})
        if not isinstance(output, Tensor):
            mapping = isinstance(output, Mapping)
            if not (self._output in output if mapping else hasattr(output, self._output)):
                raise ModelError(
                    f"The model returns a {type(output).__name__}" + (f" with {sorted(output)}" if mapping else ""),
                    expected=f"a tensor, or the prediction under {self._output!r}",
                    remedy="Pass `output=` to MappingTask",
                )
            output = output[self._output] if mapping else getattr(output, self._output)
        return self._fit_to(output, target)

    def target(self, batch: Mapping[str, Any]) -> Tensor:
        if self._target not in batch:
            raise ModelError(
                f"The batch has the keys {sorted(batch)}",
                expected=f"the target under {self._target!r}",
                remedy="Pass `target=` to MappingTask",
            )
        target: Tensor = batch[self._target]
        return target
