"""The weights on which predictions depend."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from support.edit_problems import X, problem
from unregress import Runtime
from unregress.hooks.live_weights import live_weights

CPU = Runtime(accelerator="cpu")


class Shares(nn.Module):
    """Shares of two kinds, which add up to one; a layer for positive first inputs only, a frozen and an unused one."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.some, self.scale, self.unused = (nn.Linear(5, 2) for _ in range(4))
        self.scale.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.scale(torch.cat([self.net(x), torch.relu(x[:, :1]) * self.some(x), x[:, :1]], 1)), 1)


def test_weights_with_a_gradient_for_any_sample_are_found() -> None:
    model, case, _, _ = problem(Shares)
    names = {id(weight): name for name, weight in model.named_parameters()}
    closed, opened = (torch.nonzero(side).flatten() for side in (X[:, 0] < 0, X[:, 0] > 0))
    of_net = {"net.weight", "net.bias"}
    live, seen = live_weights(model, case, closed, 4, CPU)
    assert {names[key] for key in live} == of_net and seen == len(closed)
    live, seen = live_weights(model, case, torch.cat([closed, opened]), 4, CPU)
    assert {names[key] for key in live} == of_net | {"some.weight", "some.bias"} and seen == 60
    # Once nothing is missing, no further sample is seen.
    model.unused.requires_grad_(False)
    assert live_weights(model, case, opened, 4, CPU) == (live, 4)
