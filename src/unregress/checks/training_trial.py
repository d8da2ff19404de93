"""Try a training function on a few samples: does it train the given start, and does it follow its seed?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from unregress.data.case import Case
from unregress.data.request import Index
from unregress.errors import ModelError, UnregressError
from unregress.errors.user_code import described
from unregress.tasks.unwrap import private_copy
from unregress.tasks.weights import weights_of
from unregress.training.fresh_model import fresh_model
from unregress.training.from_scratch import TrainingFunction, require_possible, train_from, training_name
from unregress.training.objective import Watched
from unregress.training.runtime import Runtime

TRIAL_ROWS = 64
"""Number of retained samples of a trial, evenly spaced."""


def trial_rows(case: Case, count: int = TRIAL_ROWS) -> Index:
    """Positions of evenly spaced retained training samples, ascending."""
    rows = case.rows("train")
    retained = rows[~case.forget_mask[rows]]
    places = torch.linspace(0, len(retained) - 1, min(len(retained), count)).round().long().unique()
    found: Index = retained[places.numpy()]
    return found


def try_training(case: Case, training: TrainingFunction, runtime: Runtime) -> tuple[list[UnregressError], list[str]]:
    """Train a few samples with a training function, under two seeds and from two starts.

    Args:
        case: the task and the data.
        training: the function.
        runtime: device and seed.

    Returns:
        Errors and warnings: the function fails, returns no model of the architecture, trains another model than the
        given start, or gives the same model for two seeds.
    """
    try:
        require_possible(training, runtime)
        return _judged(training, _trained(case, training, runtime))
    except UnregressError as error:
        return [error], []
    except Exception as error:
        found = f"The training function {training_name(training)} fails on {TRIAL_ROWS} samples: {described(error)}"
        return [ModelError(found, expected="a function (data, start, seed) that returns the trained model")], []


def _trained(case: Case, training: TrainingFunction, runtime: Runtime) -> dict[str, str]:
    """Digests of the models that a function trains, by the name of what is changed; `start` is the untrained model."""
    rows = trial_rows(case)
    watched: Watched = "all" if case.request is None else "retain"
    starts = [_start(case, runtime, number) for number in (0, 1)]

    def digest(start: nn.Module, seed: int) -> str:
        seeded = replace(runtime, seed=seed, progress=False)
        made, _ = train_from(private_copy(start), case, training, rows, seeded, stage="trial", validation=watched)
        return weights_of(made.cpu())

    return {
        "untrained": weights_of(starts[0]),
        "first": digest(starts[0], runtime.seed),
        "other seed": digest(starts[0], runtime.seed + 1),
        "other start": digest(starts[1], runtime.seed),
        "again": digest(starts[0], runtime.seed),
    }


def _start(case: Case, runtime: Runtime, number: int) -> nn.Module:
    with replace(runtime, seed=runtime.seed + number).isolated_rng("trial/start"):
        return fresh_model(case)


def _judged(training: TrainingFunction, made: dict[str, str]) -> tuple[list[UnregressError], list[str]]:
    name = training_name(training)
    if made["first"] == made["untrained"]:
        return [], [f"{name} does not change the model on {TRIAL_ROWS} samples: whether it follows seed and start is "
                    "not known"]  # fmt: skip
    return list(_errors(name, made)), list(_warnings(name, made))


def _errors(name: str, made: dict[str, str]) -> Iterator[UnregressError]:
    if made["first"] == made["other start"]:
        yield ModelError(
            f"The training function {name} ignores `start`: from two different starts it trains the same model",
            expected="the given model to be trained: golds differ by their initial weights",
            remedy="Train the given `start`, and do not build a model in the function",
        )
    if made["first"] == made["other seed"]:
        yield ModelError(
            f"The training function {name} ignores its seed: under two seeds it trains the same model from one start",
            expected="a training whose batch order and other random draws follow the seed, as golds differ by them",
            remedy="Seed what it draws with `seed`, as in `torch.manual_seed(seed)` or `generator.manual_seed(seed)`, "
            "or leave the random state alone, which is seeded already",
        )


def _warnings(name: str, made: dict[str, str]) -> Iterator[str]:
    if made["first"] != made["again"] and made["first"] != made["other seed"]:
        yield (
            f"{name} trains different models under the same seed: its results cannot be reproduced to the bit. Worker "
            "processes and GPU kernels that are not deterministic are frequent causes"
        )
