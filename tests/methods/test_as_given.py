"""Models as users have them: in a wrapper, with weights computed by a hook, in half precision; and runs gone wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import TensorDataset

from support.contract_subjects import METHODS, with_recipe
from support.small_cases import CPU, case_of, mlp, table, weights
from unregress import Case, Cost, FineTune, Method, Runtime, TensorTask, Unlearned, preflight
from unregress.errors import DivergenceError, ModelError, SettingError
from unregress.retraining.model_factory import retrain
from unregress.tasks.unwrap import plain, unwrapped

every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "DataParallel": nn.DataParallel,
    "AveragedModel": AveragedModel,
    "OptimizedModule": lambda model: torch.compile(model, backend="eager"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRAPPERS)
@every_method
def test_a_wrapped_model_gives_what_the_model_inside_gives(method: Method, name: str) -> None:
    original = mlp()
    expected = method.unlearn(original, case_of(), CPU)
    found = method.unlearn(WRAPPERS[name](original), case_of(), CPU)
    assert type(found.model) is nn.Sequential and weights(found.model) == weights(expected.model)
    (note,) = set(found.notes) - set(expected.notes)
    assert name in note
    assert unwrapped(WRAPPERS[name](original)).state_dict().keys() == original.state_dict().keys()


def test_a_factory_may_wrap_too() -> None:
    case = case_of(build=lambda: nn.DataParallel(mlp()))
    assert type(METHODS["Retrain"].unlearn(mlp(), case, CPU).model) is nn.Sequential


def test_another_wrapper_is_named() -> None:
    class Ours(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    with pytest.raises(ModelError) as refused:
        METHODS["Retrain"].unlearn(Ours(), case_of(), CPU)
    assert "is a Ours" in refused.value.found and "model.net" in refused.value.remedy


def test_names_without_wrappers() -> None:
    assert plain("module._orig_mod.module.0.weight") == "0.weight"


HOOKED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight norm": nn.utils.weight_norm,
    "spectral norm": nn.utils.spectral_norm,
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("name", HOOKED)
@every_method
def test_weights_that_a_hook_computes_are_copied(method: Method, name: str) -> None:
    def build() -> nn.Module:
        return nn.Sequential(HOOKED[name](nn.Linear(3, 8)), nn.ReLU(), HOOKED[name](nn.Linear(8, 1)))

    model, (inputs, _) = build(), table()
    model(inputs).sum().backward()
    before = weights(model)
    found = method.unlearn(model, case_of(build=build), CPU)
    assert weights(model) == before and weights(found.model) != before
    assert not torch.equal(found.model(inputs), model(inputs))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*performance drop:UserWarning")
@pytest.mark.parametrize("stack", [1, 2])
def test_golds_with_weight_norm(stack: int) -> None:
    case = case_of(build=lambda: nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 4)), nn.Linear(4, 1)))
    recipe = METHODS["Retrain"].recipe
    one, two = retrain(case, recipe, CPU, [0, 1], stack=stack)
    assert weights(one.model) != weights(two.model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_model_of_another_precision_is_told_so(dtype: torch.dtype) -> None:
    with pytest.raises(ModelError) as refused:
        METHODS["FineTune"].unlearn(mlp().to(dtype), case_of(), CPU)
    assert str(dtype).removeprefix("torch.") in refused.value.found and "model.float()" in refused.value.remedy


class Outputs(NamedTuple):
    logits: Tensor
    aux_logits: Tensor


class Regressor(nn.Module):
    """Returns more in training than in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.aux = nn.Linear(3, 8), nn.Linear(8, 1), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor | Outputs:
        h = self.body(x).relu()
        return Outputs(self.head(h), self.aux(h)) if self.training else self.head(h)


class First(TensorTask):
    """What the message says."""

    def predict(self, model: nn.Module, batch: object) -> Tensor:
        output = model(batch[0])
        return (output[0] if isinstance(output, tuple) else output).squeeze(1)


@every_method
def test_a_model_that_returns_more_in_training(method: Method) -> None:
    case = case_of(build=Regressor)
    with pytest.raises(ModelError) as refused:
        preflight(case, CPU, Regressor(), method=method)
    assert "In training mode the model returns" in refused.value.found and "logits, aux_logits" in refused.value.found
    with pytest.raises(ModelError, match="In training mode the model returns"):
        method.unlearn(Regressor(), case, CPU)
    # Where nothing is said of the training, it is a warning.
    assert any("In training mode" in warning for warning in preflight(case, CPU, Regressor()).warnings)
    method.unlearn(Regressor(), case_of(task=First(Regressor)), CPU)
    preflight(case, CPU, Regressor(), method=with_recipe(method, mode="eval"))


class Weighted(nn.Module):
    """A model with an optional second input, which weights of samples would fill."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 1)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        return self.net(x) if scale is None else self.net(x) * scale[:, None]


def weighted(**options: int) -> Case:
    inputs, targets = table()
    data = TensorDataset(inputs, targets, torch.zeros(len(targets)))
    return case_of(data, task=TensorTask(Weighted, **options))


def test_tensors_that_may_be_weights_are_no_targets() -> None:
    method = METHODS["FineTune"]
    with pytest.raises(ModelError) as refused:
        method.unlearn(Weighted(), weighted(), CPU)
    assert "'scale'" in refused.value.found and "inputs=1" in refused.value.remedy
    model = Weighted()
    plain_case = case_of(task=TensorTask(Weighted))
    left_out = method.unlearn(model, weighted(inputs=1), CPU)
    assert weights(left_out.model) == weights(method.unlearn(model, plain_case, CPU).model)
    assert weights(method.unlearn(model, weighted(inputs=2), CPU).model) != weights(left_out.model)
    with pytest.raises(ModelError, match="hold 3 tensors"):
        method.unlearn(model, weighted(inputs=3), CPU)
    with pytest.raises(SettingError):
        weighted(inputs=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_method_that_leaves_broken_weights_has_diverged(value: float) -> None:
    class Own(Method):
        def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
            with torch.no_grad():
                student[0].weight[0, 0] = value
            return Unlearned(model=student, history=(), cost=Cost())

    with pytest.raises(DivergenceError, match=r"Own made a model whose weights 0\.weight"):
        Own().unlearn(mlp(), case_of(), CPU)


@pytest.mark.parametrize("factor", [1e12, float("inf")])
def test_a_method_whose_model_predicts_another_size_altogether_has_diverged(factor: float) -> None:
    class Scaled(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return factor * super().forward(x)

    class Own(FineTune):
        def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
            return Unlearned(model=Scaled(*student), history=(), cost=Cost())

    with pytest.raises(DivergenceError, match="Own made a model that predicts"):
        Own().unlearn(mlp(), case_of(), CPU)
