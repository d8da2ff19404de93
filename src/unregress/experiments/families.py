"""The data of the experiments with their models: what a row's `family` names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from unregress.data.splits import Splits
from unregress.errors import DataError, SettingError, raise_all
from unregress.experiments.experiment import Forget
from unregress.tasks.base import Task, TensorTask

Attributes = Mapping[str, NDArray[Any]]
"""What is known of a split's samples, by name: arrays in the split's order."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Data and task of a family, ready for a case."""

    splits: Splits
    task: Task[Any]
    attributes: Mapping[str, Attributes]
    """By split: `target`, and what else a request may name."""
    notes: tuple[str, ...] = ()
    """What a reader of the results must know of them."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Data that experiments are run on, and the model that is trained on them."""

    title: str
    """The data's name."""
    model: str
    """The architecture's name."""
    kind: Literal["images", "text", "series"]
    """Which settings are for it."""
    error: Literal["mae", "rmse", "loss"]
    """The measure in which the paper states errors."""
    folder: str
    """The data's folder within a folder of several datasets; also their name for `download`."""
    needs: tuple[str, ...]
    """Files or folders that must be in it; of several in one entry, separated by `|`, one."""
    samples: int
    """Training samples in all."""
    layers: Mapping[str, int | None]
    """The activations that Blindspot compares, with their channel axis where their type does not tell."""
    seconds: float
    """Measured seconds of training per 1,000 samples (forward and backward) on two CPU cores."""
    code: tuple[str, ...]
    """Modules beside the library's core whose code decides what a trained model is: architecture, augmentation."""
    open: Callable[[Path, tuple[Forget, ...]], Loaded]

    def root(self, data_root: Path) -> Path:
        """The data's own folder: the one given, or the one of the family's name within it."""
        inner = data_root / self.folder
        if inner.is_dir() and (not self._absent(inner) or self._absent(data_root)):
            return inner
        return data_root

    def missing(self, data_root: Path) -> list[str]:
        """What is not there of the files that are needed."""
        return self._absent(self.root(data_root))

    def _absent(self, root: Path) -> list[str]:
        return [need for need in self.needs if not any((root / name).exists() for name in need.split("|"))]

    def load(self, data_root: Path, forget: tuple[Forget, ...]) -> Loaded:
        """Read the data.

        Args:
            data_root: the data's own folder, or one that holds it under the family's name.
            forget: the requests; how a series is scaled depends on them.

        Raises:
            DataError: they are not there, or not as they should be.
        """
        if missing := self.missing(data_root):
            raise DataError(
                f"There is no {' and no '.join(name.replace('|', ' or ') for name in missing)} in "
                f"{self.root(data_root)}",
                expected=f"the data of {self.title}",
                remedy="Name their folder with `--data-root`, or add `--download`",
            )
        try:
            return self.open(self.root(data_root), forget)
        except ModuleNotFoundError as error:
            raise SettingError(
                f"{self.title} with {self.model} needs {error.name}, which is not installed",
                remedy="Install what the experiments need: pip install 'unregress[experiments]'",
            ) from error


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


def _sentences(root: Path, forget: tuple[Forget, ...]) -> Loaded:
    from unregress.datasets.text.glove import glove
    from unregress.datasets.text.stsb import read_stsb, sentence_pairs, sentences
    from unregress.datasets.text.vocabulary import Vocabulary
    from unregress.models.sentence_pair import SentencePairLSTM

    tables = read_stsb(root)
    files = sorted(root.glob("glove*.txt"))
    # Fixed vectors learn nothing of words, so the held-out sentences' words may be among them.
    vocabulary = Vocabulary.of(sentences(*tables.values()) if files else sentences(tables["train"]))
    if files:
        largest = max(files, key=lambda file: file.stat().st_size)
        found = glove(largest, vocabulary)
        build_model, note = partial(SentencePairLSTM, vectors=found.vectors), f"Words: {largest.name}, {found}."
    else:
        build_model = partial(SentencePairLSTM, words=len(vocabulary))
        note = (
            f"Words: an embedding of the {len(vocabulary.words):,} words of the training sentences, learned with the "
            f"model, since there is no glove*.txt in the data's folder.  The paper takes GloVe's fixed vectors."
        )
    known = {
        name: {"target": table["score"].to_numpy("float32"), "year": table["year_number"].to_numpy()}
        for name, table in tables.items()
    }
    task = TensorTask(build_model=build_model, loss="mse")
    notes = [note]
    if (sizes := [len(table) for table in tables.values()]) != [5249, 1000, 1000]:
        notes.append(f"The splits have {', '.join(map(str, sizes))} pairs; the paper's have 5249, 1000 and 1000.")
    return Loaded(splits=sentence_pairs(tables, vocabulary), task=task, attributes=known, notes=tuple(notes))


def _series(kind: str) -> Callable[[Path, tuple[Forget, ...]], Loaded]:
    def load(root: Path, forget: tuple[Forget, ...]) -> Loaded:
        from unregress.datasets.series.electricity import electricity, electricity_client
        from unregress.datasets.series.ett import ett
        from unregress.datasets.series.windowed import PARTS, WindowedSeries
        from unregress.models.tft import tft
        from unregress.tasks.forecasting import ForecastingTask

        readers: dict[str, Callable[[Path], WindowedSeries]] = {
            "electricity": electricity,
            "mt200": electricity_client,
            "etth1": ett,
            "etth2": partial(ett, file="ETTh2.csv"),
        }
        cut = readers[kind](root)
        known: dict[str, Attributes] = {part: {"target": cut.targets(part)} for part in PARTS}
        if len(forget) > 1:
            raise SettingError(
                "A series is asked to forget in several steps", expected="one request: it decides the scale"
            )
        low, high = forget[0].limits(known["train"]["target"])
        return Loaded(
            splits=cut.splits(cut.band(low, high)),
            task=ForecastingTask(build_model=partial(tft, **cut.variables)),
            attributes=known,
            notes=(SCALES,),
        )

    return load


SCALES = (
    "Limits are in units of each client's mean and deviation over the whole training period; what models see is scaled "
    "by the retained hours of that period only."
)


FAMILIES: dict[str, Family] = {}
for name, title, needs, size in (
    ("agedb", "AgeDB", ("agedb.csv", "AgeDB"), 12208),
    ("utkface", "UTKFace", ("utkface.csv",), 12208),
    ("imdb-wiki", "IMDB-WIKI", ("imdb_wiki.csv|imdb_crop|wiki_crop",), 191509),
):
    for architecture, module, layers, cost in (
        ("ResNet18", "resnet", "resnet.layer?", 3.7),
        ("AllCNN", "allcnn", "stage?", 16.0),
    ):
        FAMILIES[name if architecture == "ResNet18" else f"{name}-{module}"] = Family(
            title=title,
            model=architecture,
            kind="images",
            error="mae",
            folder=name,
            needs=needs,
            samples=size,
            layers={layers: None},
            seconds=cost,
            code=("datasets/images/age_images", f"models/{module}"),
            open=_faces(needs[0].split("|")[0], architecture),
        )
FAMILIES["stsb"] = Family(
    title="STS-B",
    model="LSTM",
    kind="text",
    error="rmse",
    folder="stsb",
    needs=("train.tsv|sts-train.csv", "dev.tsv|sts-dev.csv", "test.tsv|sts-test.csv"),
    samples=5249,
    layers={"lstm": None, "hidden": None},
    seconds=0.25,
    code=("models/sentence_pair",),
    open=_sentences,
)
for name, title, folder, file, size in (
    ("electricity", "Electricity", "electricity", "LD2011_2014.txt", 1_852_000),
    ("mt200", "MT_200", "electricity", "LD_MT200_hour.csv", 31_392),
    ("etth1", "ETTh1", "ett", "ETTh1.csv", 8_472),
    ("etth2", "ETTh2", "ett", "ETTh2.csv", 8_472),  # no experiment reports it: settings are tuned on it
):
    FAMILIES[name] = Family(
        title=title,
        model="TFT",
        kind="series",
        error="loss",
        folder=folder,
        needs=(file,),
        samples=size,
        layers={"static_enrichment": -1, "post_attn_gate_norm": -1, "pre_output_gate_norm": -1},
        seconds=2.0,
        code=("models/tft",),
        open=_series(name),
    )
