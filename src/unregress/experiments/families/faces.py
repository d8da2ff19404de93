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


def _family(title: str, folder: str, index: str, needs: tuple[str, ...], samples: int, architecture: str) -> Family:
    """A data set with one of the two architectures."""
    resnet = architecture == "ResNet18"
    return Family(
        title=title,
        model=architecture,
        kind="images",
        error="mae",
        folder=folder,
        needs=needs,
        samples=samples,
        layers={"resnet.layer?": None} if resnet else {"stage?": None},
        seconds=3.7 if resnet else 16.0,
        code=("datasets/images/age_images", "models/resnet" if resnet else "models/allcnn"),
        open=_faces(index, architecture),
    )


_AGEDB = ("AgeDB", "agedb", "agedb.csv", ("agedb.csv", "AgeDB"), 12_208)
_UTKFACE = ("UTKFace", "utkface", "utkface.csv", ("utkface.csv",), 12_208)
_IMDB_WIKI = ("IMDB-WIKI", "imdb-wiki", "imdb_wiki.csv", ("imdb_wiki.csv|imdb_crop|wiki_crop",), 191_509)

FAMILIES = {
    "agedb": _family(*_AGEDB, "ResNet18"),
    "agedb-allcnn": _family(*_AGEDB, "AllCNN"),
    "utkface": _family(*_UTKFACE, "ResNet18"),
    "utkface-allcnn": _family(*_UTKFACE, "AllCNN"),
    "imdb-wiki": _family(*_IMDB_WIKI, "ResNet18"),
    "imdb-wiki-allcnn": _family(*_IMDB_WIKI, "AllCNN"),
}
