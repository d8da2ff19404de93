"""Look before leaping: what would go wrong later, said now, all at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unregress.case import Case, Split
from unregress.content import columns, row_hashes
from unregress.errors import DataError, ModelError, UnregressError, raise_all
from unregress.loading import chunked
from unregress.request import Mask
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
    try:
        wrapped = runtime.set_up(model)
        (batch,) = runtime.load(case.source("train_eval"), [rows])
        with evaluating(wrapped), torch.no_grad():
            prediction = case.task.predict(wrapped, batch.data)
            case.task.checked_loss(prediction, case.task.target(batch.data))
    except _FOREIGN as error:
        raise ModelError(
            f"The model does not predict this task's batches: {type(error).__name__}: {error}",
            expected="`task.predict(model, batch)` to work on batches of `case.train`",
            remedy="Check the model's inputs, the task adapter, the dataset's items and `collate`",
        ) from error
    if not bool(prediction.isfinite().all()):
        raise ModelError(
            "The model predicts NaN or infinity for the first retained samples",
            expected="finite predictions",
            remedy="Check the model's weights, and that inputs are finite",
        )


_FOREIGN = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError)
"""What a user's model, task or dataset raises when it meets something it was not made for."""


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What a preflight found that is worth knowing and no reason to stop."""

    warnings: tuple[str, ...]


def preflight(
    case: Case, runtime: Runtime, model: nn.Module | None = None, *, allow_overlap: bool = False
) -> Preflight:
    """Read every split once and complain about all that would spoil unlearning or its audit.

    Checked: NaN and infinity in inputs and targets, where of several outputs some may be unknown (NaN) if the loss
    leaves them out; samples that are others each time they are read; samples
    that occur in two splits with the same content; and, with a model, that it predicts the task's batches in
    fitting shapes.  A sample to forget whose content also occurs in the retain set is a warning: the model keeps
    learning it.  The global random state is as it was afterwards.

    Args:
        case: what is to be done.
        runtime: where to run.
        model: the model to unlearn; it is copied, not changed.
        allow_overlap: turn samples shared between splits into a warning.

    Raises:
        PreflightError: more than one complaint; a single one is raised as itself.
    """
    # A dataset may draw from the global random state.
    with runtime.isolated("preflight"):
        return Preflight(warnings=tuple(_looked_at(case, runtime, model, allow_overlap)))


def unsteady(case: Case, runtime: Runtime) -> list[DataError]:
    """Complaints about splits that are evaluated on and give other samples when they are read again.

    Some rows are read twice, under seeds that differ: the library seeds each of its jobs in the same way, so that a
    random dataset gives one job the same numbers each time, and only another job's are of other samples.

    Args:
        case: whose data.
        runtime: where to run.
    """
    return [complaint for split in _evaluated(case) if (complaint := _unsteady(case, split, runtime)) is not None]


def _unsteady(case: Case, split: Split, runtime: Runtime) -> DataError | None:
    source = case.source(split)
    every = torch.from_numpy(case.rows(split))
    rows = every[:: max(1, len(every) // _AGAIN)][:_AGAIN]
    read = []
    for time in ("first", "second"):
        with runtime.isolated(f"read for the {time} time"):
            (batch,) = source.fetch([rows])
        read.append(row_hashes(list(columns(batch.data, len(rows))), len(rows)))
    if not (changed := [row for row, first, second in zip(rows.tolist(), *read, strict=True) if first != second]):
        return None
    name = "train" if split == "train_eval" else split
    training = "Give batched augmentation as `Case(augment=...)`, or the unaugmented samples as `Case(train_eval=...)`"
    return DataError(
        f"{len(changed)} of {len(rows)} {name} samples, the first at position {changed[0]}, are others when they are "
        "read again, so that models would be measured on different samples",
        expected="a dataset that gives the same sample each time",
        remedy=training if split == "train_eval" else f"Take what is random out of the {name} data",
    )


_AGAIN = 32
"""How many samples are read twice: enough to meet an augmentation that leaves most samples alone."""


def _evaluated(case: Case) -> list[Split]:
    held_out: list[Split] = ["validation", "test"]
    return ["train_eval", *(split for split in held_out if getattr(case, split) is not None)]


def _looked_at(case: Case, runtime: Runtime, model: nn.Module | None, allow_overlap: bool) -> list[str]:
    """The warnings; complaints are raised."""
    complaints: list[UnregressError] = []
    warnings: list[str] = []
    if model is not None:
        try:
            quick_check(case, runtime.private_copy(model), runtime)
        except UnregressError as error:
            complaints.append(error)
    contents: dict[Split, list[bytes]] = {}
    for split in _evaluated(case):
        rows, bad, partial = _read(case, split, runtime)
        complaints += bad
        if split == "train_eval" and model is not None and partial and not complaints:
            complaints += _unmasked(case, runtime.private_copy(model), torch.tensor(partial), runtime)
        if rows is None:
            warnings.append(f"The content of the {split} samples cannot be seen: shared ones go unnoticed")
        else:
            contents[split] = rows
            if (complaint := _unsteady(case, split, runtime)) is not None:
                complaints.append(complaint)
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
                    warnings.append(f"{found.found}: attacks and held-out errors take them for unseen")
                else:
                    complaints.append(found)
    raise_all(complaints)
    if "train_eval" in contents:
        twins = _twins(contents["train_eval"], case.request.mask[case.request.members])
        if twins:
            warnings.append(
                f"{twins} of the {len(case.request.forget)} samples to forget have a twin of the same content "
                "in the retain set: what they teach will be learnt from the twin"
            )
    return warnings


def _twins(rows: Sequence[bytes], forget: Mask) -> int:
    kept = {row for row, forgotten in zip(rows, forget, strict=True) if not forgotten}
    return sum(row in kept for row, forgotten in zip(rows, forget, strict=True) if forgotten)


def _unmasked(case: Case, model: nn.Module, rows: Tensor, runtime: Runtime) -> list[UnregressError]:
    """A complaint if the task's loss, or its gradient, is NaN where some of several outputs are not known."""
    wrapped = runtime.set_up(model)
    (batch,) = runtime.load(case.source("train_eval"), [rows])
    with evaluating(wrapped), torch.no_grad():
        prediction = case.task.predict(wrapped, batch.data)
    prediction = prediction.detach().requires_grad_()
    losses = case.task.checked_loss(prediction, case.task.target(batch.data))
    (gradient,) = torch.autograd.grad(losses.sum(), prediction, materialize_grads=True)
    looked_at = {"loss": losses, "loss's gradient": gradient}
    # Infinite ones are another matter: targets may be too large for the loss.
    found = [name for name, values in looked_at.items() if bool(values.isnan().any())]
    if not found:
        return []
    return [
        ModelError(
            f"Some outputs are not known (NaN in the target of training sample {int(rows[0])}, for one), and there the "
            f"task's {found[0]} is NaN",
            expected="a loss over the outputs that are known, with finite gradients",
            remedy="Use a named loss (`l1`, `mse`, `huber`, `quantile`), which leaves unknown outputs out, or replace "
            "NaN in the target before anything is computed from it: what is masked afterwards leaves NaN gradients",
        )
    ]


_FEW = 64
"""How many samples with unknown outputs the loss is tried on."""


def _read(case: Case, split: Split, runtime: Runtime) -> tuple[list[bytes] | None, list[DataError], list[int]]:
    """What a split holds.

    Returns:
        A hash of each row's content (None if batches hide it), complaints about values that are not finite, and the
        first rows of which some outputs are not known.
    """
    source = case.source(split)
    hashes: list[bytes] = []
    seen = True
    bad: dict[str, list[int]] = defaultdict(list)
    partial: list[int] = []
    name = "train" if split == "train_eval" else split
    batches = source.fetch(chunked(torch.from_numpy(case.rows(split)), 4096), workers=runtime.workers)
    while True:
        try:
            batch = next(batches, None)
        except _FOREIGN as error:
            found = f"The {name} samples cannot be read and batched: {type(error).__name__}: {error}"
            return None, [DataError(found, remedy="Check the dataset's items, or pass `collate`")], []
        if batch is None:
            break
        parts = list(columns(batch.data, len(batch.index)))
        seen = seen and bool(parts)
        target = case.task.target(batch.data).detach().cpu()
        unknown = _unknown(target)
        wrong_target = _not_finite(target) & (unknown == 0)
        wrong = wrong_target.clone()
        for column in parts:
            if isinstance(column, Tensor):
                bad_row = _not_finite(column)
                if unknown.any() and _holds(column, target):
                    # It has the target's unknown values, and should have no others.
                    bad_row &= (unknown == 0) | (_unknown(column) != unknown)
                wrong |= bad_row
        partial += batch.index[unknown > 0][: _FEW - len(partial)].tolist()
        bad["target"] += batch.index[wrong_target].tolist()
        bad["input"] += batch.index[wrong & ~wrong_target].tolist()
        hashes += row_hashes(parts, len(batch.index))
    complaints = [
        DataError(
            f"{len(set(rows))} {name} samples have a NaN or infinite {kind}, the first at position {min(rows)}",
            expected="finite numbers",
            remedy="Drop or repair them before training",
        )
        for kind, rows in bad.items()
        if rows
    ]
    return hashes if seen else None, complaints, partial


def _unknown(values: Tensor) -> Tensor:
    """How many of each row's outputs are not known: NaN, with some that are known and none infinite; else 0."""
    if values.shape[1:].numel() <= 1:
        return torch.zeros(len(values), dtype=torch.int64)
    flat = values.detach().cpu().flatten(1)
    count = flat.isnan().sum(1)
    return count * ((count < flat.shape[1]) & ~flat.isinf().any(1))


def _holds(column: Tensor, target: Tensor) -> bool:
    """Whether a column of a batch is where the target comes from: the same memory, or as many unknown at each place."""
    if column.untyped_storage().data_ptr() == target.untyped_storage().data_ptr():
        return True
    return column.shape == target.shape and torch.equal(column.detach().cpu().isnan(), target.isnan())


def _not_finite(column: Tensor) -> Tensor:
    """Which rows hold NaN or infinity."""
    finite = column.detach().cpu().isfinite()
    return ~(finite.flatten(1).all(1) if finite.ndim > 1 else finite)


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
