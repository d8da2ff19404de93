"""Save weights as safetensors; load safetensors or PyTorch state dicts, without executing code from the file."""

from __future__ import annotations

import os
import pickle
import re
import struct
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_model
from torch import Tensor, nn

from unregress.errors import CheckpointError
from unregress.files.partial import unfinished
from unregress.files.writing import writing
from unregress.tasks.unwrap import plain, require_weights


def save_weights(model: nn.Module, path: str | Path, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write a model's weights as safetensors, atomically.

    Args:
        model: the model; weights shared between layers are written once.
        path: file to write.
        metadata: short texts to store in the file's header.

    Raises:
        RunFolderError: the file cannot be written, for example because the disk is full.
    """
    path = Path(path)
    with writing(path), unfinished(path) as hidden:
        # safetensors makes files readable for their owner only: restore the permissions of an ordinary new file.
        hidden.touch()
        mode = hidden.stat().st_mode
        try:
            save_model(model, str(hidden), metadata=dict(metadata or {}))
        except SafetensorError as error:
            # `save_model` raises it for a failure to write.
            raise OSError(str(error)) from error
        hidden.chmod(mode)
        os.replace(hidden, path)


def load_weights(model: nn.Module, path: str | Path) -> tuple[str, ...]:
    """Load weights into `model` in place; if anything does not fit, nothing is loaded.

    Prefixes from PyTorch's wrappers (`module.`, `_orig_mod.`) are removed, and floating-point numbers of another
    precision are converted.

    Args:
        model: a model of the architecture that the weights were saved from.
        path: a `.safetensors` file, or a state dict written by `torch.save` (also under the key
            `state_dict` or `model`), read with `weights_only=True`.

    Returns:
        Notes on names and numbers that were converted.

    Raises:
        CheckpointError: the file cannot be read, does not fit the model, or has weights that are not finite.
        ModelError: the model has lazy layers.
    """
    require_weights(model)
    own = model.state_dict()
    state, notes = _renamed(_read(Path(path)), own)
    # safetensors stores a shared weight under only one of its names.
    groups: dict[int, list[str]] = {}
    for name, tensor in own.items():
        groups.setdefault(tensor.data_ptr() if tensor.numel() else id(tensor), []).append(name)
    for names in groups.values():
        present = next((name for name in names if name in state), None)
        if present is not None:
            state.update({name: state[present] for name in names if name not in state})
    if problems := _mismatches(state, own):
        prefix = _prefix(state, own)
        raise CheckpointError(
            f"{path} does not fit the model: "
            + (f"all its names begin with {prefix!r}, which the model's do not" if prefix else problems),
            expected=f"weights of this {type(model).__name__}",
            remedy="Save the state dict of the model inside, or "
            f"remove it: `torch.nn.modules.utils.consume_prefix_in_state_dict_if_present(state, {prefix!r})`"
            if prefix
            else "Check that `build_model` makes the architecture that was trained",
        )
    parameters = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    if broken := [name for name in parameters if not bool(state[name].to(own[name].dtype).isfinite().all())]:
        raise CheckpointError(
            f"{path} has weights that are NaN or infinite: {', '.join(broken[:3])}"
            + (f" and {len(broken) - 3} more" if len(broken) > 3 else ""),
            expected="finite weights",
            remedy="Take the weights of an earlier epoch: the training had diverged when these were saved",
        )
    model.load_state_dict(state)
    return tuple(f"{Path(path).name}: {note}" for note in (*notes, *_converted(state, own)))


def _renamed(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Rename tensors whose names differ by a wrapper's prefix only; add a note if any was renamed."""
    # `n_averaged` of AveragedModel counts models and is not a weight.
    weights = {name: value for name, value in state.items() if name in own or plain(name) != "n_averaged"}
    names = {plain(name): name for name in own}
    if len(names) < len(own) or len({plain(name) for name in weights}) < len(weights):
        return state, []
    renamed = {name: name if name in own else names.get(plain(name), name) for name in weights}
    changed = [(old, new) for old, new in renamed.items() if old != new]
    if not changed or any(new not in own for new in renamed.values()):
        return state, []
    old, new = changed[0]
    note = f"a wrapper's prefix was removed from the names: {old!r} was read as {new!r}"
    return {renamed[name]: value for name, value in weights.items()}, [note]


def _converted(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Notes on tensors that were converted from another floating-point precision."""
    pairs = [(state[name].dtype, own[name].dtype) for name in own if state[name].is_floating_point()]
    return [
        f"{count} tensors of {_type(its)} were converted to {_type(ours)}, "
        + ("without loss" if torch.promote_types(its, ours) == ours else "with rounding")
        for (its, ours), count in Counter(pairs).items()
        if its != ours
    ]


def _type(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _kind(tensor: Tensor) -> str:
    if tensor.is_complex():
        return "complex"
    return "floating" if tensor.is_floating_point() else "bool" if tensor.dtype == torch.bool else "whole"


def _mismatches(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """Describe how the tensors differ from the model's, a few of each kind; empty if they fit."""
    both = {name: (state[name], own[name]) for name in own if name in state}
    kinds = (
        [f"{name} is missing" for name in own if name not in state],
        [f"{name} is not in the model" for name in state if name not in own],
        [
            f"{name} has shape {tuple(its.shape)}, the model's has {tuple(ours.shape)}"
            for name, (its, ours) in both.items()
            if its.shape != ours.shape
        ],
        [
            f"{name} has type {_type(its.dtype)}, the model's has {_type(ours.dtype)}"
            for name, (its, ours) in both.items()
            if _kind(its) != _kind(ours)
        ],
    )
    present = [kind for kind in kinds if kind]
    # Five of a single kind, or two of each, so that missing and unexpected names are seen together.
    shown = [each for kind in present for each in kind[: 5 if len(present) == 1 else 2]]
    rest = sum(map(len, present)) - len(shown)
    return "; ".join([*shown, *([f"and {rest} more"] if rest else [])])


def _prefix(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """A prefix common to all names, such as a training framework's attribute name; empty if there is none."""
    parts = next(iter(state), "").split(".")
    for count in range(1, len(parts)):
        prefix = ".".join(parts[:count]) + "."
        if all(name.startswith(prefix) and name not in own and name.removeprefix(prefix) in own for name in state):
            return prefix
    return ""


_SAVE_WEIGHTS = "Save the weights alone: `torch.save(model.state_dict(), path)`, or as safetensors"
_ARCHIVE, _LEGACY = b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of files from `torch.save`: the current format, and that of PyTorch before 1.6."""
_UNREADABLE = (
    *(SafetensorError, RuntimeError, OSError, ValueError, EOFError),
    # Exceptions of unpickling for damaged files.
    *(pickle.UnpicklingError, LookupError, AssertionError, AttributeError, TypeError, struct.error),
)


def _read(path: Path) -> dict[str, Tensor]:
    kind = "a safetensors file or a state dict saved by `torch.save`"
    if not path.is_file():
        raise CheckpointError(f"There is no weights file {path}", expected=kind)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            # Problems are reported below in our own words.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason, remedy = _reason(path, str(error))
        raise CheckpointError(f"{path} cannot be read: {reason}", expected=kind, remedy=remedy) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise CheckpointError(
            f"{path} contains a {type(content).__name__}, not a state dict",
            expected=kind,
            remedy=_SAVE_WEIGHTS,
        )
    if odd := [name for name, value in content.items() if value.layout != torch.strided or value.is_meta]:
        raise CheckpointError(
            f"{path} has a tensor {odd[0]!r} that is sparse or has no data",
            expected=kind,
            remedy="Save it as a dense tensor: `tensor.to_dense()`",
        )
    return dict(content)


def _reason(path: Path, message: str) -> tuple[str, str]:
    """The reason why a file cannot be read, and the remedy.

    PyTorch's own message is not shown: it advises to load the file in a way that may execute code from it.
    """
    again = "Copy the file again from an intact source, or save it again"
    try:
        with path.open("rb") as file:
            start = file.read(len(_LEGACY))
    except OSError as error:
        return error.strerror or type(error).__name__, "Choose a file that you may read"
    if not start:
        return "it is empty", again
    if path.suffix != ".safetensors" and "TorchScript archive" in message:
        return "it contains a TorchScript program, not only weights", _SAVE_WEIGHTS
    if path.suffix != ".safetensors" and (named := re.search(r"GLOBAL ([\w.]+)", message)):
        return f"it contains a pickled object ({named[1]}), and reading one may run code", _SAVE_WEIGHTS
    if path.suffix == ".safetensors" or start.startswith(_ARCHIVE) or start == _LEGACY:
        return "it seems to be truncated or damaged", again
    if start.startswith(b"\x80"):
        return "it is a pickle that `torch.save` did not write, or damaged", _SAVE_WEIGHTS
    return "it is not a weights file, or damaged", _SAVE_WEIGHTS
