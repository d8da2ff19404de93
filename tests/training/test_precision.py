"""In which precision weights are, models compute, and predictions and gradients come out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from support.small_cases import CPU, mlp, numbers
from unregress import Runtime
from unregress.tasks.unwrap import unwrapped
from unregress.training.precision import loss_scaler

EXPECTED = {
    "32-true": (torch.float32, torch.float32, torch.float32),
    "64-true": (torch.float64, torch.float64, torch.float64),
    "bf16-true": (torch.bfloat16, torch.bfloat16, torch.float32),
    "bf16-mixed": (torch.float32, torch.bfloat16, torch.float32),
    "16-mixed": (torch.float32, torch.bfloat16, torch.float32),  # on a CPU
}
"""By precision: of weights and gradients, of what the layers compute, of the prediction."""


class Watching(nn.Module):
    """Notes in which precision its layer computes and new tensors are made."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.computed = self.made = None

    def forward(self, inputs, offset=None):
        output = self.layer(inputs)
        self.computed, self.made = output.dtype, torch.zeros(()).dtype
        return {"prediction": output if offset is None else output + offset, "count": torch.tensor(3)}


@pytest.mark.parametrize("precision", EXPECTED)
def test_weights_computation_and_prediction_are_in_their_precision(precision):
    weights, computed, returned = EXPECTED[precision]
    runtime, model = Runtime(accelerator="cpu", precision=precision), Watching()
    output = runtime.set_up(model)(numbers(5, 3), offset=numbers(5, 1))
    runtime.backward(output["prediction"].sum())
    assert model.computed == computed
    assert model.made == (torch.float32 if precision.endswith("mixed") else computed)
    assert output["prediction"].dtype == returned and output["count"].dtype == torch.int64
    assert {weight.dtype for weight in model.parameters()} == {weights}
    assert {weight.grad.dtype for weight in model.parameters()} == {weights}
    assert torch.get_default_dtype() == torch.float32


def test_single_precision_needs_no_wrapper():
    model = mlp()
    assert CPU.set_up(model) is model


@pytest.mark.parametrize("precision", list(EXPECTED)[1:])
def test_a_wrapper_has_the_attributes_of_the_model_inside(precision):
    model = Watching()
    wrapped = Runtime(accelerator="cpu", precision=precision).set_up(model)
    assert wrapped is not model and unwrapped(wrapped) is model
    assert wrapped.layer is model.layer and list(wrapped.parameters()) == list(model.parameters())
    with pytest.raises(AttributeError, match="absent"):
        _ = wrapped.absent


def test_double_precision_predicts_in_double_precision():
    model = nn.Linear(3, 1, bias=False)
    wrapped = Runtime(accelerator="cpu", precision="64-true").set_up(model)
    inputs = numbers(5, 3).double() + 1e-12
    assert torch.equal(wrapped(inputs), inputs @ model.weight.T)


def test_the_default_precision_returns_after_an_error():
    wrapped = Runtime(accelerator="cpu", precision="bf16-true").set_up(nn.Linear(3, 1))
    with pytest.raises(RuntimeError):
        wrapped(numbers(5, 4))
    assert torch.get_default_dtype() == torch.float32


def test_only_float16_on_an_accelerator_scales_losses(monkeypatch):
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert loss_scaler("16-mixed", cuda).is_enabled()
    assert not loss_scaler("16-mixed", cpu).is_enabled() and not loss_scaler("bf16-mixed", cuda).is_enabled()


def test_clipping_and_stepping_with_scaled_losses_is_as_without():
    """The scale is taken out of gradients before they are clipped; a power of two leaves every bit."""
    found, start = [], mlp()
    for scaler in (loss_scaler("32-true", torch.device("cpu")), torch.amp.GradScaler("cpu")):
        runtime, model = Runtime(accelerator="cpu"), CPU.private_copy(start)
        vars(runtime)["_scaler"] = scaler
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            runtime.backward(model(numbers(8, 3)).square().sum())
            runtime.clip(optimizer, 0.5)
            runtime.step(optimizer)
        found.append([weight.detach().clone() for weight in model.parameters()])
    assert all(torch.equal(mine, its) for mine, its in zip(*found, strict=True))


def test_clipping_takes_the_norm_of_all_gradients():
    model = nn.Linear(2, 1)
    model.weight.grad, model.bias.grad = torch.tensor([[3.0, 0.0]]), torch.tensor([4.0])
    CPU.clip(torch.optim.SGD(model.parameters(), lr=1), 1.0)
    assert model.weight.grad.flatten().tolist() == pytest.approx([0.6, 0.0], abs=1e-6)
    assert model.bias.grad.tolist() == pytest.approx([0.8], abs=1e-6)
