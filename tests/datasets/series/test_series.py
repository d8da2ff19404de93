"""Series, their scale, their windows and which of them are to be forgotten: all by hand on two short clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from unregress import Project, Recipe, TensorTask
from unregress.datasets.series.delimited import first_of, lines_of, times_of
from unregress.datasets.series.series import HOUR, Scaler, Series, hour_of, time_of
from unregress.datasets.series.windowed import Boundaries, WindowedSeries
from unregress.datasets.series.windows import collate
from unregress.errors import DataError, PreflightError, RequestError, SettingError

START = hour_of("2014-01-01")  # a Wednesday
SERIES = Series.of({"a": (START, np.arange(10.0)), "b": (START + 2, 100 + 10 * np.arange(8.0))})
LIMITS = Boundaries(train=START, validation=START + 6, test=START + 8, end=START + 10)
CUT = WindowedSeries(series=SERIES, boundaries=LIMITS, encoder=2)
TASK: TensorTask = TensorTask(build_model=lambda: nn.Linear(1, 1))


def mask(*steps: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    chosen = np.zeros(len(SERIES), dtype=np.bool_)
    chosen[list(steps)] = True
    return chosen


def test_flat_arrays() -> None:
    assert SERIES.clients == ("a", "b")
    assert SERIES.client.tolist() == [0] * 10 + [1] * 8
    assert (SERIES.hour - START).tolist() == [*range(10), *range(2, 10)]
    assert SERIES.value[8:12].tolist() == [8, 9, 100, 110]
    assert SERIES.age[8:12].tolist() == [8, 9, 0, 1]
    assert {name: (first - START, len(values)) for name, (first, values) in SERIES.records().items()} == {
        "a": (0, 10),
        "b": (2, 8),
    }


def test_hours_in_between() -> None:
    part = SERIES.between(START + 1, START + 4)
    assert part.value.tolist() == [1, 2, 3, 100, 110]
    assert (part.hour - START).tolist() == [1, 2, 3, 2, 3]
    assert SERIES.between(START, START + 4, at_least=3).clients == ("a",)
    assert SERIES.only(["b"]).value.tolist() == SERIES.value[10:].tolist()


def test_series_that_are_refused() -> None:
    with pytest.raises(DataError, match=r"a has no finite value at 2014-01-01 01:00, the first of 2"):
        Series.of({"a": (START, np.array([1.0, np.nan, np.inf]))})
    with pytest.raises(DataError, match="no series with any value"):
        SERIES.between(START - 5, START)


def times(*hours: str) -> Any:
    return np.array([f"2014-01-{hour}" if hour else "NaT" for hour in hours], "datetime64[m]")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (times("01T00", "01T01", "01T03"), "03:00 in line 4 of it comes after a gap: .* before it is 2014-01-01 01:00"),
        (times("01T00", "01T00", "01T01"), "2014-01-01 00:00 in line 3 of it is repeated"),
        (times("01T02", "01T01", "01T00"), "01:00 in line 3 of it is out of order.*2 such rows"),
        (times("01T00", "", "01T02"), "Line 3 of it has no time"),
        (times("01T00", "01T00:30"), "00:30 in line 3 of it comes after a gap"),
        (times("01T00:30", "01T01:30"), "2014-01-01 00:30 in line 2 of it lies between two steps"),
    ],
)  # fmt: skip
def test_gaps_and_repeated_hours_are_refused(given: Any, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        first_of(given, HOUR, "it")


def test_the_first_of_hours_in_order() -> None:
    assert time_of(hour_of(first_of(times("01T05", "01T06"), HOUR, "it"))) == "2014-01-01 05:00"


def test_a_table_s_lines_have_as_many_fields_as_its_header(tmp_path: Path) -> None:
    path = tmp_path / "table"
    lines = ['\ufeff"a;b";c\n', '"1;2";3\n', "4;5\n"]
    path.write_text("".join([*lines, "\n"]), encoding="utf-8")

    assert list(lines_of(path, ";")) == [lines[0][1:], *lines[1:]]
    path.write_text("".join([*lines, "6\n"]), encoding="utf-8")
    with pytest.raises(DataError, match=r"Line 4 of .*table has 1 fields, the header 2"):
        list(lines_of(path, ";"))


def test_times_are_not_guessed() -> None:
    texts = pd.Series(["2014-01-01 05:00:00", "2014-01-01 06:00"])

    assert times_of(texts[:1], "%Y-%m-%d %H:%M:%S", "it").tolist() == [np.datetime64("2014-01-01T05:00:00").item()]
    with pytest.raises(DataError, match=r"Line 8 of it has the time '2014-01-01 06:00'. Expected one as %Y-%m-%d"):
        times_of(texts, "%Y-%m-%d %H:%M:%S", "it", 7)


def test_scale_of_some_steps() -> None:
    """a: 0, 2, 4 has mean 2 and variance 8/3; b: 100 alone is constant."""
    scaler = Scaler.fit(SERIES, mask(0, 2, 4, 10))
    assert scaler.mean.tolist() == [2.0, 100.0]
    assert scaler.deviation.tolist() == pytest.approx([(8 / 3) ** 0.5, 1.0])
    assert scaler.transform(SERIES)[[2, 4, 11]].tolist() == pytest.approx([0.0, 2 / (8 / 3) ** 0.5, 10.0])


def test_a_client_without_a_step_to_scale_by() -> None:
    with pytest.raises(DataError, match="No hour of b is left"):
        Scaler.fit(SERIES, mask(0, 2))


def test_the_scale_reads_no_forgotten_value() -> None:
    forgotten = mask(3, 12)
    poisoned = Series.of({"a": (START, np.where(np.arange(10) == 3, 1e9, np.arange(10.0))),
                          "b": (START + 2, np.where(np.arange(8) == 2, -1e9, 100 + 10 * np.arange(8.0)))})  # fmt: skip
    other = WindowedSeries(series=poisoned, boundaries=LIMITS, encoder=2)
    ours, theirs = (cut.splits(forgotten).train.cont[:, 1].numpy() for cut in (CUT, other))  # type: ignore[attr-defined]
    assert np.array_equal(ours[~forgotten], theirs[~forgotten])
    assert not np.array_equal(ours, CUT.splits().train.cont[:, 1].numpy())  # type: ignore[attr-defined]


def test_windows_belong_where_the_hours_lie_that_they_forecast() -> None:
    """a is 2 hours old at hour 2 and b, which begins later, at hour 4; encoders stay within the training period."""
    assert CUT.places("train").tolist() == [2, 3, 4, 5, 12, 13]
    assert CUT.places("validation").tolist() == [6, 7, 14, 15]
    assert CUT.places("test").tolist() == [8, 9, 16, 17]
    later = WindowedSeries(series=SERIES, boundaries=Boundaries(train=START + 1, validation=START + 6, test=START + 8,
                                                     end=START + 10), encoder=2)  # fmt: skip
    assert later.places("train").tolist() == [3, 4, 5, 12, 13]


def test_windows_with_a_horizon_and_a_stride() -> None:
    assert WindowedSeries(series=SERIES, boundaries=LIMITS, encoder=2, horizon=2).places("train").tolist() == [
        2,
        3,
        4,
        12,
    ]
    assert WindowedSeries(series=SERIES, boundaries=LIMITS, encoder=2, horizon=2).places("test").tolist() == [8, 16]
    strided = WindowedSeries(series=SERIES, boundaries=LIMITS, encoder=2, stride=3)
    assert strided.places("train").tolist() == [3]
    assert strided.places("test").tolist() == [8, 9, 16, 17]


def test_windows_are_found_by_client_and_time() -> None:
    splits = WindowedSeries(series=SERIES, boundaries=LIMITS, encoder=2, horizon=2).splits()
    # The windows of a forecast hours 2, 3, 4 and the next one of each, those of b hour 4: each looks back two hours.
    first, last = ((splits.columns[name].astype(int) - START).tolist() for name in ("first", "last"))
    assert (splits.columns["client"].tolist(), first, last) == (["a", "a", "a", "b"], [0, 1, 2, 2], [3, 4, 5, 5])
    assert [len(splits.validation_columns["client"]), len(splits.test_columns["client"])] == [2, 2]
    assert list(splits.fitted) == ["each client's mean and deviation"] and not CUT.splits(mask(3)).fitted
    project = Project(task=TASK, splits=splits, training=Recipe(epochs=1))
    hour = {"start": "first", "end": "last", "from": "2014-01-01 04:00", "to": "2014-01-01 04:00"}
    everybody = project.request(times=hour, reason="hour 4")
    # The held-out windows reach back to hours 4 and 5, or 6 and 7.
    assert (everybody.forget, everybody.validation, everybody.test) == ((1, 2, 3), (0, 1), ())
    assert project.request(times={**hour, "where": {"client": "b"}}, reason="of b").forget == (3,)
    client = project.request(where={"client": "b"}, reason="the client left")
    assert (client.forget, client.validation, client.test) == ((3,), (1,), (1,))
    with pytest.raises(RequestError, match="outside of the series"):
        project.request(times={**hour, "from": "2013-05-01", "to": "2013-05-02"}, reason="too early")


def test_targets_in_units_of_the_whole_training_period() -> None:
    """a: 0 to 5 has mean 2.5 and variance 35/12; b: 100, 110, 120, 130 has mean 115 and variance 125."""
    a, b = (35 / 12) ** 0.5, 125**0.5
    expected = [-0.5 / a, 0.5 / a, 1.5 / a, 2.5 / a, 5 / b, 15 / b]
    assert CUT.targets("train").tolist() == pytest.approx(expected)
    two = WindowedSeries(series=SERIES, boundaries=LIMITS, encoder=2, horizon=2).targets("train")
    assert two[0].tolist() == pytest.approx(expected[:2])


def test_a_band_and_the_windows_that_it_takes() -> None:
    low = CUT.band(high=-0.85)
    assert np.flatnonzero(low & CUT.training).tolist() == [0, 1, 10]
    assert CUT.touched("train", low).tolist() == [False] * 6, "of the first hours no forecast is made"
    assert CUT.touched("train", low, "purge").tolist() == [True, True, False, False, True, False]
    high = CUT.band(low=0.85)
    assert np.flatnonzero(CUT.touched("train", high)).tolist() == [2, 3, 5]
    assert CUT.touched("test", high).all()


def test_a_purge_takes_every_window_that_touches_a_step() -> None:
    assert CUT.touched("train", mask(3)).tolist() == [False, True, False, False, False, False]
    assert CUT.touched("train", mask(3), "purge").tolist() == [False, True, True, True, False, False]
    assert CUT.touched("validation", mask(5), "purge").tolist() == [True, True, False, False]
    ahead = WindowedSeries(series=SERIES, boundaries=LIMITS, encoder=2, horizon=2)
    assert ahead.touched("train", mask(4)).tolist() == [False, True, True, False]


def test_a_case() -> None:
    case = CUT.case(TASK, CUT.band(low=0.85), reason="high")
    assert (case.requested.forget, case.requested.reason) == ((2, 3, 5), "high")
    assert (case.validation_forget_like, case.test_forget_like) == ([0, 1, 2, 3], [0, 1, 2, 3])
    assert case.source("train").collate is collate


def test_requests_that_take_nothing_or_nearly_everything() -> None:
    with pytest.raises(RequestError, match="forgets nothing"):
        CUT.case(TASK, mask(0), reason="x")
    with pytest.raises(RequestError, match=r"takes 6 of 6 training windows \(100.0%\), for 3 steps.*by `label`"):
        CUT.case(TASK, mask(2, 5, 12), reason="x", mode="purge")
    with pytest.raises(SettingError, match="'both'"):
        CUT.touched("train", mask(3), "both")  # type: ignore[arg-type]


def test_cuts_that_are_refused() -> None:
    with pytest.raises(PreflightError, match=r"encoder is 0(?s:.*)horizon is -1"):
        WindowedSeries(series=SERIES, boundaries=LIMITS, encoder=0, horizon=-1)
    with pytest.raises(DataError, match=r"No window of 20 \+ 1 hours lies between 2014-01-01 00:00"):
        WindowedSeries(series=SERIES, boundaries=LIMITS, encoder=20)
    with pytest.raises(SettingError, match="ascending"):
        Boundaries(train=START, validation=START, test=START + 1, end=START + 2)


def test_a_window_s_values() -> None:
    """b at hour 5 from hours 3 and 4; a Wednesday; validation begins at hour 6."""
    splits = CUT.splits()
    assert splits.ids is not None
    assert list(splits.ids)[-1] == splits.ids[5] == "b 2014-01-01 05:00"
    assert splits.ids[4:] == ["b 2014-01-01 04:00", "b 2014-01-01 05:00"]
    x, (y, weight) = splits.train[5]
    deviation = 125**0.5
    assert weight is None
    assert y.tolist() == pytest.approx([15 / deviation])
    assert x["encoder_cat"].tolist() == [[1, 3, 2], [1, 4, 2]]
    assert x["decoder_cat"].tolist() == [[1, 5, 2]]
    years = [hours / (365.25 * 24) for hours in (-3, -2, -1)]
    assert x["encoder_cont"].flatten().tolist() == pytest.approx([years[0], -5 / deviation, years[1], 5 / deviation])
    assert x["decoder_cont"].flatten().tolist() == pytest.approx([years[2], 15 / deviation])
    assert x["decoder_time_idx"].tolist() == [START + 5]
    assert (x["encoder_lengths"].item(), x["decoder_lengths"].item()) == (2, 1)


def test_batches_one_window_at_a_time_and_through_a_subset() -> None:
    train = CUT.splits().train
    (whole,) = DataLoader(train, batch_size=6, collate_fn=collate)
    (part,) = DataLoader(Subset(train, [1, 4]), batch_size=2, collate_fn=collate)
    single = collate([train[row] for row in range(6)])
    for name, value in whole[0].items():
        assert torch.equal(value, single[0][name])
        assert torch.equal(value[[1, 4]], part[0][name])
    assert torch.equal(whole[1][0], single[1][0])
    assert whole[1][0].flatten().tolist() == pytest.approx(CUT.targets("train").tolist())


def test_the_same_batch_as_pytorch_forecasting_makes() -> None:
    encoders = pytest.importorskip("pytorch_forecasting.data.encoders")
    from pandas import DataFrame
    from pytorch_forecasting import TimeSeriesDataSet

    cut = WindowedSeries(series=SERIES, boundaries=LIMITS, encoder=2, horizon=2)
    train = cut.splits().train
    inside = np.flatnonzero(cut.training)
    cat, cont = train.cat[inside].numpy(), train.cont[inside].numpy()  # type: ignore[attr-defined]
    table = DataFrame({"step": SERIES.hour[inside], "client": np.array(SERIES.clients)[cat[:, 0]],
                       "hour": [f"{hour:02}" for hour in cat[:, 1]], "weekday": [f"{day:02}" for day in cat[:, 2]],
                       "time": cont[:, 0], "value": cont[:, 1]})  # fmt: skip
    fixed = {"hour": 24, "weekday": 7}
    # All the codes there are, also those of hours that the short series lacks.
    coded = {name: encoders.NaNLabelEncoder().fit(np.array([f"{each:02}" for each in range(count)]))
             for name, count in fixed.items()}  # fmt: skip
    theirs = TimeSeriesDataSet(
        table, time_idx="step", target="value", group_ids=["client"], static_categoricals=["client"],
        time_varying_known_categoricals=list(fixed), time_varying_known_reals=["time"],
        time_varying_unknown_reals=["value"], categorical_encoders=coded, scalers={"time": None},
        min_encoder_length=2, max_encoder_length=2, min_prediction_length=2, max_prediction_length=2,
        target_normalizer=encoders.TorchNormalizer(method="identity", center=False),
    )  # fmt: skip
    assert theirs.reals == ["time", "value"]
    assert theirs.flat_categoricals == ["client", "hour", "weekday"]
    x, (y, weight) = theirs._collate_fn([theirs[row] for row in range(len(theirs))])
    ours, (our_y, our_weight) = train.__getitems__(range(len(train)))  # type: ignore[attr-defined, arg-type]
    assert set(ours) == set(x)
    assert (weight, our_weight) == (None, None)
    assert len(y) == 4
    torch.testing.assert_close(our_y, y)
    for name, value in x.items():
        torch.testing.assert_close(ours[name], value, msg=name)
