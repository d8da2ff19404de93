"""Train many models of the diabetes demo for `calibration.py`: golds, originals, and partly unlearned models.

A thousand trainings of a network this small are mostly overhead, so fifty at a time share their matrix products.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from unregress import Case, ForgetRequest, Retrain, Runtime, TensorTask, collect
from unregress.data.loading import chunked
from unregress.data.request import Index, Mask
from unregress.data.splits import Split
from unregress.demo.band import TRAINING, build_model, patients
from unregress.evidence import Part
from unregress.metrics.predictions import Values

Answers = dict[str, Values]
"""Predictions by part, of one model `(samples,)` or of many `(models, samples)`."""
PARTS: dict[Part, Split] = {
    "train-forget": "train_eval",
    "test-forget": "test",
    "test-retain": "test",
}
RUNTIME = Runtime(accelerator="cpu")


def cases() -> dict[str, Case]:
    """Two requests about 300 patients: all with a score of 200 or more, and 60 at random."""
    data = patients()
    task, score = TensorTask(build_model=build_model, loss="l1"), data.train[:][1]
    requests = {
        "band": ForgetRequest.band(score, low=200, reason="score 200 or more"),
        "random": ForgetRequest.random(len(score), 60, seed=0, reason="60 at random"),
    }
    return {name: Case(task=task, splits=data, request=request) for name, request in requests.items()}


def rows_of(case: Case) -> dict[Part, Index]:
    group = case.forget_like("test")
    rows: dict[Part, Mask] = {"train-forget": case.requested.mask, "test-forget": group, "test-retain": ~group}
    return {part: np.flatnonzero(mask) for part, mask in rows.items() if mask.any()}


def side_by_side(case: Case, share: float, count: int, seed: int) -> Answers:
    """Train many models in one batch, each on D_r and a random share of D_f, by the demo's recipe.

    Each step is one batched matrix product for all models; they share only the seed.
    """
    draw = torch.Generator().manual_seed(seed)
    forget, retain = (torch.tensor(list(rows)) for rows in (case.requested.forget, case.requested.retain))
    kept = [forget[torch.randperm(len(forget), generator=draw)[: round(share * len(forget))]] for _ in range(count)]
    rows = torch.stack([torch.cat([retain, some]) for some in kept])
    with RUNTIME.isolated_rng(f"side by side/{seed}"):
        models = [build_model() for _ in range(count)]
    answers = fitted(models, rows, case, draw)
    return {part: answers[PARTS[part]][:, places] for part, places in rows_of(case).items()}


def fitted(models: list[nn.Module], rows: Tensor, case: Case, draw: torch.Generator) -> Answers:
    """Train models from their weights in one batch by the demo's recipe, and predict the samples of both splits.

    Args:
        models: of one architecture; they stay as they are.
        rows: training rows of each model, `(models, rows)`.
        case: its data.
        draw: draws the order of the batches.
    """
    inputs, target = case.splits.train[:]
    parameters, _ = stack_module_state(models)
    network = vmap(partial(functional_call, models[0]))
    optimizer = TRAINING.make_optimizer(parameters.values())
    steps = chunked(torch.arange(rows.shape[1]), TRAINING.batch_size)
    schedule = TRAINING.make_schedule(optimizer, len(steps))
    for _ in range(TRAINING.epochs):
        order = rows.gather(1, torch.rand(rows.shape, generator=draw).argsort(1))
        for step in steps:
            chosen = order[:, step]
            loss = (network(parameters, (inputs[chosen],))[..., 0] - target[chosen]).abs().mean(1).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.after_step()
    seen = {"train_eval": inputs, "test": case.splits.test[:][0]}  # type: ignore[index]
    with torch.no_grad():
        return {
            split: network(parameters, (x.expand(len(models), -1, -1),))[..., 0].double().numpy()
            for split, x in seen.items()
        }


def one_by_one(case: Case, seeds: range) -> Answers:
    """Predictions of golds that the library trains."""
    answers: dict[str, list[Values]] = {part: [] for part in rows_of(case)}
    for seed in seeds:
        runtime = Runtime(accelerator="cpu", seed=seed)
        gold = Retrain(recipe=TRAINING).unlearn(build_model(), case, runtime).model
        for part, rows in rows_of(case).items():
            seen = collect(gold, case.task, case.source(PARTS[part]), runtime).at(rows)
            answers[part].append(seen.prediction.ravel())
    return {part: np.stack(found) for part, found in answers.items()}


def kept(file: Path, make: Callable[[], Answers]) -> Answers:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, **make())  # type: ignore[arg-type]
    return dict(np.load(file))


def many(name: str, case: Case, share: float, count: int, cache: Path) -> Answers:
    """Predictions of `count` models trained on a share of D_f, fifty at a time."""
    blocks = [
        kept(cache / f"{name}-{share:g}-{b}.npz", partial(side_by_side, case, share, 50, round(1e6 * share) + b))
        for b in range(-(-count // 50))
    ]
    return {part: np.concatenate([block[part] for block in blocks])[:count] for part in blocks[0]}
