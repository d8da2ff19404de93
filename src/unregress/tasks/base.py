"""What the library must know of a user's model and batches.

A `Task` is the only code that opens a batch.  Everything else passes batches on unopened, whatever their structure.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from unregress.errors import ModelError, SettingError
from unregress.tasks.losses import (
    PerSampleLoss,
    Quantile,
    described_output,
    in_precision_of,
    mean_over_outputs,
    named_loss,
    require_real,
    require_same_shape,
)
from unregress.tasks.nested import map_leaves

B = TypeVar("B")


class Task(ABC, Generic[B]):
    """How to build a fresh model, and how to predict, target and lose on one batch.

    Subclass it for batches or outputs that no adapter below fits.
    """

    version: str = ""
    """Part of the key of stored models: change it with code that `retraining.fingerprint` cannot see."""

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
        chosen: B = map_leaves(lambda part: _rows_of(part, rows), batch, _has_rows)
        return chosen

    def require_meant(self, model: nn.Module, batch: B) -> None:
        """Refuse a batch that the model would take in another way than it was meant; by default nothing.

        Args:
            model: the user's own module, in no wrapper.
            batch: a batch of the case.

        Raises:
            ModelError: the batch does not say which of its parts are inputs.
        """

    def checked_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """`loss`, with its contract checked: no broadcasting, one loss per sample.

        Targets are taken in the prediction's precision, whole numbers too; see `losses.in_precision_of`.

        Raises:
            ModelError: prediction or target is no tensor of real numbers, or their shapes or the loss's do not fit.
        """
        require_real("`predict`", prediction)
        require_real("`target`", target)
        require_same_shape(self.point(prediction), target)
        losses = self.loss(prediction, in_precision_of(prediction, target))
        require_real("`loss`", losses)
        if losses.shape != target.shape[:1]:
            raise ModelError(
                f"The loss has shape {tuple(losses.shape)} for {len(target)} samples",
                expected=f"one unreduced loss per sample, shape ({len(target)},)",
                remedy="Return losses without reducing over samples (`reduction='none'`), averaged over outputs",
            )
        return losses


def _has_rows(data: Any) -> bool:
    """Whether a part of a batch holds something for each sample: a tensor, or a list of texts."""
    texts = isinstance(data, (list, tuple)) and data and all(isinstance(text, str) for text in data)
    return bool(texts) or isinstance(data, Tensor)


def _rows_of(data: Any, rows: Tensor) -> Any:
    if isinstance(data, Tensor):
        return data[rows] if data.ndim else data
    return type(data)(data[row] for row in rows.tolist())


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
        inputs: how many tensors of a batch the model takes, the target being the one after them; what follows it, such
            as weights of samples, is left out.  By default all but the last.

    >>> import torch
    >>> task = TensorTask(build_model=lambda: nn.Linear(2, 1), loss="mse")
    >>> batch = [torch.ones(3, 2), torch.zeros(3)]
    >>> task.predict(task.build_model(), batch).shape
    torch.Size([3])
    """

    def __init__(
        self, build_model: Callable[[], nn.Module], loss: str | PerSampleLoss = "l1", *, inputs: int | None = None
    ) -> None:
        super().__init__(build_model, loss)
        if inputs is not None and (type(inputs) is not int or inputs < 1):
            raise SettingError(f"TensorTask.inputs is {inputs!r}", expected="a whole number, 1 or more, or none")
        self._inputs = inputs

    def predict(self, model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        output = model(*batch[: self._place(batch)])
        if not isinstance(output, Tensor):
            mode = "training" if any(part.training for part in model.modules()) else "evaluation"
            raise ModelError(
                f"In {mode} mode the model returns {described_output(output)}",
                expected="one tensor, the prediction",
                remedy="To take the first of several outputs, write a task of your own, `class First(TensorTask)`, "
                "whose `predict(self, model, batch)` is `output = model(batch[0]); "
                "return (output[0] if isinstance(output, tuple) else output).squeeze(1)`",
            )
        return self._fit_to(output, self.target(batch))

    def target(self, batch: Sequence[Tensor]) -> Tensor:
        return batch[self._place(batch)]

    def require_meant(self, model: nn.Module, batch: Sequence[Tensor]) -> None:
        """Refuse tensors that would fill optional arguments of the model: the last may be weights, and no target."""
        if type(self).predict is not TensorTask.predict:
            return
        given = self._place(batch)
        name = next(filter(None, _optional(model.forward)[1:given]), None)
        if self._inputs is None and name is not None:
            raise ModelError(
                f"Batches hold {len(batch)} tensors, and the model would take one as its optional argument {name!r} "
                "and the last as the target",
                expected="to be told which are inputs, since the last may as well be weights of samples",
                remedy=f"`TensorTask(..., inputs={given})` if the last is the target; `inputs={given - 1}` if it is "
                "the one before, and what follows is to be left out",
            )

    def _place(self, batch: Sequence[Tensor]) -> int:
        """Where the target is in a batch."""
        place = len(batch) - 1 if self._inputs is None else self._inputs
        if not 1 <= place < len(batch):
            raise ModelError(
                f"Batches hold {len(batch)} tensors",
                expected=f"{max(place, 1)} inputs and a target",
                remedy="Let the dataset give `(x, y)`, or set `TensorTask(inputs=...)`",
            )
        return place


def _optional(forward: Callable[..., Any]) -> list[str]:
    """By position, the name of an argument that has a default; empty for one that must be given."""
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):  # a compiled function has none
        return []
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    return ["" if each.default is each.empty else each.name for each in positional]


class MappingTask(_AdapterTask[Mapping[str, Any]]):
    """Batches are dicts; the model is called with every entry but the target and `ignore` as keyword arguments.

    By default the target is under `labels`, and a model returns its prediction as a tensor or under `logits`.

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
