"""Coupled golds: where they start, how the coupling is measured, and what the report says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import unregress
from support.bump_case import numbers
from support.small_cases import CPU
from support.tiny_project import load_data, make_task
from unregress import FineTune, Project, Recipe, Retrain, Retraining
from unregress.auditing.coupled import coupling_caveats, starts_of
from unregress.auditing.pipeline import AuditJob, AuditResult
from unregress.errors import ModelError, SettingError
from unregress.evidence import OTHER_START, AuditReport, Measurement
from unregress.evidence.rule import Rule
from unregress.methods import Unlearned
from unregress.methods.unlearned import Candidate
from unregress.metrics import Deviation, Errors
from unregress.metrics.coupling import coupling
from unregress.report import model_card, render_html
from unregress.report.conclusion import conclusion
from unregress.report.verdicts import verdict_rows
from unregress.tasks.weights import weights_of

RECIPE = Recipe(epochs=3, lr=1e-2, batch_size=16)
METRICS = (Errors(), Deviation())
DATA = load_data()
KEPT = 59


@pytest.fixture(scope="module")
def case() -> unregress.Case:
    request = unregress.ForgetRequest(size=60, forget=tuple(range(5, 40, 2)), reason="test")
    return unregress.Case(task=make_task("mse"), splits=DATA, request=request)


@pytest.fixture(scope="module")
def original(case: unregress.Case) -> Unlearned:
    return unregress.train(case, RECIPE, CPU)


@pytest.fixture(scope="module")
def audited(case: unregress.Case, original: Unlearned) -> AuditResult:
    """An audit with two golds and no further setting: the original brings its initial weights."""
    return job(case, original, Retraining(recipe=RECIPE, golds=2)).run()


def job(case: unregress.Case, original: Candidate, retrain: Retraining | None = None, **more: object) -> AuditJob:
    fields = {"case": case, "models": {"original": original}, "runtime": CPU, "metrics": METRICS, "retrain": retrain}
    return AuditJob(**{**fields, **more})  # type: ignore[arg-type]


def gold(case: unregress.Case, seed: int, start: nn.Module | None = None, recipe: Recipe = RECIPE) -> Unlearned:
    return Retrain(recipe=recipe, start=start).unlearn(case.task.build_model(), case, replace(CPU, seed=seed))


def answers(case: unregress.Case, model: nn.Module) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    with torch.no_grad():
        found: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = model(DATA.test.tensors[0]).double().numpy()
    return found


def statements(report: AuditReport) -> list[str]:
    return [caveat for caveat in report.caveats if "initial weights" in caveat]


def test_golds_start_where_the_original_did_and_differ_in_their_order(
    case: unregress.Case, original: Unlearned, audited: AuditResult
) -> None:
    named = {each.name: each for each in audited.trained}
    assert list(named) == ["retrained", "retrained #2", OTHER_START]
    assert [each.seed for each in audited.trained] == [1001, 1002, 1000]
    records = {model.name: model.record for model in audited.report.models}
    own = original.record.start
    assert own and own == weights_of(original.start)
    assert records["retrained"].start == records["retrained #2"].start == own != records[OTHER_START].start
    assert len({weights_of(each.model.model) for each in audited.trained}) == 3
    # They are those of the method, from these initial weights and from new ones.
    assert weights_of(named["retrained"].model.model) == weights_of(gold(case, 1001, original.start).model)
    assert weights_of(named[OTHER_START].model.model) == weights_of(gold(case, 1000).model)


def test_the_coupling_is_measured_on_the_test_samples(
    case: unregress.Case, original: Unlearned, audited: AuditResult
) -> None:
    report = audited.report
    own, *near, far = (answers(case, model.model) for model in (original, *(each.model for each in audited.trained)))
    whole = np.abs(far - own).mean()
    values = [np.abs(each - own).mean() / whole for each in near]
    rows = {m.model: m.value for m in report.measures if m.metric == "coupling"}
    assert rows == {"retrained": pytest.approx(values[0]), "retrained #2": pytest.approx(values[1])}
    between = np.abs(near[0] - near[1]).mean()
    among = [between / np.abs(each - far).mean() for each in near]
    rows = {m.model: m.value for m in report.measures if m.metric == "coupling-golds"}
    assert rows == {"retrained": pytest.approx(among[0]), "retrained #2": pytest.approx(among[1])}
    assert all("initial weights" in about.meaning for about in report.about if about.metric.startswith("coupling"))
    first, second = statements(report)
    assert "this very model" in first and f"coupling is {np.mean(values):.2f}:" in second
    assert f"it is {np.mean(among):.2f}. That is" in second


def test_the_model_of_another_start_is_shown_for_scale_and_not_judged(
    audited: AuditResult, case: unregress.Case
) -> None:
    report = audited.report
    (row,) = [model for model in report.models if model.name == OTHER_START]
    assert row.role == "reference" and row.name not in report.golds
    # It is measured as every model is, and it has no verdict, which could look like a failure.
    assert report.value("paired", "train-forget", OTHER_START) > 0
    assert {verdict.model for verdict in report.verdicts} == {"original", "constant"}
    assert OTHER_START not in {shown.model for shown in verdict_rows(report)}
    page, card = render_html(report), model_card(report)
    assert OTHER_START in page and OTHER_START not in card


def test_a_report_with_the_row_is_read_back(audited: AuditResult, tmp_path: object) -> None:
    path = f"{tmp_path}/audit.json"
    audited.report.to_json(path)
    assert AuditReport.from_json(path) == audited.report


def test_a_model_retrained_from_another_start_does_not_fail_beside_coupled_golds(
    case: unregress.Case,
) -> None:
    """It never saw the samples; that it is far from golds of one start is no sign of memory."""
    longer = replace(RECIPE, epochs=20, lr=0.1)
    original = unregress.train(case, longer, CPU)
    golds = [gold(case, seed, original.start, longer) for seed in (1, 2, 3)]
    own, apart = gold(case, 5, original.start, longer), gold(case, 4, None, longer)
    models = {"original": original, "apart": apart, "own": own}
    rule = Rule(golds=3, samples=5)
    report = job(case, original, models=models, golds=golds, rule=rule).run().report
    verdict = report.verdict("apart")
    assert (verdict.outcome, verdict.obstacle) == ("INCONCLUSIVE", "golds")
    assert "other initial weights" in verdict.reason and "other initial weights" not in report.verdict("own").reason
    (told,) = [each for each in conclusion(report).models if each.model == "apart"]
    assert told.deployable and "never saw them" in told.sentence
    # Beside golds that each have a start of their own it is judged as any other model.
    mixed = job(case, original, models=models, golds=[*golds[:2], gold(case, 6, None, longer)], rule=rule).run().report
    assert mixed.verdict("apart").reason != verdict.reason


def test_new_initial_weights_on_request(case: unregress.Case, original: Unlearned) -> None:
    report, trained = job(case, original, Retraining(recipe=RECIPE, golds=2, coupled=False)).run()
    assert [each.name for each in trained] == ["retrained", "retrained #2"]
    given = job(case, original, golds=[gold(case, 1001), gold(case, 1002)]).run().report
    assert numbers(given) == numbers(report) and given.caveats == report.caveats
    assert "coupling" not in {measure.metric for measure in report.measures}
    (only,) = statements(report)
    assert "have other initial weights than the original" in only


def test_an_original_of_unknown_initial_weights_is_audited_as_before(case: unregress.Case, original: Unlearned) -> None:
    report, trained = job(case, original.model, Retraining(recipe=RECIPE, golds=2)).run()
    given = job(case, original.model, golds=[gold(case, 1001).model, gold(case, 1002).model]).run().report
    assert len(trained) == 2 and numbers(report) == numbers(given)
    assert report.caveats == given.caveats and statements(report) == []


def test_initial_weights_may_be_given_beside_a_bare_original(
    case: unregress.Case, original: Unlearned, audited: AuditResult
) -> None:
    report = job(case, original.model, Retraining(recipe=RECIPE, golds=2), start=original.start).run().report
    assert numbers(report) == numbers(audited.report) and statements(report) == statements(audited.report)


GIVEN: dict[str, tuple[Sequence[str], str]] = {
    "all of the original's start": (["same", "same"], "is not known, since there is no model with other initial"),
    "both kinds": (["same", "other"], "Of 2 retrained models 1 start from the original's own"),
    "one of unknown start": (["same", "bare"], "Of 2 retrained models 1 start from the original's own"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_given_golds_are_recognised_by_their_records(name: str, case: unregress.Case, original: Unlearned) -> None:
    kinds, said = GIVEN[name]
    made: list[Candidate] = []
    for seed, kind in enumerate(kinds, 1):
        found = gold(case, seed, original.start if kind == "same" else None)
        made.append(found.model if kind == "bare" else found)
    report = job(case, original, golds=made).run().report
    assert said in " ".join(statements(report))
    values = {m.model: m.value for m in report.measures if m.metric == "coupling"}
    if name == "both kinds":
        own, near, far = (answers(case, each.model) for each in (original, *made))
        assert values == {"retrained": pytest.approx(np.abs(near - own).mean() / np.abs(far - own).mean())}
    else:
        assert set(values.values()) == {None}


def test_a_given_gold_of_another_start_spares_one_training(case: unregress.Case, original: Unlearned) -> None:
    report, trained = job(case, original, Retraining(recipe=RECIPE, golds=1), golds=[gold(case, 1)]).run()
    assert [each.name for each in trained] == ["retrained #2"]
    assert {m.model for m in report.measures if m.metric == "coupling" and m.value is not None} == {"retrained #2"}


class Zero(nn.Linear):
    """A model whose initial weights are always the same."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


def test_a_model_that_always_starts_alike_has_no_other_start(case: unregress.Case) -> None:
    alike = replace(case, task=unregress.TensorTask(build_model=lambda: Zero(3, 1)))
    first = unregress.train(alike, RECIPE, CPU)
    report, trained = job(alike, first, Retraining(recipe=RECIPE, golds=2)).run()
    assert [each.name for each in trained] == report.golds
    assert {m.value for m in report.measures if m.metric == "coupling"} == {None}
    assert "no model with other initial weights" in " ".join(statements(report))


def test_wrong_initial_weights_are_refused(case: unregress.Case, original: Unlearned) -> None:
    with pytest.raises(SettingError) as record:
        job(case, original, start=make_task().build_model()).check()
    assert "the original's record names" in record.value.found
    with pytest.raises(ModelError, match="another architecture"):
        job(case, original.model, Retraining(recipe=RECIPE, golds=1), start=nn.Linear(3, 1)).run()
    with pytest.raises(SettingError, match="coupled=False"):
        Retraining(recipe=RECIPE, coupled=False, start=original.start)
    with pytest.raises(SettingError) as name:
        job(case, original, models={"original": original, OTHER_START: make_task().build_model()}).check()
    assert OTHER_START in name.value.found


@pytest.mark.parametrize(("kappa", "word"), [(0.1, "strong"), (0.5, "moderate"), (0.9, "weak")])
def test_words_for_the_coupling(kappa: float, word: str) -> None:
    made = Unlearned(model=nn.Linear(1, 1), history=(), cost=unregress.Cost(), start_digest="aa")
    starts = starts_of("aa", [made], {})
    measures = [Measurement(metric="coupling", split="test", model="retrained", value=kappa)]
    *_, said = coupling_caveats(starts, 1, measures)
    assert f"coupling is {kappa:.2f}" in said and f"That is {word}:" in said
    assert ("as good as any" in said) == (word == "weak") and "also holds what forgetting" in said
    # Several golds tell it without what forgetting changed, which is what the word is about.
    measures += [Measurement(metric="coupling-golds", split="test", model="retrained", value=0.2)]
    *_, said = coupling_caveats(starts, 1, measures)
    assert f"coupling is {kappa:.2f}" in said and "it is 0.20. That is strong:" in said


def test_a_large_request_hides_the_coupling_against_the_original_and_not_among_golds() -> None:
    """Forgetting moves golds of every start by 10, of which the initial weights decide one part in ten."""
    rng = np.random.default_rng(0)
    original, other = rng.normal(size=(2, 1000))
    golds = [original + 10 + 0.1 * rng.normal(size=1000) for _ in range(3)]
    assert coupling(golds, [other + 10], original) == pytest.approx(1, abs=0.01)
    assert coupling(golds[1:], [other + 10], golds[0]) == pytest.approx(0.1, abs=0.01)
    # With next to nothing forgotten, both agree: the original is one more gold.
    assert coupling([each - 10 for each in golds[1:]], [other], golds[0] - 10) == pytest.approx(0.1, abs=0.01)


def test_a_project_trains_coupled_golds_unless_told_otherwise() -> None:
    lines: list[str] = []
    fields: Mapping[str, object] = {"task": make_task("mse"), "training": RECIPE, "splits": DATA, "runtime": CPU}
    project = Project(**fields, log=lines.append)
    project.train()
    done = project.forget(ids=["p3", "p4"], reason="test", method=FineTune(recipe=RECIPE))
    report = project.audit(done, golds=1, metrics=[Errors()])
    known = {model.name: model.record.start for model in report.models if model.record is not None}
    assert known["retrained"] == known["original"] == known["FineTune"] == weights_of(project.start)
    assert known[OTHER_START] != known["original"] and lines[-1].startswith("Golds of seeds 1001 to 1001 from the")
    assert "2 models to train" in lines[-1]
    # A bare model with its initial weights named is the same; without them, golds have their own.
    bare = Project(**fields, model=project.model.model, start=project.start, log=lines.append)
    again = bare.audit(bare.forget(ids=["p3", "p4"], reason="test", method=FineTune(recipe=RECIPE)), golds=1,
                       metrics=[Errors()])  # fmt: skip
    assert numbers(again) == numbers(report)
    apart = project.audit(done, golds=1, coupled=False, metrics=[Errors()])
    assert OTHER_START not in {model.name for model in apart.models}
    assert {m.record.start for m in apart.models if m.role == "gold"}.isdisjoint({known["original"]})
