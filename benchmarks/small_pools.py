"""Train the models of `calibration_small.py`: golds of many small requests, of any start or of the original's own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from side_by_side import RUNTIME, Answers, fitted, kept

from unregress import Case, ForgetRequest, TensorTask
from unregress.data.request import Index
from unregress.demo.band import build_model, patients
from unregress.metrics.predictions import Values

ORIGINALS = 200
"""Originals of their own starts, trained on all 300 samples; every small request is judged by them."""


class Request(NamedTuple):
    """Models of one request, predicting all samples."""

    case: Case
    golds: Answers
    """Of each split, `(golds, samples)`."""
    originals: Answers
    """Of each split, `(originals, samples)`."""
    target: Answers
    """Of each split, `(samples,)`."""
    constant: float
    """The median of the retained samples' targets."""

    def rows(self, part: str) -> Index:
        """Positions of a part's samples in their split."""
        split, _, kind = part.partition("-")
        mask = self.case.requested.mask if split == "train" else self.case.forget_like("test")
        return np.flatnonzero(mask if kind == "forget" else ~mask)

    def at(self, answers: Answers, part: str) -> Values:
        """Predictions or targets of one part, `(..., samples)`."""
        split = "train_eval" if part.startswith("train") else "test"
        return np.asarray(answers[split][..., self.rows(part)])


def cases_of(size: int, seeds: Sequence[int]) -> list[Case]:
    """One case for each seed: so many samples at random, or for 0 all with a score of 200 or more."""
    data = patients()
    task, score = TensorTask(build_model=build_model, loss="l1"), data.train[:][1]
    requests = [
        ForgetRequest.random(len(score), size, seed=seed, reason="at random")
        if size
        else ForgetRequest.band(score, low=200, reason="score 200 or more")
        for seed in seeds
    ]
    return [Case(task=task, splits=data, request=request) for request in requests]


def together(case: Case, rows: Sequence[int], count: int, seed: int, start: int | None = None) -> Answers:
    """Train `count` models on some rows, all from one start if it is given, otherwise each from its own."""
    draw = torch.Generator().manual_seed(seed)
    with RUNTIME.isolated_rng(f"start/{seed if start is None else start}"):
        models = [build_model() for _ in range(count)] if start is None else [build_model()] * count
    return fitted(models, torch.tensor(rows).expand(count, -1).contiguous(), case, draw)


def uncoupled(size: int, seed: int, golds: int, name: str, cache: Path) -> Request:
    """Golds and originals of their own starts."""
    (case,) = cases_of(size, [seed])
    rows = list(case.requested.retain)
    everyone = kept(cache / "originals.npz", partial(together, case, list(range(300)), ORIGINALS, 7))
    return _request(case, kept(cache / f"{name}.npz", partial(together, case, rows, golds, seed)), everyone)


def coupled(size: int, seed: int, golds: int, name: str, cache: Path) -> Request:
    """Golds and originals of one start, which is the seed, with other batch orders."""
    (case,) = cases_of(size, [seed])
    rows = list(case.requested.retain)
    everyone = kept(
        cache / f"{name}-originals.npz", partial(together, case, list(range(300)), 5, seed + 500_000, start=seed)
    )
    return _request(case, kept(cache / f"{name}.npz", partial(together, case, rows, golds, seed, start=seed)), everyone)


def _request(case: Case, golds: Answers, originals: Answers) -> Request:
    target = {
        "train_eval": case.splits.train[:][1].numpy().astype(np.float64),
        "test": case.splits.test[:][1].numpy().astype(np.float64),  # type: ignore[index]
    }
    constant = float(np.median(target["train_eval"][~case.requested.mask]))
    return Request(case, golds, originals, target, constant)
