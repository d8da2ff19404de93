"""Weights files of other makers: names of wrappers, other precisions, numbers of another kind, NaN."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from support.small_cases import mlp, weights
from unregress.errors import CheckpointError, ModelError
from unregress.runs.checkpoint import load_weights

State = dict[str, Tensor]


def normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))


def written(state: State, folder: Path) -> Path:
    torch.save(state, folder / "w.pt")
    return folder / "w.pt"


def compiled_inside() -> nn.Module:
    model = normalised()
    model[0] = torch.compile(model[0], backend="eager")
    return model


WRAPPED: dict[str, Callable[[], nn.Module]] = {
    "DataParallel": lambda: nn.DataParallel(normalised()),
    "AveragedModel": lambda: AveragedModel(normalised()),
    "compiled": lambda: torch.compile(normalised(), backend="eager"),
    "a compiled part": compiled_inside,
    "both": lambda: AveragedModel(nn.DataParallel(normalised())),
}


@pytest.mark.parametrize("make", WRAPPED.values(), ids=WRAPPED)
def test_a_wrappers_names_are_taken_off_and_said(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    state, model = make().state_dict(), normalised()
    (note,) = load_weights(model, written(state, tmp_path))
    assert "a wrapper's prefix" in note and "w.pt" in note
    own = [value for name, value in state.items() if not name.endswith("n_averaged")]
    assert list(weights(model).values()) == [value.numpy().tobytes() for value in own]


def test_a_models_own_part_may_be_called_module(tmp_path: Path) -> None:
    class Holding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = mlp()

    first, second = Holding(), Holding()
    assert load_weights(second, written(first.state_dict(), tmp_path)) == ()
    assert weights(second) == weights(first)


@pytest.mark.parametrize(
    ("dtype", "said"),
    [(torch.bfloat16, "without loss"), (torch.float16, "without loss"), (torch.float64, "with rounding")],
)
def test_other_precisions_are_converted_and_said(dtype: torch.dtype, said: str, tmp_path: Path) -> None:
    saved, model = mlp(), mlp()
    (note,) = load_weights(model, written({n: v.to(dtype) for n, v in saved.state_dict().items()}, tmp_path))
    assert said in note and str(dtype).removeprefix("torch.") in note and "6 tensors" in note
    assert all(
        torch.equal(ours, its.to(dtype).float())
        for ours, its in zip(model.parameters(), saved.parameters(), strict=True)
    )


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_numbers_of_another_kind_are_refused_by_name(dtype: torch.dtype, tmp_path: Path) -> None:
    model, state = normalised(), normalised().state_dict()
    before = weights(model)
    with pytest.raises(CheckpointError, match=f"2.weight has type {str(dtype)[6:]}, the model's has float32"):
        load_weights(model, written({**state, "2.weight": state["2.weight"].to(dtype)}, tmp_path))
    with pytest.raises(CheckpointError, match=r"1\.num_batches_tracked has type float32, the model's has int64"):
        load_weights(model, written({**state, "1.num_batches_tracked": torch.tensor(3.0)}, tmp_path))
    assert weights(model) == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    """1e300 is infinite in the model's own precision."""
    model, state = mlp(), {name: each.double() for name, each in mlp().state_dict().items()}
    before = weights(model)
    state["2.weight"][1, 1] = value
    with pytest.raises(CheckpointError, match=r"NaN or infinite: 2\.weight"):
        load_weights(model, written(state, tmp_path))
    assert weights(model) == before


def test_a_model_with_lazy_layers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="lazy"):
        load_weights(nn.LazyLinear(1), written(nn.Linear(3, 1).state_dict(), tmp_path))
