"""Training by Lightning itself: the same weights as an own loop, seeds, starts, rows, and nothing left behind."""

from __future__ import annotations

import copy
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader

from support.small_cases import CPU, weights
from support.training_data import column, poisoned_request, training_data
from unregress import Blindspot, Case, LightningTraining, Runtime, TensorTask, TrainingData, retrain, train
from unregress.errors import ModelError, RunFolderError, SettingError
from unregress.retraining.fingerprint import method_fingerprint, task_fingerprint
from unregress.retraining.model_factory import ModelFactory
from unregress.retraining.model_store import CacheKey, Store
from unregress.tasks.unwrap import private_copy
from unregress.trainers.lightning_callback import KeepStart
from unregress.training.from_scratch import training_record

pytestmark = pytest.mark.slow


class Net(lightning.LightningModule):
    """Two layers with an optimiser and a schedule of their own."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.body(inputs)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        loss = nn.functional.mse_loss(self(batch[0]), batch[1])
        self.log("train", loss)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("validation", nn.functional.mse_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.RMSprop(self.parameters(), lr=0.01)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)]


TRAINING = LightningTraining(settings={"max_epochs": 4, "accelerator": "cpu"}, batch_size=8)


def net(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net()


def task() -> TensorTask:
    return TensorTask(build_model=Net, loss="mse")


def trained(training: LightningTraining = TRAINING, *, seed: int = 0, start: nn.Module | None = None,
            data: TrainingData | None = None) -> nn.Module:  # fmt: skip
    return training(data or training_data(), net() if start is None else start, seed)


class Noting(Net):
    """Keeps the batches that it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        self.seen.append([part.clone() for part in batch])
        return super().training_step(batch, index)


def test_it_is_the_own_loop_of_the_same_optimiser_and_schedule() -> None:
    """Four epochs of six batches, each with all rows in an order of its own."""
    its = net()
    (optimizer,), (schedule,) = its.configure_optimizers()
    torch.manual_seed(0)
    mine = Noting()
    trained(start=mine)
    assert len(mine.seen) == 24
    for epoch in range(4):
        batches = mine.seen[6 * epoch : 6 * epoch + 6]
        inputs = torch.cat([x for x, _ in batches])
        assert torch.equal(inputs.sort(0).values, column()[0].sort(0).values)
        for x, y in batches:
            optimizer.zero_grad()
            nn.functional.mse_loss(its(x), y).backward()
            optimizer.step()
        schedule.step()
    assert_close(dict(mine.named_parameters()), dict(its.named_parameters()))
    orders = [torch.cat([x for x, _ in mine.seen[6 * epoch : 6 * epoch + 6]]) for epoch in (0, 1)]
    assert not torch.equal(*orders)


def test_the_seed_decides_and_the_random_state_is_restored() -> None:
    before = torch.get_rng_state()
    models = [trained(seed=seed, start=net(1)) for seed in (0, 0, 1)]
    after = torch.manual_seed(1).initial_seed()
    first, again, other = (weights(model) for model in models)
    assert first == again != other and after == 1
    torch.set_rng_state(before)
    trained(start=copy.deepcopy(models[0]))
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_follows_the_seed() -> None:
    torch.manual_seed(0)
    start = Net(dropout=0.5)
    once = LightningTraining(settings={"max_epochs": 2}, batch_size=48)
    found = [weights(once(training_data(), copy.deepcopy(start), seed)) for seed in (3, 3, 4)]
    assert found[0] == found[1] != found[2]


def test_the_start_is_trained_in_place_and_no_epochs_return_it() -> None:
    start = net()
    before = weights(start)
    none = LightningTraining(settings={"max_epochs": 0})
    assert weights(none(training_data(), start, 0)) == before
    assert trained(start=start) is start
    assert weights(start) != before


def test_the_model_is_left_without_its_trainer_on_the_cpu() -> None:
    made = trained()
    assert {parameter.device.type for parameter in made.parameters()} == {"cpu"}
    assert all(parameter.grad is None for parameter in made.parameters())
    assert weights(private_copy(made)) == weights(pickle.loads(pickle.dumps(made))) == weights(made)
    assert len(pickle.dumps(made)) < 20_000


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, caplog: Any) -> None:
    monkeypatch.chdir(tmp_path)
    levels = [logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric.utilities.rank_zero")]
    with caplog.at_level(logging.INFO):
        trained(data=training_data(validation=True))
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")
    assert levels == [
        logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric.utilities.rank_zero")
    ]


def test_logs_and_checkpoints_are_kept_where_they_are_asked_for(tmp_path: Path) -> None:
    asked = {**TRAINING.settings, "default_root_dir": tmp_path, "enable_checkpointing": True}
    trained(LightningTraining(settings=asked, batch_size=8))
    assert list(tmp_path.rglob("*.ckpt"))


# --- callbacks, trainers, loaders ---------------------------------------------------------------


class Counting(Callback):
    made: list[int] = []  # noqa: RUF012

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.made.append(trainer.current_epoch)


def counting() -> list[Callback]:
    return [Counting()]


def stopping() -> Callback:
    return EarlyStopping("validation", patience=1, stopping_threshold=1e9)


def test_callbacks_are_made_for_each_training() -> None:
    Counting.made.clear()
    training = LightningTraining(settings={"max_epochs": 2}, callbacks=counting)
    for seed in (0, 1):
        trained(training, seed=seed)
    assert Counting.made == [0, 1, 0, 1]


def test_callbacks_see_the_validation_loss() -> None:
    """An early stop whose threshold is reached at once ends the training after its first epoch."""
    long = LightningTraining(settings={"max_epochs": 50}, callbacks=stopping, batch_size=8)
    short = LightningTraining(settings={"max_epochs": 1}, batch_size=8)
    data = training_data(validation=True)
    assert weights(trained(long, data=data)) == weights(trained(short, data=data))


def own_trainer() -> lightning.Trainer:
    return lightning.Trainer(max_epochs=4, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                             enable_model_summary=False, accelerator="cpu")  # fmt: skip


def test_a_trainer_of_ones_own_trains_the_same() -> None:
    mine = LightningTraining(trainer=own_trainer, batch_size=8)
    assert weights(trained(mine)) == weights(trained())


class OwnData(lightning.LightningDataModule):
    def __init__(self, data: TrainingData) -> None:
        super().__init__()
        self.data = data

    def train_dataloader(self) -> Any:
        return DataLoader(self.data.train, batch_size=16, shuffle=True)


def test_a_data_module_takes_the_place_of_loaders() -> None:
    training = LightningTraining(settings={"max_epochs": 2}, datamodule=OwnData)
    found = [weights(trained(training, seed=seed)) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert found[0] != weights(trained(LightningTraining(settings={"max_epochs": 2}, batch_size=16)))


def test_loaders_take_further_arguments() -> None:
    """Batches of 32 and 16 rows: without the last one, an epoch has one step."""
    steps = Steps()
    for drop_last in (True, False):
        options = {"drop_last": drop_last, "collate_fn": torch.utils.data.default_collate}
        trained(LightningTraining(settings={"max_epochs": 1}, callbacks=lambda: [steps], loader=options))
    assert steps.found == [1, 2]


class Steps(Callback):
    def __init__(self) -> None:
        self.found: list[int] = []

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.found.append(trainer.global_step)


# --- originals, golds, the store ----------------------------------------------------------------


def test_golds_read_the_retained_rows_only() -> None:
    """Rows to forget, and held-out ones of their kind, are NaN: one of them would spoil all weights."""
    case = Case(task=task(), **poisoned_request())
    golds = retrain(case, TRAINING, CPU, [1, 2])
    assert all(bool(p.isfinite().all()) for gold in golds for p in gold.model.parameters())
    assert weights(golds[0].model) != weights(golds[1].model)
    again = retrain(case, TRAINING, CPU, [2, 1], workers=2)
    assert [weights(gold.model) for gold in again] == [weights(gold.model) for gold in golds][::-1]


def test_the_store_knows_a_training_by_its_settings(tmp_path: Path) -> None:
    case = Case(task=task(), **poisoned_request())
    made: list[str] = []
    store = Store(root=tmp_path, log=made.append)
    for epochs in (1, 2, 1):
        training = LightningTraining(settings={"max_epochs": epochs}, callbacks=counting)
        ModelFactory(case=case, recipe=training, runtime=CPU, store=store).gold(1)
    assert len(made) == 2
    recorded = training_record(LightningTraining(settings={"max_epochs": 2}, callbacks=counting))
    assert recorded["class_path"] == "unregress.trainers.lightning_training.LightningTraining"
    assert recorded["init_args"]["settings"] == {"max_epochs": 2}
    assert recorded["init_args"]["callbacks"].endswith("test_lightning_training.counting")


class Tuned(Net):
    """Keeps its learning rate as an attribute, or as a hyper-parameter."""

    def __init__(self, lr: float, hyper: bool) -> None:
        super().__init__()
        if hyper:
            self.save_hyperparameters()
        else:
            self.lr = lr


def tuned(lr: float, hyper: bool) -> CacheKey:
    def build() -> Net:
        return Tuned(lr, hyper)

    return task_fingerprint(Case(task=TensorTask(build_model=build, loss="mse"), **poisoned_request()), CPU)


@pytest.mark.parametrize("hyper", [False, True])
def test_the_store_knows_a_module_by_its_learning_rate(hyper: bool) -> None:
    assert tuned(0.1, hyper) == tuned(0.1, hyper) != tuned(0.01, hyper)


def one_helper(data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
    return start


def other_helper(data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
    return TRAINING(data, start, seed)


def test_the_store_knows_a_method_by_the_source_of_its_helpers_training() -> None:
    keys = [method_fingerprint(Blindspot(helper=each)) for each in (one_helper, one_helper, other_helper)]
    assert keys[0] == keys[1] and keys[0]["training source"] != keys[2]["training source"]
    assert "training source" not in method_fingerprint(Blindspot())


def test_an_original_keeps_its_start() -> None:
    case = Case(task=task(), **poisoned_request())
    members = case.requested
    splits = type(case.splits)(train=training_data().train)
    original = train(Case(task=task(), splits=splits, request=members), TRAINING, Runtime(accelerator="cpu", seed=3))
    assert original.start is not None and weights(original.start) != weights(original.model)
    assert isinstance(original.model, Net)


# --- what is refused ----------------------------------------------------------------------------


def test_other_modules_are_refused() -> None:
    with pytest.raises(ModelError) as caught:
        TRAINING(training_data(), nn.Linear(3, 1), 0)
    assert "LightningModule" in caught.value.expected


def test_an_augmentation_that_would_be_left_out_is_refused() -> None:
    data = TrainingData(train=training_data().train, validation=None, rows=training_data().rows, augment=lambda b, g: b)
    with pytest.raises(SettingError, match="augment"):
        TRAINING(data, net(), 0)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"settings": 3}, "LightningTraining.settings is 3"),
        ({"settings": {1: 2}}, "LightningTraining.settings"),
        ({"loader": []}, "LightningTraining.loader"),
        ({"batch_size": 0}, "LightningTraining.batch_size is 0"),
        ({"callbacks": [1]}, "LightningTraining.callbacks"),
        ({"trainer": own_trainer, "settings": {"max_epochs": 3}}, "has a `trainer`"),
    ],
)
def test_bad_settings_are_refused(values: dict[str, Any], found: str) -> None:
    with pytest.raises(SettingError) as caught:
        LightningTraining(**values)
    assert found in caught.value.found


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lightning", None)
    with pytest.raises(SettingError) as caught:
        TRAINING(training_data(), nn.Linear(3, 1), 0)
    assert "unregress[lightning]" in caught.value.remedy


# --- the callback that keeps the start ----------------------------------------------------------


def fit(model: Net, path: Path, **more: Any) -> None:
    trainer = lightning.Trainer(max_epochs=1, callbacks=[KeepStart(path)], accelerator="cpu", logger=False,
                                enable_progress_bar=False, enable_model_summary=False,
                                default_root_dir=path.parent)  # fmt: skip
    trainer.fit(model, DataLoader(training_data().train, batch_size=8), **more)


def test_anybodys_training_keeps_its_start(tmp_path: Path) -> None:
    from unregress.runs.model_io import read_start

    model, path = net(), tmp_path / "kept" / "start.safetensors"
    before = weights(model)
    fit(model, path)
    assert weights(model) != before
    case = Case(task=task(), **poisoned_request())
    assert weights(read_start(path, case, CPU)) == before
    # The same start again is left as it is, another one is refused.
    written = path.read_bytes()
    fit(net(), path)
    with pytest.raises(RunFolderError) as caught:
        fit(net(1), path)
    assert str(path) in caught.value.found
    assert path.read_bytes() == written


def test_a_training_that_continues_writes_nothing(tmp_path: Path) -> None:
    first = tmp_path / "first.safetensors"
    fit(net(), first)
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    fit(net(), tmp_path / "second.safetensors", ckpt_path=checkpoint, weights_only=False)
    assert not (tmp_path / "second.safetensors").exists()
