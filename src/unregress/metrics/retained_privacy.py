"""Privacy of the samples that are kept: whether unlearning made them easier to recognise as training data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from unregress.evidence import MetricInfo, Part, Unit
from unregress.metrics.attack_auc import Scores, area_measurements
from unregress.metrics.base import NEVER_SEEN, Metric, MetricResult, Panel
from unregress.metrics.roc import area, area_difference

RETAINED: Part = "train-retain"


@dataclass(frozen=True)
class RetainedPrivacy(Metric):
    """Membership inference on the retained samples by their loss, before and after unlearning.

    Methods that train further on D_r can make it more recognisable than it was, at the expense of people who asked for
    nothing; and those whose data are most like the forgotten ones become more exposed when these go (Carlini et al.
    2022, "The privacy onion effect"), with golds as well.  So the golds' own values are the reference.
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric="auc-retained",
            title="Membership inference on kept samples: AUC",
            meaning="An attacker sees a kept training sample and one that no model was trained on, and guesses that "
            "the better predicted one is the training sample.  This is how often the guess is right.",
            ideal="Not above a retrained model's own value: otherwise unlearning exposes the samples that were kept.",
            unit=Unit.SHARE,
            source="attack by loss: Yeom et al. 2018",
        ),
        MetricInfo(
            metric="auc-retained-change",
            title="Membership inference on kept samples: change of the AUC by unlearning",
            meaning="The same for the model, less that for the original.",
            ideal="Not above a retrained model's own value.  Above 0, kept samples are easier to recognise now.",
            unit=Unit.SHARE,
            source="Chen et al. 2021 (When machine unlearning jeopardizes privacy), for retained samples",
        ),
    )

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """The area under the curve for every model, and its change from the original's.

        The retained samples are told from the first of the parts that no model saw which has samples.
        """
        part = next((part for part in NEVER_SEEN if part in panel.parts), None)
        if part is None or RETAINED not in panel.parts:
            return
        scores = {
            subject.name: Scores(-subject.parts[RETAINED].loss, -subject.parts[part].loss) for subject in panel.subjects
        }
        before = scores[panel.original.name]
        changed = [subject.name for subject in panel.subjects if subject.role in ("unlearned", "gold")]
        areas = {
            "auc-retained": {name: area(found.members, found.others) for name, found in scores.items()},
            "auc-retained-change": {name: area_difference(before, scores[name]) for name in changed},
        }
        for metric, of_models in areas.items():
            yield from area_measurements(panel, metric, RETAINED, of_models, part)
