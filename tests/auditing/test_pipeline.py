"""What an audit refuses, notes and records."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import unregress
from support.bump_case import RELEARN, RUNTIME, TEST, TRAIN, VALIDATION, Rows, Shift, net, numbers, small_case, table
from unregress.errors import DataError, PreflightError, SettingError, UnregressError
from unregress.evidence import AuditReport, Measurement, MetricInfo, ModelFile, Trace
from unregress.evidence.combined_memory import COMBINED
from unregress.evidence.criterion_specs import CRITERIA
from unregress.evidence.verdict import judge
from unregress.metrics.base import MetricResult, Panel

ERRORS = (unregress.Errors(),)


def fresh(**more: Any) -> dict[str, Any]:
    """An untrained original, the same each time, and more models."""
    torch.manual_seed(0)
    return {"original": net(), **more}


def parts(report: AuditReport) -> dict[str, int]:
    return {part: size for part, size in report.samples.items() if part.startswith(("train", "test"))}


def caveats(report: AuditReport, words: str) -> list[str]:
    return [caveat for caveat in report.caveats if words in caveat]


def test_a_missing_original_lists_the_models() -> None:
    models = {"mine": net(), "yours": net()}
    with pytest.raises(SettingError, match="no model called 'original' among mine, yours"):
        unregress.audit(small_case(), models, RUNTIME, metrics=ERRORS)


def test_all_complaints_at_once() -> None:
    twice = [unregress.Errors(), unregress.Errors()]
    with pytest.raises(PreflightError) as refused:
        unregress.audit(small_case(test=None), {"retrained": net()}, RUNTIME, golds=[net()], metrics=twice)
    text = str(refused.value)
    assert len(refused.value.complaints) == 4
    assert all(words in text for words in ("'original'", "no test data", "called 'retrained'", "measure 'mae'"))


class Unexplained(unregress.Metric):
    """A metric of a user's own that forgot to say what it measures."""

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        yield Measurement(metric="bias", split="train-retain", model="original", value=1.0)


class Explained(Unexplained):
    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(metric="bias", title="Bias", meaning="Mean error.", ideal="0", unit="target units", source="test"),
    )


class Misnamed(Explained):
    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        yield Measurement(metric="biass", split="train-retain", model="original", value=1.0)


class Returning(Explained):
    """Hands a number back in place of findings."""

    def measure(self, panel: Panel) -> Any:
        return 1.0


class Single(Unexplained):
    """`about` is not a tuple."""

    about = Explained.about[0]  # type: ignore[assignment]


KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "metric by name": ({"metrics": ["Errors"]}, r"Metric 1 is the text 'Errors'\. .*`unregress.Errors\(\)`"),
    "metric's class": ({"metrics": [unregress.Errors]}, r"Metric 1 is the class Errors\. .*Call it: `Errors\(\)`"),
    "one metric": ({"metrics": unregress.Errors()}, r"`metrics` is of type Errors\. Expected a list of metrics"),
    "metrics as text": ({"metrics": "Errors"}, r"`metrics` is the text 'Errors'\. Expected a list of metrics"),
    "one gold": ({"golds": nn.Linear(3, 1)}, r"`golds` is of type Linear\. Expected a list of retrained models"),
    "golds in a module": ({"golds": net()}, r"`golds` is of type Sequential\. Expected a list"),
    "gold's weights": ({"golds": [net(), net().state_dict()]}, "Gold 2 is a state dict.*load_state_dict"),
    "original's weights": ({"models": {"original": net().state_dict()}}, "Model 'original' is a state dict"),
    "weights alone": ({"models": net().state_dict()}, "`models` is a state dict"),
    "model without a name": ({"models": net()}, r"`models` is of type Sequential\. Expected models by name"),
    "no model": ({"models": {"original": None}}, r"Model 'original' is of type NoneType\. Expected an `nn.Module`"),
    "metric without about": (
        {"metrics": [Unexplained()]},
        "The metric Unexplained has no `about`.*`MetricInfo` for each",
    ),
    "about not a tuple": ({"metrics": [Single()]}, r"`Single.about` is of type MetricInfo\. Expected a tuple"),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_of_another_kind_is_refused_in_words(name: str) -> None:
    given, expected = KINDS[name]
    arguments = {"models": fresh(), "metrics": ERRORS} | given
    models = arguments.pop("models")
    with pytest.raises(SettingError, match=expected):
        unregress.audit(small_case(), models, RUNTIME, **arguments)


def test_everything_of_another_kind_is_said_at_once_before_anything_is_measured() -> None:
    class Untouchable(Explained):
        def measure(self, panel: Panel) -> Iterator[MetricResult]:
            raise AssertionError("measured")

    models: Any = fresh(mine=net().state_dict())
    metrics: Any = [Untouchable(), "Errors", Unexplained()]
    golds: Any = net()
    with pytest.raises(PreflightError) as refused:
        unregress.audit(small_case(test=None), models, RUNTIME, golds=golds, metrics=metrics)
    assert [complaint.found for complaint in refused.value.complaints] == [
        "Model 'mine' is a state dict, weights without a model",
        "`golds` is of type Sequential",
        "Metric 2 is the text 'Errors'",
        "The metric Unexplained has no `about`",
        "The case has no test data",
    ]


def test_a_number_that_nothing_explains_is_refused_and_not_left_to_the_page() -> None:
    found = r"`Misnamed.measure` measures 'biass', which `Misnamed.about` does not explain\. Expected one of 'bias'"
    with pytest.raises(SettingError, match=found):
        unregress.audit(small_case(), fresh(), RUNTIME, metrics=[Misnamed()])
    with pytest.raises(SettingError, match=r"`Returning.measure` yields something of type float"):
        unregress.audit(small_case(), fresh(), RUNTIME, metrics=[Returning()])
    report = unregress.audit(small_case(), fresh(), RUNTIME, metrics=[Explained()])
    assert report.value("bias", "train-retain", "original") == 1.0


@pytest.mark.parametrize("test", [None, TensorDataset(torch.zeros(0, 3), torch.zeros(0))], ids=["none", "empty"])
def test_test_data_are_needed(test: TensorDataset | None) -> None:
    with pytest.raises(DataError, match=r"no test data|`test` has no samples"):
        unregress.audit(small_case(test=test), fresh(), RUNTIME, metrics=ERRORS)


def test_targets_that_are_no_numbers_are_refused_before_the_report_is_written() -> None:
    x, y = table()
    y[TEST.start + 3] = float("nan")
    with pytest.raises(DataError, match="target"):
        unregress.audit(small_case(test=TensorDataset(x[TEST], y[TEST])), fresh(), RUNTIME, metrics=ERRORS)


def test_two_metrics_of_one_kind_are_refused() -> None:
    """Their numbers would have the same name, and a reader would be given one for the other."""
    twice = [unregress.Membership(), unregress.Membership(features=("loss",))]
    with pytest.raises(SettingError, match="attack"):
        unregress.audit(small_case(), fresh(), RUNTIME, metrics=twice)


@pytest.mark.parametrize("name", ["retrained", "retrained #2", "constant", "original's helper"])
def test_names_of_the_reports_own_rows_are_refused(name: str, original: unregress.Unlearned) -> None:
    taught = replace(original, helper=net())
    with pytest.raises(SettingError, match=f"called [\"']{name}"):
        unregress.audit(small_case(), {"original": taught, name: net()}, RUNTIME, golds=[net(), net()], metrics=ERRORS)


def test_original_golds_models_and_references_have_their_roles_in_this_order() -> None:
    models = {"before": net(), "mine": net()}
    report = unregress.audit(
        small_case(), models, RUNTIME, original="before", golds=[net(), net(), net()], metrics=ERRORS
    )
    assert [(model.name, model.role) for model in report.models] == [
        ("before", "original"),
        ("mine", "unlearned"),
        ("retrained", "gold"),
        ("retrained #2", "gold"),
        ("retrained #3", "gold"),
        ("constant", "reference"),
    ]
    assert report.golds == ["retrained", "retrained #2", "retrained #3"]
    assert report.over_golds("mae", "train-forget") == [
        report.value("mae", "train-forget", name) for name in report.golds
    ]


DISTANCES = {"w1", "w1-residual", "paired", "relative-deviation", "relative-deviation-90"}
PURE = (unregress.Errors(), unregress.Wasserstein(), unregress.Deviation())


def test_without_golds_there_are_errors_and_attacks_but_no_distance_rank_or_verdict(case: unregress.Case) -> None:
    metrics = (*PURE, unregress.AttackAUC())
    report = unregress.audit(case, fresh(mine=net()), RUNTIME, metrics=metrics)
    assert {model for _, _, model in numbers(report)} == {"original", "mine", "constant"}
    measured = {measure.metric for measure in report.measures if measure.value is not None}
    assert {"mae", "rmse", "auc"} <= measured
    assert not measured & (DISTANCES | {"auc-calibrated"})
    assert {measure.p for measure in report.measures} == {None}
    assert report.golds == [] and report.over_golds("mae", "train-forget") == []
    assert {(verdict.model, verdict.outcome) for verdict in report.verdicts} == {
        (name, "INCONCLUSIVE") for name in ("original", "mine", "constant")
    }
    with pytest.raises(KeyError, match="no verdict on model 'somebody'"):
        report.verdict("somebody")
    (said,) = caveats(report, "no verdict is possible")
    assert said.startswith("No model was retrained")


def test_one_gold_has_no_distance_of_its_own_and_gives_no_rank_and_no_verdict(case: unregress.Case) -> None:
    models = fresh(mine=net())
    torch.manual_seed(7)
    report = unregress.audit(case, models, RUNTIME, golds=[net()], metrics=PURE)
    found = numbers(report)
    assert {metric for metric, _, model in found if model == "mine"} == {"mae", "rmse", *DISTANCES}
    assert {metric for metric, _, model in found if model == "retrained"} == {"mae", "rmse"}
    assert {measure.p for measure in report.measures} == {None}
    assert {(verdict.model, verdict.outcome) for verdict in report.verdicts} == {
        (name, "INCONCLUSIVE") for name in ("original", "mine", "constant")
    }
    assert {verdict.reason for verdict in report.verdicts} == {"A verdict needs 5 retrained models, and there is 1."}
    assert len(caveats(report, "too few for a noise floor")) == 1


@pytest.mark.slow
def test_two_golds_have_a_distance_between_them_and_give_ranks(
    case: unregress.Case, original: unregress.Unlearned, golds: list[unregress.Unlearned]
) -> None:
    report = unregress.audit(case, {"original": original}, RUNTIME, golds=golds[:2], metrics=PURE)
    first, second = report.over_golds("paired", "train-forget")
    assert first == second > 0
    assert {report.measure(metric, "train-forget", "original").p for metric in DISTANCES} == {1 / 3}
    assert {measure.p for measure in report.measures if measure.model in report.golds} == {None}


@pytest.mark.parametrize(("golds", "said"), [(1, "there is 1,"), (4, "there are 4,"), (5, None)])
def test_how_much_the_noise_floor_rests_on_is_said(golds: int, said: str | None) -> None:
    report = unregress.audit(small_case(), fresh(), RUNTIME, golds=[net() for _ in range(golds)], metrics=ERRORS)
    about_floor = caveats(report, "noise floor")
    assert len(about_floor) == (said is not None)
    assert said is None or said in about_floor[0]
    assert {verdict.outcome for verdict in report.verdicts} == {"INCONCLUSIVE"}


def test_golds_of_one_seed_are_noticed() -> None:
    torch.manual_seed(7)
    gold, other = net(), net()
    twin = copy.deepcopy(gold)
    twin[1].num_batches_tracked += 1  # other weights by the letter, the same answers
    alike, unlike = (
        unregress.audit(small_case(), fresh(), RUNTIME, golds=golds, metrics=ERRORS)
        for golds in ([gold, other, twin], [gold, other, net()])
    )
    assert len(caveats(alike, "exactly the same predictions")) == 1
    assert not caveats(unlike, "exactly the same predictions")


def test_the_rule_is_recorded_and_followed() -> None:
    rule = unregress.Rule(golds=3, samples=10)
    golds = [net() for _ in range(3)]
    report = unregress.audit(small_case(), fresh(), RUNTIME, golds=golds, metrics=ERRORS, rule=rule)
    assert report.settings["rule"] == asdict(rule)
    assert not caveats(report, "noise floor")
    # Three golds and ten samples would do; but golds that were never trained are no better than a constant.
    assert report.verdict("original").obstacle == "kept"


def test_what_is_judged_is_what_was_measured(
    case: unregress.Case, original: unregress.Unlearned, golds: list[unregress.Unlearned]
) -> None:
    """The audit's verdicts are the rule's on its own numbers: the original fails, and a fresh gold does not."""
    metrics = (*PURE, unregress.AttackAUC())
    fresh_gold, *others = golds
    report = unregress.audit(case, {"original": original, "mine": fresh_gold}, RUNTIME, golds=others, metrics=metrics)
    assert [verdict.model for verdict in report.verdicts] == ["original", "mine", "constant"]
    assert report.verdicts == judge(report, unregress.Rule())
    assert report.verdict("original").outcome == "FAIL"
    assert report.verdict("mine").outcome != "FAIL"
    for verdict in report.verdicts:
        for criterion in verdict.criteria:
            if criterion.metric == COMBINED:
                continue
            assert criterion.value == report.value(criterion.metric, criterion.split, verdict.model)
            assert criterion.gold == pytest.approx(np.mean(report.over_golds(criterion.metric, criterion.split)))
    places = [(criterion.metric, criterion.split) for criterion in report.verdict("mine").criteria]
    measured = [question for question in CRITERIA if question.kind != "memory"]
    assert places == [(COMBINED, "train-forget"), *((question.metric, question.split) for question in measured)]


def test_few_forgotten_samples_are_said_to_be_few() -> None:
    def audited(count: int) -> AuditReport:
        request = unregress.ForgetRequest.random(300, count, seed=0, reason="test")
        return unregress.audit(small_case(request=request), fresh(), RUNTIME, metrics=ERRORS)

    assert len(caveats(audited(29), "Only 29 samples are forgotten")) == 1
    assert not caveats(audited(30), "samples are forgotten")


def test_caveats_of_the_caller_are_kept() -> None:
    report = unregress.audit(small_case(), fresh(), RUNTIME, metrics=ERRORS, caveats=["two twins in the retain set"])
    assert report.caveats[-1] == "two twins in the retain set"


def test_who_asked_and_what_else_remembers_are_in_the_report(tmp_path: Path) -> None:
    request = replace(small_case().requested, requested_by="a patient", requested_on="2026-01-31")
    helped = unregress.Unlearned(
        model=net(), history=(), cost=unregress.Cost(), record=None, deviations=(), helper=net()
    )
    own = Trace(what="scaler", name="scaler.pkl", why="It was fitted on them.")
    report = unregress.audit(
        small_case(request=request),
        fresh(mine=helped),
        RUNTIME,
        metrics=ERRORS,
        files={"original": ModelFile(name="o.pt", sha256="ab" * 32)},
        not_found=["One id."],
        traces=[own],
        retrain=unregress.Retraining(recipe=unregress.Recipe(epochs=1), golds=1, store=tmp_path / "golds"),
    )
    assert (report.requested_by, report.requested_on) == ("a patient", "2026-01-31")
    assert report.not_found == ("One id.",) and "One id." not in report.caveats
    assert [(trace.what, trace.name, trace.sha256) for trace in report.traces] == [
        ("original model", "o.pt", "ab" * 32),
        ("helper model", "mine's helper", ""),
        ("scaler", "scaler.pkl", ""),
        ("retrained models", "golds", ""),
    ]
    assert [trace.remembers for trace in report.traces] == [True, True, True, False]


class Noisy(Rows):
    """Other samples each time."""

    def __getitem__(self, row: int) -> tuple[torch.Tensor, ...]:
        x, y = super().__getitem__(row)
        return x + 0.5 * torch.randn(3), y


def test_samples_that_are_others_at_each_read_are_a_caveat_without_a_preflight() -> None:
    x, y = table()
    said = "change when they are read again"
    report = unregress.audit(small_case(test=Noisy(x[TEST], y[TEST])), fresh(), RUNTIME, metrics=ERRORS)
    (caveat,) = caveats(report, said)
    assert caveat.startswith("32 of 32 test samples, the first at position 0, ")
    report = unregress.audit(small_case(kind=Rows), fresh(), RUNTIME, metrics=ERRORS)
    assert caveats(report, said) == []


def test_relearning_has_no_caveat_where_nothing_was_relearnt() -> None:
    request = unregress.ForgetRequest.random(300, 40, seed=0, reason="test")
    case = small_case(request=request)

    def said(metrics: list[unregress.Metric]) -> bool:
        return any(
            "Relearning" in caveat for caveat in unregress.audit(case, fresh(), RUNTIME, metrics=metrics).caveats
        )

    assert said([RELEARN])
    assert not said([unregress.Errors()])


def test_what_a_method_hands_back_brings_its_record_and_a_bare_module_does_not(
    case: unregress.Case, original: unregress.Unlearned
) -> None:
    blindspot = unregress.Blindspot(layers=1).unlearn(original.model, case, RUNTIME)
    models = {"original": original, "blindspot": blindspot, "bare": blindspot.model}
    report = unregress.audit(case, models, RUNTIME, metrics=ERRORS)
    recorded = {model.name: model for model in report.models}
    assert recorded["blindspot"].record == blindspot.record is not None
    assert recorded["blindspot"].notes == blindspot.notes == ("activations compared at: 0",)
    assert recorded["blindspot"].deviations == blindspot.deviations != ()
    assert recorded["blindspot"].cost == blindspot.cost
    made = original.record
    assert recorded["original"].record == made is not None
    assert (made.method, made.kind, made.seed) == ("train", "trained", RUNTIME.seed)
    assert (recorded["bare"].record, recorded["bare"].deviations, recorded["bare"].cost) == (None, (), None)
    found = numbers(report)
    for (metric, split, model), value in found.items():
        if model == "bare":
            assert found[(metric, split, "blindspot")] == value


def test_the_record_names_request_data_and_settings(case: unregress.Case) -> None:
    report = unregress.audit(case, fresh(), unregress.Runtime(accelerator="cpu", seed=17), metrics=ERRORS)
    assert (report.reason, report.target_band) == ("the bump", (62.0, None))
    assert report.request_digest == case.requested.digest
    assert report.data_digest == case.splits.data_digest
    assert (report.settings["task"], report.settings["seed"], report.settings["device"]) == ("TensorTask", 17, "cpu")
    assert report.settings["versions"]["torch"] == version("torch")
    assert {about.metric for about in report.about} == {measure.metric for measure in report.measures}


def test_held_out_look_alikes_come_from_the_target_band(case: unregress.Case) -> None:
    _, y = table()
    report = unregress.audit(case, fresh(), RUNTIME, metrics=[unregress.Errors(), RELEARN])
    sizes = {
        "train-retain": (y[TRAIN] < 62).sum(),
        "train-forget": (y[TRAIN] >= 62).sum(),
        "test-retain": (y[TEST] < 62).sum(),
        "test-forget": (y[TEST] >= 62).sum(),
    }
    assert parts(report) == {part: int(size) for part, size in sizes.items()}
    assert {split for metric, split, _ in numbers(report) if metric == "relearn-steps"} == {"validation-forget"}
    assert not caveats(report, "No held-out") and not caveats(report, "since no held-out")


def test_a_request_without_look_alikes_has_no_held_out_forget_part() -> None:
    request = unregress.ForgetRequest.random(300, 40, seed=0, reason="test")
    report = unregress.audit(small_case(request=request), fresh(), RUNTIME, metrics=ERRORS)
    assert parts(report) == {"train-retain": 260, "train-forget": 40, "test-retain": 120}
    assert "test-forget" not in {measure.split for measure in report.measures}
    assert any("No held-out samples of the forgotten kind" in caveat for caveat in report.caveats)


@pytest.mark.parametrize("random", [True, False], ids=["random request", "band request"])
def test_a_group_that_is_given_goes_before_the_band(random: bool) -> None:
    request = unregress.ForgetRequest.random(300, 40, seed=0, reason="test")
    changes = {"request": request} if random else {}
    case = small_case(test_forget_like=[0, 5, 6], validation_forget_like=[1, 2], **changes)
    report = unregress.audit(case, fresh(), RUNTIME, metrics=[unregress.Errors(), RELEARN])
    assert (parts(report)["test-forget"], parts(report)["test-retain"]) == (3, 117)
    x, y = (tensor[TEST][[0, 5, 6]] for tensor in table())
    with torch.no_grad():
        expected = (fresh()["original"].eval()(x).squeeze(1) - y).abs().mean()
    assert report.value("mae", "test-forget", "original") == pytest.approx(float(expected), rel=1e-5)
    assert {split for metric, split, _ in numbers(report) if metric == "relearn-steps"} == {"validation-forget"}


def test_quantile_tasks_have_their_loss_as_a_row() -> None:
    def quantiles() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 3), Shift())

    task = unregress.TensorTask(build_model=quantiles, loss="quantile")
    models = {"original": quantiles()}
    report = unregress.audit(small_case(task=task), models, RUNTIME, metrics=[unregress.Errors(), RELEARN])
    x, y = (tensor[TEST] for tensor in table())
    kept = y < 62
    with torch.no_grad():
        error = y[kept, None] - models["original"](x[kept])
    level = torch.tensor([0.1, 0.5, 0.9])
    pinball = torch.where(error >= 0, level * error, (level - 1) * error).sum(1).mean()
    assert report.value("loss", "test-retain", "original") == pytest.approx(float(pinball), rel=1e-5)
    assert report.value("mae", "test-retain", "original") == pytest.approx(float(error[:, 1].abs().mean()), rel=1e-5)


def test_absolute_and_squared_losses_are_not_repeated(case: unregress.Case) -> None:
    for loss, task in (("l1", case.task), ("mse", unregress.TensorTask(build_model=net, loss="mse"))):
        report = unregress.audit(small_case(task=task), fresh(), RUNTIME, metrics=ERRORS)
        assert {measure.metric for measure in report.measures} == {"mae", "rmse"}, loss


@pytest.mark.parametrize("outputs", [1, 2])
def test_several_outputs(outputs: int) -> None:
    """Two equal outputs say what one says."""
    x, y = table()
    wide = y[:, None].repeat(1, outputs)

    def make() -> nn.Module:
        torch.manual_seed(0)
        model = nn.Linear(3, outputs)
        model.weight.data[:] = model.weight.data[:1].clone()
        model.bias.data[:] = 50
        return model

    original, gold = make(), make()
    gold.bias.data += 3
    case = small_case(
        task=unregress.TensorTask(build_model=make, loss="mse"),
        request=unregress.ForgetRequest.where((y[TRAIN] >= 62).numpy(), reason="test"),
        train=TensorDataset(x[TRAIN], wide[TRAIN]),
        validation=TensorDataset(x[VALIDATION], wide[VALIDATION]),
        test=TensorDataset(x[TEST], wide[TEST]),
    )
    metrics = [unregress.Errors(), unregress.Wasserstein(), unregress.Deviation(), unregress.Membership()]
    report = unregress.audit(case, {"original": original}, RUNTIME, golds=[gold], metrics=metrics)
    # Several outputs are in units of their spread, a single one is not.
    kept = y[TRAIN][(y[TRAIN] < 62)].double().numpy()
    unit = 1.0 if outputs == 1 else float(np.abs(kept - np.median(kept)).mean())
    assert report.value("paired", "train-forget", "original") == pytest.approx(3 / unit, rel=1e-5)
    assert report.value("w1", "train-forget", "original") == pytest.approx(3 / unit, rel=1e-5)
    (paired,) = (about for about in report.about if about.metric == "paired")
    assert paired.unit == ("target units" if outputs == 1 else "target spreads")
    assert len(caveats(report, "means over 2 outputs")) == outputs - 1
    assert 0 <= report.value("attack", "train-forget", "original") <= 1  # type: ignore[operator]


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_the_callers_gradient_mode_is_nothing(context: Any, case: unregress.Case) -> None:
    metrics = [unregress.Membership(), RELEARN]
    expected = unregress.audit(case, fresh(), RUNTIME, metrics=metrics)
    models = fresh()
    with context():
        found = unregress.audit(case, models, RUNTIME, metrics=metrics)
    assert numbers(found) == numbers(expected)


class Still(nn.Module):
    """A network that says the same whatever it is asked, and has no final linear layer."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.value.expand(len(x))


def test_a_network_that_answers_a_constant_is_what_the_constant_row_is(case: unregress.Case) -> None:
    """At the median of the retained targets, all but its relearning is the same."""
    y = table()[1][TRAIN]
    middle = float(y[y < 62].median())
    metrics = [*PURE, unregress.AttackAUC(), unregress.Membership(features=("loss",))]
    report = unregress.audit(case, fresh(still=Still(middle)), RUNTIME, golds=[net(), net()], metrics=metrics)
    found = numbers(report)
    assert {key: value for key, value in found.items() if key[2] == "constant"} == {
        (metric, split, "constant"): (pytest.approx(value, rel=1e-6), bound, note)
        for (metric, split, model), (value, bound, note) in found.items()
        if model == "still"
    }
    assert all(len(curve.x) == len(curve.y) for figure in report.figures for curve in figure.curves)


def test_the_constant_has_no_layer_and_cannot_relearn(case: unregress.Case) -> None:
    metrics = [unregress.Membership(), RELEARN]
    found = numbers(unregress.audit(case, fresh(), RUNTIME, golds=[net()], metrics=metrics))
    assert {value for (*_, model), (value, _, _) in found.items() if model == "constant"} <= {None}
    assert all(note for (*_, model), (_, _, note) in found.items() if model == "constant")


def test_a_model_that_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises((UnregressError, RuntimeError)) as refused:
        unregress.audit(small_case(), fresh(broken=nn.Linear(7, 1)), RUNTIME, metrics=ERRORS)
    assert isinstance(refused.value, UnregressError)
    assert "broken" in str(refused.value)


@pytest.mark.parametrize(
    "limit", [np.float32(62), np.int64(62), torch.tensor(62.0)], ids=["float32", "int64", "tensor"]
)
def test_limits_of_any_number_type_can_be_written(limit: Any, tmp_path: Any) -> None:
    request = unregress.ForgetRequest.band(table()[1][TRAIN], low=limit, reason="test")
    report = unregress.audit(small_case(request=request), fresh(), RUNTIME, metrics=ERRORS)
    report.to_json(tmp_path / "audit.json")
    assert AuditReport.from_json(tmp_path / "audit.json") == report


def test_the_day_is_recorded_in_utc_or_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    before = datetime.now(UTC).date().isoformat()
    found = unregress.audit(small_case(), fresh(), RUNTIME, metrics=ERRORS).date
    assert found in (before, datetime.now(UTC).date().isoformat())
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86399")
    assert unregress.audit(small_case(), fresh(), RUNTIME, metrics=ERRORS).date == "1970-01-01"


@pytest.mark.parametrize("given", ["", "today", "1e9", "9" * 30])
def test_a_day_that_the_environment_gives_badly_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", given)
    with pytest.raises(SettingError, match="SOURCE_DATE_EPOCH"):
        unregress.audit(small_case(), fresh(), RUNTIME, metrics=ERRORS)


def test_the_file_of_each_model_is_recorded(golds: list[unregress.Unlearned]) -> None:
    named = ("original", "mine", "retrained #2")
    files = {name: ModelFile(name=f"{n}.pt", sha256=f"{n}" * 64) for n, name in enumerate(named)}
    models = fresh(mine=net(), other=net())
    report = unregress.audit(small_case(), models, RUNTIME, golds=golds[:2], metrics=ERRORS, files=files)
    assert {model.name: model.file for model in report.models if model.file} == files
    assert [model.name for model in report.models if not model.file] == ["other", "retrained", "constant"]
    with pytest.raises(SettingError, match="`files` names 'orginal'"):
        unregress.audit(small_case(), models, RUNTIME, metrics=ERRORS, files={"orginal": files["original"]})
