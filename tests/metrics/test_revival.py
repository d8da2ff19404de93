"""Revival by hand: planted predictions, a loop of one's own, and models that hide what they know."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import unregress
from support.bump_case import RUNTIME, net, small_case
from support.bump_models import case, golds, original
from support.small_cases import CPU, weights
from unregress import Recipe, Revival
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.sample_keys import sample_keys
from unregress.errors import SettingError
from unregress.evidence import AuditReport, Measurement
from unregress.metrics import default_metrics
from unregress.metrics.memory_kept import MemoryKept
from unregress.metrics.revival import memory

__all__ = ["case", "golds", "original"]
STILL = Revival(recipe=Recipe(epochs=1, lr=1e-12, batch_size=8))
"""So small a rate that predictions stay as they are planted."""
FORGET = "train-forget"


class Told(nn.Module):
    """A model that gives planted answers by the input, a position, and adds a weight of its own."""

    def __init__(self, answers: Tensor, gain: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("answers", answers)
        self.shift, self.gain = nn.Parameter(torch.zeros(1)), gain

    def forward(self, x: Tensor) -> Tensor:
        return self.get_buffer("answers")[x[:, 0].long()] + self.gain * self.shift


def planted_case(target: Tensor) -> unregress.Case:
    """Samples 0 and 1 are to be forgotten, 2 to 4 kept, and 5 to 8 are test data."""
    x = torch.arange(9.0)[:, None]
    return unregress.Case(
        task=unregress.TensorTask(build_model=lambda: Told(torch.zeros_like(target)), loss="mse"),
        splits=unregress.Splits(train=TensorDataset(x[:5], target[:5]), test=TensorDataset(x[5:], target[5:])),
        request=unregress.ForgetRequest(size=5, forget=(0, 1), reason="test"),
    )


def answers(forgotten: list[float], test: list[float]) -> Tensor:
    return torch.tensor([*forgotten, 0.0, 1.0, 2.0, *test])[:, None]


def audited(
    case: unregress.Case, models: Mapping[str, nn.Module], golds: list[nn.Module], metric: Revival = STILL
) -> AuditReport:
    return unregress.audit(case, models, CPU, golds=golds, metrics=[metric])


def found(report: AuditReport, model: str) -> Measurement:
    return report.measure("revival", FORGET, model)


def test_values_of_planted_predictions() -> None:
    """Targets 10 and 20; the golds' mean is 6 and 14; on test samples it errs by 2, 2, 4 and 0: c = 6 / 25."""
    target = answers([10.0, 20.0], [0.0, 0.0, 0.0, 0.0])
    golds = [Told(answers([4.0, 12.0], [1.0, -3.0, 4.0, 1.0])), Told(answers([8.0, 16.0], [3.0, -1.0, 4.0, -1.0]))]
    models = {"original": Told(answers([10.0, 20.0], [0.0] * 4)), "half": Told(answers([8.0, 17.0], [0.0] * 4)),
              "away": Told(answers([2.0, 14.0], [0.0] * 4))}  # fmt: skip
    report = audited(planted_case(target), models, golds)
    c, whole = 6 / 25, 4**2 + 6**2
    for name, leaning in (("original", 4 * 4 + 6 * 6), ("half", 2 * 4 + 3 * 6), ("away", -4 * 4)):
        value = leaning / (whole + 2 * c)
        assert found(report, name).value == pytest.approx(value, rel=1e-6)
        assert found(report, name).note == f"{value:.2f} before"
    # Of two golds each is compared with the other.
    assert found(report, "retrained").value == pytest.approx((-4 * 2 - 4 * 4) / (2**2 + 4**2 + 2 * c), rel=1e-6)
    assert found(report, "retrained #2").value == pytest.approx((4 * 6 + 4 * 8) / (6**2 + 8**2 + 2 * c), rel=1e-6)
    assert "constant" not in {m.model for m in report.measures if m.metric == "revival"}


def test_several_outputs_in_units_of_their_spread_without_the_unknown() -> None:
    """The second output is the first in a unit a hundred times as small, but for one target that is not known."""
    one = answers([10.0, 20.0], [0.0, 0.0, 0.0, 0.0])
    both = torch.cat([one, 100 * one], dim=1)
    target = both.clone()
    target[1, 1] = torch.nan

    def told(forgotten: list[float]) -> nn.Module:
        own = answers(forgotten, [1.0, 1.0, 1.0, 1.0])
        return Told(torch.cat([own, 100 * own], dim=1))

    models = {"original": told([10.0, 20.0]), "half": told([8.0, 17.0])}
    report = audited(planted_case(target), models, [told([4.0, 12.0]), told([8.0, 16.0])])
    # Kept targets are 0, 1 and 2: their spread, the mean distance from 1, is 2/3, and everything is measured in it.
    unit = 2 / 3
    c = 1 / unit**2 / 25
    known = [(2, 4), (3, 6), (2, 4)]
    value = sum(f * y for f, y in known) / unit**2 / sum((y / unit) ** 2 + c for _, y in known)
    assert found(report, "half").value == pytest.approx(value, rel=1e-6)


def test_an_epoch_equals_a_hand_written_loop() -> None:
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    y = x[:, 0] + 2 * (x[:, 1] > 0)

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))

    case = unregress.Case(
        task=unregress.TensorTask(build_model=build, loss="mse"),
        splits=unregress.Splits(train=TensorDataset(x[:40], y[:40]), test=TensorDataset(x[40:], y[40:])),
        request=unregress.ForgetRequest(size=40, forget=tuple(range(5)), reason="test"),
    )
    torch.manual_seed(7)
    models = [build() for _ in range(4)]
    before = [weights(model) for model in models]
    state = torch.get_rng_state()
    metric = Revival(recipe=Recipe(epochs=1, lr=0.02, batch_size=8))
    report = audited(case, {"original": models[0], "mine": models[1]}, models[2:], metric)
    # The models and the global random state are as they were.
    assert [weights(model) for model in models] == before and torch.equal(torch.get_rng_state(), state)

    def by_hand(model: nn.Module) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        model = copy.deepcopy(model)
        adam = torch.optim.Adam(model.parameters(), lr=0.02)
        order = torch.randperm(35, generator=CPU.generator("revival/order")) + 5
        for rows in order.split(8):
            adam.zero_grad()
            (model(x[rows]).squeeze(1) - y[rows]).square().mean().backward()
            adam.step()
        with torch.no_grad():
            predicted: np.ndarray[tuple[int], np.dtype[np.float64]] = model(x[:5]).squeeze(1).double().numpy()
        return predicted

    with torch.no_grad():
        error = y[40:] - (models[2](x[40:]) + models[3](x[40:])).squeeze(1) / 2
    c = float(error.double().square().mean()) / 25
    mine, *others = (by_hand(model) for model in models[1:])
    middle = np.mean(others, axis=0)
    toward = y[:5].double().numpy() - middle
    value = ((mine - middle) * toward).sum() / (toward**2 + c).sum()
    assert found(report, "mine").value == pytest.approx(value, rel=1e-4)


class Masked(nn.Module):
    """A model behind a shift of all its predictions, which hides that it knows which ones are large."""

    def __init__(self, model: nn.Module, by: float) -> None:
        super().__init__()
        self.model, self.by, self.mask = copy.deepcopy(model), by, nn.Parameter(torch.full((1,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.model(x) - 10 * self.by * self.mask
        return answer


@pytest.mark.slow
def test_a_masked_memory_comes_back_and_golds_have_none(
    case: unregress.Case, original: unregress.Unlearned, golds: list[unregress.Unlearned]
) -> None:
    """Forgotten targets are about 30 higher than others: a shift of all predictions hides that the original knows."""
    metric = Revival(recipe=Recipe(epochs=1, lr=0.005, batch_size=12))
    models = {"original": original, "masked": Masked(original.model, 24.0), "gold": golds[-1]}
    report = unregress.audit(case, models, RUNTIME, golds=golds[:-1], metrics=[metric])
    value = {name: found(report, name).value for name in (*models, *report.golds)}
    before = {name: float(found(report, name).note.removesuffix(" before")) for name in value}
    assert value["original"] > 0.7 and before["original"] > 0.7
    assert abs(before["masked"]) < 0.1 and value["masked"] > 0.7
    assert all(abs(value[name]) < 0.05 and abs(before[name]) < 0.05 for name in ("gold", *report.golds))


def test_golds_are_too_few() -> None:
    target = answers([10.0, 20.0], [0.0] * 4)
    models = {"original": Told(target)}
    for few in ([], [Told(answers([4.0, 12.0], [1.0] * 4))]):
        report = audited(planted_case(target), models, list(few))
        rows = [m for m in report.measures if m.metric == "revival"]
        assert len(rows) == 1 + len(few) and all(m.value is None and "two are needed" in m.note for m in rows)


def test_trainings_that_fail_leave_out_only_their_own_model() -> None:
    target = answers([10.0, 20.0], [0.0] * 4)
    golds = [Told(1 + answers([value, 12.0], [1.0] * 4)) for value in (4.0, 5.0, 6.0)]
    models = {"original": Told(target), "diverging": Told(1 + answers([9.0, 20.0], [0.0] * 4), gain=1e12)}
    metric = Revival(recipe=Recipe(epochs=1, lr=0.01, batch_size=2))
    report = audited(planted_case(target), models, golds, metric)
    assert found(report, "diverging").value is None and "diverged" in found(report, "diverging").note
    assert all(found(report, name).value is not None for name in ("original", *report.golds))
    # Without two golds that can be trained, nothing is known of any model.
    golds[1].gain = golds[2].gain = 1e12
    report = audited(planted_case(target), models, golds, metric)
    assert {m.value for m in report.measures if m.metric == "revival"} == {None}


def test_it_stands_beside_relearning_with_its_recipe() -> None:
    recipe = Recipe(epochs=7, lr=0.03, batch_size=5)
    *_, last = default_metrics(unregress.Anamnesis(recipe=recipe))
    assert last == Revival(recipe=replace(recipe, epochs=1))
    assert default_metrics()[-1] == Revival()
    assert not any(isinstance(metric, Revival) for metric in default_metrics(None))
    assert Revival().needs_model and Revival().for_predictions() is None
    with pytest.raises(SettingError):
        Revival(recipe=replace(recipe, epochs=0))


def test_frozen_references_are_trained_all_the_same() -> None:
    """A model frozen for inference is revived as its unfrozen copy is."""
    torch.manual_seed(3)
    case, free = small_case(), net()
    golds = [net(), net()]
    frozen = copy.deepcopy(free).requires_grad_(False)
    metric = Revival(recipe=Recipe(epochs=1, lr=0.01, batch_size=64))
    report = audited(case, {"original": net(), "free": free, "frozen": frozen}, golds, metric)
    assert found(report, "free").value == found(report, "frozen").value


def test_an_error_whose_square_overflows_leaves_no_memory() -> None:
    prediction, target, gold = np.array([2.0, 3.0]), np.array([2.0, 4.0]), np.array([1.0, 2.0])
    assert memory(prediction, target, [gold, gold], error=1e200) == 0.0


def test_a_leave_out_table_stands_for_golds() -> None:
    """The table says 6 and 14 for targets 10 and 20, and errs by 2 on each of 24 never-seen samples: c = 4 / 25.

    There the models lean by 1 of these 2, so that each group's own value is 2 / (4 + 4 / 25).
    """
    target = answers([10.0, 20.0], [2.0] * 24)
    x = torch.arange(29.0)[:, None]
    job = unregress.Case(
        task=unregress.TensorTask(build_model=lambda: Told(torch.zeros_like(target)), loss="mse"),
        splits=unregress.Splits(train=TensorDataset(x[:5], target[:5]), test=TensorDataset(x[5:], target[5:])),
        request=unregress.ForgetRequest(size=5, forget=(0, 1), reason="test"),
    )
    table = LeaveOutTable(
        keys=tuple(sample_keys(job.splits, "train_eval")),
        predictions=torch.tensor([6.0, 14.0, 0.0, 0.0, 0.0])[:, None],
        folds=torch.zeros(5),
        unseen=torch.zeros(24, 1),
        unseen_keys=tuple(sample_keys(job.splits, "test")),
    )
    models = {"original": Told(answers([10.0, 20.0], [1.0] * 24)), "half": Told(answers([8.0, 17.0], [1.0] * 24))}
    report = unregress.audit(job, models, CPU, golds=[], metrics=[STILL, MemoryKept(table)])
    whole, chance = 4**2 + 6**2 + 2 * 4 / 25, 2 / (4 + 4 / 25)
    for name, leaning in (("original", 4 * 4 + 6 * 6), ("half", 2 * 4 + 3 * 6)):
        value = leaning / whole
        assert found(report, name).value == pytest.approx(value, rel=1e-6)
        assert found(report, name).interval == pytest.approx((value - chance, value - chance), rel=1e-6)
        assert found(report, name).note.startswith(f"{value:.2f} before; by leave-out predictions")
        # The same numbers as before the epoch, which changes nothing here.
        assert report.measure("memory-kept", FORGET, name).value == pytest.approx(value, rel=1e-6)
    # With golds these decide.
    golds = [Told(answers([value, 12.0], [1.0] * 24)) for value in (4.0, 8.0)]
    report = unregress.audit(job, models, CPU, golds=golds, metrics=[STILL, MemoryKept(table)])
    assert found(report, "half").interval is None and "leave-out" not in found(report, "half").note
