"""What can be a gold: a retrained model, given once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

import unregress
from audit.small import RECIPE, RUNTIME, net
from unregress.errors import SettingError

ERRORS = (unregress.Errors(),)
Made = unregress.Unlearned


def refused(case: unregress.Case, models: dict[str, nn.Module | Made], golds: list[nn.Module | Made]) -> str:
    with pytest.raises(SettingError) as error:
        unregress.audit(case, models, RUNTIME, golds=golds, metrics=ERRORS)
    return str(error.value)


def test_a_gold_is_given_once(case: unregress.Case, original: Made, golds: list[Made]) -> None:
    said = refused(case, {"original": original}, [golds[0], golds[1], golds[0]])
    assert "'retrained' and 'retrained #3' have the same weights" in said


@pytest.mark.parametrize("bare", [True, False])
def test_a_model_to_judge_is_no_gold(case: unregress.Case, original: Made, golds: list[Made], bare: bool) -> None:
    judged = net()
    models: dict[str, nn.Module | Made] = {"original": original, "mine": judged}
    assert "'mine' and 'retrained #2' have the same weights" in refused(case, models, [golds[0], judged])
    given = original.model if bare else replace(original, method="")
    assert "'original' and 'retrained' have the same weights" in refused(case, models, [given])


def test_what_was_not_retrained_is_no_gold(case: unregress.Case, original: Made, golds: list[Made]) -> None:
    tuned = unregress.FineTune(recipe=unregress.Recipe(epochs=1)).unlearn(original.model, case, RUNTIME)
    assert "Gold 'retrained #2' was made by FineTune" in refused(case, {"original": original}, [golds[0], tuned])


def test_golds_of_another_recipe_are_noticed(case: unregress.Case, original: Made, golds: list[Made]) -> None:
    def said(*given: nn.Module | Made) -> str:
        return " ".join(unregress.audit(case, {"original": original}, RUNTIME, golds=given, metrics=ERRORS).caveats)

    other = unregress.Retrain(recipe=replace(RECIPE, epochs=1)).unlearn(original.model, case, RUNTIME)
    assert "recipe" not in said(*golds[:2]) and "recipe" not in said(net(), net())
    assert "not trained with the same recipe" in said(other)
    assert "not all trained with one recipe" in said(golds[0], other)
