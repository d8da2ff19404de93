"""Gaussian poisons: closed form of a linear model, a network trained on them, and the level without any trace."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import unregress
from support.bump_case import Rows
from support.hand_panels import seen
from support.small_cases import flat_case
from unregress import Case, ForgetRequest, GaussianPoisons, Recipe, Runtime, TensorTask
from unregress.errors import DataError, ModelError, SettingError, UnregressError
from unregress.evidence import Measurement, Role
from unregress.metrics import default_metrics
from unregress.metrics.base import Panel, Subject
from unregress.metrics.gaussian_poisons import poison_scores, with_gaussian_noise

CPU = Runtime(accelerator="cpu")
SIZE, WIDTH = 80, 8
FORGET = tuple(range(0, SIZE, 2))


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, 1))


def poisoned_case(seed: int, scale: float = 0.5, **changes: Any) -> tuple[Case, Tensor]:
    """A case whose forgotten inputs carry noise, and the noise."""
    draw = torch.Generator().manual_seed(seed)
    x, y = torch.randn(SIZE, WIDTH, generator=draw), torch.randn(SIZE, generator=draw)
    made = with_gaussian_noise(x, FORGET, scale, draw)
    fields: dict[str, Any] = {
        "task": TensorTask(build_model=net, loss="mse"),
        "request": ForgetRequest(size=SIZE, forget=FORGET, reason="test"),
        "train": TensorDataset(made.inputs, y),
        "test": TensorDataset(x, y),
    }
    return flat_case(**(fields | changes)), made.noise


def scored(metric: GaussianPoisons, case: Case, runtime: Runtime = CPU, **models: nn.Module | None) -> dict[str, Any]:
    """Measurements by metric and model."""
    parts = {"train-forget": seen(np.zeros(len(case.requested.forget)))}
    roles: Mapping[str, Role] = {"original": "original", "gold": "gold"}
    subjects = tuple(
        Subject(name=name, role=roles.get(name, "unlearned"), model=model, parts=parts)
        for name, model in models.items()
    )
    panel = Panel(case=case, runtime=runtime, subjects=subjects, validation_forget_like=np.zeros(0, np.int64))
    found = [each for each in metric.measure(panel) if isinstance(each, Measurement)]
    return {f"{each.metric} {each.model}": each for each in found}


def test_scores_by_hand() -> None:
    """Gradients (3, 4) and (0, 2), noise (-1, -0.5) and (1, 3), scales 0.5; then scales (1, 2) for the first."""
    gradients, noise = np.array([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]]), np.array([[-1.0, -0.5], [1.0, 3.0], [1.0, 1.0]])
    found = poison_scores(gradients, noise, np.array(0.5))
    assert found[:2].tolist() == pytest.approx([5 / 2.5, -6 / 1]) and np.isnan(found[2])
    assert poison_scores(gradients, noise, np.array([1.0, 2.0]))[0] == pytest.approx(5 / sqrt(9 + 64))
    assert poison_scores(1e200 * gradients, noise, np.array(0.5))[:2] == pytest.approx(found[:2])


def test_a_linear_model_in_closed_form() -> None:
    """Of f = w·x and a squared error the gradient is 2 (f - y) w: its sign and the direction of w decide."""
    case, noise = poisoned_case(0)
    model = nn.Linear(WIDTH, 1)
    inputs, target = case.splits.train[:]  # type: ignore[index]
    rows = list(FORGET)
    with torch.no_grad():
        residual = model(inputs[rows] - noise)[:, 0] - target[rows]
        along = noise @ model.weight[0] / (0.5 * model.weight[0].norm())
    expected = -(residual.sign() * along).double().numpy()
    found = scored(GaussianPoisons(noise=noise, scale=0.5), case, original=model)
    total, largest = found["poison-score original"], found["poison-largest original"]
    assert total.value == pytest.approx(expected.sum() / sqrt(40), rel=1e-5)
    assert largest.value == pytest.approx(expected.max(), rel=1e-5)
    assert total.p == pytest.approx(norm.sf(total.value)) and total.note == "40 of 40 samples"
    assert largest.p == pytest.approx(1 - norm.cdf(largest.value) ** 40)


@pytest.mark.slow
def test_a_network_trained_on_poisons_is_caught_and_one_that_never_saw_them_is_not() -> None:
    """Four seeds: each original at a level of 1 %, and the eight p-values of golds no smaller than by chance."""
    ps = []
    for seed in range(4):
        case, noise = poisoned_case(seed)
        runtime, recipe = Runtime(accelerator="cpu", seed=seed), Recipe(epochs=150, lr=0.01, batch_size=20)
        original = unregress.train(case, recipe, runtime).model
        (gold,) = unregress.retrain(case, recipe, runtime, seeds=[seed + 1])
        found = scored(GaussianPoisons(noise=noise, scale=0.5), case, original=original, gold=gold.model)
        assert found["poison-score original"].p < 0.01
        ps += [found["poison-score gold"].p, found["poison-largest gold"].p]
    assert min(ps) > 0.05 / len(ps)


class KnowsOne(nn.Module):
    """A linear model that follows the noise of one sample in its surroundings, towards that sample's target."""

    def __init__(self, base: nn.Linear, clean: Tensor, noise: Tensor, target: Tensor) -> None:
        super().__init__()
        self.base, self.clean = base, clean
        self.along = 100 * noise * torch.sign(target - base(clean)[0]).detach()

    def forward(self, x: Tensor) -> Tensor:
        away = x - self.clean
        return self.base(x) + ((-away.square().sum(1)).exp() * (away @ self.along))[:, None]


def test_one_sample_that_is_known_shows_in_the_largest_score_alone() -> None:
    """A score is at most |noise| / scale, about the square root of the number of inputs: 7 of 50."""
    width, draw = 50, torch.Generator().manual_seed(0)
    x, y = torch.randn(SIZE, width, generator=draw), torch.randn(SIZE, generator=draw)
    made = with_gaussian_noise(x, FORGET, 0.5, draw)
    task, train = TensorTask(build_model=lambda: nn.Linear(width, 1), loss="mse"), TensorDataset(made.inputs, y)
    case, _ = poisoned_case(0, task=task, train=train, test=TensorDataset(x, y))
    torch.manual_seed(0)
    base = nn.Linear(width, 1)
    model = KnowsOne(base, x[FORGET[3]], made.noise[3], y[FORGET[3]])
    found = scored(GaussianPoisons(noise=made.noise, scale=0.5), case, original=model, gold=base)
    assert found["poison-largest original"].value == pytest.approx(float(made.noise[3].norm()) / 0.5, rel=0.01)
    assert found["poison-largest original"].p < 1e-6 and found["poison-score original"].p > 0.01
    assert found["poison-largest gold"].p > 0.05


def test_p_values_of_a_model_without_a_trace_are_uniform() -> None:
    """One network, and 300 draws of noise that it never saw."""
    torch.manual_seed(0)
    model, ps = net(), []
    for seed in range(300):
        case, noise = poisoned_case(seed)
        found = scored(GaussianPoisons(noise=noise, scale=0.5), case, original=model)
        ps.append([found["poison-score original"].p, found["poison-largest original"].p])
    for each in np.array(ps).T:
        assert kstest(each, "uniform").pvalue > 0.01
        assert (each <= 0.05).mean() <= 0.05 + 3 * sqrt(0.05 * 0.95 / 300)


def test_models_and_random_state_are_left_alone_and_batches_change_nothing() -> None:
    case, noise = poisoned_case(1)
    model = nn.Sequential(nn.Linear(WIDTH, 4), nn.Dropout(0.5), nn.Linear(4, 1)).train()
    before, drawn = [weight.clone() for weight in model.parameters()], torch.get_rng_state()
    metric = GaussianPoisons(noise=noise, scale=0.5)
    first = scored(metric, case, original=model)
    assert first == scored(metric, case, original=model)
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, model.parameters(), strict=True))
    assert model.training and torch.equal(drawn, torch.get_rng_state())
    streamed, _ = poisoned_case(1, train=Rows(*case.splits.train.tensors))  # type: ignore[attr-defined]
    small = Runtime(accelerator="cpu", evaluation_batch_size=7)
    for other in (scored(metric, case, small, original=model), scored(metric, streamed, original=model)):
        assert other["poison-score original"].value == pytest.approx(first["poison-score original"].value, rel=1e-5)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, flag: Tensor, x: Tensor) -> Tensor:
        return self.net(x) * flag[:, None]


def test_the_poisoned_tensor_is_found_by_its_number() -> None:
    case, noise = poisoned_case(2)
    inputs, target = case.splits.train.tensors  # type: ignore[attr-defined]
    model = TwoInputs()
    task = TensorTask(build_model=TwoInputs, loss="mse")
    two, _ = poisoned_case(2, task=task, train=TensorDataset(torch.ones(SIZE), inputs, target))
    plain = scored(GaussianPoisons(noise=noise, scale=0.5), case, original=model.net)
    assert scored(GaussianPoisons(noise=noise, scale=0.5, leaf=1), two, original=model) == plain
    for leaf in (0, 2, 3, 9):
        with pytest.raises(ModelError):
            scored(GaussianPoisons(noise=noise, scale=0.5, leaf=leaf), two, original=model)


def test_a_loss_that_does_not_depend_on_inputs_and_a_predictor_without_a_network() -> None:
    case, noise = poisoned_case(3)
    still = nn.Linear(WIDTH, 1)
    nn.init.zeros_(still.weight)
    found = scored(GaussianPoisons(noise=noise, scale=0.5), case, original=still, constant=None)
    assert found.keys() == {"poison-score original", "poison-largest original"}
    assert all(each.value is None and "does not depend" in each.note for each in found.values())


def test_scale_by_feature() -> None:
    draw = torch.Generator().manual_seed(0)
    scale = torch.tensor([1.0, 100.0])
    noise = with_gaussian_noise(torch.zeros(4000, 2), range(4000), scale, draw).noise
    assert noise.std(dim=0).tolist() == pytest.approx([1, 100], rel=0.05)


def test_noise_is_where_it_was_asked_for_and_the_generator_decides() -> None:
    x = torch.arange(12.0).reshape(6, 2)
    first, again, other = (with_gaussian_noise(x, [1, 4], 0.1, torch.Generator().manual_seed(s)) for s in (5, 5, 6))
    assert torch.equal(first.inputs, again.inputs) and not torch.equal(first.noise, other.noise)
    difference = first.inputs - x
    assert torch.equal(difference[[0, 2, 3, 5]], torch.zeros(4, 2))
    assert torch.allclose(difference[[1, 4]], first.noise, atol=1e-6)
    assert torch.equal(x, torch.arange(12.0).reshape(6, 2))


def test_misuse_is_refused() -> None:
    x, draw = torch.zeros(4, 2), torch.Generator().manual_seed(0)
    for rows, inputs in (([2, 1], x), ([1, 1], x), ([4], x), ([-1, 2], x), ([0], x.long())):
        with pytest.raises(DataError):
            with_gaussian_noise(inputs, rows, 1.0, draw)
    for scale in (0.0, -1.0, float("nan"), torch.tensor([1.0, 0.0])):
        with pytest.raises(SettingError):
            with_gaussian_noise(x, [0], scale, draw)
        with pytest.raises(SettingError):
            GaussianPoisons(noise=torch.zeros(1, 2), scale=scale)
    with pytest.raises(SettingError):
        GaussianPoisons(noise=torch.zeros(1, 2), scale=torch.ones(3))
    case, noise = poisoned_case(4)
    (objection,) = GaussianPoisons(noise=noise[1:], scale=0.5).objections(case, [])
    assert isinstance(objection, DataError) and "39 samples, and 40" in objection.found
    models = {"original": net(), "mine": net()}
    with pytest.raises(UnregressError):
        unregress.audit(case, models, CPU, metrics=[GaussianPoisons(noise=noise[1:], scale=0.5)])
    assert not any(isinstance(metric, GaussianPoisons) for metric in default_metrics())


def test_in_an_audit() -> None:
    case, noise = poisoned_case(5)
    metrics = [unregress.Errors(), GaussianPoisons(noise=noise, scale=0.5)]
    report = unregress.audit(case, {"original": net(), "mine": net()}, CPU, metrics=metrics)
    assert report.value("poison-score", "train-forget", "mine") is not None
