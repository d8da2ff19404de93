"""The published protocol: that its mistakes are made, where they belong, and that nothing else is touched."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.svm import SVC
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset, TensorDataset

import unregress
from support.small_cases import flat_case
from unregress.errors import SettingError
from unregress.evidence import Measurement, Role
from unregress.metrics import Wasserstein
from unregress.metrics import as_published as module
from unregress.metrics.as_published import Published, predict_augmented, published_attack
from unregress.metrics.base import Panel, Subject
from unregress.metrics.relearning import LossMonitor, relearn
from unregress.metrics.wasserstein import w1

SIZE, HELD_OUT = 60, 40
FORGET = tuple(range(0, SIZE, 3))
RUNTIME = unregress.Runtime(accelerator="cpu")
QUICK = Published(recipe=unregress.Recipe(epochs=3, lr=0.02, batch_size=16))
ROLES: dict[str, Role] = {"original": "original", "retrained": "gold", "retrained #2": "gold", "constant": "reference"}
ROWS = np.array(FORGET)


def net() -> nn.Module:
    return nn.Linear(2, 1)


def data() -> tuple[Tensor, Tensor]:
    x = torch.randn(SIZE + HELD_OUT, 2, generator=Generator().manual_seed(0))
    return x, 5 + x[:, 0] + 3 * (x[:, 1] > 0.5)


def shifted(batch: list[Tensor], draws: Generator) -> list[Tensor]:
    """A planted augmentation: all pixels of a sample are moved by 10 times a random number."""
    return [batch[0] + 10 * torch.rand(len(batch[0]), 1, generator=draws), batch[1]]


def make_case(**changes: Any) -> unregress.Case:
    x, y = data()
    fields: dict[str, Any] = {
        "task": unregress.TensorTask(build_model=net, loss=changes.pop("loss", "l1")),
        "request": unregress.ForgetRequest(size=SIZE, forget=FORGET, reason="test"),
        "train": TensorDataset(x[:SIZE], y[:SIZE]),
        "test": TensorDataset(x[SIZE:], y[SIZE:]),
    }
    return flat_case(**(fields | changes))


@pytest.fixture(scope="module")
def models() -> dict[str, nn.Module | None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {name: net() for name in ("original", "retrained", "retrained #2", "unlearned")} | {"constant": None}


def panel(case: unregress.Case, models: dict[str, nn.Module | None]) -> Panel:
    test = np.arange(HELD_OUT)
    asked = models["original"]
    subjects = []
    for name, model in models.items():
        answers: nn.Module = asked if model is None else model  # type: ignore[assignment]
        parts = {
            "train-forget": unregress.collect(answers, case.task, case.source("train_eval"), RUNTIME, rows=ROWS),
            "test-retain": unregress.collect(answers, case.task, case.source("test"), RUNTIME, rows=test[10:]),
            "test-forget": unregress.collect(answers, case.task, case.source("test"), RUNTIME, rows=test[:10]),
        }
        subjects.append(Subject(name=name, role=ROLES.get(name, "unlearned"), model=model, parts=parts))
    return Panel(case=case, runtime=RUNTIME, subjects=tuple(subjects), validation_forget_like=np.zeros(0, np.int64))


def found(metric: Any, asked: Panel) -> dict[tuple[str, str], Measurement]:
    return {(m.metric, m.model): m for m in metric.measure(asked) if isinstance(m, Measurement)}


def test_titles_say_so_and_every_text_names_what_repairs_it() -> None:
    twins = {
        "published-attack": "attack",
        "published-attack-accuracy": "attack-accuracy",
        "published-ain": "ain",
        "published-w1": "w1",
        "published-relative-deviation": "relative-deviation",
    }
    assert [about.metric for about in Published.about] == list(twins)
    for about in Published.about:
        assert about.title.endswith("as published")
        assert f"({twins[about.metric]})" in about.ideal


def test_everything_is_measured_of_all_but_the_first_gold_and_constants(models: dict[str, Any]) -> None:
    measures = found(QUICK, panel(make_case(), models))
    by_metric = {about.metric: {name for metric, name in measures if metric == about.metric} for about in QUICK.about}
    everyone = {"original", "retrained", "retrained #2", "unlearned"}
    attacks = {"published-attack": everyone, "published-attack-accuracy": everyone}
    others = everyone - {"retrained"}
    assert by_metric == attacks | dict.fromkeys(
        ("published-ain", "published-w1", "published-relative-deviation"), others
    )


def test_without_gold_there_is_the_attack_only(models: dict[str, Any]) -> None:
    alone = {name: models[name] for name in ("original", "unlearned")}
    assert {metric for metric, _ in found(QUICK, panel(make_case(), alone))} == {
        "published-attack",
        "published-attack-accuracy",
    }


def test_the_index_can_be_left_out(models: dict[str, Any]) -> None:
    measures = found(Published(recipe=None), panel(make_case(), models))
    assert "published-ain" not in {metric for metric, _ in measures}
    assert "published-w1" in {metric for metric, _ in measures}


def test_augmentation_shifts_published_distances_and_not_their_twins(models: dict[str, Any]) -> None:
    plain, moved = (panel(make_case(**changes), models) for changes in ({}, {"augment": shifted}))
    first, second = (found(Published(recipe=None), asked) for asked in (plain, moved))
    assert {key: m.value for key, m in found(Wasserstein(), plain).items()} == {
        key: m.value for key, m in found(Wasserstein(), moved).items()
    }
    for metric in ("published-w1", "published-relative-deviation"):
        for name in ("original", "unlearned"):
            assert first[metric, name].value != pytest.approx(second[metric, name].value, rel=0.01)


def test_without_augmentation_the_distances_are_the_plain_ones_to_the_first_gold(models: dict[str, Any]) -> None:
    measures = found(Published(recipe=None), panel(make_case(), models))
    x, y = (values[list(FORGET)] for values in data())
    with torch.no_grad():
        own, gold = (models[name](x).squeeze(1).double().numpy() for name in ("unlearned", "retrained"))
    assert measures["published-w1", "unlearned"].value == pytest.approx(w1(own, gold))
    deviation = np.median(np.abs(own - gold) / np.abs(y.numpy()))
    assert measures["published-relative-deviation", "unlearned"].value == pytest.approx(deviation)


def test_each_model_is_asked_about_another_augmentation(models: dict[str, Any]) -> None:
    """So that a copy of the gold is at a distance from it."""
    twins = {"original": models["original"], "retrained": models["retrained"], "copy": models["retrained"]}
    measures = found(Published(recipe=None), panel(make_case(augment=shifted), twins))
    for metric in ("published-w1", "published-relative-deviation"):
        assert (measures[metric, "copy"].value or 0) > 0.01
    plain = found(Published(recipe=None), panel(make_case(), twins))
    assert plain["published-w1", "copy"].value == 0


def test_targets_of_zero_have_no_relative_deviation(models: dict[str, Any]) -> None:
    zeros = TensorDataset(data()[0][:SIZE], torch.zeros(SIZE))
    measures = found(Published(recipe=None), panel(make_case(train=zeros), models))
    assert "published-relative-deviation" not in {metric for metric, _ in measures}


class Jittered(Dataset[tuple[Tensor, Tensor]]):
    """Augments in the dataset, from the global random state, as torchvision's transforms do."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        x, y = data()
        return x[row] + torch.rand(2), y[row]


def test_augmentation_within_the_dataset_is_drawn_from_the_stream(models: dict[str, Any]) -> None:
    x, y = data()
    case = make_case(train=Jittered(), train_eval=TensorDataset(x[:SIZE], y[:SIZE]))
    first, again, other = (
        predict_augmented(models["original"], case, ROWS, RUNTIME, stream=stream).prediction
        for stream in ("a", "a", "b")
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.fixture
def attacks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Any, Any, Any]]]:
    """What the attacker is given: members, others, and who is asked about."""
    given: list[tuple[Any, Any, Any]] = []

    def watched(*arrays: Any) -> tuple[float, float]:
        given.append(arrays)  # type: ignore[arg-type]
        return published_attack(*arrays)

    monkeypatch.setattr(module, "published_attack", watched)
    yield given


def row_number(prediction: Tensor, target: Tensor) -> Tensor:
    """A loss that is the target, which may be the number of the row or what an augmentation made of it."""
    return target + 0 * prediction


def test_members_hold_forgotten_samples(models: dict[str, Any], attacks: list[Any]) -> None:
    x, _ = data()
    case = make_case(loss=row_number, train=TensorDataset(x[:SIZE], torch.arange(float(SIZE))))
    found(Published(recipe=None), panel(case, models))
    assert len(attacks) == 4
    for members, others, queried in attacks:
        assert len(members) == len(others) == HELD_OUT
        assert set(members) & set(FORGET) and set(members) - set(FORGET)
        assert np.array_equal(members, attacks[0][0]), "other members for another model"
        assert queried.tolist() == list(FORGET)


def test_members_and_queries_are_augmented_and_test_samples_are_not(models: dict[str, Any], attacks: list[Any]) -> None:
    def marked(batch: list[Tensor], _: Generator) -> list[Tensor]:
        return [batch[0], batch[1] + 1000]

    found(Published(recipe=None), panel(make_case(loss=row_number, augment=marked), models))
    for members, others, queried in attacks:
        assert members.min() > 900 and queried.min() > 900 and others.max() < 100


def test_the_attack_is_unscaled_and_scored_on_its_own_training_data() -> None:
    """Losses in large units are all far from each other: the attacker learns them by heart and knows nothing else."""
    rng = np.random.default_rng(0)
    members, others, queried = rng.uniform(0, 1e6, size=(3, 50))
    assert published_attack(members, others, queried)[1] == 1
    small = published_attack(members / 1e6, others / 1e6, queried / 1e6)
    assert small[1] < 0.8
    attacker = SVC(C=3, gamma=1.0).fit(np.concatenate([members, others])[:, None] / 1e6, np.repeat([1, 0], 50))
    assert small[0] == attacker.predict(queried[:, None] / 1e6).mean()


def test_separated_losses_are_told_apart() -> None:
    assert published_attack(np.linspace(0, 1, 20), np.linspace(5, 6, 20), np.array([0.5, 0.2, 5.5, 0.1])) == (0.75, 1)


def test_too_few_samples_are_not_attacked(models: dict[str, Any]) -> None:
    asked = panel(make_case(), models)
    subjects = tuple(
        replace(subject, parts={"train-forget": subject.parts["train-forget"], "test-retain": nine})
        for subject in asked.subjects
        for nine in [subject.parts["test-retain"].at(np.arange(10, 19))]
    )
    small = replace(asked, subjects=subjects)
    measure = found(Published(recipe=None), small)["published-attack", "original"]
    assert (measure.value, measure.note) == (None, "only 9 samples per class to train an attacker on")


def test_the_index_is_one_shuffle_against_the_first_gold_and_never_zero(models: dict[str, Any]) -> None:
    assert QUICK.recipe is not None
    asked = panel(make_case(), models)
    watch = LossMonitor(asked, 0.05)
    runs = {
        name: relearn(models[name], watch, QUICK.recipe, stream="published/relearn", at_start=False)
        for name in ("original", "retrained", "unlearned")
    }
    measures = found(QUICK, asked)
    gold = runs["retrained"]
    assert gold.reached
    assert runs["original"].steps >= 1
    for name in ("original", "unlearned"):
        index = measures["published-ain", name]
        assert (index.value, index.split) == (runs[name].steps / gold.steps, "train-forget")
        assert index.bound == ("=" if runs[name].reached else ">=")


def test_what_was_cut_off_is_not_shown_as_reached(models: dict[str, Any]) -> None:
    """At a rate at which nothing moves the original, which starts at the threshold, takes one step, others four."""
    still = Published(recipe=unregress.Recipe(epochs=1, lr=1e-9, batch_size=16))
    far = copy.deepcopy(models["original"])
    nn.init.constant_(far.bias, 100.0)
    asked = {"original": models["original"], "retrained": models["original"], "far": far}
    measures = found(still, panel(make_case(), asked))
    assert (measures["published-ain", "original"].value, measures["published-ain", "original"].bound) == (1, "=")
    assert (measures["published-ain", "far"].value, measures["published-ain", "far"].bound) == (4, ">=")
    assert measures["published-ain", "far"].note == "cut off before the threshold was reached"
    lost = found(still, panel(make_case(), {"original": models["original"], "retrained": far, "far": far}))
    assert (lost["published-ain", "original"].value, lost["published-ain", "original"].bound) == (0.25, "<=")
    assert lost["published-ain", "far"].value is None


def test_models_and_random_state_are_untouched_and_numbers_are_seeded(models: dict[str, Any]) -> None:
    networks = {name: model for name, model in models.items() if model is not None}
    before = {name: copy.deepcopy(model.state_dict()) for name, model in networks.items()}
    torch.manual_seed(1)
    np.random.seed(1)
    state, numbers = torch.get_rng_state(), np.random.get_state()[1]
    asked = panel(make_case(augment=shifted), models)
    first = found(QUICK, asked)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numbers)
    for name, model in networks.items():
        assert all(torch.equal(value, model.state_dict()[key]) for key, value in before[name].items())
        assert model.training and all(parameter.grad is None for parameter in model.parameters())
    assert found(QUICK, asked) == first


@pytest.mark.parametrize("options", [{"samples": 9}, {"alpha": -1.0}, {"recipe": unregress.Recipe(epochs=0)}])
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="Published"):
        Published(**options)
