"""Whether few forgotten samples are known better than never-seen ones: planted models, and what the verdict says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest

from support.hand_panels import measures, panel, seen
from support.hand_reports import bare_report
from unregress.evidence import AuditedModel
from unregress.evidence.findings import BY_CHANCE
from unregress.evidence.rule import Rule
from unregress.evidence.verdict import judge
from unregress.metrics import Errors, Memory
from unregress.metrics.base import Panel
from unregress.metrics.memory_by_chance import DRAWS
from unregress.metrics.predictions import Predictions, Values

FORGOTTEN, NEW = 20, 300
FIRST = np.arange(FORGOTTEN + NEW) < FORGOTTEN
PLANTED = ("remembers", "more data", "both")


def parts(prediction: Values, target: Values, new: int) -> Mapping[str, Predictions]:
    held_out = slice(FORGOTTEN, FORGOTTEN + new)
    kept = seen(target[held_out] + 0.01, target[held_out])
    return {
        "train-retain": kept,
        "train-forget": seen(prediction[:FORGOTTEN], target[:FORGOTTEN]),
        "test-retain": seen(prediction[held_out], target[held_out]),
    }


def audited(new: int = NEW, seed: int = 3) -> Panel:
    """Golds that answer zero but for noise, and models that know half of the forgotten targets, or a part of all."""
    rng = np.random.default_rng(seed)
    target = rng.normal(size=FORGOTTEN + NEW)
    fresh, started, *golds = 0.1 * rng.normal(size=(11, FORGOTTEN + NEW))
    memory, better = 0.5 * target * FIRST, 0.15 * target
    planted = {"remembers": fresh + memory, "more data": fresh + better, "both": fresh + better + memory}
    models = {"original": started + 0.9 * target * FIRST, **planted}
    models |= {f"gold {number}": gold for number, gold in enumerate(golds)}
    found = panel({name: parts(prediction, target, new) for name, prediction in models.items()})
    return replace(found, case=None)


def test_memory_is_rare_among_never_seen_samples_and_more_knowledge_of_all_is_not() -> None:
    found = [measures(Memory(), audited(seed=seed)) for seed in range(20)]
    p = {model: np.array([each[BY_CHANCE, "train-forget", model].value for each in found]) for model in PLANTED}
    assert (p["remembers"] == 1 / (1 + DRAWS)).all() and (p["both"] == 1 / (1 + DRAWS)).all()
    assert kstest(p["more data"], "uniform").pvalue > 0.05
    assert found[0][BY_CHANCE, "train-forget", "more data"].note == "random never-seen samples"


def test_the_verdict_calls_memory_what_never_seen_samples_do_not_show() -> None:
    asked = audited()
    rows = [each for metric in (Errors(), Memory()) for each in measures(metric, asked).values()]
    models = [AuditedModel(name=subject.name, role=subject.role) for subject in asked.subjects]
    verdicts = {each.model: each for each in judge(bare_report(models, rows, FORGOTTEN), Rule())}
    memory = {name: next(c for c in verdicts[name].criteria if c.kind == "memory") for name in PLANTED}
    assert {name: each.outcome for name, each in memory.items()} == {
        "remembers": "remembers",
        "more data": "differs",
        "both": "remembers",
    }
    assert all(verdicts[name].outcome == "FAIL" for name in PLANTED)


@pytest.mark.parametrize("new", [39, 40])
def test_there_must_be_twice_as_many_never_seen_samples(new: int) -> None:
    row = measures(Memory(), audited(new))[BY_CHANCE, "train-forget", "remembers"]
    assert (row.value is None) == (new < 2 * FORGOTTEN)
    assert new >= 40 or row.note == "20 forgotten samples ask for 40 never-seen ones; there are 39"
