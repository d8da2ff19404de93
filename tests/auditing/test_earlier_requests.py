"""Rechecks of earlier requests: a model that kept the memory of one is told, however few its samples are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from support.small_cases import CPU
from unregress import Case, ForgetRequest, Splits, TensorTask
from unregress.auditing.pipeline import audit
from unregress.metrics import Errors, Memory

SIZE, TEST, NOISE = 200, 200, 0.2
TRUTH = torch.randn(SIZE + TEST, generator=torch.Generator().manual_seed(0))


class Table(nn.Module):
    """Answers each sample, given by its number, with a value of its own."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        noise = torch.randn(SIZE + TEST, generator=torch.Generator().manual_seed(seed))
        self.values = nn.Parameter(0.5 * TRUTH + NOISE * noise)

    def forward(self, number: Tensor) -> Tensor:
        return self.values[number]

    def knowing(self, rows: tuple[int, ...]) -> Table:
        """The same model, which knows the true values of some samples."""
        with torch.no_grad():
            self.values[list(rows)] = TRUTH[list(rows)]
        return self


@pytest.mark.parametrize("samples", [1, 5, 20, 40])
def test_a_model_that_kept_an_earlier_request_fails_its_recheck(samples: int) -> None:
    june, july = tuple(range(samples)), tuple(range(samples, 2 * samples))
    numbers = torch.arange(SIZE + TEST)
    train, test = (TensorDataset(rows, TRUTH[rows]) for rows in (numbers[:SIZE], numbers[SIZE:]))
    requests = {name: ForgetRequest(size=SIZE, forget=rows, reason=name) for name, rows in
                (("june", june), ("july", july))}  # fmt: skip
    case = Case(
        task=TensorTask(build_model=Table, loss="l1"),
        splits=Splits(train=train, test=test),
        request=requests["july"].beside(requests["june"]),
    )
    retained = tuple(range(2 * samples, SIZE))
    models = {
        "original": Table(100).knowing(june + july + retained),
        "kept june": Table(101).knowing(june + retained),
        "forgot both": Table(102).knowing(retained),
    }
    golds = [Table(seed).knowing(retained) for seed in range(10)]
    report = audit(case, models, CPU, golds=golds, metrics=(Errors(), Memory()))
    (again,) = report.earlier
    found = {verdict.model: verdict for verdict in again.verdicts}
    assert again.reason == "june" and again.samples == samples
    # Never-seen samples lean as far as a single one by chance, so that this is not called memory.
    told = ("differs", "remembers") if samples == 1 else ("remembers",)
    assert found["kept june"].outcome == "FAIL" and found["kept june"].criteria[0].outcome in told
    assert found["forgot both"].outcome != "FAIL"
