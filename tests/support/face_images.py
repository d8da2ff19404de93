"""Generated face images in UTKFace's layout, and a model so small that an experiment takes a second."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from unregress.data.splits import Splits
from unregress.datasets.images.age_images import CropAndFlip
from unregress.experiments.experiment import Experiment, Forget, Settings
from unregress.experiments.families.base import Family, Loaded
from unregress.experiments.runner import Outcome, reproduce
from unregress.methods import Blindspot, FineTune, GaussianAmnesiac
from unregress.retraining.model_store import Store
from unregress.tasks.adapters import TensorTask
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime

SPLITS = {"train": 84, "val": 30, "test": 30}
TRAIN = SPLITS["train"]
RUNTIME = Runtime(accelerator="cpu")
LAYERS = ("body",)
CODE = ("datasets/images/age_images",)


def write_faces(root: Path, *, each: int = 2, swapped: bool = False) -> Path:
    """Write JPEGs of 16x16 pixels for ages 5 to 76, whose brightness increases with age, and their index.

    Args:
        root: folder to fill.
        each: photographs of each age; two give 84 for training, 30 for validation and 30 for testing.
        swapped: exchange the ages of two training photographs.
    """
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    ages = np.repeat(np.arange(5, 77), each)
    rng.shuffle(ages)
    if swapped:
        different = int(np.flatnonzero(ages != ages[0])[0])
        ages[[0, different]] = ages[[different, 0]]
    splits = [split for split, size in SPLITS.items() for _ in range(size * each // 2)]
    lines = ["age,path,split"]
    for number, (age, split) in enumerate(zip(ages.tolist(), splits, strict=True)):
        pixels = np.clip(3 * age + rng.integers(-20, 21, (16, 16, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{number:03}.jpg", quality=95)
        lines.append(f"{age},images/{number:03}.jpg,{split}")
    (root / "utkface.csv").write_text("\n".join(lines) + "\n", encoding="utf8")
    return root


class Tiny(nn.Module):
    """A network from the mean brightness of 12 regions to an age; Blindspot compares the layer `body`."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.body = nn.Linear(12, width)
        self.head = nn.Linear(width, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        regions = pixels.to(torch.get_default_dtype()).unflatten(1, (2, -1)).unflatten(3, (2, -1)).mean((2, 4)) / 64
        age: Tensor = 20 * self.head(torch.relu(self.body(regions.flatten(1))))
        return age


def faces(root: Path, cache: Path, *, width: int = 6, loss: str = "l1", padding: int = 1) -> Loaded:
    """Load the folder for the small model, as a family's `open` does."""
    from unregress.datasets.images.age_images import age_images

    splits = age_images(str(root), index="utkface.csv", size=8, padding=padding, cache=str(cache))
    return named(splits, TensorTask(build_model=partial(Tiny, width), loss=loss))


def named(splits: Splits, task: TensorTask, **columns: Any) -> Loaded:
    """Add attributes to splits: their targets, and further columns, cut to each split's length."""
    attributes = {}
    for name in ("train", "validation", "test"):
        part = getattr(splits, name)
        ages = part.tensors[1].numpy()
        attributes[name] = {"target": ages, **{key: values[: len(ages)] for key, values in columns.items()}}
    return Loaded(splits=splits, task=task, attributes=attributes)


def table(targets: tuple[list[float], list[float], list[float]], *, loss: str = "l1") -> Loaded:
    """Splits with the given targets and images of the same brightness."""
    parts = [
        TensorDataset(
            torch.tensor(each).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 4, 4, 3).clone(), torch.tensor(each)
        )
        for each in targets
    ]
    splits = Splits(train=parts[0], validation=parts[1], test=parts[2], augment=CropAndFlip(1))
    return named(splits, TensorTask(build_model=Tiny, loss=loss))


FAMILY = Family(
    title="Small faces",
    model="Tiny",
    kind="images",
    error="mae",
    folder="utkface",
    needs=("utkface.csv",),
    samples=TRAIN,
    layers=dict.fromkeys(LAYERS),
    seconds=1.0,
    code=CODE,
    open=lambda root, forget: faces(root, root / "cache"),
)

RECIPE = Recipe(epochs=2, lr=0.01, batch_size=16)
SHORT = Recipe(epochs=1, lr=0.01, batch_size=16)
SETTINGS = Settings(
    training=replace(RECIPE, schedule="plateau"),
    methods={
        "FineTune": FineTune(recipe=SHORT),
        "GaussianAmnesiac": GaussianAmnesiac(recipe=SHORT),
        "Blindspot": Blindspot(helper=SHORT, recipe=SHORT),
    },
    relearning=SHORT,
)


def young(*, name: str = "young", highs: tuple[float, ...] = (30,), **changes: Any) -> Experiment:
    """An experiment that forgets the young, in one request or several."""
    fields: dict[str, Any] = {
        "name": name,
        "title": "Small faces, the young",
        "source": "Table 1",
        "family": "small",
        "forget": [Forget(high=high) for high in highs],
    }
    return Experiment(**(fields | changes))


def run(
    loaded: Loaded,
    store: Path,
    experiment: Experiment | None = None,
    *,
    settings: Settings = SETTINGS,
    family: Family = FAMILY,
    seeds: int = 1,
    golds: int = 2,
    runtime: Runtime = RUNTIME,
    repetitions: int = 1,
    workers: int = 1,
) -> tuple[Outcome, list[str]]:
    """Run an experiment; return its outcome, and the kinds of the store's new entries in order."""
    said: list[str] = []
    outcome = reproduce(
        experiment or young(),
        family,
        loaded,
        settings,
        seeds=seeds,
        golds=golds,
        store=Store(root=store, log=said.append),
        runtime=runtime,
        repetitions=repetitions,
        workers=workers,
    )
    # "making a gold under seed 3", "making FineTune's model under seed 3", "making an audit".
    kinds = [text.removeprefix("making ").removeprefix("a ").removeprefix("an ") for text in said]
    return outcome, [re.split(" under|'s", kind)[0] for kind in kinds]


def files(folder: Path) -> dict[str, bytes]:
    """Contents of all files in a folder, hidden ones included, by relative path."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in _walk(folder)}


def _walk(folder: Path) -> Iterator[Path]:
    yield from (file for file in sorted(folder.rglob("*")) if file.is_file())
