"""Inputs of layers by hand: averaged over space and time, of the last call, left out where time is first."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from support.small_cases import CPU, numbers
from unregress import Splits, TensorTask
from unregress.data.case import Case
from unregress.hooks.layer_inputs import LAYERS, WIDTH, layer_inputs


def inputs_of(model: nn.Module, x: Tensor, rows: list[int]) -> dict[str, Tensor]:
    task = TensorTask(build_model=lambda: model)
    case = Case(task=task, splits=Splits(train=TensorDataset(x, torch.zeros(len(x)))))
    return layer_inputs(model, task, case.source("train_eval"), torch.tensor(rows), CPU)


class Mixed(nn.Module):
    """A convolution, a linear layer over time that is called twice, one with time first, and the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.step, self.crossed, self.last = (
            nn.Conv1d(2, 3, 1),
            nn.Linear(3, 3),
            nn.Linear(3, 3),
            nn.Linear(3, 1),
        )
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        over_time = self.conv(x).transpose(1, 2)
        stepped = self.step(self.step(over_time))
        self.crossed(stepped.transpose(0, 1))
        found: Tensor = self.last(stepped.mean(1))
        return found


def test_each_kind_of_layer() -> None:
    model, x = Mixed().eval(), numbers(6, 2, 5)
    found = inputs_of(model, x, [4, 0, 1])
    assert list(found) == ["conv", "step", "last"]
    chosen = x[[4, 0, 1]]
    over_time = model.conv(chosen).transpose(1, 2)
    torch.testing.assert_close(found["conv"], chosen.mean(2))
    torch.testing.assert_close(found["step"], model.step(over_time).mean(1).detach())
    torch.testing.assert_close(found["last"], model.step(model.step(over_time)).mean(1).detach())


def test_wide_inputs_are_averaged_in_parts() -> None:
    x = numbers(3, 2 * WIDTH)
    found = inputs_of(nn.Linear(2 * WIDTH, 1), x, [0, 1, 2])
    torch.testing.assert_close(found[""], x.reshape(3, WIDTH, 2).mean(2))


def test_of_many_layers_some_are_read_from_the_first_to_the_last() -> None:
    deep = nn.Sequential(*(nn.Linear(2, 2) for _ in range(2 * LAYERS)), nn.Linear(2, 1))
    names = [int(name) for name in inputs_of(deep, numbers(3, 2), [0, 2])]
    assert len(names) == LAYERS and (names[0], names[-1]) == (0, 2 * LAYERS)
    assert set(map(int, torch.tensor(names).diff())) <= {2, 3}


def test_the_model_is_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.Linear(2, 1)).train()
    inputs_of(model, numbers(3, 2), [0, 1])
    assert model.training and not any(layer._forward_pre_hooks for layer in model.modules())
