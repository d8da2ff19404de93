"""Jobs of `bench.py` other than images: text, series, many small models, and import time."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from typing import Any

import numpy as np
import research_script as script
import side_by_side
import torch
from harness import Bench, Goal, Scene, Side
from torch import nn

from unregress import Case, ForecastingTask, ForgetRequest, Recipe, Unlearned, retrain, train
from unregress.data.loading import chunked
from unregress.data.subsets import subset
from unregress.datasets.series.electricity import electricity_client
from unregress.datasets.text.stsb import read_stsb, sentence_pairs, sentences
from unregress.datasets.text.vocabulary import Vocabulary
from unregress.demo.band import TRAINING
from unregress.models.sentence_pair import SentencePairLSTM
from unregress.models.tft import tft
from unregress.tasks.adapters import TensorTask

GOLDS = 16
EPOCH = Recipe(epochs=1)


def bare(case: Case, model: nn.Module, batches: list[Any], scene: Scene) -> Callable[[], None]:
    """Run forward and backward passes over batches that are already on the device."""
    model = copy.deepcopy(model).to(scene.device).train()

    def run() -> None:
        for data in batches:
            model.zero_grad()
            case.task.loss(case.task.predict(model, data), case.task.target(data)).mean().backward()

    return run


def ready(case: Case, scene: Scene, size: int) -> list[Any]:
    rows = chunked(torch.arange(case.splits.size), size, shuffle=torch.Generator().manual_seed(0))
    return [batch.data for batch in scene.runtime.load(case.source("train"), rows)]


def sentence_case(scene: Scene, count: int | None = None) -> tuple[Case, Any, Vocabulary]:
    tables = read_stsb(scene.data / "stsb")
    vocabulary = Vocabulary.of(sentences(tables["train"]))
    splits = sentence_pairs(tables, vocabulary)
    chosen = splits if count is None else replace(splits, train=subset(splits.train, range(count)))
    samples = len(chosen.train[:][-1])
    request = ForgetRequest.random(samples, samples // 10, seed=0, reason="benchmark")
    task = TensorTask(build_model=partial(SentencePairLSTM, words=len(vocabulary)), loss="mse")
    return Case(task=task, splits=chosen, request=request), tables["train"], vocabulary


def text(scene: Scene) -> Bench:
    case, table, vocabulary = sentence_case(scene)
    pairs = list(zip(table["sentence1"], table["sentence2"], table["score"], strict=True))
    loader = script.loader(script.Sentences(pairs, vocabulary.encode), shuffle=True, collate_fn=script.pad)
    network = script.Siamese(len(vocabulary)).to(scene.device)
    sides = {
        "ours": Side(lambda: train(case, EPOCH, scene.runtime)),
        "floor": Side(bare(case, case.task.build_model(), ready(case, scene, EPOCH.batch_size), scene)),
        "script": Side(lambda: script.sentence_epoch(network, loader, scene.device)),
    }
    return Bench("STS-B with an LSTM, an epoch", sides, (Goal("ours", "floor", 1.15),))


def series(scene: Scene) -> Bench:
    cut = electricity_client(scene.data / "electricity")
    task = ForecastingTask(build_model=partial(tft, **cut.variables))
    whole = cut.case(task, cut.band(low=1.0), reason="benchmark")
    steps, recipe = 8 * scene.steps, replace(EPOCH, batch_size=64)
    count = steps * recipe.batch_size
    # Not `Subset`, which asks one by one: the windows' own class, cut short, gathers whole batches.
    short: Any = copy.copy(whole.splits.train)
    short.places = short.places[:count]
    request = ForgetRequest(size=count, forget=tuple(range(0, count, 4)), reason="benchmark")
    splits = replace(whole.splits, train=short, validation=None, ids=None)
    case = replace(whole, splits=splits, request=request, validation_forget_like=None)
    size = whole.splits.size / count
    network, batches = script.hourly(cut.units.transform(cut.series), "MT_200")
    network.to(scene.device)
    endless: Iterator[Any] = chain.from_iterable(repeat(batches))
    sides = {
        "ours": Side(
            lambda: train(case, recipe, scene.runtime),
            size,
            lambda: train(case, replace(recipe, epochs=0), scene.runtime),
        ),
        "floor": Side(bare(case, task.build_model(), ready(case, scene, recipe.batch_size), scene), size),
        "script": Side(lambda: script.forecast_steps(network, endless, steps, scene.device), size),
    }
    return Bench("TFT on one client, an epoch", sides, (Goal("ours", "floor", 1.15),))


def small_golds(scene: Scene) -> Bench:
    """Train sixteen golds of the demo's network one by one, in two processes, and as one stack."""
    case = side_by_side.cases()["band"]

    def golds(workers: int, stack: int = 1) -> Callable[[], list[Unlearned]]:
        return lambda: retrain(case, TRAINING, scene.runtime, range(GOLDS), workers=workers, stack=stack)

    def check() -> str:
        held_out = case.splits.test[:][0]  # type: ignore[index]
        with torch.no_grad():
            one, two = (np.stack([gold.model(held_out)[:, 0].numpy() for gold in golds(1, n)()]) for n in (1, GOLDS))
        apart, spread = np.abs(one - two).max(1), one.std(0, ddof=1).mean()
        return (
            f"On test patients {(apart < 1e-3).sum()} of {GOLDS} golds differ from the same trained alone by less than "
            f"0.001, the others by {apart.max():.1f} at most; between seeds they differ by {spread:.1f}."
        )

    sides = {"one by one": Side(golds(1)), "ours": Side(golds(1, GOLDS)), "processes": Side(golds(2))}
    goals = (Goal("one by one", "ours", 4, most=False), Goal("one by one", "processes", 1.5, most=False))
    return Bench(f"{GOLDS} golds of the demo's network", sides, goals, check, rounds=2)


def text_golds(scene: Scene) -> Bench:
    """Train sixteen golds of the LSTM on a part of STS-B for one epoch, one by one and in two processes."""
    case, _, _ = sentence_case(scene, 1024)

    def golds(workers: int) -> Callable[[], object]:
        return lambda: retrain(case, EPOCH, scene.runtime, range(GOLDS), workers=workers)

    sides = {"one by one": Side(golds(1)), "ours": Side(golds(2))}
    return Bench(f"{GOLDS} golds of the LSTM", sides, (Goal("one by one", "ours", 4, most=False),), rounds=2)


def importing(scene: Scene) -> Bench:
    def python(*words: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)

    sides = {
        "ours": Side(python("-c", "import unregress")),
        "help": Side(python("-m", "unregress", "--help")),
        "bare torch": Side(python("-c", "import torch")),
        "bare python": Side(python("-c", "pass")),
    }
    return Bench("import, and `unregress --help`", sides, (Goal("ours", None, 1.0), Goal("help", None, 1.0)))


OTHERS: dict[str, Callable[[Scene], Bench]] = {
    "text": text,
    "series": series,
    "golds": small_golds,
    "golds-lstm": text_golds,
    "import": importing,
}
