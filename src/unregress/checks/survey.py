"""Read a split once: what its samples contain, and which of them hold values that nothing can be trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unregress.data.case import Case
from unregress.data.hashing import Column, columns, hashes_apart, holds_target, row_hashes
from unregress.data.loading import Batch, chunked
from unregress.data.splits import Split
from unregress.errors import DataError, UnregressError
from unregress.errors.user_code import described
from unregress.training.runtime import Runtime

FEW = 64
"""How many samples with unknown outputs are noted: a loss is tried on them."""
_REPAIR = "Drop or repair them before training"


@dataclass
class Survey:
    """What one reading of a split found."""

    split: Split
    rows: Tensor
    """Positions of the samples, ascending: of the training set those to retain or to forget."""
    contents: list[bytes] | None = field(default_factory=list)
    """A hash of each sample; None where batches hide what they hold."""
    inputs: list[bytes] | None = field(default_factory=list)
    """A hash of each sample's inputs; None where they cannot be told from the target."""
    targets: list[Tensor] = field(default_factory=list)
    """The targets by batch, where they were asked for."""
    partial: list[int] = field(default_factory=list)
    """The first positions of samples of which only some of several outputs are known (NaN in the target)."""
    complaints: list[UnregressError] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What messages call the split."""
        return name_of(self.split)


def name_of(split: Split) -> str:
    """What messages call a split."""
    return "train" if split == "train_eval" else split


def survey(case: Case, split: Split, runtime: Runtime, *, targets: bool = False) -> Survey:
    """Read all samples of a split.

    Args:
        case: whose data.
        split: which of them; `train_eval` for the training set.
        runtime: worker processes, and the precision that values must fit into.
        targets: whether to keep the targets.
    """
    found = Survey(split, torch.from_numpy(case.rows(split)))
    source = case.source(split)
    batches = source.fetch(chunked(found.rows, 4096), workers=runtime.workers)
    bad: dict[str, list[int]] = defaultdict(list)
    aside: list[bool] | None = None
    try:
        for batch in batches:
            target = _target(case, batch)
            parts = list(columns(batch.data, len(batch.index)))
            if aside is None or len(aside) != len(parts):
                # Told by the first batch for all: in a small one numbers may be equal by chance.
                aside = [holds_target(part, target) for part in parts]
            _keep(found, parts, aside, len(batch.index))
            if targets:
                found.targets.append(target.detach().cpu())
            found.partial += batch.index[_unknown(target)][: FEW - len(found.partial)].tolist()
            for kind, rows in _bad_values(target, parts, aside, runtime):
                bad[kind] += batch.index[rows].tolist()
    except UnregressError as error:
        found.complaints.append(error)
        found.contents = found.inputs = None
    except Exception as error:
        found.complaints.append(
            DataError(
                f"The {found.name} samples cannot be read and batched: {described(error)}",
                remedy="Check the dataset's items, or pass `collate`",
            )
        )
        found.contents = found.inputs = None
    found.complaints += [
        DataError(
            f"{len(set(rows))} {found.name} samples have {kind}, the first at position {min(rows)}",
            expected="numbers within the range of the runtime's precision" if "beyond" in kind else "finite numbers",
            remedy="Scale them, or use `Runtime(precision='64-true')`" if "beyond" in kind else _REPAIR,
        )
        for kind, rows in bad.items()
        if rows
    ]
    return found


def _target(case: Case, batch: Batch) -> Tensor:
    target: object = case.task.target(batch.data)
    if not isinstance(target, Tensor) or target.is_complex() or target.shape[:1] != batch.index.shape:
        of = type(target).__name__
        if isinstance(target, Tensor):
            of = f"{target.dtype} with shape {tuple(target.shape)}"
        raise DataError(
            f"The targets of {len(batch.index)} samples are of {of}",
            expected=f"a tensor of real numbers, shape ({len(batch.index)}, ...)",
            remedy="Convert them in the task's `target` or in the dataset; a complex number is two outputs: "
            "`torch.view_as_real`",
        )
    return target


def _keep(found: Survey, parts: list[Column], aside: list[bool], samples: int) -> None:
    if not parts:
        found.contents = found.inputs = None
    if found.contents is None:
        return
    whole, inputs = hashes_apart(parts, samples, aside)
    found.contents += whole
    if all(aside):
        found.inputs = None
    if found.inputs is not None:
        found.inputs += inputs


def _bad_values(
    target: Tensor, parts: list[Column], aside: list[bool], runtime: Runtime
) -> Iterator[tuple[str, Tensor]]:
    """What is wrong with which rows of a batch."""
    unknown = _unknown(target)
    wrong_target = _rows(~target.detach().cpu().isfinite()) & ~unknown
    yield "a NaN or infinite target", wrong_target
    tensors = [part.detach().cpu() for part in parts if isinstance(part, Tensor)]
    inputs = [part for part, left_out in zip(parts, aside, strict=True) if isinstance(part, Tensor) and not left_out]
    wrong = torch.zeros_like(wrong_target)
    for column in inputs if bool(unknown.any()) else tensors:
        wrong |= _rows(~column.detach().cpu().isfinite())
    yield "a NaN or infinite input", wrong & ~wrong_target
    if runtime.precision == "64-true":
        return
    # They would become infinite in the precision in which models compute.
    yield "a target beyond single precision", _too_large(target)
    too_large = torch.zeros_like(wrong_target)
    for column in inputs:
        too_large |= _too_large(column)
    yield "an input beyond single precision", too_large


def _unknown(target: Tensor) -> Tensor:
    """Rows of which only some of several outputs are known: some NaN, some not, none infinite."""
    values = target.detach().cpu()
    if not values.is_floating_point() or values.shape[1:].numel() < 2:
        return torch.zeros(len(values), dtype=torch.bool)
    flat = values.flatten(1)
    missing = flat.isnan()
    return missing.any(1) & ~missing.all(1) & ~flat.isinf().any(1)


def _too_large(column: Tensor) -> Tensor:
    values = column.detach().cpu()
    if values.dtype != torch.float64:
        return torch.zeros(len(values), dtype=torch.bool)
    return _rows(values.isfinite() & values.float().isinf())


def _rows(wrong: Tensor) -> Tensor:
    """Which rows hold any such value."""
    return wrong.flatten(1).any(1) if wrong.ndim > 1 else wrong


def unsteady(case: Case, runtime: Runtime) -> list[DataError]:
    """Complaints about splits that are evaluated on and give other samples when they are read again.

    Some rows are read twice, under seeds that differ: the library seeds each of its jobs in the same way, so that a
    random dataset gives one job the same numbers each time, and only another job's are of other samples.

    Args:
        case: whose data.
        runtime: where to run.
    """
    return [complaint for split in evaluated(case) if (complaint := unsteady_split(case, split, runtime)) is not None]


def unsteady_split(case: Case, split: Split, runtime: Runtime) -> DataError | None:
    """A complaint about one split, see `unsteady`."""
    source, rows = case.source(split), torch.from_numpy(case.rows(split))
    rows = rows[:: max(1, len(rows) // _AGAIN)][:_AGAIN]
    read = []
    for time in ("first", "second"):
        with runtime.isolated_rng(f"read for the {time} time"):
            (batch,) = source.fetch([rows])
        read.append(row_hashes(list(columns(batch.data, len(rows))), len(rows)))
    if not (changed := [row for row, first, second in zip(rows.tolist(), *read, strict=True) if first != second]):
        return None
    name = name_of(split)
    training = "Pass batched augmentation as `Splits(augment=...)`, or unaugmented samples as `Splits(train_eval=...)`"
    return DataError(
        f"{len(changed)} of {len(rows)} {name} samples, the first at position {changed[0]}, are others when they are "
        "read again, so that models would be measured on different samples",
        expected="a dataset that gives the same sample each time",
        remedy=training if split == "train_eval" else f"Take what is random out of the {name} data",
    )


_AGAIN = 32
"""How many samples are read twice: enough to meet an augmentation that leaves most samples alone."""


def evaluated(case: Case) -> list[Split]:
    """The splits that a case has, the training set as it is evaluated on."""
    held_out: list[Split] = ["validation", "test"]
    return ["train_eval", *(split for split in held_out if getattr(case.splits, split) is not None)]
