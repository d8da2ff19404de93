"""Random streams are independent and leave no trace; copies share nothing; modes come back."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
from torch import nn

from support.small_cases import CPU, mlp, numbers, weights
from unregress import Runtime
from unregress.errors import ModelError, SettingError
from unregress.training.runtime import evaluating


def draw() -> tuple[float, float, float]:
    return torch.rand(()).item(), float(np.random.rand()), random.random()


def states():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


def test_isolated_draws_are_repeatable_and_the_global_state_returns():
    before = states()
    drawn = []
    for stream in ("a", "a", "b"):
        with CPU.isolated_rng(stream):
            drawn.append(draw())
    assert states() == before
    first, again, other = drawn
    assert first == again
    assert all(mine != its for mine, its in zip(first, other, strict=True))


def test_the_global_state_returns_after_an_error_too():
    before = states()
    with pytest.raises(RuntimeError, match="on purpose"), CPU.isolated_rng("a"):
        draw()
        raise RuntimeError("on purpose")
    assert states() == before


def test_isolated_draws_do_not_depend_on_what_came_before():
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        with CPU.isolated_rng("a"):
            drawn.append(draw())
    assert drawn[0] == drawn[1]


def test_generators_depend_on_seed_and_stream_alone():
    def first(seed, stream):
        return torch.rand(4, generator=Runtime(accelerator="cpu", seed=seed).generator(stream)).tolist()

    assert first(0, "order") == first(0, "order")
    streams = [tuple(first(seed, stream)) for seed in (0, 1, 10) for stream in ("order", "augment", "0/order")]
    assert len(set(streams)) == 9


def test_generators_do_not_disturb_each_other():
    order, augment = CPU.generator("order"), CPU.generator("augment")
    mixed = []
    for _ in range(3):
        torch.rand(5, generator=augment)
        mixed.append(torch.rand((), generator=order).item())
    order = CPU.generator("order")
    assert mixed == [torch.rand((), generator=order).item() for _ in range(3)]


def test_a_private_copy_shares_nothing_and_has_no_gradients():
    model = mlp()
    model(numbers(2, 3)).sum().backward()
    before = weights(model)
    twin = CPU.private_copy(model)
    assert weights(twin) == before
    assert all(parameter.grad is None for parameter in twin.parameters())
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    assert weights(model) == before
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_model_that_cannot_be_copied_is_explained():
    model = mlp()
    model.cache = model(numbers(2, 3))  # computed: not a leaf
    with pytest.raises(ModelError, match=r"cannot be copied.*deepcopy"):
        CPU.private_copy(model)


def test_evaluating_restores_every_submodules_own_mode():
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1)))
    model.train()
    model[1][0].eval()
    modes = [module.training for module in model.modules()]
    with pytest.raises(RuntimeError, match="on purpose"), evaluating(model):
        assert not any(module.training for module in model.modules())
        raise RuntimeError("on purpose")
    assert [module.training for module in model.modules()] == modes


def test_progress_changes_nothing_but_the_display():
    quiet, loud = (list(Runtime(accelerator="cpu", progress=p).track(range(3), "counting", 3)) for p in (False, True))
    assert quiet == loud == [0, 1, 2]


@pytest.mark.parametrize(
    "values",
    [
        {"evaluation_batch_size": 0},
        {"workers": -1},
        {"seed": -1},
        {"devices": 0},
        {"devices": []},
        {"strategy": "fsdp"},
        {"strategy": "fsdp2", "precision": "16-mixed"},
        {"precision": "8"},
        {"accelerator": "abacus"},
    ],
)
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(SettingError) as refused:
        Runtime(**values)
    name = list(values)[-1]
    assert refused.value.found == f"Runtime.{name} is {values[name]!r}"


def test_a_runtime_is_sent_without_the_device_that_it_has_opened():
    runtime = Runtime(accelerator="cpu", seed=5)
    assert runtime.device.type == "cpu" and "device" in vars(runtime)
    sent = pickle.loads(pickle.dumps(runtime))
    assert sent == runtime and "device" not in vars(sent) and sent.device.type == "cpu"
