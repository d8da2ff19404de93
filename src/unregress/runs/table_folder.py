"""Write leave-out tables to a folder, and read them back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unregress.data.fold_effects import FoldEffects
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.splits import HASH_SIZE
from unregress.distributed.process_group import ProcessGroup
from unregress.errors import CheckpointError, StaleError
from unregress.files.typed_json import Misfit, build, parse
from unregress.files.versions import library_versions
from unregress.files.writing import content_of, write_text
from unregress.runs.manifest import departures, read_manifest
from unregress.runs.model_io import run_folder

LAYOUT = 1
"""Version of the files; to be raised when code for the old layout would misread the new one."""


@dataclass(frozen=True, kw_only=True)
class _Description:
    """What a table's JSON file holds."""

    layout: int
    seed: int
    partition: int
    folds: int
    """Number of folds that the table was made with."""
    start: str
    """SHA-256 of the fold models' initial weights; empty if each had its own."""
    original: str
    """SHA-256 of the original's weights."""
    made_with: int
    """Number of training samples that the table was made with."""
    coupling: float | None
    """κ; None if it could not be measured."""
    training: dict[str, Any] = field(default_factory=dict, metadata={"may_be_missing": True})
    """How the fold models were trained; empty if unknown."""
    retrained: list[str] = field(default_factory=list, metadata={"may_be_missing": True})
    """SHA-256 of the weights of models that took the original's place by a retraining."""
    data: str = field(default="", metadata={"may_be_missing": True})
    """SHA-256 of the training data; empty if unknown."""
    agreement: float | None = field(default=None, metadata={"may_be_missing": True})
    """Agreement of the effects of the others of a fold, see `FoldEffects`; None if these are not known."""
    versions: dict[str, str] = field(default_factory=dict, metadata={"may_be_missing": True})
    """Versions of unregress, of Python and of the libraries, with which the table was written last."""


def _names(partition: int) -> tuple[str, str]:
    return f"table-{partition}.safetensors", f"table-{partition}.json"


def write_table(folder: Path, table: LeaveOutTable) -> None:
    """Write a table's predictions (safetensors) and description (JSON) into a folder.

    Raises:
        RunFolderError: the files cannot be written.
    """
    weights, text = _names(table.partition)
    tensors = {
        "keys": _bytes(table.keys),
        "predictions": table.predictions.contiguous(),
        "folds": table.folds,
        "unseen_keys": _bytes(table.unseen_keys),
        "unseen": table.unseen.contiguous(),
    }
    if table.effects is not None:
        tensors |= {"features": table.effects.features.contiguous(), "pulls": table.effects.pulls.contiguous()}
    save_file(tensors, str(folder / weights))
    described = _Description(
        layout=LAYOUT,
        seed=table.seed,
        partition=table.partition,
        folds=table.number_of_folds,
        start=table.start_digest,
        original=table.original,
        retrained=list(table.retrained),
        made_with=table.made_with,
        training=dict(table.training),
        data=table.data,
        versions={"unregress": version("unregress"), **library_versions()},
        coupling=table.coupling,
        agreement=None if table.effects is None else table.effects.agreement,
    )
    write_text(folder / text, json.dumps(asdict(described), indent=1) + "\n")


def write_tables(group: ProcessGroup, folder: Path, tables: Sequence[LeaveOutTable], config: str) -> None:
    """Write tables of one original as a run folder; a folder with the same configuration is replaced.

    Raises:
        RunFolderError: there are other files in the folder, or it cannot be written.
    """
    with run_folder(group, folder, config) as place:
        for table in tables:
            write_table(place, table)


def read_tables(folder: Path) -> tuple[LeaveOutTable, ...]:
    """Read the tables of all partitions into folds that a folder holds, in order; none if there is no such folder.

    Raises:
        CheckpointError: a table cannot be read.
        StaleError: a file was changed after it was written, or is of another version.
    """
    return tuple(read_table(folder, number) for number in partitions_in(folder))


def partitions_in(folder: Path) -> list[int]:
    """Numbers of the partitions into folds whose tables a folder holds, ascending."""
    found = (path.stem.removeprefix("table-") for path in folder.glob("table-*.json"))
    return sorted(int(number) for number in found if number.isdigit())


def read_table(folder: Path, partition: int = 0) -> LeaveOutTable:
    """Read the table of one partition into folds.

    Raises:
        CheckpointError: there is no such table, or it cannot be read.
        StaleError: a file was changed after it was written, or is of another version.
    """
    weights, text = _names(partition)
    expected = "a folder that `unregress table` or `Project.table` wrote"
    manifest = read_manifest(folder)
    if manifest is not None and (found := list(departures(folder, manifest))):
        raise StaleError(f"{folder} was changed: {'; '.join(found)}", expected="the unchanged files of one run")
    try:
        described = build(_Description, parse(content_of(folder / text)))
        tensors = load_file(folder / weights)
    except (OSError, Misfit, SafetensorError) as error:
        raise CheckpointError(
            f"{folder} has no leave-out table of partition {partition} that can be read: {error}", expected=expected
        ) from error
    if described.layout != LAYOUT or not {"keys", "predictions", "folds", "unseen_keys", "unseen"} <= tensors.keys():
        raise StaleError(f"{folder / text} is of another version of unregress", expected=expected)
    return LeaveOutTable(
        keys=_keys(tensors["keys"]),
        predictions=tensors["predictions"],
        folds=tensors["folds"],
        unseen=tensors["unseen"],
        unseen_keys=_keys(tensors["unseen_keys"]),
        seed=described.seed,
        partition=described.partition,
        start_digest=described.start,
        original=described.original,
        retrained=tuple(described.retrained),
        made_with=described.made_with,
        number_of_folds=described.folds,
        training=described.training,
        data=described.data,
        coupling=described.coupling,
        effects=_effects(tensors, described),
    )


def _effects(tensors: dict[str, Tensor], described: _Description) -> FoldEffects | None:
    if described.agreement is None or not {"features", "pulls"} <= tensors.keys():
        return None
    return FoldEffects(features=tensors["features"], pulls=tensors["pulls"], agreement=described.agreement)


def _bytes(keys: tuple[bytes, ...]) -> Tensor:
    return torch.tensor(list(b"".join(keys)), dtype=torch.uint8).reshape(len(keys), HASH_SIZE)


def _keys(tensor: Tensor) -> tuple[bytes, ...]:
    return tuple(bytes(row) for row in tensor.numpy())
