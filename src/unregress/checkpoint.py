"""Weights on disk: safetensors out, safetensors or PyTorch state dicts in.  Never executes what it reads."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_model
from torch import Tensor, nn

from unregress.errors import CheckpointError


def save_weights(model: nn.Module, path: str | Path, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write a model's weights as safetensors; whole or not at all.

    Args:
        model: whose weights; weights shared between layers are written once.
        path: file to write.
        metadata: short texts to store beside the weights.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        # safetensors lets nobody else read what it writes; the file shall be like the user's other files.
        unfinished.touch()
        mode = unfinished.stat().st_mode
        save_model(model, str(unfinished), metadata=dict(metadata or {}))
        unfinished.chmod(mode)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load weights into `model`, in place; nothing is loaded unless everything fits.

    Args:
        model: the architecture that the weights were saved from.
        path: a `.safetensors` file, or a state dict written by `torch.save` (also under the key
            `state_dict` or `model`), read with `weights_only=True`.

    Raises:
        CheckpointError: the file cannot be read or does not fit the model.
    """
    state = _read(Path(path))
    own = model.state_dict()
    # Of weights that several names share, safetensors keeps one name.
    groups: dict[int, list[str]] = {}
    for name, tensor in own.items():
        groups.setdefault(tensor.data_ptr() if tensor.numel() else id(tensor), []).append(name)
    for names in groups.values():
        present = next((name for name in names if name in state), None)
        if present is not None:
            state.update({name: state[present] for name in names if name not in state})
    problems = [f"{name} is missing" for name in own if name not in state]
    problems += [f"{name} is not in the model" for name in state if name not in own]
    problems += [
        f"{name} has shape {tuple(state[name].shape)}, the model's has {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise CheckpointError(
            f"{path} does not fit the model: {shown}",
            expected=f"weights of this {type(model).__name__}",
            remedy="Check that `build_model` makes the architecture that was trained",
        )
    model.load_state_dict(state)


_UNREADABLE = (
    *(SafetensorError, RuntimeError, OSError, ValueError, EOFError),
    # What unpickling says of damaged files.
    *(pickle.UnpicklingError, LookupError, AssertionError, AttributeError, TypeError, struct.error),
)


def _read(path: Path) -> dict[str, Tensor]:
    kind = "a safetensors file or a state dict saved by `torch.save`"
    if not path.is_file():
        raise CheckpointError(f"There is no weights file {path}", expected=kind)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} cannot be read: {reason}",
            expected=kind,
            remedy="Save the weights alone: `torch.save(model.state_dict(), path)`",
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, not a state dict",
            expected=kind,
            remedy="Save the weights alone: `torch.save(model.state_dict(), path)`",
        )
    return dict(content)
