"""A model, a few samples to forget, and targets of theirs, for tests of the closed-form edit."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from unregress import Case, ForgetRequest, Splits, TensorTask
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.sample_keys import sample_keys

X = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
FORGET = (3, 20, 41)


def problem(build: Callable[[], nn.Module], inputs: Tensor = X) -> tuple[nn.Module, Case, Tensor, LeaveOutTable]:
    """An untrained model, a case, targets a little away from its predictions, and a table with them."""
    torch.manual_seed(4)
    model = build().eval()
    with torch.no_grad():
        before = model(inputs).clone()
    shift = 0.3 * before.std() * torch.tensor([1.0, -1.0, 0.5])[:, None]
    wanted = before.clone()
    wanted[list(FORGET)] += shift
    data = TensorDataset(inputs, torch.zeros(before.shape).squeeze(1))
    case = Case(
        task=TensorTask(build_model=build, loss="mse"),
        splits=Splits(train=data, test=data),
        request=ForgetRequest(size=60, forget=FORGET, reason="test"),
    )
    keys = tuple(sample_keys(case.splits, "train_eval"))
    nothing = torch.empty(0)
    found = wanted.squeeze(1) if before.shape[1] == 1 else wanted
    table = LeaveOutTable(keys=keys, predictions=found, folds=torch.zeros(60), unseen=nothing, unseen_keys=())
    return model, case, wanted, table


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    """Names of the weights that differ."""
    return {name for name, w in after.named_parameters() if not torch.equal(w, before.get_parameter(name))}
