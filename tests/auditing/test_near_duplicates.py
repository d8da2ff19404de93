"""Near duplicates of forgotten samples that stay."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

from unregress import Case, ForgetRequest, Membership, Runtime, Splits, TensorTask, audit
from unregress.auditing.near_duplicates import near_duplicates


def test_nearer_than_a_tenth_of_the_usual_distance() -> None:
    retained = np.arange(10, dtype=np.float32)[:, None]  # neighbours are 1 apart
    forgotten = np.array([[2.0], [2.05], [3.2], [7.5], [8.96]], dtype=np.float32)
    assert near_duplicates(forgotten, retained).tolist() == [False, True, False, False, True]


def test_an_audit_counts_them() -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 6)
    x[5] = x[100] + 1e-3
    y = x.sum(1)
    splits = Splits(train=TensorDataset(x, y), test=TensorDataset(torch.randn(80, 6), torch.randn(80)))
    request = ForgetRequest(size=200, forget=(3, 5, 9), reason="test")
    task = TensorTask(lambda: nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1)))
    report = audit(
        Case(task=task, splits=splits, request=request), {"original": task.build_model()},
        Runtime(accelerator="cpu"), metrics=[Membership()],
    )  # fmt: skip
    (found,) = [caveat for caveat in report.caveats if "near duplicate" in caveat]
    assert found.startswith("1 of 3 forgotten samples") and "197 retained" in found and found.endswith("set: 5.")
