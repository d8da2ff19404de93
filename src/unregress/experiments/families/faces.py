"""Families of face photographs with ages: AgeDB, UTKFace, IMDB-WIKI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from unregress.errors import DataError, raise_all
from unregress.experiments.experiment import Forget
from unregress.experiments.families.base import Family, Loaded
from unregress.tasks.adapters import TensorTask


def _faces(index: str, architecture: str) -> Callable[[Path, tuple[Forget, ...]], Loaded]:
    def load(root: Path, forget: tuple[Forget, ...]) -> Loaded:
        from unregress.datasets.images.age_images import age_images
        from unregress.datasets.images.imdb_wiki import write_index
        from unregress.models.allcnn import allcnn_regressor
        from unregress.models.resnet import resnet18_regressor

        build_model = resnet18_regressor if architecture == "ResNet18" else allcnn_regressor
        if index == "imdb_wiki.csv":
            write_index(root, index)
        splits = age_images(str(root), index=index)
        parts: dict[str, Any] = {name: getattr(splits, name) for name in ("train", "validation", "test")}
        raise_all(
            [
                DataError(f"No row of {root / index} has the split {name}", expected="train, validation and test rows")
                for name, part in parts.items()
                if part is None
            ]
        )
        ages = {name: {"target": part.tensors[1].numpy()} for name, part in parts.items()}
        task = TensorTask(build_model=build_model, loss="l1")
        return Loaded(splits=splits, task=task, attributes=ages, notes=(CROPS,))

    return load


CROPS = "Images have 32 pixels a side and are padded by 4 for random crops; the published code pads by 16."


FAMILIES = {
    "agedb": Family(
        title="AgeDB",
        model="ResNet18",
        kind="images",
        error="mae",
        folder="agedb",
        needs=("agedb.csv", "AgeDB"),
        samples=12_208,
        layers={"resnet.layer?": None},
        seconds=3.7,
        code=("datasets/images/age_images", "models/resnet"),
        open=_faces("agedb.csv", "ResNet18"),
    ),
    "agedb-allcnn": Family(
        title="AgeDB",
        model="AllCNN",
        kind="images",
        error="mae",
        folder="agedb",
        needs=("agedb.csv", "AgeDB"),
        samples=12_208,
        layers={"stage?": None},
        seconds=16.0,
        code=("datasets/images/age_images", "models/allcnn"),
        open=_faces("agedb.csv", "AllCNN"),
    ),
    "utkface": Family(
        title="UTKFace",
        model="ResNet18",
        kind="images",
        error="mae",
        folder="utkface",
        needs=("utkface.csv",),
        samples=12_208,
        layers={"resnet.layer?": None},
        seconds=3.7,
        code=("datasets/images/age_images", "models/resnet"),
        open=_faces("utkface.csv", "ResNet18"),
    ),
    "utkface-allcnn": Family(
        title="UTKFace",
        model="AllCNN",
        kind="images",
        error="mae",
        folder="utkface",
        needs=("utkface.csv",),
        samples=12_208,
        layers={"stage?": None},
        seconds=16.0,
        code=("datasets/images/age_images", "models/allcnn"),
        open=_faces("utkface.csv", "AllCNN"),
    ),
    "imdb-wiki": Family(
        title="IMDB-WIKI",
        model="ResNet18",
        kind="images",
        error="mae",
        folder="imdb-wiki",
        needs=("imdb_wiki.csv|imdb_crop|wiki_crop",),
        samples=191_509,
        layers={"resnet.layer?": None},
        seconds=3.7,
        code=("datasets/images/age_images", "models/resnet"),
        open=_faces("imdb_wiki.csv", "ResNet18"),
    ),
    "imdb-wiki-allcnn": Family(
        title="IMDB-WIKI",
        model="AllCNN",
        kind="images",
        error="mae",
        folder="imdb-wiki",
        needs=("imdb_wiki.csv|imdb_crop|wiki_crop",),
        samples=191_509,
        layers={"stage?": None},
        seconds=16.0,
        code=("datasets/images/age_images", "models/allcnn"),
        open=_faces("imdb_wiki.csv", "AllCNN"),
    ),
}
