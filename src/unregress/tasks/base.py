"""The interface between the library and a user's model and batches.

A `Task` is the only code that looks into a batch.  All other code passes batches on as they are, whatever their
structure.
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
    """Interface to a user's model: build it, predict a batch, find the targets, compute the loss.

    Subclass it where none of the adapters below fits the batches or the model's output.
    """

    version: str = ""
    """Part of the key under which models are stored: change it when code changes that `retraining.fingerprint` cannot
    see."""

    @abstractmethod
    def build_model(self) -> nn.Module:
        """Make a new, untrained model of the user's architecture, for a helper or a gold; called under a seed."""

    @abstractmethod
    def predict(self, model: nn.Module, batch: B) -> Tensor:
        """Predict a batch; the prediction is in target units, shape `(n, *out)`."""

    @abstractmethod
    def target(self, batch: B) -> Tensor:
        """The true targets of a batch; shape `(n, *out)`.

        Where a sample has several outputs, some may be unknown (NaN) if the loss ignores them, as the named losses do.
        """

    @abstractmethod
    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The training loss of each sample, not reduced over samples; shape `(n,)`."""

    def point(self, prediction: Tensor) -> Tensor:
        """The point prediction that metrics use, of the target's shape; by default the prediction itself.

        Override it where the model predicts more than a point, such as quantiles, or a mean and a variance.
        """
        return prediction

    def imitation_loss(self, prediction: Tensor, teacher: Tensor) -> Tensor:
        """Loss of a prediction against another model's prediction (L_f of paper Eq. 7); shape `(n,)`.

        By default it is the task's loss against the teacher's point prediction.
        """
        return self.checked_loss(prediction, self.point(teacher))

    def select(self, batch: B, rows: Tensor) -> B:
        """Select rows of a batch.

        Every tensor is indexed along its first axis, and so is every list of strings.  Numbers, single strings and
        tensors without axes belong to the whole batch and are kept.

        Args:
            batch: a batch of any nested structure.
            rows: integer positions within the batch.
        """
        selected: B = map_leaves(lambda part: _select_rows(part, rows), batch, _is_per_sample)
        return selected

    def require_unambiguous_inputs(self, model: nn.Module, batch: B) -> None:
        """Refuse a batch whose inputs cannot be told from its other parts; by default no batch is refused.

        Args:
            model: the user's own module, without wrappers.
            batch: a batch of the case.

        Raises:
            ModelError: it is not clear which parts of the batch are inputs of the model.
        """

    def checked_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compute `loss` and check its contract: no broadcasting, one loss per sample.

        Targets, integer ones included, are converted to the prediction's precision; see `losses.in_precision_of`.

        Raises:
            ModelError: the prediction or the target is not a tensor of real numbers, or a shape does not fit.
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


def _is_per_sample(data: Any) -> bool:
    """Whether a part of a batch has an entry for each sample: a tensor, or a list of strings."""
    texts = isinstance(data, (list, tuple)) and data and all(isinstance(text, str) for text in data)
    return bool(texts) or isinstance(data, Tensor)


def _select_rows(data: Any, rows: Tensor) -> Any:
    if isinstance(data, Tensor):
        return data[rows] if data.ndim else data
    return type(data)(data[row] for row in rows.tolist())


class AdapterTask(Task[B]):
    """Base of the ready-made adapters: a model factory and a per-sample loss.

    Args:
        build_model: makes a new, untrained model.
        loss: `l1`, `mse`, `huber`, `quantile`, or a callable `(prediction, target) -> (n,)`.
    """

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
        # The pinball loss against a point would pull every quantile towards that point: compare level by level.
        if isinstance(self._loss, Quantile):
            return mean_over_outputs((prediction - teacher).abs().sum(-1))
        return super().imitation_loss(prediction, teacher)

    def _match_target_shape(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Add or remove a trailing axis of size 1 so that the prediction has the target's shape.

        `(n, 1)` and `(n,)` mean the same.  Any other difference is left as it is, and `checked_loss` refuses it.
        """
        if prediction.shape != target.shape and not isinstance(self._loss, Quantile):
            if prediction.shape == (*target.shape, 1):
                return prediction.squeeze(-1)
            if target.shape == (*prediction.shape, 1):
                return prediction.unsqueeze(-1)
        return prediction


class TensorTask(AdapterTask[Sequence[Tensor]]):
    """Batches are `(x, y)` or `(x1, x2, ..., y)`; the model is called as `model(x1, x2, ...)`.

    Args:
        build_model: makes a new, untrained model.
        loss: `l1`, `mse`, `huber`, `quantile`, or a callable `(prediction, target) -> (n,)`.
        inputs: number of tensors of a batch that the model takes.  The target comes right after them; tensors after the
            target, such as sample weights, are ignored.  By default all tensors but the last are inputs.

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
            raise SettingError(f"TensorTask.inputs is {inputs!r}", expected="a whole number, 1 or more, or None")
        self._inputs = inputs

    def predict(self, model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        output = model(*batch[: self._target_index(batch)])
        if not isinstance(output, Tensor):
            mode = "training" if any(part.training for part in model.modules()) else "evaluation"
            raise ModelError(
                f"In {mode} mode the model returns {described_output(output)}",
                expected="one tensor, the prediction",
                remedy="To use the first of several outputs, write your own task, `class First(TensorTask)`, "
                "whose `predict(self, model, batch)` is `output = model(batch[0]); "
                "return (output[0] if isinstance(output, tuple) else output).squeeze(1)`",
            )
        return self._match_target_shape(output, self.target(batch))

    def target(self, batch: Sequence[Tensor]) -> Tensor:
        return batch[self._target_index(batch)]

    def require_unambiguous_inputs(self, model: nn.Module, batch: Sequence[Tensor]) -> None:
        """Refuse tensors that would fill optional arguments of the model: the last may be weights, not the target."""
        if type(self).predict is not TensorTask.predict:
            return
        given = self._target_index(batch)
        name = next(filter(None, _optional_arguments(model.forward)[1:given]), None)
        if self._inputs is None and name is not None:
            raise ModelError(
                f"Batches hold {len(batch)} tensors; one would be passed as the model's optional argument {name!r}, "
                "and the last would be taken as the target",
                expected="`inputs` to say how many are inputs, since the last may also be sample weights",
                remedy=f"Set `TensorTask(..., inputs={given})` if the last is the target, or `inputs={given - 1}` if "
                "the one before it is the target and the last is to be ignored",
            )

    def _target_index(self, batch: Sequence[Tensor]) -> int:
        """Index of the target among the tensors of a batch."""
        index = len(batch) - 1 if self._inputs is None else self._inputs
        if not 1 <= index < len(batch):
            raise ModelError(
                f"Batches hold {len(batch)} tensors",
                expected=f"{max(index, 1)} inputs and a target",
                remedy="Let the dataset return `(x, y)`, or set `TensorTask(inputs=...)`",
            )
        return index


def _optional_arguments(forward: Callable[..., Any]) -> list[str]:
    """Names of the positional arguments that have a default, in order; an empty string for a required argument."""
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):  # a compiled function has no signature
        return []
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    return ["" if each.default is each.empty else each.name for each in positional]


class MappingTask(AdapterTask[Mapping[str, Any]]):
    """Batches are dicts; all entries but the target and those in `ignore` are passed to the model as keyword arguments.

    By default the target is the entry `labels`, and the model returns its prediction as a tensor or as `logits`.

    Args:
        build_model: makes a new, untrained model.
        loss: as in `TensorTask`.
        target: key of the targets; the default is that of Hugging Face.
        output: entry or attribute that holds the prediction, if the model returns a mapping or an object.
        ignore: keys of entries that are not passed to the model, such as a record's id.

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
        # A string would otherwise be read as a collection of letters.
        self._not_passed = (target, *([ignore] if isinstance(ignore, str) else ignore))

    def predict(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        target = self.target(batch)
        output = model(**{key: value for key, value in batch.items() if key not in self._not_passed})
        if not isinstance(output, Tensor):
            mapping = isinstance(output, Mapping)
            if not (self._output in output if mapping else hasattr(output, self._output)):
                raise ModelError(
                    f"The model returns a {type(output).__name__}" + (f" with {sorted(output)}" if mapping else ""),
                    expected=f"a tensor, or the prediction under {self._output!r}",
                    remedy="Pass `output=` to MappingTask",
                )
            output = output[self._output] if mapping else getattr(output, self._output)
        return self._match_target_shape(output, target)

    def target(self, batch: Mapping[str, Any]) -> Tensor:
        if self._target not in batch:
            raise ModelError(
                f"The batch has the keys {sorted(batch)}",
                expected=f"the target under {self._target!r}",
                remedy="Pass `target=` to MappingTask",
            )
        target: Tensor = batch[self._target]
        return target
