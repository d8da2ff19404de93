"""Keep the initial weights of a training, from which retrained models can start."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from unregress.errors import RunFolderError
from unregress.files.writing import writing
from unregress.runs.checkpoint import save_weights
from unregress.tasks.unwrap import unwrapped


def keep_start(model: nn.Module, path: str | Path) -> Path:
    """Write the weights that a training begins with as safetensors, so that golds can start from them.

    Call it before the first step: `unregress.keep_start(model, "start.safetensors")`.  Golds start from this file with
    `--start` on the command line, or with `start=` in Python.  A file with the same weights is left as it is.

    Args:
        model: the untrained model; wrappers of PyTorch are removed.
        path: file to write.

    Returns:
        The path.

    Raises:
        RunFolderError: there is a file with other content, or the file cannot be written.
    """
    target = Path(path)
    if target.exists():
        if not _holds(target, unwrapped(model)):
            raise RunFolderError(
                f"{target} exists, and holds something else than the initial weights of this training",
                expected="a new file for each training",
                remedy="Choose another path, or move the file away",
            )
        return target
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    save_weights(unwrapped(model), target)
    return target


def _holds(path: Path, model: nn.Module) -> bool:
    """Whether a file holds exactly the weights of a model."""
    with TemporaryDirectory() as folder:
        own = Path(folder) / path.name
        save_weights(model, own)
        try:
            found, expected = load_file(path), load_file(own)
        except (OSError, SafetensorError):
            return False
    return found.keys() == expected.keys() and all(
        found[name].dtype == value.dtype and torch.equal(found[name], value) for name, value in expected.items()
    )
