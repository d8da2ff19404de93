"""Read a split once: hash its samples, and find values that cannot be trained on."""

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

PARTIAL_SAMPLES = 64
"""Largest number of samples with unknown outputs that are noted, to try the loss on them."""
BAD_WEIGHT = "a weight that is negative, NaN or infinite"
"""How samples with such weights in their batch are called in messages."""
_REPAIR = "Remove or repair them before training"


@dataclass
class Survey:
    """Content and problems of a split, found in one pass over it."""

    split: Split
    rows: Tensor
    """Positions of the samples, ascending; in the training set those to retain and to forget."""
    contents: list[bytes] | None = field(default_factory=list)
    """Hash of each sample; None if the content of batches cannot be read."""
    inputs: list[bytes] | None = field(default_factory=list)
    """Hash of each sample's inputs; None if inputs cannot be told from targets."""
    targets: list[Tensor] = field(default_factory=list)
    """Targets by batch, if requested."""
    partial: list[int] = field(default_factory=list)
    """Positions of the first samples some of whose outputs are unknown (NaN in the target) and some known."""
    complaints: list[UnregressError] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the split in messages."""
        return name_of(self.split)


def name_of(split: Split) -> str:
    """Name of a split in messages."""
    return "train" if split == "train_eval" else split


def survey(case: Case, split: Split, runtime: Runtime, *, targets: bool = False) -> Survey:
    """Read all samples of a split.

    Args:
        case: the task and the data.
        split: the split to read; `train_eval` for the training set.
        runtime: number of worker processes, and the precision into which values must fit.
        targets: whether to keep the targets.
    """
    found = Survey(split, torch.from_numpy(case.rows(split)))
    source = case.source(split)
    batches = source.fetch(chunked(found.rows, 4096), workers=runtime.workers)
    bad: dict[str, list[int]] = defaultdict(list)
    is_target: list[bool] | None = None
    try:
        for batch in batches:
            target = _target(case, batch)
            parts = list(columns(batch.data, len(batch.index)))
            if is_target is None or len(is_target) != len(parts):
                # Decided on the first batch for all: in a small last batch values may be equal by chance.
                is_target = [holds_target(part, target) for part in parts]
            _add_hashes(found, parts, is_target, len(batch.index))
            if targets:
                found.targets.append(target.detach().cpu())
            found.partial += batch.index[_unknown(target)][: PARTIAL_SAMPLES - len(found.partial)].tolist()
            wrong = torch.zeros(len(batch.index), dtype=torch.bool)
            for kind, rows in _bad_values(target, parts, is_target, runtime):
                bad[kind] += batch.index[rows].tolist()
                wrong |= rows
            if split == "train_eval":
                # A weight that is NaN is among the inputs, and complained about already.
                bad[BAD_WEIGHT] += batch.index[_bad_weights(case, batch) & ~wrong].tolist()
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
            expected=_expected(kind),
            remedy="Scale them, or use `Runtime(precision='64-true')`" if "beyond" in kind else _REPAIR,
        )
        for kind, rows in bad.items()
        if rows
    ]
    return found


def _target(case: Case, batch: Batch) -> Tensor:
    """The targets of a batch.

    Raises:
        DataError: they are not a tensor of real numbers with one row per sample.
    """
    target: object = case.task.target(batch.data)
    if not isinstance(target, Tensor) or target.is_complex() or target.shape[:1] != batch.index.shape:
        kind = type(target).__name__
        if isinstance(target, Tensor):
            kind = f"{target.dtype} with shape {tuple(target.shape)}"
        raise DataError(
            f"The targets of {len(batch.index)} samples are of {kind}",
            expected=f"a tensor of real numbers, shape ({len(batch.index)}, ...)",
            remedy="Convert them in the task's `target` or in the dataset; give a complex number as two "
            "outputs: `torch.view_as_real`",
        )
    return target


def _add_hashes(found: Survey, parts: list[Column], is_target: list[bool], samples: int) -> None:
    """Add the hashes of a batch's samples and inputs to a survey."""
    if not parts:
        found.contents = found.inputs = None
    if found.contents is None:
        return
    whole, inputs = hashes_apart(parts, samples, is_target)
    found.contents += whole
    if all(is_target):
        found.inputs = None
    if found.inputs is not None:
        found.inputs += inputs


def _bad_values(
    target: Tensor, parts: list[Column], is_target: list[bool], runtime: Runtime
) -> Iterator[tuple[str, Tensor]]:
    """Kinds of bad values, each with the mask of rows of a batch that have them."""
    unknown = _unknown(target)
    wrong_target = _any_in_row(~target.detach().cpu().isfinite()) & ~unknown
    yield "a NaN or infinite target", wrong_target
    tensors = [part.detach().cpu() for part in parts if isinstance(part, Tensor)]
    inputs = [
        part for part, target_part in zip(parts, is_target, strict=True) if isinstance(part, Tensor) and not target_part
    ]
    wrong = torch.zeros_like(wrong_target)
    for column in inputs if bool(unknown.any()) else tensors:
        wrong |= _any_in_row(~column.detach().cpu().isfinite())
    yield "a NaN or infinite input", wrong & ~wrong_target
    if runtime.precision == "64-true":
        return
    # Values beyond single precision would become infinite in the model's computation.
    yield "a target beyond single precision", _too_large(target)
    too_large = torch.zeros_like(wrong_target)
    for column in inputs:
        too_large |= _too_large(column)
    yield "an input beyond single precision", too_large


def _expected(kind: str) -> str:
    """What is expected in place of a kind of bad values."""
    if kind == BAD_WEIGHT:
        return "numbers, 0 or more"
    return "numbers within the range of the runtime's precision" if "beyond" in kind else "finite numbers"


def _bad_weights(case: Case, batch: Batch) -> Tensor:
    """Mask of rows of a batch whose weight in training is no number of 0 or more, as of `Splits.weights`.

    A negative one would teach the model to be wrong.  Whether there is one for each sample is the task's own check.
    """
    weights: object = case.task.weights(batch.data)
    if not isinstance(weights, Tensor) or weights.is_complex() or weights.numel() != len(batch.index):
        return torch.zeros(len(batch.index), dtype=torch.bool)
    own = weights.detach().cpu().reshape(-1)
    return ~(own.isfinite() & (own >= 0))


def _unknown(target: Tensor) -> Tensor:
    """Mask of rows with known and unknown outputs: some NaN, some not, none infinite."""
    values = target.detach().cpu()
    if not values.is_floating_point() or values.shape[1:].numel() < 2:
        return torch.zeros(len(values), dtype=torch.bool)
    flat = values.flatten(1)
    missing = flat.isnan()
    return missing.any(1) & ~missing.all(1) & ~flat.isinf().any(1)


def _too_large(column: Tensor) -> Tensor:
    """Mask of rows with a finite value that is infinite in single precision."""
    values = column.detach().cpu()
    if values.dtype != torch.float64:
        return torch.zeros(len(values), dtype=torch.bool)
    return _any_in_row(values.isfinite() & values.float().isinf())


def _any_in_row(wrong: Tensor) -> Tensor:
    """Mask of rows with any true entry."""
    return wrong.flatten(1).any(1) if wrong.ndim > 1 else wrong


def nondeterministic_splits(case: Case, runtime: Runtime) -> list[DataError]:
    """Complain about splits used in evaluation whose samples change between two reads.

    Some rows are read twice, under different seeds.  Since the library seeds each job in the same way, a random dataset
    would give the same samples within a job, but different samples to different jobs.

    Args:
        case: the data.
        runtime: gives the seed.
    """
    found = [changed_samples(case, split, runtime) for split in evaluated_splits(case)]
    return [complaint for complaint in found if complaint is not None]


def changed_samples(case: Case, split: Split, runtime: Runtime) -> DataError | None:
    """Complain if samples of a split change between two reads; see `nondeterministic_splits`."""
    source, rows = case.source(split), torch.from_numpy(case.rows(split))
    rows = rows[:: max(1, len(rows) // _READ_TWICE)][:_READ_TWICE]
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
        f"{len(changed)} of {len(rows)} {name} samples, the first at position {changed[0]}, change when they are "
        "read again: models would be measured on different samples",
        expected="a deterministic dataset, which gives the same sample in each read",
        remedy=training if split == "train_eval" else f"Remove the randomness from the {name} data",
    )


_READ_TWICE = 32
"""Number of samples that are read twice: enough to detect an augmentation that changes few samples."""


def evaluated_splits(case: Case) -> list[Split]:
    """The splits of a case that are used in evaluation; `train_eval` is the training set without augmentation."""
    held_out: list[Split] = ["validation", "test"]
    return ["train_eval", *(split for split in held_out if getattr(case.splits, split) is not None)]
