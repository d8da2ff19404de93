"""Jobs of `bench.py` that evaluate models, on the images of `bench_images`: anamnesis index and audit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf
from typing import Any
from unittest.mock import patch

import numpy as np
import research_script as script
import torch
from bench_images import BATCH, EPOCH, OLD, TRAINED, YOUNG, Faces, bare
from harness import Bench, Goal, Scene, Side

from unregress import Anamnesis, Blindspot, FineTune, GaussianAmnesiac, Retrain, UniformAmnesiac, audit, train
from unregress.metrics import Metric, default_metrics, relearning
from unregress.metrics.base import MetricResult, Panel, Subject
from unregress.metrics.relearning import LossMonitor, relearn


def anamnesis(scene: Scene, *, everything: bool = False, whole: int = 200) -> Bench:
    """Relearn a gold without augmentation, so that both sides see the same batches.

    Either the forget set of eight batches is watched, and the script also runs until relearnt; or all young faces are
    watched for at most three epochs, of which the script runs one step, since each of its steps costs the same.
    """
    faces = Faces(scene, YOUNG, 8 * BATCH)
    case = replace(faces.case, splits=replace(faces.case.splits, augment=None, validation=None))
    runtime, recipe = replace(scene.runtime, seed=1), replace(EPOCH, epochs=3 if everything else 25)
    training = replace(EPOCH, epochs=8 if everything else 4, lr=0.003, schedule="one-cycle")
    original = train(case, training, runtime).model
    forgot = Retrain(recipe=training).unlearn(original, case, runtime).model
    rows, group = np.array(case.requested.forget), np.zeros(0, np.int64)
    if everything:
        whole_set = Faces(scene, YOUNG, TRAINED).case
        rows = group = np.array(whole_set.requested.forget)
        splits = replace(case.splits, validation=whole_set.splits.train)
        case = replace(case, splits=splits, validation_forget_like=group.tolist())
    subject = Subject(name="original", role="original", model=original, parts={})
    watch = LossMonitor(Panel(case=case, runtime=runtime, subjects=(subject,), validation_forget_like=group), 0.05)
    draws = runtime.generator("relearn/0/order")
    order = torch.cat([torch.randperm(faces.count, generator=draws) for _ in range(recipe.epochs)]).tolist()
    watched = script.loader(faces.script("train", rows, script.EVALUATION))
    hits: dict[str, Any] = {}

    def ours() -> None:
        found = relearn(forgot, watch, recipe, stream="relearn/0")
        hits["ours"] = (found.steps, found.reached)

    def its(most: int | None) -> None:
        seen = order if most is None else order[: most * BATCH]
        batches = script.loader(faces.script("train", np.arange(faces.count), script.EVALUATION), sampler=seen)
        network = script.network().to(scene.device)
        network.load_state_dict(forgot.resnet.state_dict())  # type: ignore[union-attr]
        hits["script"] = script.relearn(network, batches, watched, watch.threshold, scene.device)

    def check() -> str:
        with patch.object(relearning, "SURE", inf):
            full = relearn(forgot, watch, recipe, stream="relearn/0")
        assert (full.steps, full.reached) == hits["ours"], (full.steps, hits)
        told = "" if everything else f", the script, which rounds otherwise, after {hits['script']}"
        ended = "Relearnt" if full.reached else "Cut off"
        return f"{ended} after {full.steps} steps, as when all {watch.samples} samples are looked at each time{told}."

    ours()
    steps = hits["ours"][0]
    sides = {
        "ours": Side(ours, whole / steps),
        "floor": Side(bare(forgot, faces.batches(), scene), whole / 8),
        "script": Side(lambda: its(1), whole, lambda: its(0)) if everything else Side(lambda: its(None), whole / steps),
    }
    return Bench(f"anamnesis, {whole} steps, watching {len(rows)} forgotten samples", sides,
                 (Goal("script", "ours", 5, most=False),), check, rounds=1)  # fmt: skip


def auditing(scene: Scene) -> Bench:
    """Audit five models with five golds; relearning in one order of the data, for one epoch."""
    # Held out as many, for so many, as UTKFace has.
    faces = Faces(scene, OLD, 2 * scene.steps * BATCH, held_out=2 * scene.steps * BATCH // 6)
    case, runtime = faces.case, scene.runtime
    original, *golds = (train(case, replace(EPOCH, lr=0.003), replace(runtime, seed=seed)) for seed in range(6))
    methods = {
        "FineTune": FineTune(recipe=replace(EPOCH, epochs=5)),
        "UniformAmnesiac": UniformAmnesiac(recipe=EPOCH),
        "GaussianAmnesiac": GaussianAmnesiac(recipe=EPOCH),
        "Blindspot": Blindspot(helper=replace(EPOCH, epochs=2, lr=0.01), recipe=EPOCH, layers=["resnet.layer?"]),
    }
    models: dict[str, Any] = {"original": original}
    taken: dict[str, float] = {}
    metrics = [
        timed(Anamnesis(recipe=EPOCH, shuffles=1) if isinstance(metric, Anamnesis) else metric, taken)
        for metric in default_metrics()
    ]

    def unlearning() -> None:
        models.update({name: method.unlearn(original.model, case, runtime) for name, method in methods.items()})

    def ours() -> None:
        started = time.perf_counter()
        report = audit(case, models, runtime, golds=[gold.model for gold in golds], metrics=metrics)
        rest = time.perf_counter() - started - sum(taken[type(metric).__name__] for metric in metrics)
        steps = sum(m.value or 0 for m in report.measures if m.metric == "relearn-steps")
        taken.update({"predictions, features and the rest": rest, "relearning steps (no seconds)": steps})

    def check() -> str:
        return "Parts of the audit: " + ", ".join(f"{name} {value:.3g}" for name, value in taken.items()) + "."

    what = f"audit of 5 models with 5 golds, {faces.count} training samples"
    return Bench(what, {"unlearning": Side(unlearning), "ours": Side(ours)},
                 (Goal("ours", "unlearning", 1.0),), check, rounds=1)  # fmt: skip


def timed(metric: Metric, taken: dict[str, float]) -> Metric:
    """Make a metric record its seconds in `taken`; returns the metric itself."""
    measure = metric.measure

    def clocked(panel: Panel) -> Iterator[MetricResult]:
        started = time.perf_counter()
        found = list(measure(panel))
        taken[type(metric).__name__] = time.perf_counter() - started
        return iter(found)

    # On the frozen value itself: its type and settings stay what a report shows.
    object.__setattr__(metric, "measure", clocked)
    return metric


AUDITS: dict[str, Callable[[Scene], Bench]] = {
    "anamnesis": anamnesis,
    "anamnesis-all": lambda scene: anamnesis(scene, everything=True),
    "audit": auditing,
}
