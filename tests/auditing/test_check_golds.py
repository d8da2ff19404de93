"""What can be a gold: a retrained model, given once."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import TensorDataset

import unregress
from support.bump_case import RECIPE, RUNTIME, TEST, TRAIN, net, table
from support.small_cases import flat_case
from unregress.errors import ModelError, SettingError

ERRORS = (unregress.Errors(),)
StoredModel = unregress.Unlearned


def refused(
    case: unregress.Case, models: dict[str, nn.Module | StoredModel], golds: list[nn.Module | StoredModel]
) -> str:
    with pytest.raises(SettingError) as error:
        unregress.audit(case, models, RUNTIME, golds=golds, metrics=ERRORS)
    return str(error.value)


def test_a_gold_is_given_once(case: unregress.Case, original: StoredModel, golds: list[StoredModel]) -> None:
    said = refused(case, {"original": original}, [golds[0], golds[1], golds[0]])
    assert "'retrained' and 'retrained #3' have the same weights" in said


@pytest.mark.parametrize("bare", [True, False])
def test_a_model_to_judge_is_no_gold(
    case: unregress.Case, original: StoredModel, golds: list[StoredModel], bare: bool
) -> None:
    judged = net()
    models: dict[str, nn.Module | StoredModel] = {"original": original, "mine": judged}
    assert "'mine' and 'retrained #2' have the same weights" in refused(case, models, [golds[0], judged])
    given = original.model if bare else replace(original, record=None)
    assert "'original' and 'retrained' have the same weights" in refused(case, models, [given])


def test_what_was_not_retrained_is_no_gold(
    case: unregress.Case, original: StoredModel, golds: list[StoredModel]
) -> None:
    tuned = unregress.FineTune(recipe=unregress.Recipe(epochs=1)).unlearn(original.model, case, RUNTIME)
    assert "Gold 'retrained #2' was made by FineTune" in refused(case, {"original": original}, [golds[0], tuned])


def test_golds_of_another_recipe_are_noticed(
    case: unregress.Case, original: StoredModel, golds: list[StoredModel]
) -> None:
    def said(*given: nn.Module | StoredModel) -> str:
        return " ".join(unregress.audit(case, {"original": original}, RUNTIME, golds=given, metrics=ERRORS).caveats)

    other = unregress.Retrain(recipe=replace(RECIPE, epochs=1)).unlearn(original.model, case, RUNTIME)
    assert "recipe" not in said(*golds[:2]) and "recipe" not in said(net(), net())
    assert "not trained with the same recipe" in said(other)
    assert f"They differ in epochs ({RECIPE.epochs} and 1)." in said(other)
    assert "not all trained alike: their settings differ in recipe.epochs" in said(golds[0], other)


class Quiet(unregress.Retrain):
    """A user's own way of retraining."""


def test_a_user_s_subclass_of_retrain_makes_golds(case: unregress.Case, original: StoredModel) -> None:
    mine = [Quiet(recipe=RECIPE).unlearn(original.model, case, replace(RUNTIME, seed=seed)) for seed in (1, 2)]
    records = [gold.record for gold in mine if gold.record is not None]
    assert [(each.method, each.module, each.kind, each.seed, each.parents) for each in records] == [
        ("Quiet", __name__, "retrained", seed, ()) for seed in (1, 2)
    ]
    assert records[0].recipe == asdict(RECIPE)
    report = unregress.audit(case, {"original": original}, RUNTIME, golds=mine, metrics=ERRORS)
    assert report.golds == ["retrained", "retrained #2"]
    assert not any("recipe" in caveat or "methods" in caveat for caveat in report.caveats)


def test_golds_of_different_methods_are_noticed(
    case: unregress.Case, original: StoredModel, golds: list[StoredModel]
) -> None:
    mine = Quiet(recipe=RECIPE).unlearn(original.model, case, replace(RUNTIME, seed=9))
    report = unregress.audit(case, {"original": original}, RUNTIME, golds=[golds[0], mine], metrics=ERRORS)
    assert f"The retrained models were made by different methods: Retrain, {__name__}.Quiet." in report.caveats


def test_golds_of_another_shape_are_refused_by_the_weights_names() -> None:
    """As of a pipeline that was run on the frame without a customer: its embedding is a row shorter."""

    class Forecaster(nn.Module):
        def __init__(self, customers: int) -> None:
            super().__init__()
            self.who, self.head = nn.Embedding(customers, 4), nn.Linear(5, 1)

        def forward(self, who: Tensor, load: Tensor) -> Tensor:
            return self.head(torch.cat([self.who(who), load], 1))

    who, (x, y) = torch.arange(500) % 6, table()
    parts = {name: TensorDataset(who[part], x[part, :1], y[part]) for name, part in (("train", TRAIN), ("test", TEST))}
    request = unregress.ForgetRequest.ids(who[TRAIN].tolist(), [5], reason="customer 5")
    task = unregress.TensorTask(build_model=lambda: Forecaster(6))
    given = {"models": {"original": Forecaster(6)}, "golds": [Forecaster(5), Forecaster(6)]}
    with pytest.raises(ModelError) as refused:
        unregress.audit(flat_case(task=task, request=request, **parts), runtime=RUNTIME, metrics=ERRORS, **given)
    assert "'retrained'" in refused.value.found and "who.weight (shape (5, 4) and (6, 4))" in refused.value.found


def test_equal_weights_of_two_trainings_are_a_caveat(
    case: unregress.Case, original: StoredModel, golds: list[StoredModel]
) -> None:
    """A small convex model ends in the same weights whatever its seed; a training that is read twice is one."""
    convex = replace(golds[1], model=deepcopy(golds[0].model))
    assert "retrained #2" in refused(case, {"original": original}, [golds[0], replace(golds[0], model=convex.model)])
    report = unregress.audit(case, {"original": original}, RUNTIME, golds=[golds[0], convex], metrics=ERRORS)
    assert any("small convex problem" in caveat for caveat in report.caveats)


def test_wrapped_models_are_taken_out_of_their_wrappers(
    case: unregress.Case, original: StoredModel, golds: list[StoredModel]
) -> None:
    given = {"original": nn.DataParallel(original.model)}
    wrapped = unregress.audit(case, given, RUNTIME, golds=[AveragedModel(golds[0].model)], metrics=ERRORS)
    plain = unregress.audit(case, {"original": original.model}, RUNTIME, golds=[golds[0].model], metrics=ERRORS)
    assert wrapped.measures == plain.measures
    assert [caveat for caveat in wrapped.caveats if caveat not in plain.caveats] == [
        "Model 'original' was taken out of its DataParallel: the Sequential inside, with the same weights.",
        "Model 'gold 1' was taken out of its AveragedModel: the Sequential inside, with the same weights.",
    ]
    assert "have the same weights" in refused(case, {"original": original}, [AveragedModel(original.model)])
