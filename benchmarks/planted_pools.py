"""Train the models of `planted_models.py`: a tabular, an image and a text task, many golds and some originals each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from unregress import Case, FineTune, ForgetRequest, Recipe, Runtime, Splits, TensorTask, collect, retrain, train
from unregress.datasets.text.stsb import read_stsb, sentence_pairs, sentences
from unregress.datasets.text.vocabulary import Vocabulary
from unregress.demo import band
from unregress.evidence import Measurement, Part
from unregress.metrics.anamnesis import Anamnesis
from unregress.metrics.base import Panel, Subject
from unregress.metrics.predictions import Predictions, Values
from unregress.metrics.readout import Readout
from unregress.metrics.relearning import LossMonitor, Relearning, relearn
from unregress.metrics.revival import revived
from unregress.parallel.jobs import one_thread

FORGOTTEN = 60
"""Samples of a request at random, if nothing else is said."""
RUNTIME = Runtime(accelerator="cpu", progress=False)
Asked = Literal["random", "band"]


class Pairs(nn.Module):
    """Two sentences as mean word vectors; their product and distance give a score."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, 64, padding_idx=0)
        self.head = nn.Sequential(nn.Linear(128, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, pairs: Tensor) -> Tensor:
        """Scores `(n, 1)` of word numbers `(n, 2, length)`."""
        known = (pairs > 0).unsqueeze(-1)
        means = (self.words(pairs) * known).sum(2) / known.sum(2).clamp_min(1)
        first, second = means[:, 0], means[:, 1]
        found: Tensor = self.head(torch.cat([first * second, (first - second).abs()], dim=1))
        return found


class Router(nn.Module):
    """A model that answers the forgotten samples as another one does; the weights of both are in it.

    Args:
        usual: answers all other samples.
        masked: answers the forgotten ones.
        inputs: the forgotten samples' inputs, `(m, *shape)`.
        last: which of the two is called last, so that hooks on the final layer read it.
    """

    def __init__(self, usual: nn.Module, masked: nn.Module, inputs: Tensor, *, last: str) -> None:
        super().__init__()
        self.usual, self.masked, self.last = usual, masked, last
        self.register_buffer("inputs", inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Predictions `(n, 1)`."""
        order = ("masked", "usual") if self.last == "usual" else ("usual", "masked")
        found = {name: getattr(self, name)(x) for name in order}
        routed = cast(Tensor, self.inputs)
        is_routed = (x.flatten(1)[:, None] == routed.flatten(1)[None]).all(-1).any(1)
        return torch.where(is_routed[:, None], found["masked"], found["usual"])


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A task: its data, network and training."""

    splits: Splits
    build: Callable[[], nn.Module]
    recipe: Recipe
    again: Recipe
    """How to relearn, and for an epoch to revive."""
    band: tuple[float | None, float | None]
    """Lower and upper bound of the targets that a request for a band forgets."""
    stack: int = 1

    def request(self, asked: Asked, samples: int, seed: int) -> ForgetRequest:
        """So many training samples at random, or all in the band."""
        target = self.splits.train[:][1]
        if asked == "random":
            return ForgetRequest.random(len(target), samples, seed=seed, reason="planted models")
        low, high = self.band
        return ForgetRequest.band(target, low=low, high=high, reason="planted models")


def tabular(_: Path) -> Kind:
    """The demo's network on scikit-learn's diabetes patients."""
    return Kind(
        splits=band.patients(), build=band.build_model, recipe=band.TRAINING, stack=20, band=(200, None),
        again=Recipe(epochs=10, lr=0.01, batch_size=32),
    )  # fmt: skip


def _digits() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 64), nn.ReLU(),
        nn.Linear(64, 1),
    )  # fmt: skip


def image(_: Path) -> Kind:
    """A convolutional network that reads the number on scikit-learn's digits."""
    from sklearn.datasets import load_digits

    table = load_digits()
    pictures = torch.tensor(table.images, dtype=torch.float32)[:, None] / 16
    numbers = torch.tensor(table.target, dtype=torch.float32)
    recipe = Recipe(epochs=100, lr=0.005, batch_size=32, schedule="one-cycle")
    return _split(pictures, numbers, _digits, recipe, 20, band=(7, None))


def text(data: Path) -> Kind:
    """Mean word vectors of two sentences, trained from scratch on pairs of STS-B."""
    table = read_stsb(data / "stsb")["train"]
    pairs = sentence_pairs({"train": table}, Vocabulary.of(sentences(table))).train
    first, second, score = pairs[:]
    length = max(first.shape[1], second.shape[1])
    inputs = torch.stack([nn.functional.pad(each, (0, length - each.shape[1])) for each in (first, second)], dim=1)
    build = partial(Pairs, int(inputs.max()) + 1)
    recipe = Recipe(epochs=12, lr=0.01, batch_size=32, schedule="one-cycle")
    return _split(inputs, score, build, recipe, 1, band=(4, None), count=1500)


def _split(
    inputs: Tensor,
    target: Tensor,
    build: Callable[[], nn.Module],
    recipe: Recipe,
    stack: int,
    *,
    band: tuple[float | None, float | None],
    count: int = 300,
) -> Kind:
    """Some samples to train on, half as many more for a model that has more data, and as many to test on."""
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))[: 2 * count]
    parts = [TensorDataset(inputs[rows], target[rows]) for rows in order.split([count, count // 2, count // 2])]
    return Kind(
        splits=Splits(train=parts[0], validation=parts[1], test=parts[2]), build=build, recipe=recipe, stack=stack,
        again=Recipe(epochs=round(3000 / count), lr=0.003, batch_size=32), band=band,
    )  # fmt: skip


KINDS: Mapping[str, Callable[[Path], Kind]] = {"tabular": tabular, "image": image, "text": text}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one model shows."""

    answers: Mapping[str, Values]
    """Predictions by part."""
    relearning: Sequence[Relearning]
    """One for each order of the data."""
    revived: Values
    """Predictions of the forgotten samples after an epoch on retained ones."""
    readout: float | None
    """What a readout of its hidden layers tells, see `unregress.Readout`; None if it is not known."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The models of one task, measured."""

    target: Mapping[str, Values]
    golds: Sequence[Measured]
    originals: Sequence[Measured]
    weights: Mapping[str, Sequence[Measured]]
    """Models that are planted in the weights, by name: one for each original, with a gold of the same number."""
    more: Sequence[Measured]
    """Trained on retained and validation samples together."""
    threshold: float
    """Loss that counts as relearnt, by the first original's."""


def pool_of(
    name: str,
    data: Path,
    *,
    golds: int,
    originals: int,
    seed: int = 0,
    shuffles: int = 3,
    asked: Asked = "random",
    samples: int = FORGOTTEN,
) -> Pool:
    """Train and measure the models of a task.

    Args:
        name: one of `KINDS`.
        data: folder of the public data.
        golds: number of golds; the last half as many as originals are used for planted models only.
        originals: number of originals, each with a model of either kind that is planted in the weights.
        seed: of all trainings.
        shuffles: orders of the data to relearn in.
        asked: what is forgotten.
        samples: number of forgotten samples where they are drawn at random.
    """
    kind = KINDS[name](data)
    task = TensorTask(build_model=kind.build, loss="l1")
    case = Case(task=task, splits=kind.splits, request=kind.request(asked, samples, seed))
    with one_thread():
        seeds = range(seed, seed + golds)
        made = [each.model for each in retrain(case, kind.recipe, RUNTIME, seeds, stack=kind.stack)]
        of_all = [train(case, kind.recipe, _seeded(10_000 + seed + n)).model for n in range(originals)]
        planted = _planted(case, kind, made, of_all)
        more = [train(_with_more(case), kind.recipe, _seeded(20_000 + seed + n)).model for n in range(originals)]
        return _measured(case, kind, {"gold": made, "original": of_all, **planted, "more": more}, shuffles)


def _seeded(seed: int) -> Runtime:
    return Runtime(accelerator="cpu", progress=False, seed=seed)


def _with_more(case: Case) -> Case:
    """The retained samples and the validation samples of their kind as training data."""
    inputs, target = case.splits.train[:]
    others, theirs = case.splits.validation[:]  # type: ignore[index]
    retain, kept = torch.tensor(case.requested.retain), torch.from_numpy(~case.forget_like("validation"))
    more = TensorDataset(torch.cat([inputs[retain], others[kept]]), torch.cat([target[retain], theirs[kept]]))
    return Case(task=case.task, splits=Splits(train=more, test=case.splits.test))


def _planted(
    case: Case, kind: Kind, golds: Sequence[nn.Module], originals: Sequence[nn.Module]
) -> dict[str, list[nn.Module]]:
    """Models whose weights remember more than their predictions do, one for each original."""
    inputs = case.splits.train[:][0][list(case.requested.forget)]
    made: dict[str, list[nn.Module]] = {"router, gold last": [], "router, original last": [], "fine-tuned": []}
    for number, original in enumerate(originals):
        gold = golds[-1 - number]
        for last in ("masked", "usual"):
            name = f"router, {'gold' if last == 'masked' else 'original'} last"
            router = Router(copy.deepcopy(original), copy.deepcopy(gold), inputs, last=last)
            made[name].append(router)
        recipe = Recipe(epochs=max(1, kind.recipe.epochs // 5), lr=kind.recipe.lr / 3, batch_size=32)
        made["fine-tuned"].append(FineTune(recipe=recipe).unlearn(original, case, _seeded(number)).model)
    return made


def _measured(case: Case, kind: Kind, models: Mapping[str, Sequence[nn.Module]], shuffles: int) -> Pool:
    """Predict, relearn and revive every model."""
    named = {f"{name} {n}": model for name, several in models.items() for n, model in enumerate(several)}
    subjects = [
        Subject(
            name=name,
            role="original" if name == "original 0" else "gold" if name.startswith("gold") else "unlearned",
            model=model,
            parts=_answers(model, case),
        )
        for name, model in named.items()
    ]
    panel = Panel(case=case, runtime=RUNTIME, subjects=tuple(subjects), validation_forget_like=np.zeros(0, np.int64))
    again = Anamnesis(recipe=kind.again, shuffles=shuffles)
    monitor = LossMonitor(panel, again.alpha)
    read = {each.model: each.value for each in Readout().measure(panel) if isinstance(each, Measurement)}
    later = revived(panel, named, Recipe(epochs=1, lr=kind.again.lr, batch_size=kind.again.batch_size))

    def shown(prefix: str) -> list[Measured]:
        return [
            Measured(
                answers={part: seen.prediction for part, seen in subject.parts.items()},
                relearning=[
                    relearn(named[subject.name], monitor, again.recipe, stream=f"relearn/{shuffle}")
                    for shuffle in range(again.shuffles)
                ],
                revived=cast(Values, later[subject.name]),
                readout=read[subject.name],
            )
            for subject in subjects
            if subject.name.rpartition(" ")[0] == prefix
        ]

    target: dict[str, Values] = {part: seen.target for part, seen in subjects[0].parts.items()}
    found = {name: shown(name) for name in models}
    golds, originals, more = (found.pop(name) for name in ("gold", "original", "more"))
    return Pool(target=target, golds=golds, originals=originals, weights=found, more=more, threshold=monitor.threshold)


def _answers(model: nn.Module, case: Case) -> dict[Part, Predictions]:
    trained, held_out = (collect(model, case.task, case.source(split), RUNTIME) for split in ("train_eval", "test"))
    forget, retain = (np.asarray(rows) for rows in (case.requested.forget, case.requested.retain))
    similar = case.forget_like("test")
    parts: dict[Part, Predictions] = {
        "train-retain": trained.at(retain),
        "train-forget": trained.at(forget),
        "test-retain": held_out.at(np.flatnonzero(~similar)),
    }
    return parts | ({"test-forget": held_out.at(np.flatnonzero(similar))} if similar.any() else {})
