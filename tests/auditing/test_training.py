"""Audits that train golds and deep tests by themselves, as a Python user asks for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import unregress
from support.bump_case import RECIPE, RUNTIME, net, numbers
from unregress import DeepTests, FineTune, Retraining
from unregress.auditing.pipeline import AuditJob
from unregress.errors import SettingError, UnregressError
from unregress.runs.digests import weights_digest
from unregress.tasks.weights import weights_of

SHORT = replace(RECIPE, epochs=1)
ERRORS = (unregress.Errors(), unregress.Deviation())


def test_equals_an_audit_with_the_same_golds_given(case: unregress.Case, original: unregress.Unlearned) -> None:
    models = {"original": original, "mine": net()}
    golds = unregress.retrain(case, SHORT, RUNTIME, seeds=(1001, 1002))
    given = unregress.audit(case, models, RUNTIME, golds=golds, metrics=ERRORS)
    apart = Retraining(recipe=SHORT, golds=2, coupled=False)
    trained = unregress.audit(case, models, RUNTIME, retrain=apart, metrics=ERRORS)
    assert trained.golds == ["retrained", "retrained #2"]
    assert numbers(trained) == numbers(given) and trained.caveats == given.caveats
    assert trained.verdicts == given.verdicts


def test_golds_of_a_store_are_trained_once_and_named_in_the_report(
    case: unregress.Case, original: unregress.Unlearned, golds: list[unregress.Unlearned], tmp_path: Path
) -> None:
    """One gold is given, two are trained; the second run finds them and says nothing."""
    lines: list[str] = []
    job = AuditJob(
        case=case,
        models={"original": original},
        runtime=RUNTIME,
        golds=golds[:1],
        retrain=Retraining(recipe=SHORT, golds=2, store=tmp_path / "store"),
        metrics=ERRORS,
        log=lines.append,
    )
    report, trained = job.run()
    assert [(gold.name, gold.seed) for gold in trained] == [("retrained #2", 1001), ("retrained #3", 1002)]
    assert lines[0].startswith(
        "Golds of seeds 1001 to 1002 from the original's initial weights, not counting models in "
        f"{tmp_path / 'store'}: 2 models to train"
    )
    assert lines[1:] == ["making a gold under seed 1001", "making a gold under seed 1002"]
    files = {model.name: model.file for model in report.models}
    for gold in trained:
        assert gold.folder is not None and files[gold.name] is not None
        assert files[gold.name].sha256 == weights_digest(gold.folder)
    assert files["retrained"] is None
    lines.clear()
    again, found = job.run()
    assert lines == [] and numbers(again) == numbers(report)
    assert [weights_of(gold.model.model) for gold in found] == [weights_of(gold.model.model) for gold in trained]


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "no recipe": ({"retrain": Retraining()}, "How the original was trained is not known"),
    "deep tests alone": ({"deep": DeepTests(methods={"mine": FineTune()})}, "`deep` is given without `retrain`"),
    "deep tests of nothing": ({"deep": DeepTests(), "retrain": Retraining(recipe=SHORT)}, "ULiRA has methods for []"),
    "a method of a model that is not there": (
        {"deep": DeepTests(methods={"yours": FineTune()}), "retrain": Retraining(recipe=SHORT)},
        "ULiRA has methods for yours",
    ),
    "the name of a gold to come": (
        {"models": {"original": net(), "retrained #3": net()}, "retrain": Retraining(recipe=SHORT)},
        "A model is called 'retrained #3'",
    ),
    "no metric": ({"metrics": [], "retrain": Retraining(recipe=SHORT)}, "No metric is named"),
    "a wrong type": ({"metrics": "Errors", "retrain": Retraining(recipe=SHORT)}, "`metrics` is the text 'Errors'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_anything_is_trained(
    name: str, case: unregress.Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*arguments: object, **options: object) -> None:
        raise RuntimeError("a gold is trained")

    monkeypatch.setattr("unregress.auditing.pipeline.train_golds", train)
    given, found = REFUSED[name]
    arguments = {"models": {"original": net(), "mine": net()}, "metrics": ERRORS} | given
    with pytest.raises(UnregressError) as error:
        unregress.audit(case, runtime=RUNTIME, **arguments)  # type: ignore[arg-type]
    assert found in str(error.value)


@pytest.mark.parametrize("wrong", [{"golds": -1}, {"workers": 0}, {"stack": 0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(SettingError) as error:
        Retraining(recipe=SHORT, **wrong)
    assert "Retraining has" in error.value.found


def test_seeds_follow_the_runtime() -> None:
    assert list(Retraining(golds=3).seeds(replace(RUNTIME, seed=7))) == [1008, 1009, 1010]


@pytest.mark.slow
def test_deep_tests_beside_trained_golds(case: unregress.Case, original: unregress.Unlearned, tmp_path: Path) -> None:
    """Rows of the method that is named, one row for the golds, and a caveat about the model whose method is not."""
    lines: list[str] = []
    report = unregress.audit(
        case,
        {"original": original, "mine": net(), "other": net()},
        RUNTIME,
        retrain=Retraining(recipe=SHORT, golds=1, coupled=False, store=tmp_path),
        deep=DeepTests(methods={"mine": FineTune(recipe=SHORT)}, halves=6, seeds=4),
        metrics=ERRORS,
        log=lines.append,
    )
    assert [line.split(",")[0] for line in lines[:3]] == ["ULiRA", "KLoM", "Golds of seeds 1001 to 1001"]
    assert {m.model for m in report.measures if m.metric == "ulira"} == {"original", "mine"}
    assert {m.model for m in report.measures if m.metric == "klom"} == {"original", "mine", "retrained"}
    assert report.caveats[-1].startswith("The deep audit says nothing about other:")
    assert {m.metric for m in report.measures} >= {"mae", "paired", "ulira-auc", "klom-95"}
