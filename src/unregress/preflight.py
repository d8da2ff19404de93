"""Look before leaping: what would go wrong later, said now, all at once."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn

from unregress.case import Case, Split
from unregress.errors import DataError, ModelError, UnregressError, raise_all
from unregress.loading import Batch, chunked
from unregress.runtime import Runtime, evaluating


def quick_check(case: Case, model: nn.Module, runtime: Runtime) -> None:
    """Predict two retain samples and check that prediction, target and loss fit.  Reads no forget sample.

    Args:
        case: whose task and data.
        model: moved to the runtime's device; its modes stay.
        runtime: where to run.

    Raises:
        ModelError: the model does not accept the task's batches, or shapes do not fit.
    """
    rows = torch.from_numpy(case.request.retain[:2])
    wrapped = runtime.set_up(model)
    (batch,) = runtime.load(case.source("train_eval"), [rows])
    try:
        with evaluating(wrapped), torch.no_grad():
            prediction = case.task.predict(wrapped, batch.data)
            case.task.checked_loss(prediction, case.task.target(batch.data))
    except (RuntimeError, TypeError, IndexError, KeyError, AttributeError) as error:
        raise ModelError(
            f"The model does not predict this task's batches: {type(error).__name__}: {error}",
            expected="`task.predict(model, batch)` to work on batches of `case.train`",
            remedy="Check the model's inputs, the task adapter and the dataset's items",
        ) from error


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What a preflight found that is worth knowing and no reason to stop."""

    data_digest: str
    """SHA-256 over the content of the training set, row by row in order."""
    warnings: tuple[str, ...]


def preflight(
    case: Case, runtime: Runtime, model: nn.Module | None = None, *, allow_overlap: bool = False
) -> Preflight:
    """Read every split once and complain about all that would spoil unlearning or its audit.

    Checked: NaN and infinity in inputs and targets; samples that occur in two splits with the same
    content; and, with a model, that it predicts the task's batches in fitting shapes.  A sample to
    forget whose content also occurs in the retain set is a warning: the model keeps learning it.

    Args:
        case: what is to be done.
        runtime: where to run.
        model: the model to unlearn; it is copied, not changed.
        allow_overlap: turn samples shared between splits into a warning.

    Raises:
        PreflightError: more than one complaint; a single one is raised as itself.
    """
    complaints: list[UnregressError] = []
    warnings: list[str] = []
    if model is not None:
        try:
            quick_check(case, runtime.private_copy(model), runtime)
        except UnregressError as error:
            complaints.append(error)
    contents: dict[Split, list[bytes]] = {}
    splits: list[Split] = ["train_eval", "validation", "test"]
    for split in splits:
        if split == "train_eval" or getattr(case, split) is not None:
            rows, bad = _read(case, split, runtime)
            contents[split] = rows
            complaints += bad
    pairs: list[tuple[Split, Split]] = [
        ("train_eval", "validation"),
        ("train_eval", "test"),
        ("validation", "test"),
    ]
    for first, second in pairs:
        if first in contents and second in contents:
            shared = _shared(contents[first], contents[second])
            if shared:
                found = _overlap(first, second, shared)
                if allow_overlap:
                    warnings.append(str(found))
                else:
                    complaints.append(found)
    raise_all(complaints)
    train = contents["train_eval"]
    mask = case.request.mask
    kept = {row for row, forget in zip(train, mask, strict=True) if not forget}
    twins = sum(row in kept for row, forget in zip(train, mask, strict=True) if forget)
    if twins:
        warnings.append(
            f"{twins} of the {len(case.request.forget)} samples to forget have a twin of the same content "
            "in the retain set: what they teach will be learnt from the twin"
        )
    return Preflight(data_digest=hashlib.sha256(b"".join(train)).hexdigest(), warnings=tuple(warnings))


def _read(case: Case, split: Split, runtime: Runtime) -> tuple[list[bytes], list[DataError]]:
    """A hash of each row's content, and complaints about values that are not finite."""
    source = case.source(split)
    hashes: list[bytes] = []
    bad: dict[str, list[int]] = defaultdict(list)
    for batch in source.fetch(chunked(torch.arange(len(source)), 4096), workers=runtime.workers):
        leaves: list[Tensor] = []
        apply_to_collection(batch.data, Tensor, leaves.append)
        target = case.task.target(batch.data)
        for leaf in leaves:
            if leaf.is_floating_point():
                rows = ~leaf.isfinite().flatten(1).all(1) if leaf.ndim > 1 else ~leaf.isfinite()
                bad["target" if leaf is target else "input"] += batch.index[rows].tolist()
        hashes += _hashes(leaves, batch)
    name = "train" if split == "train_eval" else split
    complaints = [
        DataError(
            f"{len(set(rows))} {name} samples have a NaN or infinite {kind}, the first at position {min(rows)}",
            expected="finite numbers",
            remedy="Drop or repair them before training",
        )
        for kind, rows in bad.items()
        if rows
    ]
    return hashes, complaints


def _hashes(leaves: Sequence[Tensor], batch: Batch) -> list[bytes]:
    arrays = [leaf.detach().cpu().contiguous() for leaf in leaves]
    digests = [hashlib.sha256() for _ in batch.index]
    for array in arrays:
        # Bytes of the tensor itself: also for bfloat16, which NumPy does not know.
        raw = array.reshape(len(digests), -1).view(torch.uint8).numpy()
        for digest, row in zip(digests, raw, strict=True):
            digest.update(row.tobytes())
    return [digest.digest() for digest in digests]


def _shared(first: Sequence[bytes], second: Sequence[bytes]) -> list[tuple[int, int]]:
    where = {row: position for position, row in reversed(list(enumerate(first)))}
    return [(where[row], position) for position, row in enumerate(second) if row in where]


def _overlap(first: str, second: str, shared: Sequence[tuple[int, int]]) -> DataError:
    left = "train" if first == "train_eval" else first
    one = shared[0]
    return DataError(
        f"{len(shared)} {second} samples have the same content as a {left} sample "
        f"({second} {one[1]} = {left} {one[0]}, for example)",
        expected="splits without common samples: attacks and held-out errors rest on it",
        remedy="Drop the duplicates, or pass `allow_overlap` to go on with a warning in the report",
    )
