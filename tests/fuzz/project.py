"""A user's project, small enough to train in a blink, and the run folders that trials start from."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset

from fuzz.forks import call, fork, redirected
from fuzz.trial import DONE
from unregress import Splits, TensorTask

PROJECT = ("--task", "fuzz.project.make_task", "--data", "fuzz.project.load_data")
REQUEST = ("--request.band", "[55, null]", "--request.reason", "letter 17")
RETRAIN = ("--method", "Retrain", "--method.recipe.epochs", "1")
FINETUNE = ("--method", "FineTune", "--method.recipe.epochs", "1")


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


def make_task(loss: str = "l1") -> TensorTask:
    """A task.

    Args:
        loss: by name.
    """
    return TensorTask(build_model=make_model, loss=loss)


def tensors(samples: int = 40, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(samples, 3, generator=torch.Generator().manual_seed(seed))
    return x, 50 + 10 * x[:, 0] + x[:, 1]


def load_data(samples: int = 40, seed: int = 0, named: bool = True) -> Splits:
    """Data drawn at random.

    Args:
        samples: in the training set.
        seed: of the draw.
        named: whether the samples have ids.
    """
    held_out = [TensorDataset(*tensors(20, seed + 1 + n)) for n in range(2)]
    ids = [f"person-{n}" for n in range(samples)] if named else None
    train = TensorDataset(*tensors(samples, seed))
    return Splits(train=train, validation=held_out[0], test=held_out[1], ids=ids)


def forget(*words: str, checkpoint: str = "runs/original", output: str = "out") -> tuple[str, ...]:
    """The words of a small `forget`."""
    return ("forget", *PROJECT, *REQUEST, *FINETUNE, "--checkpoint", checkpoint, "--output", output, *words)


def audit(*words: str, original: str = "runs/original", model: str = "runs/mine", gold: str = "runs/gold",
          request: str = "runs/gold") -> tuple[str, ...]:  # fmt: skip
    """The words of a small `audit`."""
    return ("audit", *PROJECT, "--request.from_run", request, "--models.original", original, "--models.mine", model,
            "--golds", f"[{gold}]", "--metrics", "[Errors, Deviation]", "--output", "out", *words)  # fmt: skip


def make_runs(folder: Path) -> Path:
    """Folders `original`, `gold`, `mine`, `chained` (made from `mine` for a further request) and `audit` in `runs`."""
    train = ("train", *PROJECT, "--recipe.epochs", "3")
    gold = ("forget", *PROJECT, *REQUEST, *RETRAIN)
    further = ("forget", *PROJECT, "--request.random", "3", "--request.reason", "letter 18", *FINETUNE)
    for name, words in {
        "original": train,
        "gold": gold,
        "mine": forget(),
        "chained": (*further, "--checkpoint", "runs/mine"),
        "later-gold": (*further[:3], *further[3:], *RETRAIN, "--request.after", "[runs/mine]"),
        "audit": audit(),
    }.items():
        child = fork(lambda words=words, name=name: _quietly((*words, "--output", f"runs/{name}"), folder))
        if code := _status(child):
            raise RuntimeError(f"{words} ended with {code}: {Path(f'{folder}.stderr').read_text()}")
    return folder / "runs"


def _quietly(words: tuple[str, ...], folder: Path) -> int:
    redirected(folder)
    return call(words, folder)


def _status(child: int) -> int:
    import os

    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) - DONE
