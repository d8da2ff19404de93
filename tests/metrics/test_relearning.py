"""Relearning against a hand-written loop, and the hurried look at the loss against the full one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import unregress
from support.small_cases import flat_case
from unregress.errors import ModelError
from unregress.evidence import Figure, Measurement, Role
from unregress.metrics import Anamnesis, relearning
from unregress.metrics.base import Panel, Subject
from unregress.metrics.relearning import MARGIN, LossMonitor, relearn
from unregress.training.loop import evaluate

LR, BATCH, EPOCHS, ALPHA, SEED = 0.02, 16, 40, 1.0, 5
RECIPE = unregress.Recipe(epochs=EPOCHS, lr=LR, batch_size=BATCH)
RUNTIME = unregress.Runtime(accelerator="cpu", seed=SEED)
ROLES: dict[str, Role] = {"original": "original", "retrained": "gold", "retrained #2": "gold", "constant": "reference"}


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))


def table(validation: int = 30) -> dict[str, TensorDataset]:
    x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    y = x[:, 0] + 2 * (x[:, 1] > 0)
    held_out = slice(70, 70 + validation)
    return {"train": TensorDataset(x[:70], y[:70]), "validation": TensorDataset(x[held_out], y[held_out])}


def make_case(validation: int = 30, **changes: Any) -> unregress.Case:
    data = table(validation)
    fields: dict[str, Any] = {
        "task": unregress.TensorTask(build_model=net, loss=changes.pop("loss", "mse")),
        "request": unregress.ForgetRequest.band(data["train"].tensors[1], low=1.5, reason="test"),
        **data,
    }
    return flat_case(**(fields | changes))


def panel(case: unregress.Case, models: dict[str, nn.Module | None], runtime: unregress.Runtime = RUNTIME) -> Panel:
    subjects = [Subject(name=n, role=ROLES.get(n, "unlearned"), model=m, parts={}) for n, m in models.items()]
    group = np.zeros(0, np.int64) if case.splits.validation is None else np.flatnonzero(case.forget_like("validation"))
    return Panel(case=case, runtime=runtime, subjects=tuple(subjects), validation_forget_like=group)


@pytest.fixture(scope="module")
def models() -> dict[str, nn.Module | None]:
    case, runtime = make_case(), unregress.Runtime(accelerator="cpu")
    recipe = unregress.Recipe(epochs=60, lr=0.02, batch_size=16)
    original = unregress.train(case, recipe, runtime).model
    golds = [
        unregress.Retrain(recipe=recipe).unlearn(original, case, replace(runtime, seed=seed)).model for seed in (0, 1)
    ]
    torch.manual_seed(11)
    return {"original": original, "retrained": golds[0], "retrained #2": golds[1], "fresh": net(), "constant": None}


def by_hand(model: nn.Module, x: Tensor, y: Tensor, watch_x: Tensor, watch_y: Tensor, shuffle: int) -> Iterator[float]:
    """Mean loss on the watched rows before the first step and after each one."""
    model = copy.deepcopy(model)
    adam = torch.optim.Adam(model.parameters(), lr=LR)
    draws = RUNTIME.generator(f"relearn/{shuffle}/order")

    def watched() -> float:
        with torch.no_grad():
            return float((model(watch_x).squeeze(1) - watch_y).square().mean())

    yield watched()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x), generator=draws).split(BATCH):
            adam.zero_grad()
            (model(x[rows]).squeeze(1) - y[rows]).square().mean().backward()
            adam.step()
            yield watched()


def first_hit(model: nn.Module, threshold: float, case: unregress.Case, shuffle: int) -> list[float]:
    """The losses of the loop by hand, up to the first at the threshold; watched is held-out y of 1.5 and more."""
    data = table()
    watch_x, watch_y = data["validation"].tensors
    alike = watch_y >= 1.5
    losses = []
    for loss in by_hand(model, *data["train"].tensors, watch_x[alike], watch_y[alike], shuffle):
        losses.append(loss)
        if loss <= threshold:
            break
    return losses


@pytest.mark.slow
def test_every_shuffle_equals_a_hand_written_loop(models: dict[str, Any]) -> None:
    case = make_case()
    own = next(iter(first_hit(models["original"], np.inf, case, 0)))
    steps = {
        name: [len(first_hit(models[name], (1 + ALPHA) * own, case, shuffle)) - 1 for shuffle in range(5)]
        for name in ("original", "retrained", "retrained #2", "fresh")
    }
    found = list(Anamnesis(alpha=ALPHA, recipe=RECIPE, shuffles=5).measure(panel(case, models)))
    numbers = {(m.metric, m.model): (m.value, m.bound, m.interval) for m in found if isinstance(m, Measurement)}
    assert ("relearn-steps", "constant") not in numbers
    for name, counts in steps.items():
        assert numbers["relearn-steps", name] == (np.median(counts), "=", (min(counts), max(counts)))
    golds = np.median([steps["retrained"], steps["retrained #2"]], axis=0)
    index = np.array(steps["fresh"]) / golds
    assert numbers["ain", "fresh"] == (pytest.approx(np.median(index)), "=", (min(index), max(index)))
    assert numbers["ain", "original"] == (0, "=", (0, 0))
    own_index = np.array(steps["retrained"]) / np.array(steps["retrained #2"])
    assert numbers["ain", "retrained"] == (pytest.approx(np.median(own_index)), "=", (min(own_index), max(own_index)))
    assert len(set(steps["fresh"])) > 1, "the shuffles are the same"
    (drawn,) = [finding for finding in found if isinstance(finding, Figure)]
    assert drawn.threshold == pytest.approx((1 + ALPHA) * own, rel=1e-5)
    assert [curve.model for curve in drawn.curves] == ["original", "retrained", "fresh"]


@pytest.mark.parametrize("name", ["retrained", "fresh"])
def test_one_shuffle_is_drawn_as_it_is(models: dict[str, Any], name: str) -> None:
    case = make_case()
    threshold = (1 + ALPHA) * first_hit(models["original"], np.inf, case, 0)[0]
    losses = first_hit(models[name], threshold, case, 0)
    asked = panel(case, {key: models[key] for key in ("original", "retrained", "fresh")})
    found = list(Anamnesis(alpha=ALPHA, recipe=RECIPE, shuffles=1).measure(asked))
    (drawn,) = [finding for finding in found if isinstance(finding, Figure)]
    curve = next(curve for curve in drawn.curves if curve.model == name)
    assert curve.x == tuple(range(len(losses)))
    assert curve.y == pytest.approx(losses, rel=1e-4)


class Full(LossMonitor):
    """Looks at all samples each time, by the library's plain evaluation."""

    def mean_loss(self, model: nn.Module) -> float:
        return evaluate(model, self.case, self.split, torch.cat(self.chunks), self.runtime)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_hurried_look_finds_the_same_first_hit(
    models: dict[str, Any], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(relearning, "CHUNK", 32)
    case = make_case(validation=900)
    asked = panel(case, models, replace(RUNTIME, seed=seed))
    hurried, full = LossMonitor(asked, ALPHA), Full(asked, ALPHA)
    assert hurried.threshold == pytest.approx(full.threshold, rel=1e-6)
    fast, slow = (relearn(models["fresh"], watch, RECIPE, stream="relearn/0") for watch in (hurried, full))
    assert (fast.steps, fast.reached) == (slow.steps, True)
    assert fast.steps > 5
    given = list(zip(fast.losses, slow.losses, strict=True))
    near = [(a, b) for a, b in given if b <= (1 + MARGIN) * full.threshold]
    assert near and all(a == pytest.approx(b, rel=1e-5) for a, b in near)
    assert all(a > full.threshold for a, _ in given[:-1])
    # Estimated from a part of the samples: a little off, but not by much.
    assert any(abs(a / b - 1) > 1e-4 for a, b in given)
    assert np.mean([a / b for a, b in given]) == pytest.approx(1, abs=0.3)


def test_a_hurried_look_stops_as_soon_as_it_is_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses of 1 and 3 in chunks of 10: where to stop, by the formula of a random sample's standard error."""
    monkeypatch.setattr(relearning, "CHUNK", 10)
    monkeypatch.setattr(relearning, "FEWEST", 20)
    wanted = torch.tensor([0.0, 2.0]).repeat(200)
    seen: list[float] = []

    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        found = 3 - target + 0 * prediction
        seen.extend(found.tolist())
        return found

    request = unregress.ForgetRequest(size=400, forget=(0, 1), reason="test")
    task = unregress.TensorTask(build_model=lambda: nn.Linear(1, 1), loss=loss)
    data = TensorDataset(torch.zeros(400, 1), wanted)
    case = unregress.Case(
        task=task,
        splits=unregress.Splits(train=data, validation=data),
        request=request,
        validation_forget_like=range(400),
    )
    model = nn.Linear(1, 1)
    watch = LossMonitor(panel(case, {"original": model}), ALPHA)
    assert (watch.threshold, len(seen)) == (pytest.approx(4.0), 400)
    in_order, stops = np.array(seen), []
    for threshold in (0.2, 0.5, 1.0, 1.5, 1.9, 1.97, 2.0, 2.1):
        seen.clear()
        watch.threshold = threshold
        given = watch.mean_loss(model)
        stops.append(len(seen))
        assert given == pytest.approx(in_order[: len(seen)].mean())
        for count in range(20, len(seen) + 1, 10):
            error = in_order[:count].std(ddof=1) * np.sqrt((1 - count / 400) / count)
            assert (in_order[:count].mean() - 6 * error > 1.02 * threshold) == (count == len(seen) < 400), threshold
    assert stops == sorted(stops) and 20 < stops[2] < stops[3] < 400 and stops[-1] == 400


def test_losses_that_can_be_negative_are_relearnt_alike(
    models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relearning, "CHUNK", 32)
    case = make_case(validation=900, loss=lambda prediction, target: (prediction - target).square() - 1.0)
    asked = panel(case, models)
    hurried, full = LossMonitor(asked, 0.05), Full(asked, 0.05)
    assert hurried.threshold < 0
    fast, slow = (relearn(models["fresh"], watch, RECIPE, stream="relearn/0") for watch in (hurried, full))
    assert (fast.steps, fast.reached) == (slow.steps, slow.reached)
    assert fast.losses != slow.losses and fast.losses[-1] == pytest.approx(slow.losses[-1], rel=1e-4)
    # Above a negative loss is nearer to zero: the original is there.
    assert relearn(models["original"], hurried, RECIPE, stream="relearn/0").steps == 0


@pytest.mark.slow
@pytest.mark.parametrize("draw", [np.random.Generator.exponential, np.random.Generator.standard_cauchy])
def test_an_estimate_is_wrong_less_often_than_anybody_looks(draw: Any) -> None:
    """Of 20,000 looks at losses whose mean is just at the threshold, none takes a part of them for an answer."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(2_000):
        losses = np.abs(draw(rng, size=1_500))
        watch = LossMonitor.__new__(LossMonitor)
        watch.samples, watch.threshold = len(losses), float(losses.mean())
        ordered = torch.from_numpy(rng.permutation(losses))
        wrong += sum(watch._above(ordered[:count]) for count in range(128, 1_408, 128))
    assert wrong == 0


def test_kept_samples_and_those_read_anew_give_the_same(
    models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = panel(make_case(), models)
    kept = LossMonitor(asked, ALPHA)
    monkeypatch.setattr(relearning, "KEPT", 0)
    anew = LossMonitor(asked, ALPHA)
    assert kept.kept is not None and anew.kept is None
    first, second = (relearn(models["fresh"], watch, RECIPE, stream="relearn/0") for watch in (kept, anew))
    assert first == second


class InPlace(nn.Module):
    """Changes its input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.mul_(2))
        return out


def test_a_model_that_changes_its_input_in_place_does_not_change_what_is_watched() -> None:
    case = make_case(task=unregress.TensorTask(build_model=InPlace, loss="mse"))
    torch.manual_seed(0)
    model = InPlace()
    watch = LossMonitor(panel(case, {"original": model}), ALPHA)
    assert watch.mean_loss(model) == watch.mean_loss(model) == pytest.approx(watch.threshold / (1 + ALPHA))


def test_all_models_are_given_the_same_batches_in_a_shuffle_and_others_in_the_next(models: dict[str, Any]) -> None:
    """At a rate at which nothing moves, each relearning takes 5 steps: 70 rows in batches of 16."""
    given: list[tuple[bytes, float]] = []

    def watched(batch: list[Tensor], draws: torch.Generator) -> list[Tensor]:
        given.append((batch[0].numpy().tobytes(), float(torch.rand((), generator=draws))))
        return batch

    case = make_case(augment=watched)
    still = Anamnesis(recipe=unregress.Recipe(epochs=1, lr=1e-9, batch_size=BATCH), shuffles=2)
    asked = panel(case, {key: models[key] for key in ("original", "retrained", "retrained #2", "fresh")})
    found = {(m.metric, m.model): m for m in still.measure(asked) if isinstance(m, Measurement)}
    courses = [given[start : start + 5] for start in range(0, len(given), 5)]
    assert len(courses) == 6, "three models that have not reached it, two shuffles"
    assert courses[0] == courses[2] == courses[4]
    assert courses[1] == courses[3] == courses[5]
    assert not {batch for batch, _ in courses[0]} & {batch for batch, _ in courses[1]}
    steps = found["relearn-steps", "retrained"]
    assert (steps.value, steps.bound, steps.interval) == (5, ">=", None)
    assert (found["ain", "original"].value, found["ain", "original"].bound) == (0, "=")
    assert found["ain", "retrained"].value is None


class Noisy(nn.Module):
    """Draws from the global random state also in evaluation mode."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0 * torch.rand(len(x), 1)


def test_how_far_one_looks_does_not_decide_what_is_drawn_in_training(
    models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that draws when it is evaluated: the number of looks must not shift the draws of training."""
    monkeypatch.setattr(relearning, "CHUNK", 8)
    monkeypatch.setattr(relearning, "FEWEST", 16)
    states: list[bytes] = []

    def recorded(batch: list[Tensor], _: torch.Generator) -> list[Tensor]:
        states.append(torch.get_rng_state().numpy().tobytes())
        return batch

    asked = panel(make_case(validation=900, augment=recorded), models)
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(2, 8), Noisy(), nn.Dropout(0.5), nn.Linear(8, 1))
    watch, runs = LossMonitor(asked, ALPHA), []
    for sure in (relearning.SURE, 1e9):
        monkeypatch.setattr(relearning, "SURE", sure)
        runs.append(relearn(model, watch, unregress.Recipe(epochs=2, lr=LR, batch_size=BATCH), stream="x"))
    assert runs[0].steps == runs[1].steps == 10 and runs[0] != runs[1]
    assert states[:10] == states[10:] and len(set(states)) == 10


def test_models_and_random_state_are_untouched(models: dict[str, Any]) -> None:
    networks = {name: model for name, model in models.items() if model is not None}
    for model in networks.values():
        model.train()
    before = {name: copy.deepcopy(model.state_dict()) for name, model in networks.items()}
    torch.manual_seed(123)
    np.random.seed(123)
    state, numbers = torch.get_rng_state(), np.random.get_state()[1]
    list(Anamnesis(recipe=replace(RECIPE, epochs=4), shuffles=2).measure(panel(make_case(), models)))
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numbers)
    for name, model in networks.items():
        assert all(torch.equal(value, model.state_dict()[key]) for key, value in before[name].items())
        assert model.training and all(parameter.grad is None for parameter in model.parameters())


def test_the_same_numbers_twice_and_whoever_else_is_there(models: dict[str, Any]) -> None:
    def steps(names: tuple[str, ...]) -> dict[str, Any]:
        asked = panel(make_case(), {name: models[name] for name in names})
        found = Anamnesis(recipe=replace(RECIPE, epochs=4), shuffles=2).measure(asked)
        return {m.model: m for m in found if isinstance(m, Measurement) and m.metric == "relearn-steps"}

    everyone = steps(("original", "retrained", "fresh"))
    assert steps(("original", "retrained", "fresh")) == everyone
    assert steps(("original", "fresh")) == {name: everyone[name] for name in ("original", "fresh")}


def test_a_model_frozen_for_inference_is_relearnt_like_an_unfrozen_one(models: dict[str, Any]) -> None:
    networks = {name: model for name, model in models.items() if model is not None}
    frozen = {name: copy.deepcopy(model).requires_grad_(False) for name, model in networks.items()}
    metric = Anamnesis(alpha=ALPHA, recipe=RECIPE, shuffles=1)
    first, second = (list(metric.measure(panel(make_case(), asked))) for asked in (networks, frozen))
    assert first == second


def test_without_held_out_samples_of_the_kind_the_forgotten_ones_are_watched(models: dict[str, Any]) -> None:
    case = make_case(request=unregress.ForgetRequest.random(70, 20, seed=0, reason="test"))
    watch = LossMonitor(panel(case, models), ALPHA)
    assert watch.name == "train-forget"
    x, y = table()["train"].tensors
    rows = list(case.requested.forget)
    with torch.no_grad():
        own = (models["original"](x[rows]).squeeze(1) - y[rows]).square().mean()
    assert watch.threshold == pytest.approx((1 + ALPHA) * float(own), rel=1e-5)


def test_the_first_step_is_taken_where_one_does_not_look_at_the_start(models: dict[str, Any]) -> None:
    watch = LossMonitor(panel(make_case(), models), ALPHA)
    assert relearn(models["original"], watch, RECIPE, stream="x").steps == 0
    late = relearn(models["original"], watch, RECIPE, stream="x", at_start=False)
    assert late.steps >= 1 and late.reached


def test_a_model_that_runs_away_is_cut_off(models: dict[str, Any]) -> None:
    wild = unregress.Recipe(epochs=3, lr=1e30, batch_size=BATCH)
    run = relearn(models["fresh"], LossMonitor(panel(make_case(), models), ALPHA), wild, stream="x")
    assert not run.reached and np.isfinite(run.losses).all()


def test_a_model_whose_loss_is_no_number_is_refused(models: dict[str, Any]) -> None:
    broken = net()
    nn.init.constant_(broken[0].bias, float("nan"))  # type: ignore[index, arg-type]
    with pytest.raises(ModelError, match="before relearning"):
        relearn(broken, LossMonitor(panel(make_case(), models), ALPHA), RECIPE, stream="x")
    with pytest.raises(ModelError, match="before relearning"):
        LossMonitor(panel(make_case(), {"original": broken}), ALPHA)
    with pytest.raises(ModelError, match="constant"):
        LossMonitor(panel(make_case(), {"original": None}), ALPHA)
