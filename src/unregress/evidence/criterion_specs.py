"""The criteria of a verdict before they are applied to a model: the measurements that they read, and their wording."""

from __future__ import annotations

from dataclasses import dataclass

from unregress.evidence import Kind, Part
from unregress.evidence.combined_memory import FORGOTTEN
from unregress.evidence.findings import COMBINED, IN_WEIGHTS, LOW_IS_MEMORY


@dataclass(frozen=True, kw_only=True)
class CriterionSpec:
    """A criterion before it is applied to a model: the measurement that it reads, and its wording."""

    kind: Kind
    metric: str
    split: Part
    words: str
    """The quantity, as the subject of a sentence."""
    only_high: bool = False
    """Whether a low value is left to another criterion; the limit is then one of logarithms, as values are skewed."""

    @property
    def has_low(self) -> bool:
        """Whether a value can be too low."""
        return not self.only_high and (self.kind == "attack" or self.kind in LOW_IS_MEMORY)

    @property
    def has_high(self) -> bool:
        """Whether a value can be too high; in the weights only memory is looked for."""
        return not (self.kind in IN_WEIGHTS and self.kind in LOW_IS_MEMORY)


KEPT = CriterionSpec(
    kind="retain", metric="mae", split="test-retain", words="its error on new samples of the kinds kept"
)
"""What was to be kept, which every verdict asks about."""
CRITERIA = (
    CriterionSpec(
        kind="distance",
        metric="paired",
        split="train-forget",
        words="the distance of its predictions from the retrained models', forgotten sample by forgotten sample,",
    ),
    CriterionSpec(
        kind="distance",
        metric="w1",
        split="train-forget",
        words="the distance of its predictions' distribution on the forgotten samples from the retrained models'",
    ),
    CriterionSpec(kind="error", metric="mae", split="train-forget", words="its error on the forgotten samples"),
    CriterionSpec(
        kind="attack",
        metric="auc",
        split="train-forget",
        words="how well its loss tells forgotten samples from similar held-out ones (the attack's AUC)",
    ),
    CriterionSpec(
        kind="memory",
        metric="memory-of-few",
        split="train-forget",
        words="how much better it knows the forgotten samples that it knows best, one in twenty,",
    ),
    KEPT,
)
"""The criteria of a verdict, one measurement each: distances to the golds, error gap, attack gap, memory of single
samples, error on what was to be kept."""
TOGETHER = CriterionSpec(
    kind="memory",
    metric=COMBINED,
    split=FORGOTTEN,
    words="how far its signs of memory (such as error and attack) together lie beyond the retrained models'",
)
"""The criterion that combines those about memory; it gets half of the level."""
REQUIRED: tuple[Kind, ...] = ("distance", "error", "attack", "retain")
"""Kinds of criteria without which there is no PASS."""
LEARNT_AGAIN: tuple[Part, ...] = ("validation-forget", "train-forget")
"""The parts of the data on which relearning may be monitored."""
MEMORY = CriterionSpec(
    kind="memory",
    metric="memory",
    split="train-forget",
    words="how far its predictions lean from the retrained models' towards the forgotten samples' true values",
)
"""The one test of memory of a request with few samples."""
CHANCE_LEVEL = 0.05
"""Above this, what sets a model apart from golds on few forgotten samples is no memory of these samples."""
FAR_OFF = CriterionSpec(
    kind="error", metric="mae", split="train-forget", words="its error on the forgotten samples", only_high=True
)
"""An error on few samples that is far above the golds', which the test of memory does not see."""
WEIGHTS = (
    CriterionSpec(
        kind="readout",
        metric="readout",
        split="train-forget",
        words="the error of a linear readout of its hidden layers on the forgotten samples, relative to new ones, on a "
        "logarithmic scale,",
    ),
    *(
        CriterionSpec(
            kind="relearning",
            metric="relearn-loss",
            split=split,
            words="its loss in the first steps of being trained on all data again, on a logarithmic scale,",
        )
        # Only one of the two is ever measured.
        for split in LEARNT_AGAIN
    ),
    CriterionSpec(
        kind="revival",
        metric="revival",
        split="train-forget",
        words="the memory of the forgotten samples that comes back when it is trained on kept samples alone",
    ),
)
"""The criteria about memory in the weights, which predictions do not show."""
