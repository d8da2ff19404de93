"""The electricity load of 370 clients in Portugal, 2011 to 2014 (paper Sections 6.1 and 6.3, Table 3).

UCI ElectricityLoadDiagrams20112014 (Trindade, 2015), CC BY 4.0,
https://archive.ics.uci.edu/dataset/321/electricityloaddiagrams20112014.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from unregress.datasets.series.delimited import first_of, lines_of, times_of
from unregress.datasets.series.electricity_record import COMPLETE, read_record
from unregress.datasets.series.series import HOUR, Series, hour_of
from unregress.datasets.series.windowed import Boundaries, WindowedSeries
from unregress.errors import DataError

ORIGIN = hour_of("2011-01-01")
"""The day that the published boundaries are counted from."""
RECORD, CLIENT = "LD2011_2014.txt", "LD_MT200_hour.csv"


def electricity(
    root: str | Path,
    clients: Sequence[str] | None = None,
    *,
    train: int = 1096,
    validation: int = 1315,
    test: int = 1339,
    end: int = 1346,
    encoder: int = 168,
    horizon: int = 1,
    stride: int = 1,
) -> WindowedSeries:
    """Windows over clients of the full record, with the published boundaries.

    The boundaries are those of the Temporal Fusion Transformer's published code (google-research/tft,
    `data_formatters/electricity.py` and `script_download_data.py`); the paper states none.  Of the days since
    2011-01-01: training from 1096 (2014-01-01), validation from 1315 (2014-08-08), test from 1339 (2014-09-01), end
    before 1346 (2014-09-08).  Clients with fewer than `encoder + horizon` hours in the training period are
    left out, or refused if they were named.

    Args:
        root: folder of LD2011_2014.txt.
        clients: names such as MT_200, in the order wanted; None for all that have any load.
        train: first day of the training period, and of what encoders read.
        validation: first day of the validation period.
        test: first day of the test period.
        end: day after the last one.
        encoder: hours looked back.
        horizon: hours forecast.
        stride: distance in hours of successive training windows.

    Raises:
        DataError: the file cannot be read or has another format.
        SettingError: a number is out of range.
    """
    limits = _boundaries(train, validation, test, end)
    series = read_record(Path(root) / RECORD, clients, until=min(limits.end, COMPLETE[1]))
    # Clients are chosen by their hours in the training period, then cut to the whole period.
    able = series.between(limits.train, limits.validation, at_least=encoder + horizon).clients
    if clients is not None and (short := [name for name in clients if name not in able]):
        raise DataError(
            f"{', '.join(short)} have fewer than {encoder + horizon} hours in the training period",
            remedy="Leave them out, begin the training period earlier, or look back less",
        )
    return WindowedSeries(
        series=series.only(able).between(limits.train, limits.end),
        boundaries=limits,
        encoder=encoder,
        horizon=horizon,
        stride=stride,
    )


def electricity_client(
    root: str | Path,
    file: str = CLIENT,
    *,
    train: int = 0,
    validation: int = 1315,
    test: int = 1339,
    end: int = 1461,
    encoder: int = 168,
    horizon: int = 1,
    stride: int = 1,
) -> WindowedSeries:
    """Windows over one client from a csv file of its own, from the record's first day to its last.

    The published boundaries (`electricity`) leave 219 days for training and 7 for testing, which is little for a single
    client: by default training begins with the record's first day, and testing ends with its last.

    Args:
        root: folder of the file.
        file: its name; see `read_client`.
        train: first day of the training period, counted from 2011-01-01 as all days.
        validation: first day of the validation period.
        test: first day of the test period.
        end: day after the last one.
        encoder: hours looked back.
        horizon: hours forecast.
        stride: distance in hours of successive training windows.

    Raises:
        DataError: the file cannot be read or has another format.
        SettingError: a number is out of range.
    """
    limits = _boundaries(train, validation, test, end)
    series = read_client(Path(root) / file).between(limits.train, limits.end)
    return WindowedSeries(series=series, boundaries=limits, encoder=encoder, horizon=horizon, stride=stride)


def _boundaries(*days: int) -> Boundaries:
    train, validation, test, end = (ORIGIN + 24 * day for day in days)
    return Boundaries(train=train, validation=validation, test=test, end=end)


def read_client(path: str | Path) -> Series:
    """Read one client's hours from a csv file with the columns date, hour and the client's name.

    *Unit.*  Values are not converted.  In `LD_MT200_hour.csv` they are sums of the record's four quarters (kW), four
    times the hour's mean power that `read_record` returns; a fourth of them is the hour's energy in kWh.  The file's
    last hour confirms this: it has one quarter, and a fourth of the value of the hour before.

    The record's incomplete first and last hour (2011-01-01 00:00, of three quarters, and 2015-01-01 00:00, of one) are
    left out if the file has them.

    Raises:
        DataError: the file cannot be read, or has other columns, lines with more or fewer fields than its header, dates
            of another format than 2012-01-01, hours outside 0 to 23, or gaps.
    """
    try:
        table = pd.read_csv(StringIO("".join(lines_of(path, ","))), dtype={"date": str, "hour": str})
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read: {error}", expected="a csv file with date, hour and one client"
        ) from error
    columns = [str(column) for column in table.columns]
    names = [column for column in columns if column not in ("date", "hour")]
    if len(names) != 1 or len(columns) != 3 or table.empty:
        raise DataError(
            f"{path} has the columns {', '.join(columns)} and {len(table)} rows",
            expected="date, hour and one client, and rows",
        )
    dates = times_of(table["date"], "%Y-%m-%d", path)
    clock = pd.to_numeric(table["hour"], errors="coerce").to_numpy(np.float64)
    if len(bad := np.flatnonzero(~np.isin(clock, np.arange(24)))):
        raise DataError(f"Line {bad[0] + 2} of {path} has the hour {table['hour'].iloc[bad[0]]!r}", expected="0 to 23")
    times = dates + clock.astype(np.int64) * HOUR
    first = hour_of(first_of(times, HOUR, str(path)))
    values = pd.to_numeric(table[names[0]], errors="coerce").to_numpy(np.float64)
    return Series.of({names[0]: (first, values)}).between(*COMPLETE)
