"""An audit of predictions alone: the same numbers as an audit of models, and everything that it refuses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import unregress
from support.bump_case import BAND, RUNTIME, TEST, TRAIN, small_case, table
from support.planted_controls import Ground
from support.planted_controls import table as ground
from support.prediction_tables import data, predicted, tables, written
from unregress.errors import DataError, PreflightError, SettingError, UnregressError
from unregress.evidence import AuditReport

METRICS = [
    unregress.Errors(),
    unregress.Wasserstein(),
    unregress.Deviation(),
    unregress.EnergyDistance(),
    unregress.AttackAUC(),
    unregress.metrics.Memory(),
    unregress.Membership(features=("loss",)),
]


def outcomes(report: AuditReport) -> dict[str, str]:
    return {verdict.model: verdict.outcome for verdict in report.verdicts}


def numbers(report: AuditReport) -> dict[tuple[str, str, str], tuple[float | None, float | None]]:
    return {(m.metric, m.split, m.model): (m.value, m.p) for m in report.measures}


@pytest.mark.slow
def test_predictions_written_out_give_the_numbers_and_criteria_of_the_models() -> None:
    made: Ground = ground()
    models = {"original": made.original(), "mine": made.gold(77)}
    golds = [made.gold(seed) for seed in range(1, 6)]
    expected = unregress.audit(made.case, models, RUNTIME, golds=golds, metrics=METRICS)
    _, y = table()
    rows = pd.DataFrame(
        {
            "target": np.concatenate([y[TRAIN], y[TEST]]).astype(np.float64),
            "part": np.where(
                np.repeat([True, False], [300, 120]),
                np.where(np.concatenate([y[TRAIN], y[TEST]]) >= BAND, "train-forget", "train-retain"),
                np.where(np.concatenate([y[TRAIN], y[TEST]]) >= BAND, "test-forget", "test-retain"),
            ),
        }
    )

    def seen(model: Any) -> np.ndarray[Any, Any]:
        sources = (made.case.source("train_eval"), made.case.source("test"))
        return np.concatenate(
            [unregress.collect(model, made.case.task, source, RUNTIME).prediction for source in sources]
        )

    found = unregress.audit_predictions(
        {name: seen(model) for name, model in models.items()}, golds=[seen(gold) for gold in golds], data=rows
    )
    theirs, ours = numbers(expected), numbers(found)
    assert ours.keys() == theirs.keys()
    # Losses are computed in double precision here, and in the models' single precision there.
    for key, values in theirs.items():
        for own, other in zip(ours[key], values, strict=True):
            assert own == (other if other is None else pytest.approx(other, rel=1e-5, abs=1e-6)), key
    assert outcomes(found) == outcomes(expected)
    for verdict in expected.verdicts:
        criteria = found.verdict(verdict.model).criteria
        assert [(c.metric, c.split, c.outcome) for c in criteria] == [
            (c.metric, c.split, c.outcome) for c in verdict.criteria
        ]
        assert [c.high for c in criteria] == pytest.approx([c.high for c in verdict.criteria], rel=1e-4)
    assert found.samples == expected.samples
    assert small_case().requested.digest == found.request_digest


def test_planted_controls() -> None:
    asked = tables()
    asked["models"]["half"] = predicted(asked["data"], 51, memory=0.5)
    report = unregress.audit_predictions(**asked)
    found = outcomes(report)
    assert (found["original"], found["half"], found["unlearned"]) == ("FAIL", "FAIL", "PASS")
    assert report.samples == {"train-retain": 200, "train-forget": 60, "test-retain": 80, "test-forget": 40}
    own = asked["models"]["original"].merge(asked["data"])
    error = (own["prediction"] - own["target"]).abs()
    for part, mean in error.groupby(own["part"]).mean().items():
        assert report.value("mae", str(part), "original") == pytest.approx(mean, rel=1e-12)


def test_what_needs_the_model_is_named_in_report_and_verdicts() -> None:
    report = unregress.audit_predictions(**tables())
    left_out = report.settings["not measured"]
    assert list(left_out) == [
        "Membership attack: share called members (in full)", "Linear probe on the features", "Readout of hidden layers",
        "Anamnesis index", "Memory kept after revival",
    ]  # fmt: skip
    (caveat,) = [caveat for caveat in report.caveats if caveat.startswith("Could not be measured")]
    for title, why in left_out.items():
        assert f"{title}, because {why}" in caveat
        assert all(title in report.verdict(model).reason for model in ("original", "unlearned"))
    assert {measure.metric for measure in report.measures} >= {"mae", "w1", "paired", "auc", "attack", "energy"}
    errors = unregress.audit_predictions(**tables(), metrics=[unregress.Errors()])
    # Without distances and attack no limit may be crossed, and that is no PASS.
    assert outcomes(errors)["unlearned"] == "INCONCLUSIVE"
    assert errors.settings["not measured"] == {}


def test_a_metric_that_needs_models_says_so() -> None:
    with pytest.raises(SettingError):
        unregress.audit_predictions(**tables(), metrics=[unregress.Anamnesis(), unregress.Representation()])
    with pytest.raises(SettingError):  # its levels would be further predictions of each sample
        unregress.audit_predictions(**tables(), loss="quantile")
    assert unregress.Membership(features=("gradient",)).for_predictions() is None
    assert unregress.Membership().for_predictions() == unregress.Membership(features=("loss",))
    assert unregress.Errors().for_predictions() == unregress.Errors()
    assert not unregress.Errors().needs_model and unregress.Anamnesis().needs_model
    assert unregress.Representation().needs_model and unregress.Published().needs_model


def test_files_frames_mappings_and_arrays_give_the_same_report(tmp_path: Path) -> None:
    asked = tables()
    expected = numbers(unregress.audit_predictions(**asked))
    lists = {name: frame.to_dict("list") for name, frame in asked["models"].items()}
    arrays = [gold["prediction"].to_numpy() for gold in asked["golds"]]
    assert numbers(unregress.audit_predictions(lists, golds=arrays, data=asked["data"])) == expected
    written(tmp_path)
    shuffled = pd.read_csv(tmp_path / "gold-3.csv", float_precision="round_trip").sample(frac=1, random_state=0)
    shuffled.to_csv(tmp_path / "gold-3.csv", index=False)
    files = {name: tmp_path / f"{name}.csv" for name in ("original", "unlearned")}
    report = unregress.audit_predictions(files, golds=str(tmp_path / "gold-*.csv"), data=tmp_path / "data.csv")
    assert numbers(report) == expected
    named = {model.name: model.file for model in report.models}
    assert named["unlearned"] is not None and named["unlearned"].name == "unlearned.csv"
    assert named["unlearned"].sha256 == hashlib.sha256((tmp_path / "unlearned.csv").read_bytes()).hexdigest()
    assert named["retrained #3"] is not None and named["retrained #3"].name == "gold-3.csv"
    assert named["constant"] is None


def test_ids_that_a_table_made_floats_of_are_the_same(tmp_path: Path) -> None:
    written(tmp_path)
    names = ["original", "unlearned", "data", *(path.stem for path in tmp_path.glob("gold-*.csv"))]
    for name in names:
        frame = pd.read_csv(tmp_path / f"{name}.csv", float_precision="round_trip")
        frame["id"] = frame["id"].str.removeprefix("p").astype(int)
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    frame = pd.read_csv(tmp_path / "unlearned.csv", float_precision="round_trip")
    files = {name: tmp_path / f"{name}.csv" for name in ("original", "unlearned")}
    golds, rows = str(tmp_path / "gold-*.csv"), tmp_path / "data.csv"
    expected = numbers(unregress.audit_predictions(files, golds=golds, data=rows))
    frame.assign(id=frame["id"].astype(float)).to_csv(tmp_path / "unlearned.csv", index=False)
    assert (tmp_path / "unlearned.csv").read_text().splitlines()[1].split(",")[0].endswith(".0")
    assert numbers(unregress.audit_predictions(files, golds=golds, data=rows)) == expected


def test_several_outputs_are_in_units_of_their_spreads() -> None:
    asked = tables()

    def doubled(frame: pd.DataFrame, column: str) -> pd.DataFrame:
        renamed = frame.rename(columns={column: f"{column}_kg"})
        return renamed.assign(**{f"{column}_g": 1000 * renamed[f"{column}_kg"]})

    rows = doubled(asked["data"], "target")
    gaps = rows["part"] == "test-retain"
    rows.loc[gaps, "target_g"] = np.nan
    models = {name: doubled(frame, "prediction") for name, frame in asked["models"].items()}
    report = unregress.audit_predictions(
        models, golds=[doubled(gold, "prediction") for gold in asked["golds"]], data=rows
    )
    single = unregress.audit_predictions(**asked)
    retained = asked["data"]["target"][asked["data"]["part"] == "train-retain"]
    spread = (retained - retained.median()).abs().mean()
    for part in report.samples:
        found = report.value("mae", part, "original")
        assert found == pytest.approx((single.value("mae", part, "original") or 0) / spread, rel=1e-9)
    assert outcomes(report)["original"] == "FAIL"


@pytest.mark.parametrize(("golds", "count"), [(0, 0), (1, 1), (4, 4)])
def test_few_golds_give_no_verdict(golds: int, count: int) -> None:
    report = unregress.audit_predictions(**tables(golds))
    assert len(report.golds) == count
    assert set(outcomes(report).values()) == {"INCONCLUSIVE"}


def without_last(asked: dict[str, Any]) -> None:
    asked["golds"][1] = asked["golds"][1].iloc[:-3]


def with_strangers(asked: dict[str, Any]) -> None:
    asked["golds"][1] = pd.concat([asked["golds"][1], pd.DataFrame({"id": ["q1"], "prediction": [1.0]})])


def with_a_repetition(asked: dict[str, Any]) -> None:
    asked["golds"][1] = pd.concat([asked["golds"][1], asked["golds"][1].iloc[:1]])


def put(where: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(asked: dict[str, Any]) -> None:
        frame = asked["models"]["unlearned"].astype({"prediction": object})
        if where in frame:
            frame.loc[4, where] = value
        else:
            frame[where] = value
        asked["models"]["unlearned"] = frame

    return change


def renamed(asked: dict[str, Any]) -> None:
    asked["models"]["unlearned"] = asked["models"]["unlearned"].rename(columns={"prediction": "y_hat"})


def without_ids(asked: dict[str, Any]) -> None:
    asked["models"]["unlearned"] = asked["models"]["unlearned"][["prediction"]]


def other_outputs(asked: dict[str, Any]) -> None:
    asked["models"]["unlearned"] = asked["models"]["unlearned"].rename(columns={"prediction": "prediction_kg"})


def part(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(asked: dict[str, Any]) -> None:
        asked["data"] = asked["data"].replace({"part": {old: new}})

    return change


def no_test(asked: dict[str, Any]) -> None:
    asked["data"] = asked["data"].replace({"part": {"test-retain": "train-retain", "test-forget": "train-retain"}})


def without(column: str) -> Callable[[dict[str, Any]], None]:
    def change(asked: dict[str, Any]) -> None:
        asked["data"] = asked["data"].drop(columns=column)

    return change


def copied(asked: dict[str, Any]) -> None:
    asked["golds"][0] = asked["models"]["original"]


@pytest.mark.parametrize(
    ("change", "error", "found"),
    [
        (without_last, DataError, "gold 2 lacks 3 rows of data, such as its row 378"),
        (with_strangers, DataError, "gold 2 has 1 rows whose ids are not in data, such as its row 381"),
        (put("id", None), DataError, "unlearned has 1 rows without an id"),
        (with_a_repetition, DataError, "gold 2 names 1 ids more than once"),
        (
            put("prediction", np.nan),
            DataError,
            "The prediction of 1 rows of unlearned is no finite number, the first in",
        ),
        (put("prediction", np.inf), DataError, "row 5: inf"),
        (put("prediction", "n/a"), DataError, "row 5: 'n/a'"),
        (put("prediction", True), DataError, "row 5: True"),
        (put("target", 1.0), DataError, "different targets for 380 of the same rows, such as row 1 of"),
        (put("part", "test-forget"), DataError, "different parts for 340 of the same rows"),
        (renamed, DataError, "unlearned has no column `prediction` among 'id', 'y_hat'"),
        (without_ids, DataError, "unlearned has no column `id`, and data has one"),
        (other_outputs, DataError, "unlearned has the columns 'prediction_kg'"),
        (part("train-forget", "train-retain"), DataError, "no forgotten rows in the part `train-forget`"),
        (part("train-retain", "test-retain"), DataError, "no rows in the part `train-retain`"),
        (part("train-retain", "training"), DataError, "holds 'training'"),
        (no_test, DataError, "there is no test data"),
        (without("target"), DataError, "No table has a column `target`"),
        (without("part"), DataError, "data has no column `part`"),
        (copied, SettingError, "gold 1 has the predictions of original"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    change: Callable[[dict[str, Any]], None], error: type[UnregressError], found: str
) -> None:
    asked = tables()
    change(asked)
    with pytest.raises(error) as refused:
        unregress.audit_predictions(**asked)
    assert found in str(refused.value)
    assert refused.value.expected


def test_all_complaints_come_at_once() -> None:
    asked = tables()
    for change in (without_last, without_ids, put("prediction", np.nan)):
        change(asked)
    asked["golds"][4] = asked["golds"][4].assign(target=0.0, prediction="x")
    with pytest.raises(PreflightError) as refused:
        unregress.audit_predictions(**asked)
    assert len(refused.value.complaints) == 4


def test_names_and_files_that_clash(tmp_path: Path) -> None:
    written(tmp_path)
    original, rows = tmp_path / "original.csv", tmp_path / "data.csv"
    with pytest.raises(SettingError) as twice:
        unregress.audit_predictions({"original": original}, golds=[original], data=rows)
    assert "given twice" in twice.value.found
    with pytest.raises(SettingError) as nothing:
        unregress.audit_predictions({"original": original}, golds=str(tmp_path / "golden-*.csv"), data=rows)
    assert "golden-*.csv" in nothing.value.found
    for models in ({"mine": original}, {"original": original, "retrained": tmp_path / "unlearned.csv"}):
        with pytest.raises(SettingError):
            unregress.audit_predictions(models, data=rows)


def test_rows_are_matched_by_order_where_no_table_has_ids() -> None:
    rows = data().drop(columns="id")
    original = predicted(data(), 0, memory=0.9)[["prediction"]]
    report = unregress.audit_predictions({"original": original}, data=rows)
    assert numbers(report) == numbers(
        unregress.audit_predictions({"original": predicted(data(), 0, memory=0.9)}, data=data())
    )
    with pytest.raises(DataError) as refused:
        unregress.audit_predictions({"original": original.iloc[1:]}, data=rows)
    assert (refused.value.found, refused.value.expected) == ("original has 379 rows", "the 380 rows of data")


def test_targets_and_parts_may_stand_in_a_table_of_predictions() -> None:
    asked = tables()
    asked["models"]["original"] = asked["models"]["original"].merge(asked.pop("data"))
    assert outcomes(unregress.audit_predictions(**asked))["unlearned"] == "PASS"
