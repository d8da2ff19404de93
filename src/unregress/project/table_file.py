"""A table's file as the data of a project, described in `unregress.yaml` in place of functions of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from unregress.data.column_scaler import FEATURES, TARGETS
from unregress.data.splits import Splits
from unregress.errors import CheckpointError, SettingError
from unregress.files.tables import read_columns
from unregress.project.columns import Columns
from unregress.runs.scalers import SCALERS, read_scalers
from unregress.tasks.adapters import TensorTask
from unregress.tasks.units import Output

_FURTHER = ("validation", "test", "standardise", "scale_target", "scalers", "units", "seed")
"""What the settings of a table's file may say besides its columns."""


class TableFile:
    """The columns of a CSV, JSON-lines or Parquet file.

    A CSV file holds texts.  A column of it has whole numbers if all of its entries are written as such (`007` is none),
    else numbers if all of its entries are some or missing, else texts; an entry of length 0 is missing.

    Args:
        path: the file.
        exact: columns that name records or people, whose texts stay as they are written if they are no whole numbers.

    Raises:
        DataError: the file cannot be read.
    """

    def __init__(self, path: Path, exact: Sequence[str | None] = ()) -> None:
        self._values = {name: _typed(values, name in exact) for name, values in read_columns(path).items()}

    @property
    def columns(self) -> list[str]:
        """The columns' names."""
        return list(self._values)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._values[name]

    def __len__(self) -> int:
        return max(map(len, self._values.values()), default=0)


def table_data(
    *,
    table: Path,
    features: list[str],
    target: str | list[str],
    id: str | None = None,
    subject: str | None = None,
    split: str | None = None,
    weights: str | None = None,
    validation: float | Path = 0.1,
    test: float | Path = 0.2,
    standardise: bool = True,
    scale_target: bool = False,
    scalers: Path | None = None,
    seed: int = 0,
) -> Splits:
    """Read the splits of a project from a table's file.

    Args:
        table: CSV, JSON-lines or Parquet file with a row for each record.
        features: columns of numbers, the inputs in this order.
        target: column of the target, or of several outputs.
        id: column that identifies a record.
        subject: column that identifies the person a record belongs to; no person is then in two splits.
        split: column with `train`, `validation` or `test`; null to draw them.
        weights: column with the records' weights.
        validation: share of the records, or people, for validation; or a file of them.
        test: share for the test set, or a file of it.
        standardise: whether features get mean 0 and variance 1 over the training records.
        scale_target: whether targets do.
        scalers: run folder of the model whose scalers are used, or their file; null to fit them on the training
            records.  By default those of the project's model, as far as they are kept with it.
        seed: seed of the draw.

    Raises:
        CheckpointError: no scalers are kept where `scalers` says.
    """
    known = {} if scalers is None else read_scalers(scalers)
    if scalers is not None and not known:
        raise CheckpointError(
            f"{scalers} holds no {SCALERS}",
            expected="the folder of a model that was trained on a table, as unregress writes it",
            remedy="Leave `scalers` out to fit them on the training records of today",
        )
    columns = Columns(features=features, target=target, id=id, subject=subject, split=split, weights=weights)
    exact = (id, subject)
    return columns.read(
        TableFile(table, exact),
        validation=TableFile(validation, exact) if isinstance(validation, Path) else validation,
        test=TableFile(test, exact) if isinstance(test, Path) else test,
        standardise=known.get(FEATURES, standardise) if standardise else False,
        scale_target=known.get(TARGETS, scale_target) if scale_target else False,
        seed=seed,
    )


TABLE_DATA = f"{table_data.__module__}.{table_data.__qualname__}"
"""Import path of `table_data`."""


def table_task(
    *,
    data: Splits,
    target: str | list[str],
    build_model: Callable[..., Any] | None = None,
    hidden: list[int] | None = None,
    loss: str = "mse",
    units: dict[str, str] | None = None,
) -> TensorTask:
    """Make the task of a project whose data are a table's file.

    Args:
        data: the data, see `table_data`.
        target: column of the target, or of several outputs.
        build_model: import path of a function that makes a new, untrained model, which takes the features,
            `(n, features)`.
        hidden: in its place, the widths of the hidden layers of a `torch.nn.Sequential` of linear layers with ReLU
            between them.
        loss: the loss by name, as in `TensorTask`.
        units: unit of a target's column, for reports.

    Raises:
        SettingError: both `build_model` and `hidden` are given, or neither, or a width is below 1.
    """
    if (build_model is None) == (hidden is None):
        raise SettingError(
            "`task` names no model" if hidden is None else "`task` has both `build_model` and `hidden`",
            expected="`build_model`, a function that makes the untrained model, or `hidden`, the widths of its layers",
        )
    names, known = [target] if isinstance(target, str) else target, units or {}
    if other := [name for name in known if name not in names]:
        raise SettingError(f"`units` names {', '.join(map(repr, other))}", expected=f"columns of the target: {names}")
    if hidden is not None:
        if wrong := [width for width in hidden if width < 1]:
            raise SettingError(f"`hidden` holds the width {wrong[0]}", expected="whole numbers, 1 or more")
        inputs: int = len(data.train[0][0])
        build_model = partial(perceptron, (inputs, *hidden, len(names)))
    outputs = [Output(name, known.get(name, "")) for name in names]
    return TensorTask(
        build_model=build_model or nn.Identity, loss=loss, outputs=outputs, scaler=data.fitted.get(TARGETS)
    )


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """A new network of linear layers with ReLU between them.

    Args:
        widths: number of inputs, of units of each hidden layer, and of outputs.

    >>> [name for name, _ in perceptron([2, 8, 1]).named_parameters()]
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """
    layers = [layer for size in pairwise(widths) for layer in (nn.Linear(*size), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def expanded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a project, with the functions of this module where they describe a table's file.

    Args:
        settings: the settings as they are written: `data` with a `table`, and `task` with `build_model` or `hidden`.

    Raises:
        SettingError: `data` is described without a table, or `task` without such data.
    """
    data, task = settings.get("data"), settings.get("task")
    described, modelled = (isinstance(each, Mapping) and "class_path" not in each for each in (data, task))
    if not described:
        if modelled:
            raise SettingError(
                f"`task` has the settings {', '.join(map(str, task or ()))}, and `data` names no table",
                expected="the import path of a function that returns a Task, or `data` with a `table`",
            )
        return dict(settings)
    own, model = dict(data or {}), dict(task or {}) if modelled else {}
    names = ["table", *(each.name for each in fields(Columns)), *_FURTHER]
    if unknown := [str(name) for name in own if name not in names]:
        raise SettingError(f"`data` has the setting {', '.join(map(repr, unknown))}", expected=", ".join(names))
    if missing := [name for name in ("table", "features", "target") if name not in own]:
        raise SettingError(f"`data` has no {' and no '.join(missing)}", expected="a table's file, and its columns")
    units = own.pop("units", {})
    made = {"class_path": TABLE_DATA, "init_args": own}
    if not modelled:
        if units:
            raise SettingError(
                "`data` has `units`, and `task` is a function of your own",
                expected="units in the outputs of your task, as in `TensorTask(outputs=...)`",
            )
        return {**settings, "data": made}
    known = {"data": made, "target": own["target"], "units": units}
    return {
        **settings,
        "data": made,
        "task": {"class_path": f"{table_task.__module__}.{table_task.__qualname__}", "init_args": {**model, **known}},
    }


def _typed(values: Sequence[Any], exact: bool) -> NDArray[Any]:
    """The values of a column as an array; of texts as whole numbers or numbers where they are written as such."""
    if not all(isinstance(value, str) for value in values):
        return np.asarray(values)
    texts = [value.strip() for value in values]
    try:
        if all(text == str(int(text)) and abs(int(text)) < 2**63 for text in texts):
            return np.asarray([int(text) for text in texts])
    except ValueError:
        pass
    try:
        if not exact:
            return np.asarray([float(text or "nan") for text in texts])
    except ValueError:
        pass
    return np.asarray([text or None for text in texts], dtype=object)
