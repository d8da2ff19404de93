"""SHA-256 digests of what a run was made from: its request, its data and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from unregress.data.case import Case
from unregress.data.splits import Split
from unregress.evidence import ModelFile
from unregress.files.writing import sha256_of
from unregress.runs.manifest import digest_of_folder
from unregress.runs.provenance import record_of, weights_file

WEIGHTS_OF = "weights of "
"""Prefix of a role in the comments of `config.yaml` that state the digests of the weights that a run started from."""


def contents(case: Case, weights: Mapping[str, Path]) -> str:
    """SHA-256 of the run's request, data and weights, as comments for its `config.yaml`.

    A configuration names files and functions, whose content may change: another list of ids in the same file
    makes another run, which must not overwrite the evidence of the first.

    Args:
        case: the data, and the request if there is one.
        weights: weights files or run folders by name.
    """
    digests = {} if case.request is None else {"request": case.request.digest}
    splits: list[Split] = ["train_eval", "validation", "test"]
    for split in splits:
        if split == "train_eval" or getattr(case.splits, split) is not None:
            digests["train" if split == "train_eval" else split] = case.splits.content_digest(split)
    for name, path in weights.items():
        # The prefix keeps roles apart from splits: a model may be called `train`.
        digests[WEIGHTS_OF + name] = weights_digest(path)
        if path.is_dir() and (helper := record_of(path).helper) is not None:
            digests[f"helper of {name}"] = weights_digest(path / helper)
    return digest_comments(digests)


def digest_comments(digests: Mapping[str, str]) -> str:
    """Digests by name, as comments for a `config.yaml`."""
    return "# Made from, SHA-256 by content:\n" + "".join(f"# {name}: {digest}\n" for name, digest in digests.items())


def weights_digest(path: Path) -> str:
    """SHA-256 of a weights file, or of the weights in a run folder, as `sha256sum` prints it.

    Raises:
        CheckpointError: the folder has no model.
    """
    file = weights_file(path)
    # Reading the weights reports a missing file.
    return sha256_of(file) if file.is_file() else "missing"


def file_of(path: Path) -> ModelFile:
    """Name and digests of a weights file, or of the weights in a run folder."""
    file = weights_file(path)
    return ModelFile(name=file.name, sha256=sha256_of(file), folder=digest_of_folder(path) if path.is_dir() else "")
