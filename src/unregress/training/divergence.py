"""Stop a training whose loss or weights diverge."""

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
"""A training has diverged if its mean loss exceeds this many times the first step's loss and the targets' scale.
A negative mean loss (log-likelihoods of small targets may be negative) must also be below minus this number."""
EXPLODED = 1e6
"""A training has diverged if predictions or weights exceed this many times the largest values before it."""
_REMEDY = "Lower the learning rate, set `clip_norm`, or check the data with `unregress.preflight`"


class TargetScale:
    """The mean of |y| + y² over the retained targets of the first epoch: the scale of ordinary losses.

    The sum suits absolute and squared losses.  Forgotten targets are left out, since a method may not read them.
    """

    def __init__(self) -> None:
        self._sizes: list[Tensor] = []
        self._counts: list[Tensor] = []
        self._value: float | None = None

    def watch(self, case: Case, batch: Batch) -> None:
        """Add a batch's targets; ignored once `value` has been computed."""
        if self._value is None:
            target = case.task.target(batch.data).detach()
            target = target[batch.retained.to(target.device)].double()
            # Unknown outputs (NaN) do not count.
            unknown = target.isnan() | batch.is_padding
            target = target.masked_fill(unknown, 0.0)
            self._sizes.append((target.abs() + target.square()).sum())
            self._counts.append((~unknown).sum())

    def value(self, group: ProcessGroup) -> float:
        """The mean over the targets of all processes; 0 if there were none."""
        if self._value is None:
            if not self._sizes:
                return 0.0
            sizes = group.all_reduce(torch.stack(self._sizes))
            counts = group.all_reduce(torch.stack(self._counts).to(sizes))
            self._value = float((sizes / counts.clamp_min(1)).mean())
        return self._value


class DivergenceMonitor:
    """Stop a training when a loss is NaN or infinite, or its mean diverges in either direction.

    Args:
        stage: name of the training, for messages.
        scale: scale of the targets; the losses of one training share it.
    """

    def __init__(self, stage: str, scale: TargetScale) -> None:
        self.stage, self.scale = stage, scale
        self.reference: float | None = None

    def mean(self, sums: Tensor, count: float, epoch: int, group: ProcessGroup) -> float:
        """Compute and check the epoch's mean loss.

        Args:
            sums: sum of this process's losses at each step, `(steps,)`.
            count: samples seen in the epoch by all processes, or the sum of their weights.
            epoch: counted from 1.
            group: processes over which the losses are summed.

        Raises:
            DivergenceError: a loss is not finite, or the mean exceeds `RUNAWAY` in either direction.
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
    """The largest absolute value of the trainable weights; 0 if there are none."""
    sizes = [
        torch.linalg.vector_norm(weight.detach(), torch.inf)
        for weight in model.parameters()
        if weight.requires_grad and weight.numel()
    ]
    return max(map(float, sizes), default=0.0)


def check_weights(model: nn.Module, stage: str, *, before: float, scale: float) -> None:
    """Check the weights after a training.

    No loss has been computed after the last step, and a bounded loss does not show that weights diverge.

    Args:
        model: the trained model.
        stage: name of the training, for messages.
        before: `largest_weight` of the model before the training.
        scale: `TargetScale.value`; its square root is of the order of the targets.

    Raises:
        DivergenceError: a weight is NaN or infinite, or exceeds `EXPLODED` times the weights and targets at the start.
    """
    if broken := not_finite(model):
        raise DivergenceError(
            f"The weights {', '.join(broken[:3])} are NaN or infinite after stage {stage!r}",
            remedy=_REMEDY,
        )
    reference = max(1.0, before, sqrt(scale))
    if (found := largest_weight(model)) > EXPLODED * reference:
        raise DivergenceError(
            f"The weights grew to {found:.3g} in stage {stage!r}; weights and targets were at most about "
            f"{reference:.3g} before",
            remedy=_REMEDY,
        )
