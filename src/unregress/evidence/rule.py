"""The settings of a verdict: levels, and what an audit must be able to notice."""

from __future__ import annotations

from dataclasses import dataclass

from unregress.errors import require_fields


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The thresholds of a verdict.

    A gold's numbers vary from seed to seed, and Student's prediction interval over the golds says between which limits
    one more would lie (`evidence.noise_floor.prediction_interval`).  Half of `level` is for one test of
    memory that combines several signs (`evidence.combined_memory`); the other half is shared out evenly among all
    limits of all other criteria (Bonferroni).  A fresh gold crosses any of them with at most that probability, so far
    as golds' numbers, or the logarithms of distances, are normally distributed.  They are not quite, and a fresh gold
    fails about twice as often: about one time in twenty by default (docs/calibration.md).

    * **FAIL**: a limit is crossed.  Below the golds' error or above their attack the model still *remembers*; on the
      other side it *overshoots*, which reveals the request as clearly; a worse error on new samples of the kinds kept
      means *damage*.
    * **PASS**: no limit is crossed, and the audit could have detected memory, and a model without skill on what was to
      be kept: some criterion's limit lies nearer to the golds than `resolution` of the way to the original, and the
      limit of the error on what was to be kept is below a constant's.
    * **OUTPUTS ONLY**: no FAIL by predictions, of a model whose weights remember: its hidden layers tell the forgotten
      samples' true values better than a gold's (`Readout`), its loss on these samples, or on held-out ones of their
      kind, comes down sooner than a gold's when it is trained again on all data (`Anamnesis`), or training on kept
      samples alone revives the memory (`Revival`); whichever of them were measured.
    * **INCONCLUSIVE**: too few golds, golds that predict no better than a constant, a kind
      of criterion that was not measured, or an audit that could not have detected memory or damage, for example because
      the original itself cannot be told from a gold.

    With fewer forgotten samples than `samples` so many limits would leave no power.  Then there are three criteria: one
    one-sided test of the memory kept (`Memory`), an error on these samples that is far above the golds', and the error
    on what was to be kept, with 78, 2 and 20 % of `small_level`.  A model whose error on the forgotten samples one gold
    in twenty would exceed is INCONCLUSIVE if it does not fail.

    With fewer golds, or golds that differ too much to tell, a leave-out table judges if there is one, see
    `unregress.evidence.table_verdict`.

    The level holds for each model that is judged, not for all of a report together.

    Raises:
        SettingError: a value is out of range; all of them at once.
    """

    level: float = 0.025
    """Probability that a fresh gold fails if golds' numbers are normally distributed.  They have longer tails: at 0.025
    a fresh gold fails about one time in twenty (docs/calibration.md)."""
    golds: int = 5
    """Smallest number of golds for a verdict."""
    samples: int = 30
    """Smallest number of forgotten samples for all criteria; with fewer, one test of memory is used."""
    small_level: float = 0.05
    """Probability that a fresh gold fails if fewer than `samples` are forgotten.  One limit that is crossed in one case
    of twenty-five does not depend on how long tails are, as seven limits at a quarter of a per cent each do."""
    weights_level: float = 0.02
    """Probability that a fresh gold is suspected of memory in its weights, shared by readout, relearning and
    revival."""
    tolerance: float = 0.05
    """Limits are no narrower than this share of the original's gap, or, for what was to be kept, of the golds' error:
    golds may be nearly identical, and a difference that small is of no consequence."""
    resolution: float = 0.5
    """A PASS requires that a model which kept this share of what sets the original apart would have been noticed."""

    def __post_init__(self) -> None:
        rules = (
            ("level", 0 < self.level < 0.5, "between 0 and 0.5"),
            ("golds", self.golds >= 3, "3 or more"),
            ("samples", self.samples >= 1, "1 or more"),
            ("small_level", 0 < self.small_level < 0.5, "between 0 and 0.5"),
            ("weights_level", 0 < self.weights_level < 0.5, "between 0 and 0.5"),
            ("tolerance", 0 <= self.tolerance < 1, "0 or more, below 1"),
            ("resolution", 0 < self.resolution <= 1, "above 0, at most 1"),
        )
        require_fields("Rule", self, rules)
