"""Try a training function on a few samples: does it train on the given rows, from the given start, under its seed?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from unregress.data.case import Case
from unregress.data.hashing import columns, row_hashes
from unregress.data.request import Index
from unregress.errors import ModelError, UnregressError, raise_all
from unregress.errors.user_code import described
from unregress.tasks.unwrap import private_copy
from unregress.tasks.weights import weights_of
from unregress.training.fresh_model import fresh_model
from unregress.training.from_scratch import Training, TrainingFunction, require_possible, train_from, training_name
from unregress.training.objective import Watched
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime

TRIAL_ROWS = 64
"""Number of retained samples of a trial, evenly spaced."""


def trial_rows(case: Case, count: int = TRIAL_ROWS) -> Index:
    """Positions of evenly spaced retained training samples, ascending."""
    retained = _retained(case)
    places = torch.linspace(0, len(retained) - 1, min(len(retained), count)).round().long().unique()
    found: Index = retained[places.numpy()]
    return found


def other_rows(case: Case, count: int = TRIAL_ROWS) -> Index:
    """Positions of as many retained samples as `trial_rows` has, others at nearly all places.

    As many, since a training may take no more of its data than their number; others at all places, since it may drop a
    last batch.  Of few samples the second half is repeated.  A single sample has no other.
    """
    first, retained = trial_rows(case, count), _retained(case)
    unused = np.setdiff1d(retained, first)
    pool = unused if len(unused) >= len(first) else retained[-max(1, len(retained) // 2) :]
    found: Index = pool[np.arange(len(first)) * len(pool) // len(first)]
    return found


def _retained(case: Case) -> Index:
    rows = case.rows("train")
    found: Index = rows[~case.forget_mask[rows]]
    return found


def try_training(case: Case, training: TrainingFunction, runtime: Runtime) -> tuple[list[UnregressError], list[str]]:
    """Train a few samples with a training function: on other rows, under another seed and from another start.

    Args:
        case: the task and the data.
        training: the function.
        runtime: device and seed.

    Returns:
        Errors and warnings: the function fails, returns no model of the architecture, trains another model than the
        given start, or gives the same model for other rows or two seeds.
    """
    name = training_name(training)
    try:
        require_possible(training, runtime)
        return _judged(case, training, runtime, name)
    except UnregressError as error:
        return [error], []
    except Exception as error:
        found = f"The training function {name} fails on {len(trial_rows(case))} samples: {described(error)}"
        return [ModelError(found, expected="a function (data, start, seed) that returns the trained model")], []


def require_sound(case: Case, training: Training, runtime: Runtime) -> list[str]:
    """Refuse a training function that `try_training` finds errors in, and return its warnings; a recipe has none.

    Raises:
        PreflightError: there are several errors; a single error is raised as it is.
    """
    if isinstance(training, Recipe):
        return []
    errors, warnings = try_training(case, training, runtime)
    raise_all(errors)
    return warnings


def _judged(
    case: Case, training: TrainingFunction, runtime: Runtime, name: str
) -> tuple[list[UnregressError], list[str]]:
    watched: Watched = "all" if case.request is None else "retain"
    rows, others = trial_rows(case), other_rows(case)
    starts = [_start(case, runtime, number) for number in (0, 1)]

    def digest(start: int = 0, seed: int = 0, rows: Index = rows) -> str:
        """Digest of the model that the function trains."""
        seeded = replace(runtime, seed=runtime.seed + seed, progress=False)
        given = private_copy(starts[start])
        made, _ = train_from(given, case, training, rows, seeded, stage="trial", validation=watched)
        return weights_of(made.cpu())

    first = digest()
    if first == weights_of(starts[0]):
        return [], [f"{name} does not change the model on {len(rows)} samples: whether it follows data, seed and start "
                    "is not known"]  # fmt: skip
    # At once, since each trial of a function that trains on data of its own takes as long as a whole training.
    same_rows = first == digest(rows=others)
    if same_rows and _different(case, runtime, rows, others):
        return [_ignores_data(name)], []
    other_seed, other_start, again = digest(seed=1), digest(start=1), digest()
    warnings = [f"{name} trains the same model on other samples, which are equal as far as can be seen: whether it "
                "trains on the rows that it is given is not known"] if same_rows else []  # fmt: skip
    warnings += [_not_repeated(name)] if first not in (again, other_seed) else []
    return list(_errors(name, same_start=first == other_start, same_seed=first == other_seed)), warnings


def _start(case: Case, runtime: Runtime, number: int) -> nn.Module:
    with replace(runtime, seed=runtime.seed + number).isolated_rng("trial/start"):
        return fresh_model(case)


def _different(case: Case, runtime: Runtime, rows: Index, others: Index) -> bool:
    """Whether two choices of rows have different content; equal samples rightly give equal models."""
    with runtime.isolated_rng("trial"):
        chunks = [torch.from_numpy(each) for each in (rows, others)]
        first, second = (row_hashes(list(columns(batch.data, len(batch.index))), len(batch.index))
                         for batch in case.source("train").fetch(chunks))  # fmt: skip
    return set(first) != set(second)


def _ignores_data(name: str) -> ModelError:
    return ModelError(
        f"The training function {name} trains the same model on other rows: it ignores `data`",
        expected="a training on `data.train`, or on values of your own at the positions `data.rows`, and on no others: "
        "otherwise it trains on the forgotten samples too",
        remedy="Read the samples from `data.train` in the function, and not from a dataset of its own",
    )


def _errors(name: str, *, same_start: bool, same_seed: bool) -> Iterator[UnregressError]:
    if same_start:
        yield ModelError(
            f"The training function {name} ignores `start`: from two different starts it trains the same model",
            expected="the given model to be trained: golds differ by their initial weights",
            remedy="Train the given `start`, and do not build a model in the function",
        )
    if same_seed:
        yield ModelError(
            f"The training function {name} ignores its seed: under two seeds it trains the same model from one start",
            expected="a training whose batch order and other random draws follow the seed, as golds differ by them",
            remedy="Seed what it draws with `seed`, as in `torch.manual_seed(seed)` or `generator.manual_seed(seed)`, "
            "or leave the random state alone, which is seeded already",
        )


def _not_repeated(name: str) -> str:
    return (
        f"{name} trains different models under the same seed: its results cannot be reproduced to the bit, and whether "
        "it trains on the rows that it is given cannot be told. Worker processes and GPU kernels that are not "
        "deterministic are frequent causes"
    )
