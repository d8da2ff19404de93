"""What an audit refuses, notes and records."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import unregress
from audit.small import RELEARN, RUNTIME, TEST, TRAIN, VALIDATION, Shift, net, numbers, small_case, table
from unregress.errors import DataError, PreflightError, SettingError, UnregressError
from unregress.evidence import AuditReport

ERRORS = (unregress.Errors(),)


def pair(**more: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    return {"original": net(), "retrained": net(), **more}


def parts(report: AuditReport) -> dict[str, int]:
    return {part: size for part, size in report.samples.items() if part.startswith(("train", "test"))}


@pytest.mark.parametrize("missing", ["original", "retrained"])
def test_a_missing_role_lists_the_models(missing: str) -> None:
    models = pair(mine=net())
    del models[missing]
    with pytest.raises(SettingError, match=f"no model called '{missing}' among {', '.join(models)}"):
        unregress.audit(small_case(), models, RUNTIME, metrics=ERRORS)


def test_all_complaints_at_once() -> None:
    with pytest.raises(PreflightError) as refused:
        unregress.audit(small_case(test=None), {}, RUNTIME, metrics=ERRORS)
    text = str(refused.value)
    assert len(refused.value.complaints) == 3
    assert "'original'" in text and "'retrained'" in text and "no test data" in text


def test_the_same_model_in_both_roles_is_refused() -> None:
    with pytest.raises(SettingError, match="Original and gold are both called 'original'"):
        unregress.audit(small_case(), pair(), RUNTIME, gold="original", metrics=ERRORS)


@pytest.mark.parametrize("test", [None, TensorDataset(torch.zeros(0, 3), torch.zeros(0))], ids=["none", "empty"])
def test_test_data_are_needed(test: TensorDataset | None) -> None:
    with pytest.raises(DataError, match=r"no test data|`test` has no samples"):
        unregress.audit(small_case(test=test), pair(), RUNTIME, metrics=ERRORS)


def test_targets_that_are_no_numbers_are_refused_before_the_report_is_written() -> None:
    x, y = table()
    y[TEST.start + 3] = float("nan")
    with pytest.raises(DataError, match="target"):
        unregress.audit(small_case(test=TensorDataset(x[TEST], y[TEST])), pair(), RUNTIME, metrics=ERRORS)


def test_two_metrics_of_one_kind_are_refused() -> None:
    """Their numbers would have the same name, and a reader would be given one for the other."""
    twice = [unregress.Membership(), unregress.Membership(features=("loss",))]
    with pytest.raises(SettingError, match="attack"):
        unregress.audit(small_case(), pair(), RUNTIME, metrics=twice)


def test_further_golds_never_share_a_name_with_a_model() -> None:
    models = pair(**{"retrained #2": net()})
    try:
        report = unregress.audit(small_case(), models, RUNTIME, floor=[net()], metrics=ERRORS)
    except SettingError as refused:
        assert "retrained #2" in str(refused)
    else:
        names = [model.name for model in report.models]
        assert len(set(names)) == len(names) == 4


def test_other_names_for_original_and_gold() -> None:
    models = {"before": net(), "reference": net(), "mine": net()}
    report = unregress.audit(
        small_case(), models, RUNTIME, original="before", gold="reference", floor=[net(), net()], metrics=ERRORS
    )
    assert [(model.name, model.role) for model in report.models] == [
        ("before", "original"),
        ("reference", "gold"),
        ("mine", "unlearned"),
        ("reference #2", "floor"),
        ("reference #3", "floor"),
    ]
    assert report.gold.name == "reference"
    assert report.floor("mae", "train-forget") == [
        report.value("mae", "train-forget", name) for name in ("reference #2", "reference #3")
    ]


@pytest.mark.parametrize(
    ("floor", "said"),
    [(0, "single retrained model"), (1, "rests on 1 further"), (3, "rests on 3 further"), (4, None)],
)
def test_how_much_the_noise_floor_rests_on_is_said(floor: int, said: str | None) -> None:
    further = [net() for _ in range(floor)]
    report = unregress.audit(small_case(), pair(), RUNTIME, floor=further, metrics=ERRORS)
    about_floor = [caveat for caveat in report.caveats if "noise floor" in caveat]
    assert len(about_floor) == (said is not None)
    assert said is None or said in about_floor[0]


def test_few_forgotten_samples_are_said_to_be_few() -> None:
    def caveats(count: int) -> str:
        request = unregress.ForgetRequest.random(300, count, seed=0, reason="test")
        return " ".join(unregress.audit(small_case(request=request), pair(), RUNTIME, metrics=ERRORS).caveats)

    assert "Only 29 samples are forgotten" in caveats(29)
    assert "samples are forgotten" not in caveats(30)


def test_caveats_of_the_caller_are_kept() -> None:
    report = unregress.audit(small_case(), pair(), RUNTIME, metrics=ERRORS, caveats=["two twins in the retain set"])
    assert report.caveats[-1] == "two twins in the retain set"


def test_relearning_has_no_caveat_where_nothing_was_relearnt() -> None:
    request = unregress.ForgetRequest.random(300, 40, seed=0, reason="test")
    case = small_case(request=request)

    def said(metrics: list[unregress.Metric]) -> bool:
        return any("Relearning" in caveat for caveat in unregress.audit(case, pair(), RUNTIME, metrics=metrics).caveats)

    assert said([RELEARN])
    assert not said([unregress.Errors()])


def test_what_a_method_hands_back_brings_its_record_and_a_bare_module_does_not(
    case: unregress.Case, original: unregress.Unlearned
) -> None:
    blindspot = unregress.Blindspot(layers=1).unlearn(original.model, case, RUNTIME)
    models = {"original": original, "retrained": net(), "blindspot": blindspot, "bare": blindspot.model}
    report = unregress.audit(case, models, RUNTIME, metrics=ERRORS)
    recorded = {model.name: model for model in report.models}
    assert recorded["blindspot"].method.startswith("Blindspot(helper=Recipe(epochs=2")
    assert recorded["blindspot"].notes == blindspot.notes == ("activations compared at: 0",)
    assert recorded["blindspot"].deviations == blindspot.deviations != ()
    assert recorded["blindspot"].cost == blindspot.cost
    assert recorded["original"].method.startswith("train(Recipe(")
    assert (recorded["bare"].method, recorded["bare"].deviations, recorded["bare"].cost) == ("", (), None)
    found = numbers(report)
    for (metric, split, model), value in found.items():
        if model == "bare":
            assert found[(metric, split, "blindspot")] == value


def test_the_record_names_request_data_and_settings(case: unregress.Case) -> None:
    report = unregress.audit(case, pair(), unregress.Runtime(accelerator="cpu", seed=17), metrics=ERRORS)
    assert (report.reason, report.target_band) == ("the bump", (62.0, None))
    assert report.request_digest == case.request.digest
    assert report.data_digest == case.data_digest
    assert (report.settings["task"], report.settings["seed"], report.settings["device"]) == ("TensorTask", 17, "cpu")
    assert report.settings["versions"]["torch"] == version("torch")
    assert {about.metric for about in report.about} == {measure.metric for measure in report.measures}


def test_held_out_look_alikes_come_from_the_target_band(case: unregress.Case) -> None:
    _, y = table()
    report = unregress.audit(case, pair(), RUNTIME, metrics=[unregress.Errors(), RELEARN])
    sizes = {
        "train-retain": (y[TRAIN] < 62).sum(),
        "train-forget": (y[TRAIN] >= 62).sum(),
        "test-retain": (y[TEST] < 62).sum(),
        "test-forget": (y[TEST] >= 62).sum(),
    }
    assert parts(report) == {part: int(size) for part, size in sizes.items()}
    assert {split for metric, split, _ in numbers(report) if metric == "ain"} == {"validation-forget"}
    assert not any("held-out" in caveat for caveat in report.caveats)


def test_a_request_without_look_alikes_has_no_held_out_forget_part() -> None:
    request = unregress.ForgetRequest.random(300, 40, seed=0, reason="test")
    report = unregress.audit(small_case(request=request), pair(), RUNTIME, metrics=ERRORS)
    assert parts(report) == {"train-retain": 260, "train-forget": 40, "test-retain": 120}
    assert "test-forget" not in {measure.split for measure in report.measures}
    assert any("No held-out samples of the forgotten kind" in caveat for caveat in report.caveats)


@pytest.mark.parametrize("random", [True, False], ids=["random request", "band request"])
def test_a_group_that_is_given_goes_before_the_band(random: bool) -> None:
    request = unregress.ForgetRequest.random(300, 40, seed=0, reason="test")
    changes = {"request": request} if random else {}
    case = small_case(test_group=[0, 5, 6], validation_group=[1, 2], **changes)
    report = unregress.audit(case, pair(), RUNTIME, metrics=[unregress.Errors(), RELEARN])
    assert (parts(report)["test-forget"], parts(report)["test-retain"]) == (3, 117)
    x, y = (tensor[TEST][[0, 5, 6]] for tensor in table())
    with torch.no_grad():
        expected = (pair()["original"].eval()(x).squeeze(1) - y).abs().mean()
    assert report.value("mae", "test-forget", "original") == pytest.approx(float(expected), rel=1e-5)
    assert {split for metric, split, _ in numbers(report) if metric == "ain"} == {"validation-forget"}


def test_quantile_tasks_have_their_loss_as_a_row() -> None:
    def quantiles() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 3), Shift())

    task = unregress.TensorTask(build_model=quantiles, loss="quantile")
    models = {"original": quantiles(), "retrained": quantiles()}
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
        report = unregress.audit(small_case(task=task), pair(), RUNTIME, metrics=ERRORS)
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
    report = unregress.audit(case, {"original": original, "retrained": gold}, RUNTIME, metrics=metrics)
    assert report.value("paired", "train-forget", "original") == pytest.approx(3, rel=1e-5)
    assert report.value("w1", "train-forget", "original") == pytest.approx(3, rel=1e-5)
    assert 0 <= report.value("attack", "train-forget", "original") <= 1  # type: ignore[operator]


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_the_callers_gradient_mode_is_nothing(context: Any, case: unregress.Case) -> None:
    metrics = [unregress.Membership(), RELEARN]
    expected = unregress.audit(case, pair(), RUNTIME, metrics=metrics)
    models = pair()
    with context():
        found = unregress.audit(case, models, RUNTIME, metrics=metrics)
    assert numbers(found) == numbers(expected)


class Constant(nn.Module):
    """The row of a constant predictor, such as the median of the retained labels."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.value.expand(len(x))


def test_a_constant_predictor_can_be_audited() -> None:
    models = pair(constant=Constant(51.0))
    metrics = [unregress.Errors(), unregress.Wasserstein(), unregress.Deviation()]
    metrics += [unregress.Membership(features=("loss",)), RELEARN]
    report = unregress.audit(small_case(), models, RUNTIME, metrics=metrics)
    y = table()[1][TRAIN]
    expected = float((y[y >= 62] - 51).abs().mean())
    assert report.value("mae", "train-forget", "constant") == pytest.approx(expected, rel=1e-5)
    assert all(len(curve.x) == len(curve.y) for figure in report.figures for curve in figure.curves)


def test_a_model_that_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises((UnregressError, RuntimeError)) as refused:
        unregress.audit(small_case(), pair(broken=nn.Linear(7, 1)), RUNTIME, metrics=ERRORS)
    assert isinstance(refused.value, UnregressError)
    assert "broken" in str(refused.value)


@pytest.mark.parametrize(
    "limit", [np.float32(62), np.int64(62), torch.tensor(62.0)], ids=["float32", "int64", "tensor"]
)
def test_limits_of_any_number_type_can_be_written(limit: Any, tmp_path: Any) -> None:
    request = unregress.ForgetRequest.band(table()[1][TRAIN], low=limit, reason="test")
    report = unregress.audit(small_case(request=request), pair(), RUNTIME, metrics=ERRORS)
    report.to_json(tmp_path / "audit.json")
    assert AuditReport.from_json(tmp_path / "audit.json") == report
