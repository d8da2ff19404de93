"""The jobs of `bench.py` that measure models, on the images of `bench_images`: anamnesis index and audit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import research_script as script
import torch
from bench import Bench, Goal, Scene, Side
from bench_images import BATCH, EPOCH, OLD, YOUNG, Faces, bare

from unregress import Anamnesis, Blindspot, FineTune, GaussianAmnesiac, UniformAmnesiac, audit, train
from unregress.auditing import default_metrics
from unregress.metrics import Metric, Panel, Subject
from unregress.metrics.base import Finding
from unregress.metrics.relearning import Watch, relearn


def anamnesis(scene: Scene, *, held_out: bool = True, whole: int = 200) -> Bench:
    """Relearning without augmentation, so that both sides see the same batches."""
    faces = Faces(scene, YOUNG, 8 * BATCH)
    case = replace(faces.case, augment=None)
    if not held_out:
        case = replace(case, validation=None)
    runtime, recipe = replace(scene.runtime, seed=1), replace(EPOCH, epochs=1)
    original = train(case, replace(EPOCH, epochs=4, lr=0.003, schedule="one-cycle"), runtime).model
    forgot = UniformAmnesiac(recipe=EPOCH).unlearn(original, case, runtime).model
    group = case.group("validation") if held_out else np.zeros(0, bool)
    panel = Panel(
        case=case,
        runtime=runtime,
        subjects=(Subject(name="original", role="original", model=original, parts={}),),
        validation_group=np.flatnonzero(group),
    )
    watch = Watch(panel, 0.05)
    order = torch.randperm(faces.count, generator=runtime.generator("relearn/0/order")).tolist()
    batches = script.loader(faces.script("train", np.arange(faces.count), script.EVALUATION), sampler=order)
    rows = np.flatnonzero(group) if held_out else np.array(case.request.forget)
    watched = script.loader(faces.script("validation" if held_out else "train", rows, script.EVALUATION))
    hits: dict[str, int | None] = {}

    def ours() -> None:
        found = relearn(forgot, watch, recipe, stream="relearn/0")
        hits["ours"] = found.steps if found.reached else None

    def its() -> None:
        network = script.network().to(scene.device)
        network.load_state_dict(forgot.resnet.state_dict())  # type: ignore[union-attr]
        hits["script"] = script.relearn(network, batches, watched, watch.threshold, scene.device)

    def check() -> str:
        assert hits["ours"] == hits["script"], hits
        return f"Both say {hits['ours']} steps, watching {watch.samples} samples ({watch.name})."

    its()
    size = whole / (hits["script"] or 8)
    sides = {
        "ours": Side(ours, size),
        "floor": Side(bare(forgot, faces.batches()[: hits["script"]], scene), size),
        "script": Side(its, size),
    }
    what = "held-out samples" if held_out else "the forgotten samples"
    return Bench(f"anamnesis, {whole} steps, watching {len(rows)} {what}", sides,
                 (Goal("script", "ours", 5, most=False),), check)  # fmt: skip


def auditing(scene: Scene) -> Bench:
    """Five models and five golds; relearning in one order of the data and for one epoch."""
    faces = Faces(scene, OLD, scene.steps * BATCH, held_out=512)
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
    """The metric, which from now on notes its seconds."""
    measure = metric.measure

    def clocked(panel: Panel) -> Iterator[Finding]:
        started = time.perf_counter()
        found = list(measure(panel))
        taken[type(metric).__name__] = time.perf_counter() - started
        return iter(found)

    # On the frozen value itself: its type and settings stay what a report shows.
    object.__setattr__(metric, "measure", clocked)
    return metric


AUDITS: dict[str, Callable[[Scene], Bench]] = {
    "anamnesis": anamnesis,
    "anamnesis-own": lambda scene: anamnesis(scene, held_out=False),
    "audit": auditing,
}
