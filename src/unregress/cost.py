"""What a job cost: counted work beside measured seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Samples passed through a model, and seconds.  Costs add up.

    >>> Cost(forward=10, backward=10, seconds=1.0) + Cost(forward=5)
    Cost(forward=15, backward=10, seconds=1.0)
    """

    forward: int = 0
    """Samples × forward passes, any helper's included."""
    backward: int = 0
    """Samples × backward passes, any helper's included."""
    seconds: float = 0.0
    """Wall time on the machine at hand."""

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
        """This cost's passes as a share of retraining's; infinite if that took none.

        >>> Cost(forward=10, backward=10).share_of(Cost(forward=100, backward=100))
        0.1
        """
        return self.passes / retraining.passes if retraining.passes else float("inf")
