"""Training by Hugging Face's own Trainer, on a tiny model with a regression head; nothing is fetched."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)

from support.small_cases import CPU, numbers, weights
from unregress import Case, ForgetRequest, MappingTask, Splits, TrainingData, TransformersTraining, preflight, retrain
from unregress.errors import RunFolderError, SettingError
from unregress.tasks.unwrap import private_copy
from unregress.trainers.start_weights import keep_start
from unregress.trainers.transformers_callback import KeepStart

ROWS = 32


class Texts(Dataset[Any]):
    """Tokens, and labels that depend on them; reading a forbidden row raises."""

    def __init__(self, rows: int = ROWS, forbidden: tuple[int, ...] = ()) -> None:
        self.tokens = (numbers(rows, 6, seed=1).abs() * 10).long().clamp(max=29)
        self.labels = self.tokens.float().mean(1) / 10
        self.forbidden = forbidden

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        if row in self.forbidden:
            raise AssertionError(f"row {row} was read")
        return {"input_ids": self.tokens[row], "labels": self.labels[row], "record": f"r{row}"}


def bert(dropout: float = 0.0) -> nn.Module:
    config = BertConfig(vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
                        max_position_embeddings=8, num_labels=1, problem_type="regression",
                        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)  # fmt: skip
    return AutoModelForSequenceClassification.from_config(config)


def start(seed: int = 0, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(seed)
    return bert(dropout)


def data(**more: Any) -> TrainingData:
    texts = Texts()
    return TrainingData(**{"train": texts, "validation": None, "rows": np.arange(len(texts)), **more})


SETTINGS = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 0.01, "use_cpu": True}
TRAINING = TransformersTraining(arguments=SETTINGS)


def test_the_seed_decides_the_start_is_trained_and_the_random_state_is_restored() -> None:
    before = torch.get_rng_state()
    first = start()
    initial = weights(first)
    torch.set_rng_state(before)
    made = TRAINING(data(), first, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert made is first and weights(made) != initial
    again, other, elsewhere = (TRAINING(data(), start(s), seed) for s, seed in ((0, 0), (0, 1), (1, 0)))
    assert weights(again) == weights(made)
    assert weights(other) != weights(made) != weights(elsewhere)


def test_dropout_follows_the_seed() -> None:
    whole = TransformersTraining(arguments={**SETTINGS, "per_device_train_batch_size": ROWS})
    found = [weights(whole(data(), start(dropout=0.3), seed)) for seed in (3, 3, 4)]
    assert found[0] == found[1] != found[2]


def test_no_epochs_return_the_start() -> None:
    model = start()
    before = weights(model)
    made = TransformersTraining(arguments={**SETTINGS, "num_train_epochs": 0})(data(), model, 0)
    assert weights(made) == before


def test_it_is_the_own_loop_of_the_model_s_loss() -> None:
    """All rows in each batch, AdamW at a constant rate: the order does not matter."""
    mine, its = start(), start()
    constant = {"lr_scheduler_type": "constant", "num_train_epochs": 3, "max_grad_norm": 0.0}
    TransformersTraining(arguments={**SETTINGS, "per_device_train_batch_size": ROWS, **constant})(data(), mine, 0)
    optimizer = torch.optim.AdamW(its.parameters(), lr=0.01, weight_decay=0.0)
    texts = Texts()
    its.train()
    for _ in range(3):
        optimizer.zero_grad()
        logits = its(input_ids=texts.tokens).logits.squeeze(1)
        nn.functional.mse_loss(logits, texts.labels).backward()
        optimizer.step()
    assert_close(dict(mine.named_parameters()), dict(its.named_parameters()), rtol=1e-4, atol=1e-5)


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.chdir(tmp_path)
    made = TransformersTraining(arguments={**SETTINGS, "eval_strategy": "epoch"})(data(validation=Texts(6)), start(), 0)
    assert os.listdir(tmp_path) == []
    printed = capfd.readouterr()
    assert printed.out == "" and "Traceback" not in printed.err
    assert weights(private_copy(made)) == weights(pickle.loads(pickle.dumps(made))) == weights(made)
    assert all(p.grad is None and p.device.type == "cpu" for p in made.parameters())


def test_the_best_checkpoint_can_be_kept() -> None:
    """The rate is far too high: the first epoch is the best, and its weights come back from the temporary folder."""
    high = {**SETTINGS, "learning_rate": 0.05, "num_train_epochs": 1, "lr_scheduler_type": "constant"}
    best = {**high, "num_train_epochs": 4, "eval_strategy": "epoch", "save_strategy": "epoch",
            "load_best_model_at_end": True, "metric_for_best_model": "first", "greater_is_better": True}  # fmt: skip
    kept = TransformersTraining(arguments=best, trainer=Scoring)(data(validation=Texts(6)), start(), 0)
    first = TransformersTraining(arguments=high)(data(), start(), 0)
    assert weights(kept) == weights(first)


class Scoring(Trainer):
    """Calls the first epoch the best."""

    def evaluate(self, *arguments: Any, **more: Any) -> dict[str, float]:
        found = super().evaluate(*arguments, **more)
        return {**found, "eval_first": -float(self.state.epoch or 0)}


class Halved(Trainer):
    """A loss of its own."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **more: Any) -> Any:
        loss, output = super().compute_loss(model, inputs, return_outputs=True, **more)
        return (loss * 0, output) if return_outputs else loss * 0


def test_a_trainer_of_ones_own_is_used() -> None:
    model = start()
    before = weights(model)
    assert weights(TransformersTraining(arguments=SETTINGS, trainer=Halved)(data(), model, 0)) == before


def padding(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """A collator that trims all texts to four tokens."""
    batch = default_data_collator([{k: v for k, v in sample.items() if k != "record"} for sample in samples])
    return {**batch, "input_ids": batch["input_ids"][:, :4]}


def test_a_collator_may_be_given_or_be_that_of_the_splits() -> None:
    plain = weights(TRAINING(data(), start(), 0))
    given = weights(TransformersTraining(arguments=SETTINGS, collator=padding)(data(), start(), 0))
    of_splits = weights(TRAINING(data(collate=padding), start(), 0))
    assert given == of_splits != plain


class Counting(TrainerCallback):
    def __init__(self) -> None:
        self.epochs = 0
        Counting.latest = self

    def on_epoch_end(self, *arguments: Any, **more: Any) -> None:
        self.epochs += 1


def test_callbacks_are_made_for_each_training() -> None:
    for _ in range(2):
        TransformersTraining(arguments=SETTINGS, callbacks=Counting)(data(), start(), 0)
        assert Counting.latest.epochs == 2


def case_with(forbidden: tuple[int, ...], validation: Dataset[Any] | None = None) -> Case:
    splits = Splits(train=Texts(forbidden=forbidden), validation=validation)
    request = ForgetRequest(size=ROWS, forget=(1, 5, 9), reason="test")
    task = MappingTask(build_model=bert, loss="mse", ignore=["record"])
    return Case(task=task, splits=splits, request=request, validation_forget_like=None if validation is None else [2])


def test_golds_read_the_retained_rows_only() -> None:
    """With evaluation after each epoch, so that the validation samples are read too."""
    case = case_with((1, 5, 9), Texts(6, forbidden=(2,)))
    training = TransformersTraining(arguments={**SETTINGS, "num_train_epochs": 1, "eval_strategy": "epoch"})
    golds = retrain(case, training, CPU, [1, 2])
    assert weights(golds[0].model) != weights(golds[1].model)
    same = retrain(case, training, CPU, [2], start=copy.deepcopy(golds[0].model))
    assert weights(same[0].model) not in (weights(golds[0].model), weights(golds[1].model))


def test_a_preflight_accepts_it() -> None:
    (warning,) = preflight(case_with(()), CPU, start(), recipe=TRAINING).warnings
    assert "no better than a constant" in warning  # It is not trained.


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"arguments": [3]}, "TransformersTraining.arguments"),
        ({"arguments": {"seed": 3}}, "'seed'"),
        ({"collator": "pad"}, "TransformersTraining.collator"),
    ],
)
def test_bad_settings_are_refused(values: dict[str, Any], found: str) -> None:
    with pytest.raises(SettingError) as caught:
        TransformersTraining(**values)
    assert found in caught.value.found


def test_an_augmentation_that_would_be_left_out_is_refused() -> None:
    with pytest.raises(SettingError, match="augment"):
        TRAINING(data(augment=lambda batch, draws: batch), start(), 0)


def fit(model: nn.Module, folder: Path, kept: Path, epochs: int = 1, **more: Any) -> None:
    arguments = TrainingArguments(output_dir=str(folder), report_to="none", use_cpu=True, num_train_epochs=epochs,
                                  per_device_train_batch_size=8, save_strategy="epoch", disable_tqdm=True)  # fmt: skip
    Trainer(model=model, args=arguments, train_dataset=Texts(), callbacks=[KeepStart(kept)]).train(**more)


def test_anybodys_training_keeps_its_start(tmp_path: Path) -> None:
    from unregress.runs.checkpoint import load_weights

    model, kept = start(), tmp_path / "start.safetensors"
    before = weights(model)
    fit(model, tmp_path, kept)
    assert weights(model) != before
    read = start(1)
    load_weights(read, kept)
    assert weights(read) == before
    # Golds can start from it.
    case = case_with((1, 5, 9))
    (gold,) = retrain(case, TransformersTraining(arguments={**SETTINGS, "num_train_epochs": 0}), CPU, [1], start=read)
    assert weights(gold.model) == before


def test_a_training_that_continues_leaves_the_file_alone(tmp_path: Path) -> None:
    kept = tmp_path / "start.safetensors"
    fit(start(), tmp_path, kept)
    written = kept.read_bytes()
    (checkpoint,) = tmp_path.glob("checkpoint-*")
    fit(start(), tmp_path, kept, epochs=2, resume_from_checkpoint=str(checkpoint))
    assert kept.read_bytes() == written
    with pytest.raises(RunFolderError):
        keep_start(start(1), kept)
