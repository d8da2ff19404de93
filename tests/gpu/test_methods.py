"""Every method on a GPU gives the model that it gives on the CPU."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from support.contract_subjects import METHODS, MODELS, trained_on, with_recipe
from support.device_jobs import answers, case_for, require_close, runtime_on
from support.small_cases import Listed
from unregress import Method, Recipe, train

pytestmark = pytest.mark.gpu
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
# Dropout is left out: its masks are drawn on the device.
KINDS = [name for name in MODELS if name != "dropout"]
MLP = MODELS["mlp"]


@pytest.mark.parametrize("kind", KINDS)
@every_method
def test_a_method_gives_the_cpus_answer(device: str, method: Method, kind: str) -> None:
    case, model = case_for(MODELS[kind]), trained_on(MODELS[kind])
    found, expected = (
        answers(method.unlearn(model, case, runtime), case, runtime)
        for runtime in (runtime_on(device), runtime_on("cpu"))
    )
    require_close(found, expected, 1e-6)


@every_method
def test_single_precision_gives_the_cpus_answer(device: str, method: Method) -> None:
    case, model = case_for(MLP), trained_on(MLP)
    found, expected = (
        answers(method.unlearn(model, case, runtime), case, runtime)
        for runtime in (runtime_on(device, "32-true"), runtime_on("cpu", "32-true"))
    )
    require_close(found, expected, 1e-3)


@pytest.mark.parametrize("changes", [
    {"schedule": "plateau", "patience": 1, "epochs": 4, "optimizer": "adamw", "batch_size": 5},
    {"clip_norm": 0.5, "optimizer": "sgd", "schedule": "one-cycle", "weight_decay": 0.1},
], ids=["plateau", "clipped"])  # fmt: skip
@every_method
def test_schedules_and_clipping_give_the_cpus_answer(device: str, method: Method, changes: dict[str, object]) -> None:
    method, case, model = with_recipe(method, **changes), case_for(MLP), trained_on(MLP)
    found, expected = (
        answers(method.unlearn(model, case, runtime), case, runtime)
        for runtime in (runtime_on(device), runtime_on("cpu"))
    )
    require_close(found, expected, 1e-6)


@pytest.mark.parametrize("workers", [0, 2])
@every_method
def test_streamed_and_resident_data_give_one_answer(device: str, method: Method, workers: int) -> None:
    """A `TensorDataset` is indexed a batch at a time; any other dataset goes through a `DataLoader`."""
    datasets: list[Dataset[object]] = [Listed(*MLP.tensors()), TensorDataset(*MLP.tensors())]
    runtime, model = runtime_on(device, workers=workers), trained_on(MLP)
    streamed, resident = (
        answers(method.unlearn(model, case, runtime), case, runtime)
        for case in (case_for(MLP, train=dataset) for dataset in datasets)
    )
    require_close(streamed, resident, 1e-9)


@every_method
def test_the_original_stays_as_it_is_and_the_result_is_on_its_device(device: str, method: Method) -> None:
    for home in ("cpu", device):
        model = trained_on(MLP).to(home)
        before = copy.deepcopy(model.state_dict())
        made = method.unlearn(model, case_for(MLP), runtime_on(device))
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        for one, other in zip(made.model.parameters(), model.parameters(), strict=True):
            assert (one.device, one.dtype) == (other.device, other.dtype)


def test_training_gives_the_cpus_answer(device: str) -> None:
    recipe, case = Recipe(epochs=3, batch_size=7), case_for(MLP)
    found, expected = (
        answers(train(case, recipe, runtime), case, runtime) for runtime in (runtime_on(device), runtime_on("cpu"))
    )
    require_close(found, expected, 1e-6)


def test_the_seed_decides_the_model(device: str) -> None:
    recipe, case = Recipe(epochs=2, batch_size=7), case_for(MLP)
    runtime = runtime_on(device)
    one, again, other = (
        answers(train(case, recipe, replace(runtime, seed=seed)), case, runtime)["prediction"] for seed in (3, 3, 4)
    )
    require_close(one, again, 1e-9)
    assert abs(one - other).max() > 1e-3
