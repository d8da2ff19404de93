"""Golds by the number: what `Retrain` makes, whatever the workers, and not again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import Subset, TensorDataset

from foundations.small import CPU, Listed, case_of, mlp, numbers, table
from unregress import FineTune, Recipe, Retrain, Runtime, TensorTask
from unregress.case import Case
from unregress.cost import Cost
from unregress.errors import JobsError, SettingError
from unregress.methods import Method, Unlearned
from unregress.store import Store, circumstances, method_of
from unregress.trainings import Plan, pace_of, plan_of, retrain, subset, trial

RECIPE = Recipe(epochs=2, lr=0.01, batch_size=8)


def same(first: nn.Module, second: nn.Module) -> bool:
    state = first.state_dict()
    return all(torch.equal(state[name], value) for name, value in second.state_dict().items())


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))


def test_a_gold_is_what_retrain_makes_under_its_seed() -> None:
    case = case_of(build=dropping)
    golds = retrain(case, RECIPE, replace(CPU, seed=99), [3, 1])
    for gold, seed in zip(golds, (3, 1), strict=True):
        alone = Retrain(recipe=RECIPE).unlearn(dropping(), case, replace(CPU, seed=seed))
        assert same(gold.model, alone.model) and gold.method == alone.method and gold.history == alone.history
    assert not same(golds[0].model, golds[1].model)


def test_workers_change_nothing() -> None:
    """With a task of lambdas, and a runtime that has opened its device already."""
    case = case_of(task=TensorTask(build_model=lambda: dropping(), loss=lambda p, t: (p - t).abs()))
    runtime = replace(CPU)
    assert runtime.device.type == "cpu"
    one, two = (retrain(case, RECIPE, runtime, range(4), workers=workers) for workers in (1, 2))
    assert all(same(a.model, b.model) for a, b in zip(one, two, strict=True))
    assert [replace(a.cost, seconds=0) for a in one] == [replace(b.cost, seconds=0) for b in two]


def test_streamed_data_with_an_augmentation_travel_too() -> None:
    case = case_of(Listed(*table()), augment=lambda data, draws: [data[0] + torch.rand(1, generator=draws), data[1]])
    one, two = (retrain(case, RECIPE, CPU, [0, 1], workers=workers) for workers in (1, 2))
    assert all(same(a.model, b.model) for a, b in zip(one, two, strict=True))


def test_what_was_made_is_not_made_again(tmp_path: Path) -> None:
    said: list[str] = []
    store = Store(root=tmp_path, say=said.append)
    case = case_of(build=dropping)
    first = retrain(case, RECIPE, CPU, [0, 1], store=store)
    assert len(said) == 2
    again = retrain(case, RECIPE, replace(CPU, seed=5), [1, 2, 0], store=store)
    assert len(said) == 3
    assert same(again[2].model, first[0].model) and same(again[0].model, first[1].model)
    # Two processes find what one made, and say nothing.
    two = retrain(case, RECIPE, CPU, [0, 1, 2, 3], store=store, workers=2)
    assert same(two[1].model, first[1].model) and len(said) == 3 and len(list(tmp_path.iterdir())) == 4


def test_a_failed_gold_leaves_the_others_in_the_store(tmp_path: Path) -> None:
    unlucky = [replace(CPU, seed=seed).generator("Retrain").initial_seed() for seed in (1, 3)]

    def build() -> nn.Module:
        if torch.initial_seed() in unlucky:
            raise RuntimeError("bad luck")
        return mlp()

    store = Store(root=tmp_path, say=lambda text: None)
    with pytest.raises(JobsError, match=r"(?s)2 of 4.*under seed 1: RuntimeError: bad luck.*under seed 3: "):
        retrain(case_of(build=build), RECIPE, CPU, range(4), store=store)
    assert len(list(tmp_path.iterdir())) == 2
    unlucky.clear()
    assert len(retrain(case_of(build=build), RECIPE, CPU, range(4), store=store)) == 4


def test_a_seed_twice_is_refused() -> None:
    with pytest.raises(SettingError, match="each seed once"):
        retrain(case_of(), RECIPE, CPU, [1, 2, 1])


def test_every_circumstance_counts() -> None:
    def flipped(data: list[torch.Tensor], draws: torch.Generator) -> list[torch.Tensor]:
        return [-data[0], data[1]]

    inputs, targets = table()
    cases = [
        case_of(),
        case_of(forget=(1, 2)),
        case_of(loss="mse"),
        case_of(build=lambda: nn.Linear(3, 1)),
        case_of(augment=flipped),
        case_of(TensorDataset(inputs, targets + 1)),
        case_of(validation=TensorDataset(*table())),
        case_of(validation=TensorDataset(*table()), validation_group=[1]),
    ]
    found = [str(sorted(circumstances(case, CPU).items())) for case in cases]
    found.append(str(sorted(circumstances(case_of(), replace(CPU, precision="64-true")).items())))
    assert len(set(found)) == len(found)


def test_what_does_not_decide_is_no_circumstance() -> None:
    facts = circumstances(case_of(), CPU)
    assert facts == circumstances(case_of(), Runtime(accelerator="cpu", seed=3, workers=1, evaluation_batch_size=2))
    assert facts == circumstances(case_of(task=TensorTask(build_model=lambda: mlp())), CPU)
    assert "0x" not in str(circumstances(case_of(task=Addressed()), CPU))


class Addressed(TensorTask):
    """Shows an address, which is another one in each run."""

    def __init__(self) -> None:
        super().__init__(build_model=mlp)

    def __repr__(self) -> str:
        return object.__repr__(self)


@dataclass(frozen=True)
class Own(Method):
    """Somebody's own method: its source is part of what it is."""

    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        raise NotImplementedError


def test_a_method_of_ones_own_is_known_by_its_source() -> None:
    assert method_of(FineTune(recipe=RECIPE)) == str(FineTune(recipe=RECIPE))
    shown = method_of(Own())
    assert len(shown.removeprefix("Own() ")) == 64


def test_a_subset_is_a_copy_of_tensors_or_a_view() -> None:
    x, y = numbers(10, 3), numbers(10, seed=1)
    chosen = subset(TensorDataset(x, y), [7, 2])
    assert isinstance(chosen, TensorDataset) and torch.equal(chosen.tensors[0], x[[7, 2]])
    listed = Listed(x, y)
    view = subset(listed, [7, 2])
    assert isinstance(view, Subset) and torch.equal(view[1][0], x[2]) and listed.read == {2}


@pytest.mark.parametrize(
    ("seconds", "words"), [(1.4, "1 seconds"), (119, "119 seconds"), (121, "2 minutes"), (7300, "2 hours")]
)
def test_a_plan_in_words(seconds: float, words: str) -> None:
    plan = Plan(models=1, passes=1000) + Plan(models=1, passes=500) * 2
    assert plan == Plan(models=3, passes=2000)
    sentence = plan.sentence(pace=seconds / 2000)
    assert sentence == f"3 models to train, 2,000 sample passes: about {words} with one worker."


def test_a_method_without_recipes_is_counted_once() -> None:
    assert plan_of(Own(), 10) == Plan(models=1, passes=20)


def test_pace() -> None:
    assert pace_of([]) is None and pace_of([Cost(forward=3)]) is None
    assert trial(case_of(), RECIPE, CPU, samples=10) > 0


def test_a_trial_reads_no_forgotten_sample() -> None:
    case = case_of(Listed(*table(), forbidden=(0, 3, 5, 11, 17)))
    assert trial(case, RECIPE, CPU) > 0
