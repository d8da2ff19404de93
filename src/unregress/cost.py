"""Cost of a job: sample passes through a model, and seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Number of sample passes through a model, and seconds; costs can be added.

    >>> Cost(forward=10, backward=10, seconds=1.0) + Cost(forward=5)
    Cost(forward=15, backward=10, seconds=1.0)
    """

    forward: int = 0
    """Samples × forward passes, including those of a helper."""
    backward: int = 0
    """Samples × backward passes, including those of a helper."""
    seconds: float = 0.0
    """Wall-clock time in seconds, on the machine that ran the job."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            forward=self.forward + other.forward,
            backward=self.backward + other.backward,
            seconds=self.seconds + other.seconds,
        )

    @property
    def passes(self) -> int:
        """Forward and backward sample passes together."""
        return self.forward + self.backward

    def share_of(self, retraining: Cost) -> float:
        """Passes of this cost divided by those of retraining; infinite if retraining took none.

        >>> Cost(forward=10, backward=10).share_of(Cost(forward=100, backward=100))
        0.1
        """
        return self.passes / retraining.passes if retraining.passes else float("inf")
