"""Coupled golds: which models of an audit start from the original's own initial weights, and what that means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from torch import nn

from unregress.auditing.assemble import gold_names
from unregress.auditing.training import Retraining
from unregress.errors import SettingError
from unregress.evidence import Measurement
from unregress.evidence.coupling import strength
from unregress.methods.unlearned import Candidate, Unlearned, require_initial
from unregress.metrics.coupling import AMONG_GOLDS, COUPLING, Coupling
from unregress.tasks.weights import weights_of

MEANING = {
    "strong": "the initial weights decide most of what is learnt.",
    "moderate": "the initial weights decide a part of what is learnt.",
    "weak": "the initial weights hardly decide what is learnt; golds of one start are as good as any.",
}
"""The strength of a coupling in words."""


class Starts(NamedTuple):
    """The retrained models of an audit, by their initial weights; the names of the report."""

    known: bool
    """Whether the original's initial weights are known."""
    coupled: tuple[str, ...]
    """Golds that start from the original's initial weights."""
    others: tuple[str, ...]
    """Golds, and a reference model, that are known to start from others."""
    unknown: tuple[str, ...]
    """Golds whose initial weights are not known."""

    @property
    def metrics(self) -> list[Coupling]:
        """What is to be measured: the coupling, if there are coupled golds."""
        return [Coupling(self.coupled, self.others)] if self.coupled else []


def start_of(candidate: Candidate) -> str:
    """SHA-256 of the initial weights that a model comes from; empty if unknown."""
    return candidate.known_start if isinstance(candidate, Unlearned) else ""


def initial_weights(original: Candidate, start: nn.Module | None) -> tuple[nn.Module | None, str]:
    """The original's initial weights, and their SHA-256, as far as they are known.

    Args:
        original: the original, which may have them.
        start: the weights as the user gives them.

    Raises:
        SettingError: the given ones are not those that the original's record names.
    """
    recorded = start_of(original)
    if start is None:
        return (original.start if isinstance(original, Unlearned) else None), recorded
    digest = weights_of(start)
    if recorded and recorded != digest:
        raise SettingError(
            f"The given initial weights have the digest {digest[:12]}…, and the original's record names "
            f"{recorded[:12]}…",
            expected="the weights that the original's training began with",
            remedy="Leave `start` out: the original's record knows them",
        )
    return start, digest


def require_starts(original: Candidate, start: nn.Module | None, retrain: Retraining | None) -> None:
    """Refuse initial weights that the original's training cannot have begun with.

    Args:
        original: the original.
        start: its initial weights as the user gives them.
        retrain: how golds will be trained, if any are.

    Raises:
        SettingError: they are not those that its record names, or are its trained weights.
    """
    initial_weights(original, start)
    for each in (start, None if retrain is None else retrain.start):
        require_initial(each, original, None if retrain is None else retrain.recipe)


def starts_of(digest: str, golds: Sequence[Candidate], references: Mapping[str, Candidate]) -> Starts:
    """Sort the retrained models of an audit by their initial weights.

    Args:
        digest: SHA-256 of the original's initial weights; empty if unknown.
        golds: the golds.
        references: further retrained models, by name.
    """
    names = gold_names(len(golds))
    found = {name: start_of(gold) for name, gold in zip(names, golds, strict=True)}
    shown = {name: start_of(model) for name, model in references.items()}
    return Starts(
        known=bool(digest),
        coupled=tuple(name for name in names if digest and found[name] == digest),
        others=tuple(name for name, own in {**found, **shown}.items() if digest and own not in ("", digest)),
        unknown=tuple(name for name in names if not found[name]),
    )


def coupling_caveats(starts: Starts, golds: int, measures: Sequence[Measurement]) -> Iterator[str]:
    """Say which noise floor an audit used, and how strong the coupling is; nothing where initial weights are unknown.

    Args:
        starts: the retrained models by their initial weights.
        golds: number of golds.
        measures: the measurements of the audit, the coupling among them.
    """
    if not starts.known or golds == len(starts.unknown):
        return
    coupled = len(starts.coupled)
    if not coupled:
        yield (
            "The retrained models have other initial weights than the original: what they show is how a model that "
            "never saw the forgotten samples behaves in general, and the noise floor holds the differences between "
            "initial weights too."
        )
        return
    if coupled < golds:
        yield (
            f"Of {golds} retrained models {coupled} start from the original's own initial weights, and the others do "
            "not, or it is not known: the noise floor is a mixture of both kinds. Better use one kind."
        )
    else:
        yield (
            "The retrained models start from the original's own initial weights, each with an order of batches of its "
            "own: they show what would have become of this very model without the forgotten samples, and the noise "
            "floor does not hold the differences between initial weights."
        )
    yield _stated(*([m.value for m in measures if m.metric == metric] for metric in (COUPLING, AMONG_GOLDS)))


def _stated(toward: Sequence[float | None], among: Sequence[float | None]) -> str:
    """The coupling in words.

    Args:
        toward: each coupled gold's against the original.
        among: each coupled gold's among the golds; empty for a single one.
    """
    kappa, own = _mean(toward), _mean(among)
    if kappa is None:
        return (
            "How much the initial weights decide (the coupling) is not known, since there is no model with other "
            "initial weights to compare with."
        )
    word = strength(kappa if own is None else own)
    if own is None:
        aside = ", which also holds what forgetting these samples changed"
    else:
        aside = f"; among retrained models, which leaves out what forgetting these samples changed, it is {own:.2f}"
    return (
        f"The coupling is {kappa:.2f}: on never-seen samples, retrained models with the original's initial weights are "
        f"{kappa:.2f} times as far from the original as one with other initial weights{aside}. That is {word}: "
        f"{MEANING[word]}"
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean; None if there are no values, or one of them is not known."""
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None
