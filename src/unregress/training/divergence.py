"""Stop a training whose loss or weights run away, upwards or downwards."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.loading import Batch
from unregress.distributed.process_group import ProcessGroup
from unregress.errors import DivergenceError
from unregress.tasks.unwrap import not_finite

RUNAWAY = 1e3
"""A mean loss this many times the larger of the first step's loss and the targets' own size is divergence; downwards,
where a log-likelihood of small targets may go, also this many times 1."""
EXPLODED = 1e6
"""Predictions and weights this many times as large as all that was there before are not the result of a training."""
_REMEDY = "Lower the learning rate, set `clip_norm`, or check the data with `unregress.preflight`"


class TargetScale:
    """The mean of |y| + y² over the retained targets seen in the first epoch: which losses are of a normal size.

    The sum serves absolute and squared losses alike.  Forgotten targets are left out, since a method may not read them.
    """

    def __init__(self) -> None:
        self._sizes: list[Tensor] = []
        self._counts: list[Tensor] = []
        self._value: float | None = None

    def watch(self, case: Case, batch: Batch) -> None:
        """Take in a batch's targets, until `value` is first asked for."""
        if self._value is None:
            target = case.task.target(batch.data).detach()
            target = target[batch.retained.to(target.device)].double()
            # An unknown output (NaN) has no size.
            unknown = target.isnan() | batch.is_padding
            target = target.masked_fill(unknown, 0.0)
            self._sizes.append((target.abs() + target.square()).sum())
            self._counts.append((~unknown).sum())

    def value(self, group: ProcessGroup) -> float:
        """The mean over all processes' targets; 0 where none was seen."""
        if self._value is None:
            if not self._sizes:
                return 0.0
            sizes = group.all_reduce(torch.stack(self._sizes))
            counts = group.all_reduce(torch.stack(self._counts).to(sizes))
            self._value = float((sizes / counts.clamp_min(1)).mean())
        return self._value


class DivergenceMonitor:
    """Stops a training when a loss is NaN or infinite, or its mean runs away in either direction.

    Args:
        stage: name of the training, for messages.
        scale: of the targets; several losses of one training may share it.
    """

    def __init__(self, stage: str, scale: TargetScale) -> None:
        self.stage, self.scale = stage, scale
        self.reference: float | None = None

    def mean(self, sums: Tensor, count: int, epoch: int, group: ProcessGroup) -> float:
        """The epoch's mean loss.

        Args:
            sums: each step's summed losses, of this process.
            count: samples seen in the epoch, by all processes.
            epoch: counted from 1.
            group: whose losses count.

        Raises:
            DivergenceError: the loss is not finite, or far beyond the first step's and the targets' size,
                upwards or downwards.
        """
        sums = group.all_reduce(sums)
        finite = torch.isfinite(sums)
        if not bool(finite.all()):
            step = int((~finite).nonzero()[0]) + 1
            raise DivergenceError(
                f"The loss became {float(sums[step - 1])} in epoch {epoch}, step {step}, of stage {self.stage!r}",
                expected="finite losses",
                remedy=_REMEDY,
            )
        mean = float(sums.double().sum()) / count
        if self.reference is None:
            first = abs(float(sums[0])) / count * len(sums)
            self.reference = max(first, self.scale.value(group))
        if abs(mean) > RUNAWAY * (self.reference if mean > 0 else max(1.0, self.reference)):
            raise DivergenceError(
                f"The mean loss of epoch {epoch} of stage {self.stage!r} is {mean:.3g}, "
                f"against {self.reference:.3g} at the start",
                remedy=_REMEDY,
            )
        return mean


def largest_weight(model: nn.Module) -> float:
    """The largest trainable weight in absolute value; 0 without any."""
    sizes = [
        torch.linalg.vector_norm(weight.detach(), torch.inf)
        for weight in model.parameters()
        if weight.requires_grad and weight.numel()
    ]
    return max(map(float, sizes), default=0.0)


def check_weights(model: nn.Module, stage: str, *, before: float, scale: float) -> None:
    """Look at the weights that the last step left, which no loss has seen.

    A loss that is bounded shows nothing of weights that run away.

    Args:
        model: after the training.
        stage: name of the training, for messages.
        before: `largest_weight` of the model before it.
        scale: `TargetScale.value`; its root is of the size of the targets.

    Raises:
        DivergenceError: a weight is NaN or infinite, or far beyond weights and targets at the start.
    """
    if broken := not_finite(model):
        raise DivergenceError(
            f"The weights {', '.join(broken[:3])} are NaN or infinite after stage {stage!r}",
            remedy=_REMEDY,
        )
    reference = max(1.0, before, sqrt(scale))
    if (found := largest_weight(model)) > EXPLODED * reference:
        raise DivergenceError(
            f"The weights grew to {found:.3g} in stage {stage!r}, where weights and targets were at most about "
            f"{reference:.3g}",
            remedy=_REMEDY,
        )
