"""Ready-made tasks for common batches: tuples of tensors, and dicts.

The adapter for pytorch-forecasting is in `tasks.forecasting`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from unregress.errors import ModelError, SettingError
from unregress.tasks.base import B, Task
from unregress.tasks.losses import PerSampleLoss, Quantile, described_output, mean_over_outputs, named_loss
from unregress.tasks.units import Output, Scaler, parsed_outputs, scaled, unscaled


class AdapterTask(Task[B]):
    """Base of the ready-made adapters: a model factory and a per-sample loss.

    Args:
        build_model: makes a new, untrained model.
        loss: `l1`, `mse`, `huber`, `quantile`, or a callable `(prediction, target) -> (n,)`.
        outputs: name and unit of each output, as in `["weight [kg]", "height [cm]"]`; reports use them.
        scaler: what the targets were transformed with before training, such as a fitted `StandardScaler`; reports and
            bands of targets are then in the units before it.
    """

    def __init__(
        self,
        build_model: Callable[[], nn.Module],
        loss: str | PerSampleLoss = "l1",
        *,
        outputs: Sequence[str | Output] = (),
        scaler: Scaler | None = None,
    ) -> None:
        self._build_model = build_model
        self._loss = named_loss(loss)
        self.outputs = parsed_outputs([outputs] if isinstance(outputs, str) else outputs)
        self._scaler = scaler

    def __repr__(self) -> str:
        return f"{type(self).__name__}(loss={getattr(self._loss, '__qualname__', self._loss)})"

    def build_model(self) -> nn.Module:
        return self._build_model()

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self._loss(prediction, target)

    def to_units(self, values: Tensor) -> Tensor:
        return values if self._scaler is None else unscaled(values, self._scaler)

    def to_model(self, values: Tensor) -> Tensor:
        return values if self._scaler is None else scaled(values, self._scaler)

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
            target are ignored.  By default all tensors but the last, or with `weights` but the last two, are inputs.
        weights: whether the last tensor of a batch holds the samples' weights, by which their losses are multiplied in
            training.
        outputs: as in `AdapterTask`.
        scaler: as in `AdapterTask`.

    >>> import torch
    >>> task = TensorTask(build_model=lambda: nn.Linear(2, 1), loss="mse")
    >>> batch = [torch.ones(3, 2), torch.zeros(3)]
    >>> task.predict(task.build_model(), batch).shape
    torch.Size([3])
    """

    def __init__(
        self,
        build_model: Callable[[], nn.Module],
        loss: str | PerSampleLoss = "l1",
        *,
        inputs: int | None = None,
        weights: bool = False,
        outputs: Sequence[str | Output] = (),
        scaler: Scaler | None = None,
    ) -> None:
        super().__init__(build_model, loss, outputs=outputs, scaler=scaler)
        if inputs is not None and (type(inputs) is not int or inputs < 1):
            raise SettingError(f"TensorTask.inputs is {inputs!r}", expected="a whole number, 1 or more, or None")
        self._inputs, self._weighted = inputs, weights

    def weights(self, batch: Sequence[Tensor]) -> Tensor | None:
        return batch[-1] if self._weighted else None

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
        last = len(batch) - self._weighted
        index = last - 1 if self._inputs is None else self._inputs
        if not 1 <= index < last:
            raise ModelError(
                f"Batches hold {len(batch)} tensors",
                expected=f"{max(index, 1)} inputs and a target" + (", and weights" if self._weighted else ""),
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
        weights: key of the samples' weights, by which their losses are multiplied in training; not passed to the model.
        outputs: as in `AdapterTask`.
        scaler: as in `AdapterTask`.

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
        weights: str | None = None,
        outputs: Sequence[str | Output] = (),
        scaler: Scaler | None = None,
    ) -> None:
        super().__init__(build_model, loss, outputs=outputs, scaler=scaler)
        self._target, self._output, self._weights = target, output, weights
        # A string would otherwise be read as a collection of letters.
        own = [target] if weights is None else [target, weights]
        self._not_passed = (*own, *([ignore] if isinstance(ignore, str) else ignore))

    def weights(self, batch: Mapping[str, Any]) -> Tensor | None:
        if self._weights is None:
            return None
        if self._weights not in batch:
            raise ModelError(
                f"The batch has the keys {sorted(batch)}", expected=f"the samples' weights under {self._weights!r}"
            )
        found: Tensor = batch[self._weights]
        return found

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
