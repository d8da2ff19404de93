"""ForecastingTask: which batches it opens and which it refuses, and all that works on pytorch-forecasting's own."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from support.small_cases import CPU
from unregress import (
    Blindspot,
    Case,
    FineTune,
    ForecastingTask,
    ForgetRequest,
    GaussianAmnesiac,
    Membership,
    Quantile,
    Recipe,
    Retrain,
    Splits,
    audit,
)
from unregress.errors import DataError, ModelError
from unregress.hooks.final_layer import final_linear
from unregress.methods.original import train

# Of users' own transformers Lightning says that their losses are modules.
pytestmark = pytest.mark.filterwarnings("ignore:Attribute '.*' is an instance of `nn.Module`")


class Answers(nn.Module):
    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: dict[str, Tensor]) -> Any:
        return self.answer


def batch(y: Any, weight: Any = None, **x: Tensor) -> Any:
    return {"encoder_cont": torch.zeros(2, 3, 1), **x}, (y, weight)


Y = torch.tensor([[1.0, 2.0], [0.0, 4.0]])
QUANTILES = torch.stack([Y - 1, Y, Y + 2], dim=-1)


@pytest.mark.parametrize(
    "wrap",
    [lambda answer: answer, lambda answer: {"prediction": answer}, lambda answer: SimpleNamespace(prediction=answer)],
    ids=["tensor", "dict", "attribute"],
)
def test_quantiles_their_median_and_their_loss(wrap: Any) -> None:
    """Levels 0.1, 0.5, 0.9 are 1 below, at and 2 above the target: 0.1·1 + 0 + (1 − 0.9)·2 = 0.3 at each step."""
    task = ForecastingTask(nn.Identity)
    prediction = task.predict(Answers(wrap(QUANTILES)), batch(Y))
    assert prediction.shape == (2, 2, 3)
    assert_close(task.point(prediction), Y)
    assert_close(task.checked_loss(prediction, task.target(batch(Y))), torch.tensor([0.3, 0.3]))


def test_a_point_loss_takes_predictions_with_one_level() -> None:
    task = ForecastingTask(nn.Identity, loss="l1")
    prediction = task.predict(Answers(Y.unsqueeze(-1) + 1), batch(Y))
    assert prediction.tolist() == (Y + 1).tolist()
    assert task.checked_loss(prediction, Y).tolist() == [1.0, 1.0]


def test_other_levels() -> None:
    task = ForecastingTask(nn.Identity, loss=Quantile((0.5,)))
    assert task.checked_loss(task.predict(Answers(Y.unsqueeze(-1) + 1), batch(Y)), Y).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (batch([Y, Y]), "target is a list of 2.*single `target`"),
        (batch(Y, weight=torch.ones(2, 2)), "has sample weights.*without `weight`"),
        (batch(Y, decoder_lengths=torch.tensor([1, 2])), "horizons of 1 to 2 steps.*`min_prediction_length`"),
        ([Y, Y, Y], "a list of 3.*collate"),
        (Y, "a Tensor.*collate"),
    ],
)
def test_batches_that_are_refused(given: Any, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        ForecastingTask(nn.Identity).target(given)


@pytest.mark.parametrize("answer", [[Y, Y], SimpleNamespace(prediction=[Y, Y]), {"logits": Y}, None])
def test_answers_that_are_refused(answer: Any) -> None:
    with pytest.raises(ModelError, match="one tensor"):
        ForecastingTask(nn.Identity).predict(Answers(answer), batch(Y))


def test_selected_rows_are_padded_no_further_than_the_longest_of_them() -> None:
    """Three encoders of 2, 3 and 1 hours, padded to 3; the first and the last are 2 long."""
    x = {"encoder_lengths": torch.tensor([2, 3, 1]), "encoder_cont": torch.arange(9.0).view(3, 3, 1),
         "decoder_cont": torch.zeros(3, 1, 1)}  # fmt: skip
    chosen, (y, weight) = ForecastingTask(nn.Identity).select((x, (torch.arange(3.0)[:, None], None)),
                                                              torch.tensor([0, 2]))  # fmt: skip
    assert chosen["encoder_cont"].squeeze(-1).tolist() == [[0.0, 1.0], [6.0, 7.0]]
    assert chosen["decoder_cont"].shape == (2, 1, 1)
    assert (y.tolist(), weight) == ([[0.0], [2.0]], None)


HORIZON = 2


@pytest.fixture(scope="module")
def theirs() -> Any:
    """A `TimeSeriesDataSet` of two short clients, whose windows differ in the length of their encoder."""
    forecasting = pytest.importorskip("pytorch_forecasting")
    encoders = pytest.importorskip("pytorch_forecasting.data.encoders")
    pandas = pytest.importorskip("pandas")
    hours = torch.arange(24)
    draws = torch.randn(48, generator=torch.Generator().manual_seed(0))
    value = torch.sin(torch.cat([hours, hours]) / 4) + 0.1 * draws
    table = pandas.DataFrame(
        {"hour": hours.repeat(2).numpy(), "value": value.numpy(), "client": ["a"] * 24 + ["b"] * 24}
    )
    return forecasting.TimeSeriesDataSet(
        table, time_idx="hour", target="value", group_ids=["client"], static_categoricals=["client"],
        min_encoder_length=3, max_encoder_length=6, min_prediction_length=HORIZON, max_prediction_length=HORIZON,
        time_varying_known_reals=["hour"], time_varying_unknown_reals=["value"],
        target_normalizer=encoders.TorchNormalizer(method="identity", center=False),
    )  # fmt: skip


def build(data: Any) -> nn.Module:
    from pytorch_forecasting import QuantileLoss, TemporalFusionTransformer

    model: nn.Module = TemporalFusionTransformer.from_dataset(
        data, hidden_size=4, attention_head_size=2, hidden_continuous_size=2, loss=QuantileLoss([0.1, 0.5, 0.9])
    )
    return model


@pytest.fixture(scope="module")
def case(theirs: Any) -> Case:
    request = ForgetRequest(size=len(theirs), forget=tuple(range(0, len(theirs), 4)), reason="test")
    return Case(
        task=ForecastingTask(partial(build, theirs)),
        splits=Splits(train=theirs, validation=theirs, test=theirs, collate=theirs._collate_fn),
        request=request,
        validation_forget_like=range(8),
        test_forget_like=range(8),
    )


@pytest.fixture(scope="module")
def model(case: Case) -> nn.Module:
    return train(case, Recipe(batch_size=16), CPU).model


def rows(case: Case, *chosen: int) -> Any:
    (found,) = case.source("train_eval").fetch([torch.tensor(chosen)])
    return found


@pytest.fixture(scope="module")
def mixed(case: Case) -> list[int]:
    """Four windows, the second of which has a shorter encoder than the others."""
    lengths = rows(case, *range(case.requested.size)).data[0]["encoder_lengths"]
    short = int((lengths == 3).nonzero()[0])
    return [0, short, 12, 20]


def test_a_forecast_does_not_depend_on_the_rest_of_its_batch(case: Case, model: nn.Module, mixed: list[int]) -> None:
    """Alone, among others, after others' inputs changed: the published transformer mixed the samples of a batch."""
    data = rows(case, *mixed).data
    assert data[0]["encoder_lengths"].tolist() == [6, 3, 6, 6]
    with torch.no_grad():
        together = case.task.predict(model, data)
        for place, row in enumerate(mixed):
            assert_close(case.task.predict(model, rows(case, row).data)[0], together[place], rtol=1e-5, atol=1e-6)
        data[0]["encoder_cont"][1:] += 3
        changed = case.task.predict(model, data)
    assert_close(changed[0], together[0], rtol=1e-5, atol=1e-6)
    assert (changed[1:] - together[1:]).abs().amax((1, 2)).min() > 1e-3


def test_selecting_from_a_batch_forecasts_as_selecting_before_it(
    case: Case, model: nn.Module, mixed: list[int]
) -> None:
    whole = rows(case, *mixed).data
    part = case.task.select(whole, torch.tensor([1]))
    assert (part[0]["encoder_cont"].shape[1], whole[0]["encoder_cont"].shape[1]) == (3, 6)
    with torch.no_grad():
        assert_close(case.task.predict(model, part)[0], case.task.predict(model, whole)[1], rtol=1e-5, atol=1e-6)


def test_the_attack_finds_the_output_layer(case: Case, model: nn.Module) -> None:
    head = final_linear(model, case.task, rows(case, 0, 1, 2))
    assert head.layer is model.get_submodule("output_layer")
    assert head.sample_axis == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        Retrain(recipe=Recipe(batch_size=16)),
        FineTune(recipe=Recipe(batch_size=16)),
        GaussianAmnesiac(recipe=Recipe(batch_size=16)),
        Blindspot(helper=Recipe(batch_size=16), recipe=Recipe(batch_size=16)),
    ],
    ids=lambda method: type(method).__name__,
)
def test_every_method_unlearns_a_transformer_twice_over(case: Case, model: nn.Module, method: Any) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    once = method.unlearn(model, case, CPU)
    # Its own result can be unlearned in turn, as with requests that come one after another.
    again = method.unlearn(once.model, case, CPU)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for result in (once, again):
        differing = [name for name, value in result.model.state_dict().items() if not torch.equal(value, before[name])]
        assert "output_layer.weight" in differing
        assert all(bool(value.isfinite().all()) for value in result.model.state_dict().values())


def test_labels_are_drawn_for_every_step_ahead(case: Case) -> None:
    labels, notes = GaussianAmnesiac().draw(torch.Size((3, HORIZON)), case, CPU.generator("labels"))
    assert labels.shape == (3, HORIZON)
    assert len(set(labels.flatten().tolist())) == 3 * HORIZON
    assert len(notes[0].split("N(")[1].split(",")) == 2 * HORIZON, "mean and deviation of each step"


@pytest.mark.slow
def test_an_audit_with_all_that_an_attacker_reads(case: Case, model: nn.Module) -> None:
    recipe = Recipe(batch_size=16)
    gold = Retrain(recipe=recipe).unlearn(model, case, CPU)
    report = audit(case, {"original": train(case, recipe, CPU)}, CPU, golds=[gold], metrics=[Membership(samples=12)])
    shares = [m.value for m in report.measures if m.metric == "attack" and m.model in ("original", "retrained")]
    assert len(shares) == 2
    assert all(share is not None and 0 <= share <= 1 for share in shares)
