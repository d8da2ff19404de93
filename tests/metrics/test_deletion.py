"""The attack with both models: arithmetic by hand, planted deletions, and golds that are not suspected."""

from __future__ import annotations

import numpy as np
import pytest

from support.hand_panels import measures, panel, seen, values
from unregress.metrics import DeletionAttack, default_metrics
from unregress.metrics.predictions import Predictions

LOSS, CHANGE = "deletion-auc", "deletion-auc-change"
Parts = dict[str, Predictions]


def test_by_hand() -> None:
    """Losses rise by 2 and 0 on forgotten samples, by 1 and -1 on others: 2 beats both, 0 beats -1: 3 of 4.

    Predictions move by 2 and 0, and by 1 and 3: 2 beats 1, and 0 beats none: 1 of 4.
    """
    before = {"train-forget": seen([1.0, 1.0], loss=[0.0, 5.0]), "test-retain": seen([1.0, 1.0], loss=[1.0, 1.0])}
    after = {"train-forget": seen([3.0, 1.0], loss=[2.0, 5.0]), "test-retain": seen([2.0, -2.0], loss=[2.0, 0.0])}
    found = values(DeletionAttack(), panel({"original": before, "mine": after}))
    assert found == {(LOSS, "train-forget", "mine"): 0.75, (CHANGE, "train-forget", "mine"): 0.25}


def test_several_outputs_move_by_their_mean() -> None:
    before = {part: seen(np.zeros((1, 2))) for part in ("train-forget", "test-retain")}
    after = {"train-forget": seen(np.array([[3.0, -1.0]])), "test-retain": seen(np.array([[0.0, 3.0]]))}
    assert values(DeletionAttack(), panel({"original": before, "mine": after}))[(CHANGE, "train-forget", "mine")] == 1


def test_held_out_samples_of_the_forgotten_kind_come_first_and_without_any_there_is_nothing() -> None:
    before = {part: seen([1.0], loss=[0.0]) for part in ("train-forget", "test-retain", "test-forget")}
    risen = {"train-forget": 1.0, "test-retain": 2.0, "test-forget": 0.0}
    after = {part: seen([1.0], loss=[loss]) for part, loss in risen.items()}
    found = measures(DeletionAttack(), panel({"original": before, "mine": after}))
    assert found[(LOSS, "train-forget", "mine")].value == 1
    alone = {name: {"train-forget": parts["train-forget"]} for name, parts in (("original", before), ("mine", after))}
    assert values(DeletionAttack(), panel(alone)) == {}


def models(seed: int, golds: int, **moves: float) -> dict[str, Parts]:
    """An original that knows 60 samples, golds that do not, and models that move each forgotten sample by so much."""
    rng = np.random.default_rng(seed)
    target = {"train-forget": rng.normal(size=60), "test-retain": rng.normal(size=80)}

    def model(spread: float, known: float) -> Parts:
        guess = {part: spread * rng.normal(size=len(y)) for part, y in target.items()}
        guess["train-forget"] += known * target["train-forget"]
        return {part: seen(guess[part], y) for part, y in target.items()}

    found = {"original": model(0.3, 1.0)}
    found |= {f"gold {n}".removesuffix(" 0"): model(0.3, 0.0) for n in range(golds)}
    for name, move in moves.items():
        parts = {}
        for part, y in target.items():
            step = move * np.sign(rng.normal(size=len(y))) if part == "train-forget" else 0.01 * rng.normal(size=len(y))
            parts[part] = seen(found["original"][part].prediction + step, y)
        found[name] = parts
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_model_that_changes_the_forgotten_samples_alone_is_caught(seed: int) -> None:
    """Golds differ from the original everywhere, and hide among their chance differences what they do not know."""
    found = measures(DeletionAttack(), panel(models(seed, 19, scrambled=1.5)))
    for metric in (LOSS, CHANGE):
        mine = found[(metric, "train-forget", "scrambled")]
        golds = [m.value or 0 for (key, _, name), m in found.items() if key == metric and name.startswith("gold")]
        assert mine.value is not None and mine.value > max(golds) and mine.p == 1 / 20
    assert 0.6 < np.mean(golds) < 0.95
    assert not any(name == "original" for _, _, name in found)


@pytest.mark.slow
def test_one_more_gold_is_suspected_once_in_twenty() -> None:
    caught = 0
    for seed in range(200):
        made = models(seed, 20)
        made["mine"] = made.pop("gold 19")
        caught += measures(DeletionAttack(), panel(made))[(LOSS, "train-forget", "mine")].p == 1 / 20
    assert caught <= 0.05 * 200 + 3 * (200 * 0.05 * 0.95) ** 0.5


def test_intervals_and_explanations() -> None:
    found = measures(DeletionAttack(), panel(models(0, 3, scrambled=0.5)))
    mine = found[(LOSS, "train-forget", "scrambled")]
    assert mine.interval is not None and mine.interval[0] < (mine.value or 0) < mine.interval[1]
    assert mine.note == "60 against 80 held-out samples"
    assert {about.metric for about in DeletionAttack.about} == {metric for metric, _, _ in found}
    assert not any(isinstance(metric, DeletionAttack) for metric in default_metrics())
