"""Amnesiac unlearning: fine-tune on D, with random labels for the forget set.

After Graves, Nagisetty and Ganesh, "Amnesiac Machine Learning" (AAAI 2021), as the paper adapts it
to regression.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from unregress.data.case import Case
from unregress.data.loading import read_targets
from unregress.errors import SettingError
from unregress.methods.base import Method
from unregress.methods.unlearned import Unlearned
from unregress.training.loop import fit
from unregress.training.objective import Objective, relabelled_loss
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class _Amnesiac(Method):
    """Draw a random label for each forget sample once, then fine-tune on D_r and the relabelled D_f."""

    recipe: Recipe = Recipe(epochs=1, lr=1e-3)
    """Settings of the fine-tuning; as published for AgeDB: 1 epoch at 0.001."""

    @abstractmethod
    def draw(self, shape: torch.Size, case: Case, generator: Generator) -> tuple[Tensor, tuple[str, ...]]:
        """Draw random labels, `(n_forget, *out)` in the model's units; returns them, and notes on the draw."""

    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        first = read_targets(case.source("train_eval"), case.task, torch.tensor(case.requested.retain[:1]))
        shape = torch.Size((len(case.requested.forget), *first.shape[1:]))
        labels, notes = self.draw(shape, case, runtime.generator("labels"))
        objective = Objective.over(torch.from_numpy(case.rows("train")), relabelled_loss(case, labels))
        fitted = fit(student, case, self.recipe, objective, runtime, stage="unlearn")
        return Unlearned(model=student, history=fitted.history, cost=fitted.cost, notes=notes)


@dataclass(frozen=True, kw_only=True)
class UniformAmnesiac(_Amnesiac):
    """Amnesiac unlearning with uniformly distributed labels: the paper's "Reg Amnesiac" baseline (Section 6.5).

    Raises:
        SettingError: `low` is above `high`, or one of them is not a whole number although `discrete` is set.
    """

    low: float = 1.0
    """Smallest label, in target units; as published: 1."""
    high: float = 101.0
    """Largest label, in target units; as published: 101."""
    discrete: bool = True
    """Draw whole numbers from `low` to `high`, both included (as published), instead of real numbers."""

    def __post_init__(self) -> None:
        inf = float("inf")
        whole = float(self.low).is_integer() and float(self.high).is_integer()
        if not -inf < self.low <= self.high < inf or (self.discrete and not whole):
            raise SettingError(
                f"UniformAmnesiac draws labels from {self.low} to {self.high}",
                expected="low at most high" + (", both whole numbers" if self.discrete else ""),
                remedy="For labels that are not whole numbers set `discrete=False`",
            )

    def draw(self, shape: torch.Size, case: Case, generator: Generator) -> tuple[Tensor, tuple[str, ...]]:
        if self.discrete:
            drawn = torch.randint(int(self.low), int(self.high) + 1, shape, generator=generator)
            return case.task.to_model(drawn.double()), ()
        unit = torch.rand(shape, generator=generator, dtype=torch.float64)
        return case.task.to_model(self.low + (self.high - self.low) * unit), ()


@dataclass(frozen=True, kw_only=True)
class GaussianAmnesiac(_Amnesiac):
    """Amnesiac unlearning with normally distributed labels (paper Section 4.2, Algorithm 2).

    Mean and standard deviation are those of existing labels.  The paper is ambiguous about which: Section 6.5 and the
    published code use the whole training set, the default here; the comment in Algorithm 2 names the forget set, which
    is `statistics="forget"`.

    Raises:
        SettingError: `statistics` has another value than the three allowed.
    """

    statistics: Literal["all", "retain", "forget"] = "all"
    """Labels whose mean and standard deviation are used: the whole training set's, D_r's or D_f's."""

    def __post_init__(self) -> None:
        if self.statistics not in ("all", "retain", "forget"):
            raise SettingError(f"GaussianAmnesiac.statistics is {self.statistics!r}", expected="all, retain or forget")

    @property
    def deviations(self) -> tuple[str, ...]:
        """The choice of labels for mean and deviation, where it differs from Algorithm 2."""
        if self.statistics == "forget":
            return ()
        whole = "the whole training set, as paper Section 6.5 and the published code do"
        return (
            f"GaussianAmnesiac uses mean and deviation of the labels of "
            f"{whole if self.statistics == 'all' else 'the retain set'}; the comment in Algorithm 2 names those of the "
            "forget set, which would reproduce the distribution of the labels that are to be forgotten.",
        )

    def draw(self, shape: torch.Size, case: Case, generator: Generator) -> tuple[Tensor, tuple[str, ...]]:
        rows = {
            "all": torch.from_numpy(case.rows("train")),
            "retain": torch.from_numpy(case.requested.retain),
            "forget": torch.tensor(case.requested.forget),
        }[self.statistics]
        labels = read_targets(case.source("train_eval"), case.task, rows).double()
        mean, deviation = _mean_and_deviation(labels)
        drawn = mean + deviation * torch.randn(shape, generator=generator, dtype=torch.float64)
        note = f"labels drawn from N({_format(mean)}, {_format(deviation)}) of {self.statistics} labels"
        return drawn, (note,)


def _mean_and_deviation(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each output's known labels; 0 for an output without any."""
    if labels.ndim == 1 or not labels.isnan().any():
        return labels.mean(0), labels.std(0, correction=0)
    mean = labels.nanmean(0)
    return mean.nan_to_num(), (labels - mean).square().nanmean(0).sqrt().nan_to_num()


def _format(values: Tensor) -> str:
    """Numbers with four significant digits, separated by commas."""
    return ", ".join(f"{value:.4g}" for value in values.flatten().tolist())
