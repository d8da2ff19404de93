"""Models trained as one: each is what it is alone, up to rounding, and what needs to be alone is refused."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.data import TensorDataset, default_collate

from support.small_cases import CPU, Listed, case_of, filled, mlp, numbers, table, weights
from unregress import MappingTask, Recipe, Retrain, TensorTask, retrain
from unregress.cli.commands.audit_options import Retraining
from unregress.data.case import Case
from unregress.errors import DivergenceError, JobsError, PreflightError, SettingError
from unregress.models.sentence_pair import SentencePairLSTM
from unregress.retraining.missing_work import missing_golds
from unregress.retraining.model_factory import ModelFactory
from unregress.retraining.model_store import Store
from unregress.retraining.stack import SEPARATE_HINT
from unregress.retraining.stacked_training import retrain_stacked
from unregress.retraining.throughput import measure_throughput

pytestmark = pytest.mark.slow

RECIPE = Recipe(epochs=3, lr=0.01, batch_size=8)
SEEDS = (3, 1, 4)


def double(build: Callable[[], nn.Module] = mlp) -> Callable[[], nn.Module]:
    """The same in double precision, in which rounding cannot be taken for a difference."""
    return lambda: build().double()


def doubled(samples: int = 24) -> TensorDataset:
    return TensorDataset(*(tensor.double() for tensor in table(samples)))


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))


def half_frozen() -> nn.Module:
    model = mlp()
    model[0].requires_grad_(False)
    return model


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 1)
        self.again.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.again(self.first(x).relu()).relu())
        return out


CASES: dict[str, tuple[Callable[[], nn.Module], Recipe]] = {
    "Adam": (mlp, RECIPE),
    "SGD, decayed": (mlp, replace(RECIPE, optimizer="sgd", lr=0.001, weight_decay=0.1)),
    "AdamW, clipped": (mlp, replace(RECIPE, optimizer="adamw", weight_decay=0.1, clip_norm=0.5)),
    "one-cycle": (mlp, replace(RECIPE, schedule="one-cycle")),
    "steps": (mlp, replace(RECIPE, schedule="step", patience=1, gamma=0.5)),
    "batch normalisation": (normed, RECIPE),
    "frozen statistics": (normed, replace(RECIPE, mode="eval")),
    "half frozen": (half_frozen, RECIPE),
    "tied weights": (Tied, RECIPE),
}


def assert_as_alone(case: Case, recipe: Recipe, tolerance: float = 1e-10) -> None:
    """Weights, buffers, history and cost are those of each alone."""
    like = case.task.build_model()
    next(like.children(), like).eval()
    before = weights(like)
    together = retrain_stacked(case, recipe, replace(CPU, seed=99), SEEDS, like)
    assert weights(like) == before
    ends = set()
    for found, seed in zip(together, SEEDS, strict=True):
        alone = Retrain(recipe=recipe).unlearn(like, case, replace(CPU, seed=seed))
        assert not isinstance(found, DivergenceError)
        for (name, one), two in zip(alone.model.state_dict().items(), found.model.state_dict().values(), strict=True):
            torch.testing.assert_close(two, one, rtol=tolerance, atol=tolerance, msg=lambda text, n=name: f"{n} {text}")
        assert [part.training for part in found.model.modules()] == [part.training for part in like.modules()]
        assert all(parameter.grad is None for parameter in found.model.parameters())
        for one_epoch, other in zip(alone.history, found.history, strict=True):
            assert other.loss == pytest.approx(one_epoch.loss, rel=tolerance)
            assert (other.validation or 0.0) == pytest.approx(one_epoch.validation or 0.0, rel=tolerance)
            assert replace(other, loss=0, validation=None) == replace(one_epoch, loss=0, validation=None)
        assert (found.record, found.notes, found.deviations) == (alone.record, alone.notes, alone.deviations)
        assert replace(found.cost, seconds=0) == replace(alone.cost, seconds=0) and found.cost.seconds > 0
        ends.add(tuple(weights(found.model).values()))
    assert len(ends) == len(SEEDS)


@pytest.mark.parametrize("name", CASES)
def test_each_is_what_it_is_alone(name: str) -> None:
    build, recipe = CASES[name]
    assert_as_alone(case_of(doubled(), build=double(build)), recipe)


@pytest.mark.parametrize("stack", [2, 3])
def test_a_plateau_schedule_is_refused_before_anything_is_read(stack: int, tmp_path: Path) -> None:
    """Each model's rate would fall at another time.  Trained separately they are welcome, as is a last single model."""
    recipe = replace(RECIPE, schedule="plateau")
    closed = case_of(Listed(*table(), forbidden=range(24)))
    with pytest.raises(SettingError) as caught:
        retrain(closed, recipe, CPU, SEEDS, stack=stack, store=Store(root=tmp_path))
    assert "'plateau'" in caught.value.found and caught.value.remedy == SEPARATE_HINT
    with pytest.raises(SettingError):
        Retraining(recipe=recipe, stack=stack).require_possible(closed, CPU)
    assert not list(tmp_path.iterdir())
    Retraining(recipe=recipe, stack=stack, golds=1).require_possible(closed, CPU)
    Retraining(recipe=RECIPE, stack=stack).require_possible(closed, CPU)
    assert len(retrain(case_of(), recipe, CPU, SEEDS[:1], stack=stack)) == 1


def test_streamed_data_in_single_precision_and_a_last_batch_of_one_row() -> None:
    """19 retained rows in batches of 9: the last one's single row joins the one before it, in the stack too."""
    case = case_of(Listed(*table(), forbidden=(0, 3, 5, 11, 17)), loss="mse")
    assert_as_alone(case, replace(RECIPE, batch_size=9), 1e-4)


def test_what_a_dataset_draws_is_decided_by_the_golds_seeds() -> None:
    """In each epoch anew, in worker processes too."""

    def cropped(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x + torch.rand(3), y

    data = Listed(*table(), item=cropped)
    case = case_of(data, train_eval=TensorDataset(*table()))
    for workers in (0, 1):
        runtimes = [replace(CPU, seed=seed, workers=workers) for seed in (0, 7)]
        first, second = (retrain_stacked(case, replace(RECIPE, lr=1e-9), each, SEEDS, mlp()) for each in runtimes)
        assert not isinstance(first[0], DivergenceError) and not isinstance(second[0], DivergenceError)
        assert first[0].history == second[0].history
        assert len({round(epoch.loss, 4) for epoch in first[0].history}) == RECIPE.epochs


def test_batches_of_mappings() -> None:
    def item(x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"x": x, "labels": y}

    class Named(nn.Linear):
        def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
            return {"logits": super().forward(x)[:, 0]}

    assert_as_alone(case_of(Listed(*table(), item=item), task=MappingTask(lambda: Named(3, 1))), RECIPE, 1e-4)


def test_those_that_run_away_take_no_other_with_them(tmp_path: Path) -> None:
    """Under one seed the first weights are NaN, under another huge: the third model is kept."""
    starts = {1: float("nan"), 4: 1e300}
    unlucky = {replace(CPU, seed=seed).generator("Retrain").initial_seed(): start for seed, start in starts.items()}

    def build() -> nn.Module:
        model = mlp().double()
        return filled(model, unlucky[torch.initial_seed()]) if torch.initial_seed() in unlucky else model

    case, said = case_of(doubled(), build=build, loss="mse"), list[str]()
    words = r"seeds 3, 1, 4: Under seed 1: .* weights 0.weight.* are NaN.*; Under seed 4: .* a model that predicts inf"
    with pytest.raises(JobsError, match=words):
        retrain(case, RECIPE, CPU, SEEDS, stack=3, store=Store(root=tmp_path, log=said.append))
    assert len(list(tmp_path.iterdir())) == 1
    found = retrain_stacked(case, RECIPE, CPU, SEEDS, mlp().double())
    assert [isinstance(each, DivergenceError) for each in found] == [False, True, True]


class Noted(nn.Linear):
    """Keeps what it has last seen, as for a plot."""

    def forward(self, x: Tensor) -> Tensor:
        self.last = x.relu()
        return super().forward(self.last)


class Opened(TensorTask):
    """Calls parts of the model, not the model, and asks it where its weights are."""

    def predict(self, model: nn.Module, batch: Any) -> Tensor:
        here = batch[0].to(next(model.parameters()).device)
        return model.last(model.first(here))[:, 0]  # type: ignore[operator, no-any-return]


def test_a_task_may_open_the_model_and_a_model_keep_what_it_sees() -> None:
    assert_as_alone(case_of(doubled(), task=Opened(double(Tied))), RECIPE)
    case = case_of(doubled(), build=double(lambda: nn.Sequential(nn.Linear(3, 3), Noted(3, 1))))
    for gold in retrain(case, RECIPE, CPU, SEEDS, stack=2, workers=2):
        copy.deepcopy(gold.model)


class Unregistered(nn.Module):
    """Its seed decides something that is neither a weight nor a buffer; if so told, in training alone."""

    def __init__(self, *, always: bool = True) -> None:
        super().__init__()
        self.last, self.mix, self.always = nn.Linear(3, 1), torch.randn(3, 3), always

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(x @ self.mix if self.always or self.training else x)
        return out


class Replacing(nn.Module):
    """Puts another tensor in its buffer's place."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3, 1)
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        out: Tensor = self.last(x)
        return out


class Tossing(nn.Linear):
    """Draws from Python's random state."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * random.random()


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3), nn.Linear(8, 1))


def far() -> TensorDataset:
    """Targets so large that predictions are lost in the losses."""
    inputs, targets = table()
    return TensorDataset(inputs, 2000 + 100 * targets)


def words() -> TensorDataset:
    tokens = torch.randint(1, 20, (24, 5), generator=torch.Generator().manual_seed(0))
    return TensorDataset(tokens, table()[1])


def of_texts() -> Case:
    pairs = TensorDataset(words().tensors[0], words().tensors[0].flip(1), table()[1])
    return case_of(pairs, task=TensorTask(lambda: SentencePairLSTM(vectors=numbers(20, 4), hidden=4), loss="mse"))


def padded() -> nn.Module:
    return nn.Sequential(nn.Embedding(20, 3, padding_idx=0), nn.Flatten(), nn.Linear(15, 1))


def named(x: Tensor, y: Tensor) -> dict[str, Any]:
    return {"input": x, "labels": y, "id": "a name"}


REFUSED: dict[str, tuple[Callable[[], Case], str]] = {
    "dropout": (lambda: case_of(build=dropping), "without random layers"),
    "an LSTM": (of_texts, "no LSTM"),
    "a state that is no buffer": (lambda: case_of(build=Unregistered), "a model's losses would differ"),
    "such a state behind large targets": (
        lambda: case_of(far(), build=Unregistered),
        "a model's gradients would differ",
    ),
    "in training alone": (lambda: case_of(build=lambda: Unregistered(always=False)), "a model's losses would differ"),
    "a buffer that is replaced": (lambda: case_of(build=Replacing), "a model's buffer 'mean' would differ"),
    "other draws": (lambda: case_of(build=lambda: Tossing(3, 1)), "a model's losses would differ"),
    "a row for padding": (lambda: case_of(words(), build=padded), "embedding that is trained has a `padding_idx`"),
    "other classes": (lambda: case_of(build=lambda: weight_norm(nn.Linear(3, 1))), "same class"),
    "a loss that reads numbers": (
        lambda: case_of(loss=lambda p, t: (p - t) * float(p.detach().max())),
        "3 models cannot be",
    ),
    "texts": (
        lambda: case_of(Listed(*table(), item=named), task=MappingTask(lambda: nn.Linear(3, 1), ignore=["id"])),
        "type <class 'list'>.*batches of tensors only|of type <class 'str'>.*batches of tensors only",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_to_be_alone_is_refused(name: str, tmp_path: Path) -> None:
    make, words = REFUSED[name]
    with pytest.raises(JobsError, match=rf"{words}.*Train the models separately \(`stack` 1\)"):
        retrain(make(), RECIPE, CPU, SEEDS, stack=3, store=Store(root=tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"schedule": "ReduceLROnPlateau"}, "'ReduceLROnPlateau'"),
        ({"optimizer": "Adafactor"}, "'Adafactor'"),
        ({"weights": "loss"}, "Recipe.weights"),
        ({"weights": "sampling"}, "Recipe.weights"),
        ({"ema": 0.9}, "Recipe.ema"),
        ({"stop_after": 2}, "Recipe.stop_after"),
    ],
)
def test_what_a_stack_does_not_do_is_refused(values: dict[str, Any], words: str) -> None:
    case = case_of(Listed(*table(), forbidden=range(24)), weights=[1.0] * 24)
    with pytest.raises(SettingError) as caught:
        retrain(case, replace(RECIPE, **values), CPU, SEEDS, stack=3)
    assert words in caught.value.found and caught.value.remedy == SEPARATE_HINT


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": "RMSprop", "optimizer_options": {"alpha": 0.9, "momentum": 0.5}},
        {"optimizer": "Adagrad", "schedule": "CosineAnnealingLR", "schedule_every": "step"},
        {"schedule": "ExponentialLR", "schedule_options": {"gamma": 0.7}, "optimizer_options": {"betas": [0.8, 0.9]}},
    ],
)
def test_any_elementwise_optimiser_and_schedule_is_what_it_is_alone(values: dict[str, Any]) -> None:
    assert_as_alone(case_of(doubled(), build=double()), replace(RECIPE, **values))


def test_all_complaints_come_at_once_and_before_anything_is_trained() -> None:
    case = case_of(Listed(*table(), forbidden=range(24)), augment=lambda data, draws: data, collate=default_collate)
    recipe, runtime = replace(RECIPE, schedule="plateau"), replace(CPU, precision="16-mixed")
    with pytest.raises(PreflightError) as caught:
        retrain(case, recipe, runtime, SEEDS, stack=3)
    found = [each.found for each in caught.value.complaints]
    for words, each in zip(("'plateau'", "'16-mixed'", "augmented batch by batch", "`collate`"), found, strict=True):
        assert words in each
    assert {each.remedy for each in caught.value.complaints} == {SEPARATE_HINT}
    with pytest.raises(PreflightError):
        retrain_stacked(case, recipe, runtime, SEEDS, mlp())


def test_stacks_are_cut_by_seeds_whatever_the_workers(tmp_path: Path) -> None:
    """Five in stacks of two: the last is trained alone, and is the one that the store knows without a stack."""
    case, said = case_of(), list[str]()
    store = Store(root=tmp_path / "store", log=said.append)
    one, two = (retrain(case, RECIPE, CPU, range(5), stack=2, workers=workers) for workers in (1, 2))
    assert [weights(each.model) for each in one] == [weights(each.model) for each in two]
    kept = retrain(case, RECIPE, CPU, range(5), stack=2, store=store)
    assert [weights(each.model) for each in kept] == [weights(each.model) for each in one] and len(said) == 5
    retrain(case, RECIPE, CPU, range(5), stack=2, store=store)
    retrain(case, RECIPE, CPU, [2, 3], stack=2, store=store)
    retrain(case, RECIPE, CPU, [4], store=store)
    assert len(said) == 5
    # Beside others a model may round in another way, and is another entry.
    retrain(case, RECIPE, CPU, [0, 1, 2], stack=3, store=store)
    retrain(case, RECIPE, CPU, [0], store=store)
    assert len(said) == 9


def test_what_the_store_lost_is_made_again_with_its_stack(tmp_path: Path) -> None:
    said: list[str] = []
    store = Store(root=tmp_path, log=said.append)
    first = retrain(case_of(), RECIPE, CPU, range(3), stack=3, store=store)
    lost = next(path for path in tmp_path.iterdir() if '"seed": 1' in (path / "config.yaml").read_text())
    for file in lost.iterdir():
        file.unlink()
    lost.rmdir()
    again = retrain(case_of(), RECIPE, CPU, range(3), stack=3, store=store)
    assert said[3:] == ["making a gold under seed 1"]
    assert [weights(each.model) for each in again] == [weights(each.model) for each in first]


def test_a_stack_leaves_out_what_the_store_holds_alone(tmp_path: Path) -> None:
    said: list[str] = []
    store = Store(root=tmp_path, log=said.append)
    alone = retrain(case_of(), RECIPE, CPU, [1, 3], store=store)
    factory = ModelFactory(case=case_of(), recipe=RECIPE, runtime=CPU, store=store)
    assert missing_golds(factory, range(4), stack=4).models == 2
    found = retrain(case_of(), RECIPE, CPU, range(4), stack=4, store=store)
    assert said[2:] == ["making a gold under seed 0", "making a gold under seed 2"]
    assert [weights(found[seed].model) for seed in (1, 3)] == [weights(each.model) for each in alone]
    retrain(case_of(), RECIPE, CPU, range(4), stack=4, store=store)
    assert len(said) == 4


@pytest.mark.parametrize("stack", [0, -1, 1.5, True])
def test_a_stack_of_none_is_refused(stack: Any) -> None:
    with pytest.raises(SettingError, match="models to train in one loop"):
        retrain(case_of(), RECIPE, CPU, SEEDS, stack=stack)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_trial_of_stacks(workers: int) -> None:
    found = measure_throughput(case_of(), RECIPE, CPU, workers=workers, stack=3)
    assert found.sample > 0 and found.model >= 0


@pytest.mark.parametrize("stack", [1, 2])
def test_a_trial_where_one_sample_is_retained(stack: int) -> None:
    assert measure_throughput(case_of(forget=range(1, 24)), RECIPE, CPU, stack=stack).sample > 0
