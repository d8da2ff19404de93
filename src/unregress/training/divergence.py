"""What stops a training that leads nowhere."""

from __future__ import annotations

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
"""Predictions this many times as large as all that was there before are no result of a training that went well."""
_REMEDY = "Lower the learning rate, set `clip_norm`, or check the data with `unregress.preflight`"


class DivergenceMonitor:
    """Stops a training whose loss is no longer a number, or runs away."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.reference: float | None = None
        self.sizes: list[Tensor] = []
        self.counts: list[Tensor] = []

    def watch(self, case: Case, batch: Batch) -> None:
        """Take the size of the retained targets during the first epoch: the scale of what losses are normal."""
        if self.reference is None:
            target = case.task.target(batch.data).detach()
            target = target[batch.retained.to(target.device)].double()
            # What is not known (NaN) has no size.
            unknown = target.isnan() | batch.is_padding
            target = target.masked_fill(unknown, 0.0)
            self.sizes.append((target.abs() + target.square()).sum())
            self.counts.append((~unknown).sum())

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
            sizes = group.all_reduce(torch.stack(self.sizes))
            counts = group.all_reduce(torch.stack(self.counts).to(sizes))
            self.reference = max(first, float((sizes / counts.clamp_min(1)).mean()))
        if mean > RUNAWAY * self.reference or mean < -RUNAWAY * max(1.0, self.reference):
            raise DivergenceError(
                f"The mean loss of epoch {epoch} of stage {self.stage!r} is {mean:.3g}, "
                f"against {self.reference:.3g} at the start",
                remedy=_REMEDY,
            )
        return mean

    def check(self, model: nn.Module) -> None:
        """Look at the weights that the last step left, which no loss has seen.

        Raises:
            DivergenceError: a weight is not finite.
        """
        if broken := not_finite(model):
            raise DivergenceError(
                f"The weights {', '.join(broken[:3])} are NaN or infinite after stage {self.stage!r}",
                remedy=_REMEDY,
            )
