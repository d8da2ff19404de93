"""The paper's metrics as its published code computes them, mistakes included, to compare with the published numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from unregress.data.case import Case
from unregress.data.loading import chunked
from unregress.data.request import Index
from unregress.errors import SettingError
from unregress.evidence import Measurement, MetricInfo, Part, Unit
from unregress.evidence.nan_means import LARGE
from unregress.metrics.anamnesis import ratio, stated
from unregress.metrics.base import Metric, MetricResult, Panel, Subject, measured, without_value
from unregress.metrics.deviation import relative_deviation
from unregress.metrics.predictions import Predictions
from unregress.metrics.relearning import LossMonitor, passes_of, relearn
from unregress.metrics.wasserstein import w1
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime, evaluating

_IDEAL = "None: it is shown for comparison with published numbers.  Judge by "
ATTACK = ("published-attack", "published-attack-accuracy")
HELD_OUT: tuple[Part, ...] = ("test-retain", "test-forget")
FEWEST = 10
"""Smallest number of samples per class for an attack."""


def predict_augmented(model: nn.Module, case: Case, rows: Index, runtime: Runtime, *, stream: str) -> Predictions:
    """Predict training samples that are augmented as in training, in evaluation mode.

    Args:
        model: the model; a copy predicts.
        case: the training set and its augmentation: batched, or in the dataset itself.
        rows: ascending positions.
        runtime: where to compute.
        stream: name of the augmentation's random stream.
    """
    full = runtime.without_mixed_precision
    task, draws = case.task, full.generator(stream)
    chunks = chunked(torch.from_numpy(rows), full.evaluation_batch_size)
    found: dict[str, list[torch.Tensor]] = {"prediction": [], "target": [], "loss": []}
    with full.isolated_rng(stream):
        replica = full.set_up(full.private_copy(model))
        with evaluating(replica), torch.no_grad():
            for batch in full.load(case.source("train"), chunks, augmentation=draws):
                prediction, target = task.predict(replica, batch.data), task.target(batch.data)
                found["prediction"].append(task.to_units(task.point(prediction)))
                found["target"].append(task.to_units(target))
                found["loss"].append(task.batch_loss(prediction, target, batch.data))
    joined = {name: torch.cat(values).cpu().double().numpy() for name, values in found.items()}
    return Predictions(index=rows, **joined)


def published_attack(
    members: NDArray[np.float64], others: NDArray[np.float64], queried: NDArray[np.float64]
) -> tuple[float, float]:
    """The published attacker: a support vector machine on one unscaled number, C = 3 and a kernel exp(-(a - b)²).

    Args:
        members: losses of samples from the training set, class 1; `(n,)`.
        others: losses of test samples, class 0.
        queried: losses of the samples to classify.

    Returns:
        The share of queried samples that are called members, and the accuracy on members and others, which the
        attacker was trained on.
    """
    from sklearn.svm import SVC

    losses, labels = np.concatenate([members, others])[:, None], np.repeat([1, 0], [len(members), len(others)])
    # The state has no effect here, but None would draw from NumPy's global generator.
    attacker = SVC(C=3, gamma="auto", kernel="rbf", random_state=0).fit(losses, labels)
    share = float(np.mean(attacker.predict(queried[:, None])))
    return share, float(np.mean(attacker.predict(losses) == labels))


@dataclass(frozen=True, kw_only=True)
class Published(Metric):
    """The published protocol for att_prob, AIN, w_dist and relative deviation, with its mistakes.

    Not repeated: the published code relearns the models in place, gold included, and measures distances on the
    relearned models.  Here all work is on copies.  All of the forgotten samples are classified, not 2,000 of them,
    and relearning uses the same batches for every model.

    Raises:
        SettingError: α is negative, the cap allows no step, or there are fewer than 10 samples per class.
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric="published-attack",
            title="Membership attack, as published",
            meaning="The share of the forgotten samples that the published attack takes for training data.  It sees "
            "nothing but the loss, unscaled; its members come from the whole training set, the forgotten samples "
            "included, and are augmented, while test samples are not.",
            ideal=_IDEAL + "the membership attack (attack), which repairs this.",
            unit=Unit.SHARE,
            source="paper Section 5, att_prob, and its published code",
        ),
        MetricInfo(
            metric="published-attack-accuracy",
            title="Membership attack: accuracy, as published",
            meaning="How often the published attack is right about the samples it was trained on, which says nothing "
            "about others.",
            ideal=_IDEAL + "the membership attack's held-out accuracy (attack-accuracy).",
            unit=Unit.SHARE,
            source="published code of the paper",
        ),
        MetricInfo(
            metric="published-ain",
            title="Anamnesis index, as published",
            meaning="Steps to relearn as a multiple of one retrained model's, at the learning rate 0.01 of the "
            "published notebook and in one order of the data only.  It is noisy, "
            "since the first time that the loss reaches the threshold counts, and never 0, since the loss is first "
            "measured after a step.",
            ideal=_IDEAL + "the anamnesis index (ain), over several orders of the data and all retrained models.",
            unit=Unit.RATIO,
            source="paper Section 5, Eq. 10 (AIN), and its published code",
        ),
        MetricInfo(
            metric="published-w1",
            title="Wasserstein distance, as published",
            meaning="Distance between the distributions of predictions for randomly augmented forgotten samples, to "
            "one retrained model: two models do not see the same inputs.",
            ideal=_IDEAL + "the Wasserstein distance to all retrained models (w1), and the paired difference (paired).",
            unit=Unit.TARGET,
            source="paper Section 5 and Eq. 1, w_dist, and its published code",
        ),
        MetricInfo(
            metric="published-relative-deviation",
            title="Median relative deviation, as published",
            meaning="Half of the forgotten samples deviate from one retrained model's prediction by less than this "
            "share of their target, each model seeing its own random augmentation of the sample.",
            ideal=_IDEAL
            + "the median relative deviation (relative-deviation), for which all models see the same inputs.",
            unit=Unit.SHARE,
            source="paper Section 5 and Figures 2-5, and its published code",
        ),
    )

    samples: int = 2000
    """At most so many samples per class of the attack; as published."""
    alpha: float = 0.05
    """Margin α of relearning; as published: 5 %."""
    recipe: Recipe | None = Recipe(epochs=10, lr=1e-2, batch_size=256)
    """Recipe of relearning; as in the published notebook.  None leaves out the index, which takes the most time."""

    def __post_init__(self) -> None:
        if self.samples < FEWEST or self.alpha < 0 or (self.recipe is not None and self.recipe.epochs < 1):
            raise SettingError(
                f"Published has samples={self.samples}, alpha={self.alpha} and recipe={self.recipe}",
                expected=f"{FEWEST} samples or more, alpha 0 or more, 1 epoch or more",
            )

    @property
    def needs_model(self) -> bool:
        """Whether the metric needs the models themselves: it predicts augmented samples and relearns."""
        return True

    def trainings(self, case: Case) -> Sequence[tuple[Recipe, int]]:
        """Relearning in one order of the data."""
        return [] if self.recipe is None else [(self.recipe, passes_of(case, self.recipe))]

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """The attack; if there are golds also the index and the distances, both relative to the first gold."""
        rows = np.asarray(panel.required_case.requested.forget, dtype=np.int64)
        asked = [(subject, subject.model) for subject in panel.subjects if subject.model is not None]
        seen = {
            subject.name: predict_augmented(
                model, panel.required_case, rows, panel.runtime, stream=f"published/forget/{subject.name}"
            )
            for subject, model in asked
        }
        yield from self._attack(panel, asked, seen)
        if panel.golds:
            gold = panel.golds[0].name
            yield from self._relearning(panel, asked, gold)
            yield from _distances({name: own.in_units(panel.units) for name, own in seen.items()}, gold)

    def _attack(
        self, panel: Panel, asked: list[tuple[Subject, nn.Module]], seen: dict[str, Predictions]
    ) -> Iterator[Measurement]:
        case, runtime = panel.required_case, panel.runtime
        rng = np.random.default_rng(runtime.generator("published/attack").initial_seed())
        test = [part for part in HELD_OUT if part in panel.parts]
        held_out = sum(len(panel.original.parts[part]) for part in test)
        count = min(self.samples, len(case.rows("train")), held_out)
        if count < FEWEST:
            note = f"only {count} samples per class to train an attacker on"
            yield from without_value(ATTACK, "train-forget", [subject.name for subject, _ in asked], note)
            return
        members = np.sort(rng.choice(case.rows("train"), count, replace=False))
        others = np.sort(rng.choice(held_out, count, replace=False))
        found = {}
        for subject, model in asked:
            inside = predict_augmented(model, case, members, runtime, stream=f"published/members/{subject.name}").loss
            outside = np.concatenate([subject.parts[part].loss for part in test])[others]
            losses = inside, outside, seen[subject.name].loss
            # The published attacker squares losses as they are.
            fine = all(np.abs(each).max() <= LARGE for each in losses)
            found[subject.name] = published_attack(*losses) if fine else (nan, nan)
        for place, metric in enumerate(ATTACK):
            for name, result in found.items():
                yield measured(metric=metric, split="train-forget", model=name, value=result[place])

    def _relearning(self, panel: Panel, asked: list[tuple[Subject, nn.Module]], gold: str) -> Iterator[Measurement]:
        if self.recipe is None:
            return
        monitor = LossMonitor(panel, self.alpha)
        spans = {
            subject.name: relearn(model, monitor, self.recipe, stream="published/relearn", at_start=False).span
            for subject, model in asked
        }
        for name, span in spans.items():
            index = ratio(span, spans[gold])
            if name != gold and index is not None:
                value, bound = stated(index)
                note = "" if bound == "=" and value is not None else "cut off before the threshold was reached"
                yield Measurement(
                    metric="published-ain", split=monitor.name, model=name, value=value, bound=bound, note=note
                )


def _distances(seen: dict[str, Predictions], gold: str) -> Iterator[Measurement]:
    others = {name: found for name, found in seen.items() if name != gold}
    for name, found in others.items():
        value = w1(found.comparable, seen[gold].comparable)
        yield measured(metric="published-w1", split="train-forget", model=name, value=value)
    for name, found in others.items():
        deviation = relative_deviation(found, seen[gold])
        if len(deviation):
            value = float(np.median(deviation))
            yield measured(metric="published-relative-deviation", split="train-forget", model=name, value=value)
