"""Splits of a table: a row for each record, with columns for features, target, id and subject."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import TensorDataset

from unregress.data.column_scaler import FEATURES, TARGETS, scaler_for
from unregress.data.ids import plain_ids
from unregress.data.listed import as_written, listed, numbered
from unregress.data.splits import Splits
from unregress.errors import DataError, SettingError, UnregressError, raise_all
from unregress.tasks.units import Output, Scaler

PARTS = ("train", "validation", "test")


class Table(Protocol):
    """The part of a data frame that is used: pandas', polars' and others' have it."""

    @property
    def columns(self) -> Any:
        """The columns' names."""

    def __getitem__(self, name: str) -> Any:
        """A column."""

    def __len__(self) -> int:
        """Number of rows."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns of a table hold what.

    Raises:
        DataError: when read, columns are missing, not numeric, or have missing values; all of them at once.
    """

    features: Sequence[str]
    """Columns of numbers, the model's inputs in this order."""
    target: str | Sequence[str]
    """Column of the target, or of several outputs."""
    id: str | None = None
    """Column that identifies a record; None for records without ids."""
    subject: str | None = None
    """Column that identifies the person a record belongs to; None if each record is somebody else's."""
    split: str | None = None
    """Column with `train`, `validation` or `test` for each record; None to draw them."""
    weights: str | None = None
    """Column with the weight of each record, see `Splits.weights`; None for none."""

    def read(
        self,
        table: Table,
        *,
        validation: float | Table = 0.1,
        test: float | Table = 0.2,
        standardise: bool | Scaler = True,
        scale_target: bool | Scaler = False,
        seed: int = 0,
    ) -> Splits:
        """Make splits of a table.

        Where they are drawn, all records of a person come into one split: otherwise the model would know a person of
        the test set from the training set.

        Args:
            table: a data frame of pandas, polars or the like.
            validation: share of the records, or of the people, for validation, 0 for none; or a table of them with the
                same columns.
            test: share for the test set, or a table of it.
            standardise: whether features are shifted and scaled to mean 0 and variance 1 over the training records; or
                the scaler of a model that was trained already, which other records must not change.  It is
                `fitted["feature scaler"]` of the splits.
            scale_target: the same of the targets; their scaler is `fitted["target scaler"]`.
            seed: seed of the draw.
        """
        given = {"validation": validation, "test": test}
        held = {name: each for name, each in given.items() if not isinstance(each, float | int)}
        raise_all([e for name, each in {"table": table, **held}.items() for e in _about_table(name, each)])
        unseen = replace(self, id=None, split=None, weights=None)
        raise_all([*self._complaints(table), *(e for each in held.values() for e in unseen._complaints(each))])
        shares = {name: each for name, each in given.items() if isinstance(each, float | int)}
        parts = self._parts(table, shares, seed)
        learnt = table
        if held:
            parts = np.concatenate([parts, *(np.full(len(each), name) for name, each in held.items())])
            table = _Stacked([table, *held.values()])
        x = np.stack([_numbers(table, name) for name in self.features], axis=1)
        y = np.stack([_numbers(table, name) for name in self._targets], axis=1)
        learning = parts == "train"
        if not learning.any():
            raise DataError("The table has no training records", expected="records for training")
        scaler = scaler_for(self.features, standardise, x[learning], "standardise")
        inputs = x if scaler is None else scaler.transform(x)
        target_scaler = scaler_for(self._targets, scale_target, y[learning], "scale_target")
        y = y if target_scaler is None else target_scaler.transform(y)
        outputs = y[:, 0] if isinstance(self.target, str) else y
        rows = {name: np.flatnonzero(parts == name) for name in PARTS}

        fields = self._about_records(table, learnt, rows)
        for name in PARTS:
            if len(rows[name]):
                tensors = (torch.tensor(each[rows[name]], dtype=torch.float32) for each in (inputs, outputs))
                fields[name] = TensorDataset(*tensors)
        fitted = {FEATURES: scaler, TARGETS: target_scaler}
        fields["fitted"] = {name: each for name, each in fitted.items() if each is not None}
        return Splits(**fields)

    def _about_records(self, table: Table, learnt: Table, rows: Mapping[str, NDArray[np.int64]]) -> dict[str, Any]:
        """The fields of `Splits` that say of each record its id, person, weight and columns.

        Args:
            table: all records.
            learnt: those that are not in tables of held-out records, which come first in `table`.
            rows: positions in `table`, by split.
        """
        fields: dict[str, Any] = {}
        for column, field in ((self.id, "ids"), (self.subject, "subjects")):
            if column is not None:
                # Of the whole column at once: whether its numbers are whole is then the same in all splits.
                everywhere = column in map(str, table.columns)
                names = plain_ids(_values(table if everywhere else learnt, column), field) or []
                for part in PARTS if everywhere else PARTS[:1]:
                    if len(rows[part]):
                        fields[field if part == "train" else f"{part}_{field}"] = [names[row] for row in rows[part]]
        if self.weights is not None:
            fields["weights"] = _numbers(learnt, self.weights)[rows["train"]]
        for name, field in zip(PARTS, ("columns", "validation_columns", "test_columns"), strict=True):
            if len(rows[name]):
                fields[field] = {
                    column: as_written(_values(table, column)[rows[name]]) for column in map(str, table.columns)
                }
        return fields

    def outputs(self, units: Mapping[str, str]) -> list[Output]:
        """The outputs by the names of their columns, with units where these are given."""
        return [Output(name, units.get(name, "")) for name in self._targets]

    @property
    def _targets(self) -> list[str]:
        return [self.target] if isinstance(self.target, str) else list(self.target)

    def _complaints(self, table: Table) -> Iterator[UnregressError]:
        known = list(map(str, table.columns))
        special = [name for name in (self.id, self.subject, self.split) if name is not None]
        weights = [] if self.weights is None else [self.weights]
        used: list[Any] = [*self.features, *self._targets, *special, *weights]
        if wrong := [name for name in used if not isinstance(name, str)]:
            yield SettingError(f"A column is named by a {type(wrong[0]).__name__}", expected="the name of a column")
            return
        if missing := [name for name in used if name not in known]:
            yield DataError(
                f"The table has no column {', '.join(map(repr, missing))}", expected=f"columns among {', '.join(known)}"
            )
            return
        if twice := sorted(set(self.features) & {*self._targets, *special}):
            yield DataError(
                f"{', '.join(map(repr, twice))} is among the features and is target, id or subject too",
                expected="features that a prediction may be made from",
            )
        for name in (*self.features, *self._targets, *weights):
            values = _values(table, name)
            if values.dtype.kind not in "biuf":
                yield DataError(
                    f"The column {name!r} holds {values.dtype}, no numbers",
                    expected="numbers",
                    remedy="Encode categories beforehand, for example one column for each",
                )
            elif count := int((~np.isfinite(values.astype(np.float64))).sum()):
                yield DataError(
                    f"The column {name!r} has {count} missing or infinite values",
                    expected="a number for each record",
                    remedy="Drop these records, or fill the values in",
                )
        if self.split is not None and (other := set(listed(_values(table, self.split))) - set(PARTS)):
            yield DataError(
                f"The column {self.split!r} holds {', '.join(sorted(map(repr, other))[:3])}",
                expected=f"one of {', '.join(PARTS)} for each record",
            )

    def _parts(self, table: Table, shares: Mapping[str, float], seed: int) -> NDArray[Any]:
        """The split of each record, by name; `(n,)`.

        Args:
            table: the table to divide.
            shares: shares for validation and test; without those that are tables of their own.
            seed: seed of the draw.
        """
        if self.split is not None:
            return _values(table, self.split)
        validation, test = shares.get("validation", 0.0), shares.get("test", 0.0)
        if not (validation >= 0 and (test > 0 or "test" not in shares) and validation + test < 1):
            raise DataError(
                f"Shares are {' and '.join(f'{name}={share}' for name, share in shares.items())}",
                expected="validation 0 or more, test above 0, less than 1 together",
            )
        people = np.arange(len(table)) if self.subject is None else numbered(listed(_values(table, self.subject)))
        count = int(people.max()) + 1
        order = np.random.default_rng(seed).permutation(count)
        ends = np.round(np.cumsum([test, validation]) * count).astype(int)
        part = np.full(count, "train", dtype="U10")
        part[order[: ends[0]]] = "test"
        part[order[ends[0] : ends[1]]] = "validation"
        found: NDArray[Any] = part[people]
        return found


class _Stacked:
    """Tables with the same columns, one below the other."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._tables = tables
        # Columns that nothing uses may be missing from a table of held-out records.
        self.columns = [name for name in map(str, tables[0].columns) if all(name in each.columns for each in tables)]

    def __getitem__(self, name: str) -> NDArray[Any]:
        return np.concatenate([_values(each, name) for each in self._tables])

    def __len__(self) -> int:
        return sum(map(len, self._tables))


def _about_table(name: str, table: Any) -> Iterator[DataError]:
    """Complain about what is no data frame, or has no rows."""
    if hasattr(table, "collect") and not hasattr(table, "__len__"):
        yield DataError(
            f"`{name}` is a {type(table).__name__}, which has not been read yet",
            expected="a data frame",
            remedy="Read it: `.collect()`",
        )
    elif not all(hasattr(table, each) for each in ("columns", "__getitem__", "__len__")):
        path = isinstance(table, str | PathLike)
        yield DataError(
            f"`{name}` is {f'the path {str(table)!r}' if path else f'of type {type(table).__name__}'}",
            expected="a data frame",
            remedy="Read the file first, for example with `pandas.read_csv`"
            if path
            else "Make one, for example with `pandas.DataFrame(...)`",
        )
    elif not len(table):
        yield DataError(
            f"`{name}` has no rows", expected="a row for each record", remedy="Was everything filtered out?"
        )


def _values(table: Table, name: str) -> NDArray[Any]:
    column = table[name]
    if getattr(getattr(column, "dtype", None), "time_zone", None) is not None:
        # As an array polars' times are those of Greenwich, whatever their zone.
        return np.array(column.to_list(), dtype=object)
    return np.asarray(column.to_numpy() if hasattr(column, "to_numpy") else column)


def _numbers(table: Table, name: str) -> NDArray[np.float64]:
    return _values(table, name).astype(np.float64)
