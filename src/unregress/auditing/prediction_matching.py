"""Match the rows of several models' predictions, and check that they belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unregress.auditing.prediction_tables import (
    ID,
    PART,
    PREDICTION,
    TARGET,
    Source,
    Table,
    given_twice,
    numbers,
    read_table,
)
from unregress.data.request import Index
from unregress.errors import DataError, SettingError, UnregressError, raise_all
from unregress.errors.wording import some
from unregress.evidence import Part
from unregress.metrics.predictions import Values

PARTS: tuple[Part, ...] = ("train-retain", "train-forget", "test-retain", "test-forget")
"""The values of the column `part`."""
DATA = "data"
"""Name of the table of targets and parts in messages."""
_IN_PART = f"one of {', '.join(PARTS)} for each row"
_SAME_IDS = "the same ids in all tables, in any order"


@dataclass(frozen=True, kw_only=True)
class MatchedPredictions:
    """The predictions of all models, row by row, with targets and parts."""

    ids: list[str]
    """Of all rows, in the order of the table with the parts."""
    part: NDArray[np.str_]
    """The part that each row is in, `(n,)`."""
    target: Values
    """`(n,)`, or `(n, outputs)` for several outputs, where NaN means unknown."""
    outputs: list[str]
    """Names of the outputs; empty for a single one without a name."""
    models: dict[str, Values]
    """Predictions by model, of the target's shape."""
    golds: list[Values]
    paths: dict[str, Path]
    """The files of models and golds (`gold 1`, `gold 2`, …) that were read from one."""


def gold_title(number: int) -> str:
    """The name of a gold in messages, counted from 1."""
    return f"gold {number}"


def read_predictions(models: Mapping[str, Source], golds: Sequence[Source], data: Source | None) -> MatchedPredictions:
    """Read all tables and match their rows.

    Args:
        models: the original's and the judged models' predictions, by name.
        golds: the golds' predictions.
        data: targets and parts, if the tables of predictions do not have them.

    Raises:
        DataError: a table cannot be used, or does not fit the others; all complaints at once.
        SettingError: a file is given twice, or is Parquet and cannot be read here.
    """
    sources = {**models, **{gold_title(number): gold for number, gold in enumerate(golds, 1)}}
    complaints: list[UnregressError] = [*given_twice(sources)]
    asked = sources if data is None else {**sources, DATA: data}
    tables: dict[str, Table] = {}
    for name, source in asked.items():
        try:
            tables[name] = read_table(name, source)
        except UnregressError as error:
            complaints.append(error)
    raise_all(complaints)
    return _Matching(tables, [DATA] if data is not None else []).result(list(models))


class _Matching:
    """Tables whose rows are matched; complaints are collected, and raised together.

    Args:
        tables: by the model's name, and `data`.
        without_predictions: the names of tables that need no predictions.
    """

    def __init__(self, tables: Mapping[str, Table], without_predictions: Sequence[str]) -> None:
        self.tables = tables
        self.models = {name: table for name, table in tables.items() if name not in without_predictions}
        self.complaints: list[UnregressError] = []

    def result(self, judged: Sequence[str]) -> MatchedPredictions:
        """The matched predictions.

        Args:
            judged: names of the models that are not golds.

        Raises:
            UnregressError: the tables do not fit each other.
        """
        first = self._reference()
        outputs = self._outputs()
        raise_all(self.complaints)
        order = {name: found for name, table in self.tables.items() if (found := self._order(table, first)) is not None}
        part = self._part(first)
        target = self._agreed_targets(order, outputs)
        seen = {
            name: self._numbers(self.models[name], PREDICTION, outputs)[rows]
            for name, rows in order.items()
            if name in self.models
        }
        self._refuse_copies(seen, judged)
        self._refuse_other_parts(order, first)
        raise_all(self.complaints)
        golds = [values for name, values in seen.items() if name not in judged]
        return MatchedPredictions(
            ids=first.ids or [str(row) for row in range(first.rows)],
            part=part,
            target=target,
            outputs=outputs if outputs != [""] else [],
            models={name: seen[name] for name in judged},
            golds=golds,
            paths={name: table.path for name, table in self.models.items() if table.path is not None},
        )

    def complain(self, found: str, expected: str = "", remedy: str = "") -> None:
        """Note something that is wrong."""
        self.complaints.append(DataError(found, expected=expected, remedy=remedy))

    def _reference(self) -> Table:
        """The table whose rows and order count: `data`, or the first one that has parts."""
        every = list(self.tables.values())
        having = [table for table in every if PART in table.columns]
        found = self.tables.get(DATA) or [*having, *every][0]
        if PART not in found.columns:
            self.complain(
                f"{found.name} has no column `{PART}`" if DATA in self.tables else f"No table has a column `{PART}`",
                expected=f"{_IN_PART}, in a table of predictions or in the data",
                remedy="Add it to one of the tables, or pass targets and parts as `data`",
            )
        if not any(table.named(TARGET) for table in self.tables.values()):
            self.complain(
                f"No table has a column `{TARGET}`",
                expected="the true target of each row, in a table of predictions or in the data",
                remedy="Add it to one of the tables, or pass targets and parts as `data`",
            )
        return found

    def _outputs(self) -> list[str]:
        """The endings of the prediction columns: [""] for a single `prediction`."""
        found = {name: table.named(PREDICTION) for name, table in self.models.items()}
        for name, columns in found.items():
            if not columns:
                others = some(list(self.tables[name].columns))
                self.complain(
                    f"{self.tables[name].name} has no column `{PREDICTION}` among {others}",
                    expected="predictions in `prediction`, or for several outputs in `prediction_NAME` each",
                )
        expected = next((columns for columns in found.values() if columns), [])
        for name, columns in found.items():
            if columns and set(columns) != set(expected):
                self.complain(
                    f"{self.tables[name].name} has the columns {some(sorted(columns))}",
                    expected=f"those of the other tables: {some(sorted(expected))}",
                )
        endings = [column.removeprefix(PREDICTION) for column in expected]
        for table in self.tables.values():
            targets = [column.removeprefix(TARGET) for column in table.named(TARGET)]
            if targets and endings and set(targets) != set(endings):
                self.complain(
                    f"{table.name} has the columns {some(table.named(TARGET))} for predictions {some(expected)}",
                    expected="a target column for each prediction column, with the same ending",
                )
        return endings

    def _order(self, table: Table, first: Table) -> Index | None:
        """For each row of the first table the row of another; None if they do not match."""
        if table.ids is None or first.ids is None:
            if not table.bare and (table.ids is None) != (first.ids is None):
                without, other = (table, first) if table.ids is None else (first, table)
                self.complain(
                    f"{without.name} has no column `{ID}`, and {other.name} has one",
                    expected=f"`{ID}` in all tables, or in none if their rows are in the same order",
                )
            elif table.rows != first.rows:
                self.complain(f"{table.name} has {table.rows} rows", expected=f"the {first.rows} rows of {first.name}")
            else:
                return np.arange(first.rows)
            return None
        rows = {identity: row for row, identity in enumerate(table.ids)}
        known = set(first.ids)
        missing = [row for row, identity in enumerate(first.ids, 1) if identity not in rows]
        additional = [row for row, identity in enumerate(table.ids, 1) if identity not in known]
        if missing:
            self.complain(
                f"{table.name} lacks {len(missing)} rows of {first.name}, such as its row {missing[0]}",
                expected=_SAME_IDS,
            )
        if additional:
            self.complain(
                f"{table.name} has {len(additional)} rows whose ids are not in {first.name}, such as its "
                f"row {additional[0]}",
                expected=_SAME_IDS,
            )
        if missing or additional:
            return None
        return np.array([rows[identity] for identity in first.ids], dtype=np.int64)

    def _part(self, first: Table) -> NDArray[np.str_]:
        """The part of each row of the first table."""
        part = np.array([str(value).strip() for value in first.columns[PART]])
        if unknown := sorted(set(part.tolist()) - set(PARTS)):
            self.complain(f"The column `{PART}` of {first.name} holds {some(unknown)}", expected=_IN_PART)
            return part
        for name, wanted in (("train-retain", "rows"), ("train-forget", "forgotten rows")):
            if not (part == name).any():
                self.complain(f"{first.name} has no {wanted} in the part `{name}`", expected=_IN_PART)
        if not np.isin(part, ("test-retain", "test-forget")).any():
            self.complain(
                f"{first.name} has no rows in `test-retain` or `test-forget`: there is no test data", _IN_PART
            )
        return part

    def _refuse_other_parts(self, order: Mapping[str, Index], first: Table) -> None:
        """Complain about tables whose parts are not those of the first."""
        own = np.array([str(value).strip() for value in first.columns[PART]])
        for name, rows in order.items():
            if (column := self.tables[name].columns.get(PART)) is None:
                continue
            differs = np.array([str(value).strip() for value in column])[rows] != own
            if differs.any():
                self._differ(self.tables[name], first, "part", rows[differs])

    def _differ(self, table: Table, first: Table, what: str, rows: Index) -> None:
        self.complain(
            f"{table.name} and {first.name} have different {what}s for {len(rows)} of the same rows, such as row "
            f"{int(rows.min()) + 1} of {table.name}",
            expected=f"one {what} for each row",
        )

    def _agreed_targets(self, order: Mapping[str, Index], outputs: Sequence[str]) -> Values:
        """The targets, which all tables that have them must agree on."""
        found: tuple[Table, Values] | None = None
        for name, rows in order.items():
            table = self.tables[name]
            if not table.named(TARGET):
                continue
            own = self._numbers(table, TARGET, outputs)[rows]
            if found is None:
                found = table, own
                continue
            differs = ~np.isclose(own, found[1], rtol=0, atol=0, equal_nan=True).reshape(len(own), -1).all(axis=1)
            if differs.any():
                self._differ(table, found[0], "target", rows[differs])
        return np.zeros(0) if found is None else found[1]

    def _numbers(self, table: Table, kind: str, outputs: Sequence[str]) -> Values:
        """The numbers of the prediction or target columns, `(n,)` or `(n, outputs)`; complains about others."""
        columns = [numbers(table.columns[f"{kind}{output}"]) for output in outputs]
        values = columns[0] if list(outputs) == [""] else np.stack(columns, axis=1)
        wide = values.reshape(len(values), -1)
        known = np.isfinite(wide)
        fine = known.all(axis=1)
        if kind == TARGET and wide.shape[1] > 1:
            # Some of several outputs may be unknown (NaN), but not all of a row's.
            fine = (known | np.isnan(wide)).all(axis=1) & known.any(axis=1)
        if not fine.all():
            text = [table.columns[f"{kind}{output}"][int(np.argmin(fine))] for output in outputs]
            self.complain(
                f"The {kind} of {int((~fine).sum())} rows of {table.name} is no finite number, the first in row "
                f"{int(np.argmin(fine)) + 1}: {some(text)}",
                expected="finite numbers"
                if kind == PREDICTION
                else "finite numbers, or gaps in some of several outputs",
            )
        return values

    def _refuse_copies(self, seen: Mapping[str, Values], judged: Sequence[str]) -> None:
        """Complain about golds that predict exactly what a judged model predicts: a copy is no reference."""
        for name, values in seen.items():
            for other in judged if name not in judged else ():
                if other in seen and values.shape == seen[other].shape and np.array_equal(values, seen[other]):
                    self.complaints.append(
                        SettingError(
                            f"{self.tables[name].name} has the predictions of {self.tables[other].name}, all of them",
                            expected="golds of seeds that differ, none of them among the models to judge",
                            remedy="Give each model once, and retrain with other seeds",
                        )
                    )
