"""ETTh1 and ETTh2: load and oil temperature of two transformers, hourly, July 2016 to June 2018.

Zhou et al., "Informer" (AAAI 2021), CC BY-ND 4.0, https://github.com/zhouhaoyi/ETDataset.
"""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from unregress.datasets.series.delimited import first_of, lines_of, times_of
from unregress.datasets.series.series import HOUR, Series, hour_of
from unregress.datasets.series.windowed import Boundaries, WindowedSeries
from unregress.errors import DataError

MONTH = 30 * 24
"""Hours of a month, as the published split counts them."""


def ett(
    root: str | Path,
    file: str = "ETTh1.csv",
    target: str = "OT",
    *,
    months: tuple[int, int, int] = (12, 4, 4),
    encoder: int = 168,
    horizon: int = 1,
    stride: int = 1,
) -> WindowedSeries:
    """Windows over one column of a transformer's record, with the published boundaries.

    Published (Informer's `data/data_loader.py`): 12 months of 30 days for training, 4 for validation and 4 for testing;
    the last 3,020 of 17,420 hours are not used.  The other columns are not read: the task is to forecast a series
    from its own past.

    Args:
        root: folder of the file.
        file: ETTh1.csv or ETTh2.csv.
        target: the column, by default the oil temperature.
        months: months of training, validation and test.
        encoder: hours looked back.
        horizon: hours forecast.
        stride: distance in hours of successive training windows.

    Raises:
        DataError: the file cannot be read, has another format, or has gaps.
        SettingError: a number is out of range.
    """
    series = read_ett(Path(root) / file, target)
    train, validation, test, end = (int(series.hour[0]) + MONTH * sum(months[:k]) for k in range(4))
    limits = Boundaries(train=train, validation=validation, test=test, end=end)
    return WindowedSeries(
        series=series.between(train, end), boundaries=limits, encoder=encoder, horizon=horizon, stride=stride
    )


def read_ett(path: str | Path, target: str = "OT") -> Series:
    """Read one column of an hourly csv file with a column `date` (2016-07-01 00:00:00).

    Raises:
        DataError: the file cannot be read, lacks the columns, has lines with more or fewer fields than its header,
            dates of another form or off the hour, or gaps.
    """
    try:
        table = pd.read_csv(StringIO("".join(lines_of(path, ","))), dtype={"date": str})
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read: {error}",
            expected="ETTh1.csv or ETTh2.csv",
            remedy="Fetch it from https://github.com/zhouhaoyi/ETDataset",
        ) from error
    if missing := [name for name in ("date", target) if name not in table]:
        raise DataError(
            f"{path} has the columns {', '.join(map(str, table.columns))}", expected=f"also {', '.join(missing)}"
        )
    if table.empty:
        raise DataError(f"{path} has no rows", expected="one an hour")
    times = times_of(table["date"], "%Y-%m-%d %H:%M:%S", path)
    first = hour_of(first_of(times, HOUR, str(path)))
    values = pd.to_numeric(table[target], errors="coerce").to_numpy(np.float64)
    return Series.of({target: (first, values)})
