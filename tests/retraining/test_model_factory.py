"""Golds by the number: what `Retrain` makes, whatever the workers, and not again."""

from __future__ import annotations

import importlib.util
import linecache
import sys
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Subset, TensorDataset

from support.small_cases import CPU, Listed, case_of, mlp, numbers, table
from unregress import FineTune, Recipe, Retrain, Runtime, TensorTask
from unregress.data.case import Case
from unregress.data.subsets import subset
from unregress.errors import JobsError, SettingError
from unregress.methods import Method, Unlearned
from unregress.retraining.fingerprint import method_fingerprint, source_of, task_fingerprint
from unregress.retraining.missing_work import missing_chain, missing_golds
from unregress.retraining.model_factory import ModelFactory, retrain
from unregress.retraining.model_store import Store
from unregress.retraining.throughput import measure_throughput
from unregress.retraining.workload import Throughput, Workload, plan_of

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
        assert same(gold.model, alone.model) and gold.record == alone.record and gold.history == alone.history
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
    store = Store(root=tmp_path, log=said.append)
    case = case_of(build=dropping)
    first = retrain(case, RECIPE, CPU, [0, 1], store=store)
    assert said == ["making a gold under seed 0", "making a gold under seed 1"]
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

    store = Store(root=tmp_path, log=lambda text: None)
    with pytest.raises(JobsError, match=r"(?s)2 of 4.*under seed 1: .*RuntimeError: bad luck.*under seed 3: "):
        retrain(case_of(build=build), RECIPE, CPU, range(4), store=store)
    assert len(list(tmp_path.iterdir())) == 2
    unlucky.clear()
    assert len(retrain(case_of(build=build), RECIPE, CPU, range(4), store=store)) == 4


def test_a_seed_twice_is_refused() -> None:
    with pytest.raises(SettingError, match="distinct seeds"):
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
        case_of(validation=TensorDataset(*table()), validation_forget_like=[1]),
    ]
    found = [str(sorted(task_fingerprint(case, CPU).items())) for case in cases]
    found.append(str(sorted(task_fingerprint(case_of(), replace(CPU, precision="64-true")).items())))
    assert len(set(found)) == len(found)


def test_what_does_not_decide_is_no_circumstance() -> None:
    facts = task_fingerprint(case_of(), CPU)
    assert facts == task_fingerprint(case_of(), Runtime(accelerator="cpu", seed=3, workers=1, evaluation_batch_size=2))
    assert "0x" not in str(task_fingerprint(case_of(task=Addressed()), CPU))


class Addressed(TensorTask):
    """Shows an address, which is another one in each run."""

    def __init__(self) -> None:
        super().__init__(build_model=mlp)

    def __repr__(self) -> str:
        return object.__repr__(self)


class Flagged(nn.Linear):
    """Drops out in training only, if it is told to; shows and weighs the same."""

    def __init__(self, drop: float) -> None:
        super().__init__(3, 1)
        self.drop = drop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.dropout(x, self.drop, self.training))


def test_what_shows_in_training_alone_is_a_circumstance() -> None:
    """A branch of training mode, and a loss of the same values with another gradient."""

    def facts(drop: float, kept: float) -> object:
        def loss(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            slow = kept * prediction + (1 - kept) * prediction.detach()
            return (slow - target).abs().detach() + (prediction - prediction.detach()) * kept

        return task_fingerprint(case_of(task=TensorTask(build_model=lambda: Flagged(drop), loss=loss)), CPU)[
            "behaviour"
        ]

    found = [facts(*each) for each in ((0.0, 1.0), (0.5, 1.0), (0.0, 0.5), (0.0, 1.0))]
    assert found[0] == found[3] and len(set(map(str, found))) == 3


def imported(tmp_path: Path, name: str, text: str) -> Any:
    """A user's module of that text."""
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


SOURCE = """
from torch import nn
class Base(nn.Linear):
    def forward(self, x):
        # plain
        return super().forward(x) if x.sum() < 1e9 else 1 * x
class Net(Base):
    pass
def loss(prediction, target):
    return (prediction - target).abs() if target.max() < 1e9 else 2 * target
"""


def test_the_source_of_a_user_s_own_classes_and_functions_is_a_circumstance(tmp_path: Path) -> None:
    """Also where no sample shows it: of a base class, and of a loss.  Comments are none."""
    changes = [("", ""), ("1 * x", "2 * x"), ("2 * target", "3 * target"), ("# plain", "# a remark")]
    facts = []
    for number, (old, new) in enumerate(changes):
        linecache.clearcache()
        own = imported(tmp_path / str(number), "own", SOURCE.replace(old, new) if old else SOURCE)
        facts.append(task_fingerprint(case_of(task=TensorTask(partial(own.Net, 3, 1), loss=own.loss)), CPU))
        del sys.modules["own"]
    assert facts[0] == facts[3] and len({str(each["source"]) for each in facts}) == 3
    assert len({str({**each, "source": ""}) for each in facts}) == 1


class Versioned(TensorTask):
    def __init__(self, version: str) -> None:
        super().__init__(build_model=mlp)
        self.version = version


def test_a_task_s_version_is_a_circumstance() -> None:
    found = [task_fingerprint(case_of(task=Versioned(version)), CPU) for version in ("", "2", "2")]
    assert found[1] == found[2] != found[0]
    assert {**found[0], "version": "2"} == found[1]


def test_there_need_be_no_source() -> None:
    typed: dict[str, Any] = {"__name__": "typed"}
    exec("class Own:\n    pass\ndef own(): pass", typed)
    assert source_of([typed["Own"](), typed["own"], nn.Linear(1, 1), case_of(), None, "text"]) == ""


@dataclass(frozen=True)
class Own(Method):
    """Somebody's own method: its source is part of what it is, and its base classes'."""

    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        raise NotImplementedError


class Heir(Own):
    pass


def test_a_method_of_ones_own_is_known_by_its_source() -> None:
    assert method_fingerprint(FineTune(recipe=RECIPE)) == {
        "class_path": "FineTune",
        "init_args": {"recipe": asdict(RECIPE)},
    }
    found = method_fingerprint(Own())
    assert found["class_path"] == f"{Own.__module__}.Own" and found["init_args"] == {} and found["shown"] == "Own()"
    assert len(found["source"]) == 64
    assert source_of([Own()]) != source_of([Heir()])


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
    plan = Workload(models=1, passes=1000) + Workload(models=1, passes=500) * 2
    assert plan == Workload(models=3, passes=2000)
    sentence = plan.describe(Throughput(sample=seconds / 4000, model=seconds / 6))
    assert sentence == f"3 models to train, 2,000 sample passes: about {words} with one worker."


def test_a_method_without_recipes_is_counted_once() -> None:
    assert plan_of(Own(), 10) == Workload(models=1, passes=20)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_trial_tells_the_pace(workers: int) -> None:
    found = measure_throughput(case_of(), RECIPE, CPU, workers=workers)
    assert found.sample > 0 and found.model >= 0
    # 1000 passes at 0.01 s and 3 models at 2 s, shared by two.
    assert Workload(models=3, passes=1000).seconds(Throughput(0.01, 2.0), workers=2) == 8.0


def test_a_plan_leaves_out_what_the_store_holds(tmp_path: Path) -> None:
    """24 samples, 5 of them forgotten, 2 epochs there and back: 96 passes for an original, 76 for a gold."""
    store = Store(root=tmp_path, log=str)
    tune = FineTune(recipe=replace(RECIPE, epochs=1))
    factory = ModelFactory(case=case_of(build=dropping), recipe=RECIPE, runtime=CPU, store=store)
    whole = Workload(models=1, passes=96) + Workload(models=1, passes=48)
    assert missing_chain(factory, 1, [tune]) == whole
    assert missing_golds(factory, [1]) == Workload(models=1, passes=76)
    factory.gold(1)
    first = factory.original(1)
    assert missing_golds(factory, [1]) == Workload(models=0, passes=0)
    assert missing_golds(factory, [2]) == Workload(models=1, passes=76)
    assert missing_chain(factory, 1, [tune]) == Workload(models=1, passes=48)
    factory.unlearned(tune, first, 1)
    assert missing_chain(factory, 1, [tune]) == Workload(models=0, passes=0)
    assert missing_chain(factory, 2, [tune]) == whole
    # Of another original nothing is known.
    assert missing_chain(factory, 1, [tune], original=False) == Workload(models=1, passes=48)
    assert missing_chain(replace(factory, store=None), 1, [tune]) == whole


def test_nothing_is_said_where_a_bar_says_it(tmp_path: Path) -> None:
    said: list[str] = []
    store = Store(root=tmp_path, log=said.append)
    retrain(case_of(), RECIPE, replace(CPU, progress=True), [0], store=store)
    assert said == [] and len(list(tmp_path.iterdir())) == 1


def test_a_trial_reads_no_forgotten_sample() -> None:
    case = case_of(Listed(*table(), forbidden=(0, 3, 5, 11, 17)))
    assert measure_throughput(case, RECIPE, CPU).sample > 0
