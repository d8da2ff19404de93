"""Training by skorch itself: the same weights as an own loop, seeds, starts and rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import skorch
import torch
from skorch.callbacks import Callback, EarlyStopping
from torch import nn
from torch.testing import assert_close
from torch.utils.data import TensorDataset

from support.small_cases import CPU, mlp, weights
from support.training_data import ROWS, column, poisoned_request, training_data
from unregress import Case, Project, SkorchTraining, TensorTask, TrainingData, retrain
from unregress.errors import DataError, SettingError
from unregress.training.target_shapes import same_shapes

SETTINGS = {"max_epochs": 3, "lr": 0.01, "batch_size": 16, "optimizer": "Adam"}
TRAINING = SkorchTraining(settings=SETTINGS)


def start(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return mlp()


def test_it_is_the_own_loop() -> None:
    """All rows in each batch: the order does not matter."""
    mine, its = start(), start()
    made = SkorchTraining(settings={**SETTINGS, "batch_size": ROWS})(training_data(), mine, 0)
    assert made is mine
    optimizer = torch.optim.Adam(its.parameters(), lr=0.01)
    inputs, targets = column()
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.mse_loss(its(inputs), targets).backward()
        optimizer.step()
    assert_close(dict(mine.named_parameters()), dict(its.named_parameters()))


def test_the_seed_decides_and_the_start_is_honoured() -> None:
    before = torch.get_rng_state()
    found = [weights(TRAINING(training_data(), start(s), seed)) for s, seed in ((0, 0), (0, 0), (0, 1), (1, 0))]
    assert found[0] == found[1] != found[2] and found[0] != found[3]
    torch.set_rng_state(before)
    model = mlp()
    state = torch.get_rng_state()
    TRAINING(training_data(), model, 0)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_epochs_return_the_start() -> None:
    model = start()
    before = weights(model)
    assert weights(SkorchTraining(settings={"max_epochs": 0})(training_data(), model, 0)) == before


def test_all_rows_are_trained_on_with_and_without_validation_data() -> None:
    """By default skorch would hold out a fifth of them."""
    for validation in (False, True):
        Counting.rows = 0
        training = SkorchTraining(settings={"max_epochs": 2, "batch_size": 16}, callbacks=counting)
        training(training_data(validation=validation), start(), 0)
        assert Counting.rows == 2 * ROWS


class Counting(Callback):
    rows = 0

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = False, **more: Any) -> None:
        Counting.rows += len(batch[0]) if training else 0


def counting() -> list[tuple[str, Callback]]:
    return [("counting", Counting())]


def stopping() -> list[Callback]:
    return [EarlyStopping(patience=1, threshold=1e9, threshold_mode="abs")]


def test_callbacks_see_the_validation_loss_and_are_made_for_each_training() -> None:
    """No epoch is better by so much: the training stops after the second."""
    short = SkorchTraining(settings={**SETTINGS, "max_epochs": 2})
    long = SkorchTraining(settings={**SETTINGS, "max_epochs": 40}, callbacks=stopping)
    data = training_data(validation=True)
    for seed in (0, 1):
        assert weights(long(data, start(), seed)) == weights(short(data, start(), seed))


def test_a_net_of_ones_own_is_used() -> None:
    class Idle(skorch.NeuralNetRegressor):  # type: ignore[misc]
        def train_step(self, batch: Any, **more: Any) -> Any:
            return {"loss": torch.zeros(()), "y_pred": batch[1]}

    model = start()
    before = weights(model)
    assert weights(SkorchTraining(settings=SETTINGS, net=Idle)(training_data(), model, 0)) == before


def test_the_splits_collation_is_used() -> None:
    def doubled(samples: list[Any]) -> list[torch.Tensor]:
        inputs, targets = (torch.stack(part) for part in zip(*samples, strict=True))
        return [inputs, 2 * targets]

    plain = training_data()
    collated = TrainingData(train=plain.train, validation=None, rows=plain.rows, collate=doubled)
    assert weights(TRAINING(collated, start(), 0)) != weights(TRAINING(plain, start(), 0))


def test_golds_read_the_retained_rows_only() -> None:
    case = Case(task=TensorTask(build_model=mlp, loss="mse"), **poisoned_request())
    golds = retrain(case, TRAINING, CPU, [1, 2])
    assert all(bool(p.isfinite().all()) for gold in golds for p in gold.model.parameters())
    assert weights(golds[0].model) != weights(golds[1].model)


def test_targets_with_and_without_an_axis_of_one_mean_the_same() -> None:
    inputs, targets = column()
    flat = TrainingData(train=TensorDataset(inputs, targets.squeeze(1)), validation=None, rows=np.arange(ROWS))
    assert weights(TRAINING(flat, start(), 0)) == weights(TRAINING(training_data(), start(), 0))
    ones = nn.Sequential(start(), nn.Flatten(0))
    assert weights(TRAINING(training_data(), ones, 0)[0]) == weights(TRAINING(training_data(), start(), 0))


def test_targets_of_another_shape_are_refused() -> None:
    """PyTorch would compare each prediction with every target."""
    inputs, targets = column()
    flat = TrainingData(train=TensorDataset(inputs, targets.squeeze(1)), validation=None, rows=np.arange(ROWS))
    own = SkorchTraining(settings=SETTINGS, net=skorch.NeuralNetRegressor)
    wide = TrainingData(train=TensorDataset(inputs, inputs), validation=None, rows=np.arange(ROWS))
    for training, data in ((own, flat), (TRAINING, wide)):
        # The guard stands around every training function, where it is called.
        with pytest.raises(DataError), same_shapes():
            training(data, start(), 0)


def test_a_table_s_target_may_be_named_alone() -> None:
    frame = pd.DataFrame({name: np.random.default_rng(n).normal(size=80) for n, name in enumerate("abcy")})
    found = []
    for target in ("y", ["y"]):
        project = Project.from_table(
            frame, build_model=mlp, features=["a", "b", "c"], target=target, training=TRAINING, runtime=CPU, log=list
        )
        found.append(weights(project.train().model))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"settings": {"optimizer": "Adamm"}}, "optimizer='Adamm'"),
        ({"settings": {"criterion": "Mean"}}, "criterion='Mean'"),
        ({"settings": 3}, "SkorchTraining.settings is 3"),
        ({"callbacks": []}, "SkorchTraining.callbacks"),
    ],
)
def test_bad_settings_are_refused(values: dict[str, Any], found: str) -> None:
    with pytest.raises(SettingError) as caught:
        SkorchTraining(**values)
    assert found in caught.value.found
