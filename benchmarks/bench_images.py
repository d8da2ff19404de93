"""The jobs of `bench.py` on face images: UTKFace, ResNet18 at 32 by 32, batches of 256."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import research_script as script
import torch
from bench import Bench, Goal, Scene, Side
from torch import Tensor, nn

from unregress import (
    Anamnesis,
    Blindspot,
    Case,
    FineTune,
    ForgetRequest,
    GaussianAmnesiac,
    Recipe,
    TensorTask,
    UniformAmnesiac,
    audit,
    collect,
    train,
)
from unregress.audit import default_metrics
from unregress.datasets.age_images import age_images, read_index
from unregress.loading import chunked
from unregress.metrics import Panel, Subject
from unregress.metrics.relearning import Watch, relearn
from unregress.models.resnet import resnet18_regressor
from unregress.panel import assemble
from unregress.trainings import subset

BATCH, TRAINED = 256, 12_208
"""Samples of a step, and of UTKFace's training set."""
EPOCH = Recipe(epochs=1, lr=1e-3)
OLD, YOUNG = (60.0, 100.0), (0.0, 30.0)
"""Ages to forget: 11 % of the training set, and 53 %."""


@dataclass(frozen=True)
class Faces:
    """The first samples of each split, for the library and for the script."""

    scene: Scene
    band: tuple[float, float]
    count: int
    """Training samples: whole batches."""
    held_out: int | None = None
    """Samples of validation and test, each; None for all."""

    @cached_property
    def index(self) -> pd.DataFrame:
        return read_index(self.scene.data / "utkface" / "utkface.csv")

    @cached_property
    def case(self) -> Case:
        splits = age_images(str(self.scene.data / "utkface"), index="utkface.csv")
        first = [subset(splits.train, range(self.count))]
        for part in (splits.validation, splits.test):
            first.append(subset(part, range(self.held_out or len(part))))  # type: ignore[arg-type]
        request = ForgetRequest.band(first[0][:][1].numpy(), *self.band, reason="benchmark")
        task = TensorTask(build_model=resnet18_regressor, loss="l1")
        named = dict(zip(("train", "validation", "test"), first, strict=True))
        return Case(task=task, request=request, augment=splits.augment, **named)  # type: ignore[arg-type]

    def script(self, split: str, rows: np.ndarray[Any, Any], transform: Callable[..., Tensor]) -> script.Faces:
        table = self.index[self.index["split"] == split].iloc[rows]
        return script.Faces(
            self.scene.data / "utkface", table, table["age"].between(*self.band).astype(int).tolist(), transform
        )

    def model(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return resnet18_regressor()

    def batches(self, rows: Tensor | None = None, size: int = BATCH) -> list[list[Tensor]]:
        """Batches of the training set, ready on the device."""
        source, chunks = self.case.source("train_eval"), chunked(torch.arange(self.count) if rows is None else rows, size)
        return [[tensor.to(self.scene.device) for tensor in batch.data] for batch in source.fetch(chunks)]


def bare(model: nn.Module, batches: list[list[Tensor]], scene: Scene) -> Callable[[], None]:
    """Forward and backward passes and nothing else."""
    model = copy.deepcopy(model).to(scene.device).train()

    def run() -> None:
        for pixels, ages in batches:
            model.zero_grad()
            (model(pixels)[:, 0] - ages).abs().mean().backward()

    return run


def seen(model: nn.Module, batches: list[list[Tensor]], scene: Scene) -> Callable[[], None]:
    """Forward passes in evaluation mode."""
    model = copy.deepcopy(model).to(scene.device).eval()

    def run() -> None:
        with torch.no_grad():
            for pixels, _ in batches:
                model(pixels)

    return run


def training(scene: Scene) -> Bench:
    faces = Faces(scene, OLD, scene.steps * BATCH)
    loader = script.loader(faces.script("train", np.arange(faces.count), script.TRAINING), shuffle=True)
    network, size = script.network().to(scene.device), TRAINED / faces.count
    sides = {
        "ours": Side(
            lambda: train(faces.case, EPOCH, scene.runtime),
            size,
            lambda: train(faces.case, replace(EPOCH, epochs=0), scene.runtime),
        ),
        "floor": Side(bare(faces.model(), faces.batches(), scene), size),
        "script": Side(lambda: script.train_epoch(network, loader, scene.device), size),
    }
    faster = Goal("script", "ours", 10 if scene.accelerated else 1.8, most=False)
    return Bench("training, an epoch", sides, (Goal("ours", "floor", 1.10), faster))


def blindspot(scene: Scene) -> Bench:
    faces = Faces(scene, OLD, scene.steps * BATCH)
    case, size, original = faces.case, TRAINED / faces.count, faces.model()
    retained, forgotten = case.request.retain, list(case.request.forget)
    method = Blindspot(helper=replace(EPOCH, epochs=2, lr=0.01), recipe=EPOCH, layers=["resnet.layer?"])
    nothing = replace(method, helper=replace(EPOCH, epochs=0), recipe=replace(EPOCH, epochs=0))
    helping = bare(original, faces.batches(torch.from_numpy(retained)), scene)
    unlearning = bare(original, faces.batches(), scene)
    # As many forget rows a step as a batch has of them.
    teaching = seen(original, faces.batches(torch.tensor(forgotten), -(-len(forgotten) // scene.steps)), scene)

    def passes() -> None:
        helping(), helping(), unlearning(), teaching()

    loaders = [
        script.loader(faces.script("train", rows, script.TRAINING), shuffle=True)
        for rows in (retained, np.arange(faces.count))
    ]
    student, helper = (script.network().to(scene.device) for _ in range(2))
    sides = {
        "ours": Side(
            lambda: method.unlearn(original, case, scene.runtime),
            size,
            lambda: nothing.unlearn(original, case, scene.runtime),
        ),
        "floor": Side(passes, size),
        "script": Side(lambda: script.blindspot(student, helper, *loaders, scene.device), size),
    }

    def check() -> str:
        share = len(forgotten) / faces.count
        cost = method.unlearn(original, case, scene.runtime).cost
        assert cost.forward == 2 * len(retained) + faces.count + len(forgotten), cost
        return f"The helper's forward passes while teaching are those of the forget rows, {share:.1%} of all."

    return Bench("Blindspot, helper and unlearning", sides, (Goal("ours", "floor", 1.15),), check)


def features(scene: Scene) -> Bench:
    faces, single, asked = Faces(scene, OLD, 4096), 64, 10_000
    model, source = faces.model(), faces.case.source("train_eval")
    dataset = faces.script("train", np.arange(single), script.EVALUATION)
    twin = script.network().to(scene.device)
    twin.load_state_dict(model.resnet.state_dict())  # type: ignore[union-attr]

    def ours() -> Any:
        return collect(model, faces.case.task, source, scene.runtime, features=True)

    def check() -> str:
        mine, its = ours(), script.attack_features(twin, dataset, single, scene.device)
        apart = {}
        for name, values in its.items():
            own = np.asarray(getattr(mine, name)[:single])
            apart[name] = float(np.abs(own - values).max() / np.abs(values).max())
        assert max(apart.values()) < 1e-4, apart
        return f"Features of {single} samples are those of the one-sample loop, up to {max(apart.values()):.0e} of the largest."

    sides = {
        "ours": Side(ours, asked / faces.count),
        "floor": Side(seen(model, faces.batches(size=scene.runtime.evaluation_batch_size), scene), asked / faces.count),
        "script": Side(
            lambda: script.attack_features(twin, dataset, single, scene.device),
            asked / single,
        ),
    }
    goals = (Goal("ours", "floor", 1.1), Goal("script", "ours", 30, most=False))
    return Bench("attack features of 10,000 samples", sides, goals, check)


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
    case, runtime, start = faces.case, scene.runtime, replace(EPOCH, lr=0.003, schedule="one-cycle")
    original, *golds = (train(case, start, replace(runtime, seed=seed)) for seed in range(6))
    methods = {
        "FineTune": FineTune(recipe=replace(EPOCH, epochs=5)),
        "UniformAmnesiac": UniformAmnesiac(recipe=EPOCH),
        "GaussianAmnesiac": GaussianAmnesiac(recipe=EPOCH),
        "Blindspot": Blindspot(helper=replace(EPOCH, epochs=2, lr=0.01), recipe=EPOCH, layers=["resnet.layer?"]),
    }
    models: dict[str, Any] = {"original": original}
    references = [gold.model for gold in golds]
    metrics = [Anamnesis(recipe=EPOCH, shuffles=1) if isinstance(m, Anamnesis) else m for m in default_metrics()]

    def unlearning() -> None:
        models.update({name: method.unlearn(original.model, case, runtime) for name, method in methods.items()})

    def ours() -> None:
        audit(case, models, runtime, golds=references, metrics=metrics)

    def check() -> str:
        named = [("original", "original", original), *((n, "unlearned", m) for n, m in models.items() if n != "original")]
        candidates = [*named, *((f"gold {k}", "gold", gold) for k, gold in enumerate(references))]
        parts, started = {}, time.perf_counter()
        with runtime.isolated("audit"):
            panel, _ = assemble(case, candidates, runtime, features=True)  # type: ignore[arg-type]
            parts["predictions and features"] = time.perf_counter() - started
            for metric in metrics:
                started = time.perf_counter()
                list(metric.measure(panel))
                parts[type(metric).__name__] = time.perf_counter() - started
        return "Parts of the audit: " + ", ".join(f"{name} {taken:.2g} s" for name, taken in parts.items()) + "."

    sides = {"unlearning": Side(unlearning), "ours": Side(ours)}
    what = f"audit of 5 models with 5 golds, {faces.count} training samples"
    return Bench(what, sides, (Goal("ours", "unlearning", 1.0),), check, rounds=1)


IMAGES: dict[str, Callable[[Scene], Bench]] = {
    "training": training,
    "blindspot": blindspot,
    "features": features,
    "anamnesis": anamnesis,
    "anamnesis-own": lambda scene: anamnesis(scene, held_out=False),
    "audit": auditing,
}
