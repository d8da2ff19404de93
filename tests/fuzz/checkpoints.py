"""Weights files: truncated, pickled, of another type or shape, not finite, with prefixes, or no files at all."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn

from fuzz.project import audit, forget, make_model
from fuzz.trial import DONE, REFUSED, Prepare, Trial

_YES, _NO, _ANY = frozenset({DONE}), frozenset({REFUSED}), frozenset({DONE, REFUSED})


class Hostile:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch MARKER",)


def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(make_model().state_dict())


def trials() -> Iterator[Trial]:
    """Each file as the checkpoint of `forget`, and some as a model of an audit."""
    for name, (file, write, codes) in {**_states(), **_files()}.items():
        yield Trial(name=name, words=forget(checkpoint=file), prepare=_written(file, write), codes=codes)
    for name, (file, write, codes) in {**_states(), **_files()}.items():
        if codes == _NO:
            yield Trial(name=f"audited: {name}", words=audit(model=file), prepare=_written(file, write), codes=codes)
    for n in range(30):
        file, content = ("w.pt", _torch(state())) if n % 2 else ("w.safetensors", save(state()))
        damaged = _damaged(content, n)
        yield Trial(name=f"damaged {n}", words=forget(checkpoint=file), prepare=_written(file, _bytes(damaged)),
                    draw=n // 6)  # fmt: skip


def _written(file: str, write: Callable[[Path], object]) -> Prepare:
    return lambda folder: write(folder / file)


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _saved(content: Any) -> Callable[[Path], object]:
    return lambda path: torch.save(content, path)


def _torch(content: Any) -> bytes:
    import io

    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


StoredModel = dict[str, tuple[str, Callable[[Path], object], frozenset[int]]]


def _states() -> StoredModel:
    """State dicts, well written."""

    def changed(change: Callable[[Tensor], Tensor], only: str = "") -> dict[str, Tensor]:
        return {name: change(tensor) if only in name else tensor for name, tensor in state().items()}

    whole, types = state(), {}
    refused = ("int64", "int32", "int8", "uint8", "bool", "complex64", "complex128")
    for kind in (*refused, "float64", "float32", "bfloat16", "float16"):
        values = changed(lambda tensor, kind=kind: tensor.to(getattr(torch, kind)))
        codes = _NO if kind in refused else _ANY
        types[f"all of {kind}"] = ("w.pt", _saved(values), codes)
        if kind != "complex128":  # which safetensors do not know
            types[f"all of {kind}, safetensors"] = ("w.safetensors", lambda path, v=values: save_file(v, path), codes)
    one = {"one of int64": changed(lambda tensor: tensor.long(), "0.weight")}
    broken = {
        "nan": changed(lambda tensor: torch.full_like(tensor, torch.nan)),
        "one nan": changed(lambda tensor: tensor.index_fill(0, torch.tensor([0]), torch.nan), "2.bias"),
        "infinite": changed(lambda tensor: torch.full_like(tensor, torch.inf), "0.bias"),
        "of another width": dict(nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 1)).state_dict()),
        "transposed": changed(lambda tensor: tensor.T.contiguous() if tensor.ndim == 2 else tensor),
        "with one more": {**whole, "more": torch.ones(1)},
        "with one less": {name: tensor for name, tensor in whole.items() if name != "0.bias"},
        "with nothing": {},
        "with an empty name": {**whole, "": torch.ones(1)},
        "with names of numbers": dict(enumerate(whole.values())),
        "with values of lists": {name: tensor.tolist() for name, tensor in whole.items()},
        "with values of None": dict.fromkeys(whole),
        "with names in capitals": {name.upper(): tensor for name, tensor in whole.items()},
        "on no device": changed(lambda tensor: tensor.to("meta")),
        "sparse": changed(lambda tensor: tensor.to_sparse()),
        "with a scalar": changed(lambda tensor: tensor[0], "2.bias"),
        "empty tensors": changed(lambda tensor: tensor[:0]),
    }
    prefixed = {f"prefixed {prefix}": {prefix + name: tensor for name, tensor in whole.items()}
                for prefix in ("module.", "_orig_mod.", "model.", "module._orig_mod.", "x.y.")}  # fmt: skip
    wrapped = {f"under {key}": {key: whole, "epoch": 3} for key in ("state_dict", "model", "weights", "net")}
    good = {
        "good": whole,
        "views": changed(lambda tensor: torch.cat([tensor, tensor])[: len(tensor)]),
        "with gradients": {name: nn.Parameter(tensor) for name, tensor in whole.items()},
    }
    return {
        **types,
        **{name: ("w.pt", _saved(each), _NO) for name, each in {**one, **broken}.items()},
        **{name: ("w.pt", _saved(each), _ANY) for name, each in {**prefixed, **wrapped}.items()},
        **{name: ("w.pt", _saved(each), _YES) for name, each in good.items()},
    }


def _files() -> StoredModel:
    """Files that hold no state dict, or not as they say."""
    whole = save(state())
    size = struct.unpack("<Q", whole[:8])[0]

    def header(text: bytes, rest: bytes = whole[8 + size :]) -> bytes:
        return struct.pack("<Q", len(text)) + text + rest

    contents: dict[str, tuple[str, bytes]] = {
        "no bytes": ("w.pt", b""),
        "no bytes, safetensors": ("w.safetensors", b""),
        "text": ("w.pt", b"weights\n"),
        "text, safetensors": ("w.safetensors", b"weights\n"),
        "safetensors called pt": ("w.pt", whole),
        "pt called safetensors": ("w.safetensors", _torch(state())),
        "no suffix": ("w", whole),
        "a pickle that runs": ("w.pt", pickle.dumps(Hostile())),
        "a pickle of lists": ("w.pt", pickle.dumps([1, 2])),
        "a pickle that runs, saved": ("w.pt", _torch({"0.weight": Hostile()})),
        "a pickle that runs, as it was": ("w.pt", pickle.dumps(Hostile(), protocol=0)),
        "a whole model": ("w.pt", _torch(make_model())),
        "a tensor": ("w.pt", _torch(torch.ones(3))),
        "a number": ("w.pt", _torch(7)),
        "a list": ("w.pt", _torch([torch.ones(3)])),
        "an archive": ("w.pt", b"PK\x05\x06" + bytes(18)),
        "header of 2**63": ("w.safetensors", struct.pack("<Q", 2**63) + whole[8:]),
        "header beyond the file": ("w.safetensors", struct.pack("<Q", len(whole)) + whole[8:]),
        "header of nothing": ("w.safetensors", struct.pack("<Q", 0)),
        "header of text": ("w.safetensors", header(b"no JSON")),
        "header of a list": ("w.safetensors", header(b"[]")),
        "header of null": ("w.safetensors", header(b"null")),
        "header of nesting": ("w.safetensors", header(b"[" * 10_000)),
        "header without tensors": ("w.safetensors", header(b"{}", b"")),
        "header of another type": ("w.safetensors", whole.replace(b'"F32"', b'"X99"')),
        "header of another offset": ("w.safetensors", whole.replace(b"[0,", b"[4,")),
        "bytes too many": ("w.safetensors", whole + b"more"),
        "a folder's name": ("runs", b""),
    }
    made: StoredModel = {
        name: (file, _bytes(content), _NO) for name, (file, content) in contents.items() if file != "runs"
    }
    made["safetensors called pt"] = (*made["safetensors called pt"][:2], _ANY)
    made["no suffix"] = (*made["no suffix"][:2], _ANY)
    made |= {
        "a folder of folders": ("runs", lambda path: None, _NO),
        "an empty folder": ("empty", lambda path: path.mkdir(), _NO),
        "nothing there": ("none.pt", lambda path: None, _NO),
        "a link to nothing": ("w.pt", lambda path: path.symlink_to("none.pt"), _NO),
        "a link to itself": ("w.pt", lambda path: path.symlink_to("w.pt"), _NO),
        "a link to weights": (
            "w.safetensors",
            lambda path: path.symlink_to("runs/original/original.safetensors"),
            _YES,
        ),
        "a device": ("/dev/null", lambda path: None, _NO),
        "a pipe": ("pipe", lambda path: os.mkfifo(path), _NO),
    }
    return made


def _damaged(content: bytes, seed: int) -> bytes:
    random, changed = Random(seed), bytearray(content)
    if seed % 3 == 0:
        return content[: random.randrange(len(content))]
    for _ in range(random.randint(1, 8)):
        changed[random.randrange(len(content) if seed % 3 == 1 else min(400, len(content)))] = random.randrange(256)
    return bytes(changed)
