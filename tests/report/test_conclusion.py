"""The conclusion: one sentence and a next step for each outcome."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from support.hand_reports import criteria, without
from unregress.evidence import AuditReport, ModelFile, Obstacle, Recheck, Verdict
from unregress.evidence.model_record import ModelRecord
from unregress.report.conclusion import about_original, conclusion, records

FILE = ModelFile(name="good.pt", sha256="3d" * 32)


def alone(report: AuditReport, verdict: Verdict, file: ModelFile | None = FILE) -> AuditReport:
    """The report about one unlearned model, `Blindspot`, with a verdict of its own."""
    fewer = without(report, "FineTune", "Amnesiac")
    return replace(
        fewer,
        models=tuple(replace(m, file=file) if m.name == "Blindspot" else m for m in fewer.models),
        verdicts=(*(each for each in fewer.verdicts if each.model != "Blindspot"), verdict),
    )


def passed() -> Verdict:
    return Verdict(model="Blindspot", outcome="PASS", reason="R.", criteria=criteria(60.9, 4.63, 0.47, 31.0))


def test_a_model_that_passed_is_to_be_deployed(report: AuditReport) -> None:
    found = conclusion(alone(report, passed()))
    assert found.deployable == ("Blindspot",)
    assert "Blindspot has forgotten" in found.headline and "the 2,000 records" in found.headline
    assert found.step.startswith("Deploy the file good.pt")


def test_of_a_model_behind_predictions_the_model_is_to_be_deployed(report: AuditReport) -> None:
    step = conclusion(alone(report, passed(), ModelFile(name="p.csv", sha256="3d" * 32, holds="predictions"))).step
    assert step.startswith("Deploy the model that made the predictions in p.csv")


@pytest.mark.parametrize("obstacle", ["golds", "spread", "samples", "original", "measures", "training"])
def test_a_model_that_was_retrained_may_be_deployed_where_nothing_can_be_told(
    report: AuditReport, obstacle: Obstacle
) -> None:
    undecided = Verdict(model="Blindspot", outcome="INCONCLUSIVE", reason="R.", criteria=(), obstacle=obstacle)
    found = alone(report, undecided)
    record = ModelRecord(method="Retrain", kind="retrained")
    retrained = replace(
        found, models=tuple(replace(m, record=record) if m.name == "Blindspot" else m for m in found.models)
    )
    may = obstacle not in ("measures", "training")
    assert bool(conclusion(retrained).deployable) == may and not conclusion(found).deployable
    assert conclusion(retrained).step.startswith("Deploy the file") == may


def retrained_by(report: AuditReport, verdict: Verdict, recipe: dict[str, object] | None) -> AuditReport:
    found = alone(report, verdict)
    record = ModelRecord(method="Retrain", kind="retrained", recipe=recipe)
    return replace(found, models=tuple(replace(m, record=record) if m.name == "Blindspot" else m for m in found.models))


LIGHTNING = "unregress.trainers.lightning_training.LightningTraining"


@pytest.mark.parametrize(
    ("recipe", "function"),
    [
        (None, ""),
        ({"epochs": 3, "lr": 0.01}, ""),
        ({"class_path": "job.train", "init_args": {}}, "job.train"),
        ({"class_path": LIGHTNING, "init_args": {"datamodule": None}}, ""),
        ({"class_path": LIGHTNING, "init_args": {"datamodule": "job.module"}}, "job.module"),
    ],
)
def test_what_a_function_of_the_user_read_is_not_known(
    report: AuditReport, recipe: dict[str, object] | None, function: str
) -> None:
    undecided = Verdict(model="Blindspot", outcome="INCONCLUSIVE", reason="R.", criteria=(), obstacle="spread")
    found = conclusion(retrained_by(report, undecided, recipe))
    assert found.deployable == ("Blindspot",)
    assert ("never saw" in found.headline) == found.step.startswith("Deploy the file") == (not function)
    assert f"{function} reads no" in found.step or not function
    failed = Verdict(model="Blindspot", outcome="FAIL", reason="R.", criteria=criteria(50.0, 4.63, 0.47, 31.0))
    step = conclusion(retrained_by(report, failed, recipe)).step
    assert "by chance" in step and ("reads no others" in step and function in step) == bool(function)


@pytest.mark.parametrize("file", [None, ModelFile(name="good.pt", sha256="")])
def test_without_a_known_file_there_is_nothing_to_deploy_yet(report: AuditReport, file: ModelFile | None) -> None:
    assert not conclusion(alone(report, passed(), file)).step.startswith("Deploy")


@pytest.mark.parametrize(
    ("numbers", "words", "milder"),
    [
        ((50.0, 4.63, 0.47, 31.0), "still remembers the 2,000 records", False),
        ((70.0, 4.63, 0.47, 31.0), "was pushed too far", True),
        ((60.9, 4.63, 0.47, 36.0), "has become worse at what was to be kept", True),
        ((60.9, 9.0, 0.47, 31.0), "treats the 2,000 records differently", False),
    ],
)
def test_a_model_that_failed_is_not(
    report: AuditReport, numbers: tuple[float, float, float, float], words: str, milder: bool
) -> None:
    verdict = Verdict(model="Blindspot", outcome="FAIL", reason="R.", criteria=criteria(*numbers))
    found = conclusion(alone(report, verdict))
    assert found.deployable == () and words in found.headline
    assert found.step.startswith("Do not deploy") and ("milder" in found.step) == milder


@pytest.mark.parametrize("obstacle", get_args(Obstacle))
def test_every_obstacle_has_a_sentence_and_a_step(report: AuditReport, obstacle: Obstacle) -> None:
    verdict = Verdict(model="Blindspot", outcome="INCONCLUSIVE", reason="R.", criteria=(), obstacle=obstacle)
    found = conclusion(alone(report, verdict))
    assert found.headline.startswith("Whether Blindspot has forgotten is not known: ") and found.deployable == ()
    assert found.step.startswith("Do not deploy it yet. ")


def test_the_step_says_how_many_golds_are_missing(report: AuditReport) -> None:
    verdict = Verdict(model="Blindspot", outcome="INCONCLUSIVE", reason="R.", criteria=(), obstacle="spread")
    assert "Retrain 7 more models" in conclusion(alone(report, replace(verdict, golds_needed=12))).step
    assert "5 so far, 12 are needed" in conclusion(alone(report, replace(verdict, golds_needed=12))).step
    assert "More retrained models would not help" in conclusion(alone(report, verdict)).step
    assert "reason below" in conclusion(alone(report, replace(verdict, obstacle=None))).step


def test_an_earlier_request_that_shows_again_forbids_deployment(report: AuditReport) -> None:
    failed = Verdict(model="Blindspot", outcome="FAIL", reason="R.", criteria=criteria(50.0, 4.63, 0.47, 31.0))
    again = Recheck(reason="letter 3", request_digest="ab" * 32, samples=4, verdicts=(failed,))
    found = conclusion(replace(alone(report, passed()), earlier=(again,)))
    assert found.deployable == () and "letter 3" in found.headline and found.step.startswith("Do not deploy")


def test_several_models(report: AuditReport) -> None:
    one = conclusion(report)
    assert one.deployable == ("Blindspot",) and "the only one of 3" in one.headline
    good = tuple(replace(v, outcome="PASS") if v.model == "Amnesiac" else v for v in report.verdicts)
    two = conclusion(replace(report, verdicts=good))
    assert two.deployable == ("Amnesiac", "Blindspot") and "Amnesiac and Blindspot" in two.headline
    bad = tuple(replace(v, outcome="FAIL") for v in report.verdicts)
    none = conclusion(replace(report, verdicts=bad))
    assert none.headline.startswith("None of the 3 models") and none.step.startswith("Deploy none")
    undecided = tuple(replace(v, outcome="INCONCLUSIVE", obstacle="golds", golds_needed=9) for v in report.verdicts)
    assert "Retrain 4 more models" in conclusion(replace(report, verdicts=undecided)).step


def test_without_a_judged_model_nothing_is_concluded(report: AuditReport) -> None:
    found = conclusion(without(report, "FineTune", "Amnesiac", "Blindspot"))
    assert found.models == () and found.deployable == () and "not known" in found.headline


def test_the_original_and_the_records_in_words(report: AuditReport) -> None:
    assert about_original(report).startswith("As it should")
    kept = tuple(replace(v, outcome="INCONCLUSIVE") for v in report.verdicts)
    assert about_original(replace(report, verdicts=kept)) == "Reason for original."
    assert about_original(replace(report, verdicts=())) == ""
    assert records(replace(report, samples={"train-forget": 1})) == "the record"
    assert records(replace(report, samples={})) == "the records"
