"""Jobs of `bench.py` on face images: UTKFace, ResNet18 at 32 by 32 pixels, batches of 256."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import research_script as script
import torch
from harness import Bench, Goal, Scene, Side
from torch import Tensor, nn

from unregress import (
    Blindspot,
    Case,
    ForgetRequest,
    Recipe,
    Splits,
    TensorTask,
    collect,
    train,
)
from unregress.data.loading import chunked
from unregress.data.subsets import subset
from unregress.datasets.images.age_images import age_images, read_index
from unregress.models.resnet import resnet18_regressor

BATCH, TRAINED = int(os.environ.get("UNREGRESS_BENCH_BATCH", "256")), 12_208
"""Samples of a step, fewer to try the jobs quickly, and of UTKFace's training set."""
EPOCH = Recipe(epochs=1, lr=1e-3)
OLD, YOUNG = (60.0, 100.0), (0.0, 30.0)
"""Ages to forget: 11 % of the training set, and 53 %."""


@dataclass(frozen=True)
class Faces:
    """The first samples of each split, as the library and as the script read them."""

    scene: Scene
    band: tuple[float, float]
    count: int
    """Number of training samples, a multiple of the batch size."""
    held_out: int | None = None
    """Number of validation samples, and of test samples; None for all."""

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
        return Case(task=task, splits=Splits(**named, augment=splits.augment), request=request)  # type: ignore[arg-type]

    def script(self, split: str, rows: np.ndarray[Any, Any], transform: Callable[..., Tensor]) -> script.Faces:
        table = self.index[self.index["split"] == split].iloc[rows]
        return script.Faces(
            self.scene.data / "utkface", table, table["age"].between(*self.band).astype(int).tolist(), transform
        )

    def model(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return resnet18_regressor()

    def batches(self, rows: Tensor | None = None, size: int = BATCH) -> list[list[Tensor]]:
        """Batches of the training set, already on the device."""
        source, chunks = (
            self.case.source("train_eval"),
            chunked(torch.arange(self.count) if rows is None else rows, size),
        )
        return [[tensor.to(self.scene.device) for tensor in batch.data] for batch in source.fetch(chunks)]


def bare(model: nn.Module, batches: list[list[Tensor]], scene: Scene) -> Callable[[], None]:
    """Run forward and backward passes only."""
    model = copy.deepcopy(model).to(scene.device).train()

    def run() -> None:
        for pixels, ages in batches:
            model.zero_grad()
            (model(pixels)[:, 0] - ages).abs().mean().backward()

    return run


def seen(model: nn.Module, batches: list[list[Tensor]], scene: Scene) -> Callable[[], None]:
    """Run forward passes in evaluation mode."""
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
    half = replace(scene.runtime, precision="bf16-mixed")
    sides = {
        "ours": Side(
            lambda: train(faces.case, EPOCH, scene.runtime),
            size,
            lambda: train(faces.case, replace(EPOCH, epochs=0), scene.runtime),
        ),
        "floor": Side(bare(faces.model(), faces.batches(), scene), size),
        "script": Side(lambda: script.train_epoch(network, loader, scene.device), size),
        "ours in bf16": Side(
            lambda: train(faces.case, EPOCH, half), size, lambda: train(faces.case, replace(EPOCH, epochs=0), half)
        ),
    }
    least = 10 if scene.accelerated else 1.8
    faster = (Goal("script", name, least, most=False) for name in ("ours", "ours in bf16"))
    return Bench("training, an epoch", sides, (Goal("ours", "floor", 1.10), *faster))


def blindspot(scene: Scene) -> Bench:
    faces = Faces(scene, OLD, scene.steps * BATCH)
    case, size, original = faces.case, TRAINED / faces.count, faces.model()
    retained, forgotten = case.requested.retain, list(case.requested.forget)
    method = Blindspot(helper=replace(EPOCH, epochs=2, lr=0.01), recipe=EPOCH, layers=["resnet.layer?"])
    nothing = replace(method, helper=replace(EPOCH, epochs=0), recipe=replace(EPOCH, epochs=0))
    helping = bare(original, faces.batches(torch.from_numpy(retained)), scene)
    unlearning = bare(original, faces.batches(), scene)
    # As many forget rows a step as a batch has of them.
    teaching = seen(original, faces.batches(torch.tensor(forgotten), -(-len(forgotten) // scene.steps)), scene)

    def passes() -> None:
        helping(), helping(), unlearning(), teaching()

    kept, everything = (
        script.loader(faces.script("train", rows, script.TRAINING), shuffle=True)
        for rows in (retained, np.arange(faces.count))
    )
    student, helper = (script.network().to(scene.device) for _ in range(2))
    sides = {
        "ours": Side(
            lambda: method.unlearn(original, case, scene.runtime),
            size,
            lambda: nothing.unlearn(original, case, scene.runtime),
        ),
        "floor": Side(passes, size),
        "script": Side(lambda: script.blindspot(student, helper, kept, everything, scene.device), size),
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
        # TF32, which GPUs multiply in, rounds to three digits.
        assert max(apart.values()) < (1e-2 if scene.accelerated else 1e-4), apart
        return f"{single} samples' features are the one-sample loop's, up to {max(apart.values()):.0e} of the largest."

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


IMAGES: dict[str, Callable[[Scene], Bench]] = {"training": training, "blindspot": blindspot, "features": features}
