"""What would go wrong later is said at once, before any work, and nothing is touched in looking."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from support.small_cases import CPU, Listed, case_of, mlp, numbers, table, weights
from unregress import ForgetRequest, MappingTask, TensorTask, preflight
from unregress.errors import DataError, ModelError, PreflightError, UnregressError

INPUTS, TARGETS = table()
TEST = TensorDataset(numbers(6, 3, seed=5), numbers(6, seed=6))
DATASETS = pytest.mark.parametrize("dataset", [TensorDataset, Listed])


def exact():
    """A model that has learnt the table."""
    model = nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.fill_(3)
        model.bias.fill_(5)
    return model


def damaged(values, position, value):
    copied = values.clone()
    copied[position] = value
    return copied


@DATASETS
def test_sound_data_pass(dataset):
    assert preflight(case_of(dataset(INPUTS, TARGETS), test=TEST), CPU, exact()).warnings == ()


@DATASETS
def test_the_data_digest_tells_contents_apart(dataset):
    digest = case_of(dataset(INPUTS, TARGETS)).splits.data_digest
    assert len(digest) == 64
    assert digest == case_of(TensorDataset(INPUTS, TARGETS)).splits.data_digest
    for other in (damaged(INPUTS, (7, 1), 0.0), INPUTS.flip(0)):
        assert case_of(dataset(other, TARGETS)).splits.data_digest != digest


class Sealed:
    """A batch of the user's own class, whose content only the task can see."""

    def __init__(self, items):
        self.inputs, self.targets = (torch.stack(column) for column in zip(*items, strict=True))


class SealedTask(TensorTask):
    def predict(self, model, batch):
        return super().predict(model, [batch.inputs, batch.targets])

    def target(self, batch):
        return batch.targets


def test_batches_that_hide_their_content_are_no_overlap_but_a_warning():
    case = case_of(TensorDataset(INPUTS, TARGETS), test=TEST, collate=Sealed, task=SealedTask(mlp, loss="l1"))
    warnings = preflight(case, CPU).warnings
    assert len(warnings) == 2 and all("cannot be seen" in warning for warning in warnings)


@DATASETS
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("kind", ["input", "target"])
def test_values_that_are_no_numbers_are_located(dataset, value, split, kind):
    inputs, targets = (INPUTS, TARGETS) if split == "train" else TEST.tensors
    if kind == "input":
        bad = dataset(damaged(inputs, (3, 1), value), targets)
    else:
        bad = dataset(inputs, damaged(targets, 3, value))
    with pytest.raises(DataError, match=rf"1 {split} samples have a NaN or infinite {kind}, the first at position 3"):
        preflight(case_of(**({"train": dataset(INPUTS, TARGETS)} | {split: bad})), CPU)


def test_a_bad_target_is_called_a_target_however_the_task_finds_it():
    class Converting(TensorTask):
        def target(self, batch):
            return batch[-1].double()

    case = case_of(TensorDataset(INPUTS, damaged(TARGETS, 3, float("nan"))), task=Converting(mlp))
    with pytest.raises(DataError, match="infinite target, the first at position 3"):
        preflight(case, CPU)


@DATASETS
@pytest.mark.parametrize("split", ["validation", "test"])
def test_samples_in_two_splits_are_found_by_content(dataset, split):
    inputs, targets = torch.cat([TEST.tensors[0], INPUTS[4:6]]), torch.cat([TEST.tensors[1], TARGETS[4:6]])
    case = case_of(dataset(INPUTS, TARGETS), **{split: dataset(inputs, targets)})
    message = rf"2 {split} samples have the same content as a train sample \({split} 6 = train 4"
    with pytest.raises(DataError, match=message):
        preflight(case, CPU)
    (warning,) = preflight(case, CPU, allow_overlap=True).warnings
    assert "2 " in warning and split in warning


def test_validation_and_test_must_differ_too():
    case = case_of(validation=TEST, test=TEST)
    with pytest.raises(DataError, match="6 test samples have the same content as a validation sample"):
        preflight(case, CPU)


def test_a_forgotten_sample_with_a_twin_in_the_retain_set_is_a_warning():
    inputs, targets = INPUTS.clone(), TARGETS.clone()
    inputs[9], targets[9] = inputs[3], targets[3]  # 3 is forgotten, 9 is not
    inputs[5], targets[5] = inputs[11], targets[11]  # both are forgotten: nothing is kept of them
    (warning,) = preflight(case_of(TensorDataset(inputs, targets)), CPU).warnings
    assert warning.startswith("1 of the 5 samples to forget have a duplicate")


def test_texts_are_content_too():
    """Samples that differ in a text alone are not the same sample."""

    def said(words):
        return Listed(torch.arange(len(words)), item=lambda i: {"text": words[int(i)], "labels": torch.tensor(1.0)})

    task = MappingTask(build_model=mlp)
    request = ForgetRequest(size=3, forget=(0,), reason="test")
    case = case_of(said(["one", "two", "three"]), test=said(["four", "five"]), task=task, request=request)
    assert preflight(case, CPU).warnings == ()
    with pytest.raises(DataError, match="1 test samples have the same content"):
        preflight(case_of(said(["one", "two", "three"]), test=said(["two"]), task=task, request=request), CPU)


@dataclass
class Record:
    x: Tensor
    y: Tensor


class RecordTask(TensorTask):
    """Batches of a class of the user's own."""

    def predict(self, model, batch):
        return model(batch.x).squeeze(1)

    def target(self, batch):
        return batch.y


def test_batches_of_the_users_own_class_are_looked_into():
    """Otherwise all of their samples would look the same, and a NaN would go unseen."""

    def collate(rows):
        inputs, targets = zip(*rows, strict=True)
        return Record(torch.stack(inputs), torch.stack(targets))

    def case(inputs):
        return case_of(Listed(inputs, TARGETS), test=TEST, task=RecordTask(mlp), collate=collate)

    assert preflight(case(INPUTS), CPU, exact()).warnings == ()
    with pytest.raises(DataError, match="infinite input, the first at position 3"):
        preflight(case(damaged(INPUTS, (3, 1), float("nan"))), CPU)


class Noisy(Listed):
    """Adds noise to some of its samples at each read, from one of the generators that people draw from."""

    def __init__(self, *tensors, draw, noisy=None):
        super().__init__(*tensors)
        self.draw, self.noisy = draw, range(len(self)) if noisy is None else noisy

    def __getitem__(self, position):
        inputs, target = super().__getitem__(position)
        return inputs + 0.5 * float(self.draw()) * (position in self.noisy), target


OWN = np.random.default_rng(0)
DRAWS = {
    "torch": lambda: torch.randn(()),
    "numpy": lambda: np.random.normal(),
    "python": lambda: random.gauss(0, 1),
    "its own": OWN.normal,
}


def random_states():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_samples_that_are_others_at_each_read_are_refused_with_a_remedy(split, draw):
    inputs, targets = (INPUTS, TARGETS) if split == "train" else TEST.tensors
    data = {"train": TensorDataset(INPUTS, TARGETS)} | {split: Noisy(inputs, targets, draw=draw)}
    model, before = mlp(), random_states()
    count = len(inputs)
    found = rf"^{count} of {count} {split} samples, the first at position 0, change when they are read again"
    with pytest.raises(DataError, match=found) as refused:
        preflight(case_of(**data), CPU, model)
    assert random_states() == before
    assert ("`Splits(augment=...)`" in str(refused.value)) == (split == "train")


def test_few_random_samples_are_found_and_the_places_are_spread():
    inputs, targets = table(640)
    case = case_of(Noisy(inputs, targets, draw=DRAWS["torch"], noisy=[400]))
    with pytest.raises(DataError, match="1 of 32 train samples, the first at position 400"):
        preflight(case, CPU)


def test_random_samples_that_are_only_trained_on_are_fine():
    noisy = Noisy(INPUTS, TARGETS, draw=DRAWS["torch"])
    case = case_of(noisy, train_eval=TensorDataset(INPUTS, TARGETS), test=TEST)
    model, before = exact(), random_states()
    assert preflight(case, CPU, model).warnings == ()
    assert random_states() == before


def test_batches_that_are_made_at_random_are_found_too():
    def collate(rows):
        inputs, targets = (torch.stack(column) for column in zip(*rows, strict=True))
        return inputs + torch.randn(len(inputs), 1), targets

    with pytest.raises(DataError, match="24 of 24 train samples"):
        preflight(case_of(TensorDataset(INPUTS, TARGETS), collate=collate), CPU)


def recurrent():
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 1)

        def forward(self, inputs):
            return self.head(self.rnn(inputs)[0][:, -1])

    return Last()


@pytest.mark.parametrize(
    ("build", "inputs"),
    [
        (mlp, numbers(24, 5)),  # RuntimeError
        (lambda: nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1)), numbers(24, 2, 2, 3)),  # ValueError
        (recurrent, numbers(24, 2, 2, 3)),  # ValueError
        (lambda: nn.Bilinear(3, 3, 1), INPUTS),  # TypeError: an input is missing
        (lambda: nn.Embedding(3, 1), INPUTS),  # wants whole numbers
    ],
    ids=["size", "rank", "recurrent", "inputs", "type"],
)
def test_a_model_that_does_not_take_the_data_is_refused(build, inputs):
    with pytest.raises(ModelError, match="does not predict this task's batches"):
        preflight(case_of(TensorDataset(inputs, TARGETS), build=build), CPU, build())


@pytest.mark.parametrize("targets", [numbers(24, 2), numbers(24, 1, 2)])
def test_shapes_that_would_broadcast_are_refused(targets):
    with pytest.raises(ModelError, match="the same shape"):
        preflight(case_of(TensorDataset(INPUTS, targets)), CPU, mlp())


def test_a_model_of_nans_is_refused():
    model = mlp()
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match="NaN"):
        preflight(case_of(), CPU, model)


@DATASETS
def test_everything_is_said_at_once(dataset):
    bad = damaged(damaged(INPUTS, (2, 0), float("nan")), (7, 0), float("inf"))
    held_out = dataset(INPUTS[[4, 5]], damaged(TARGETS[[4, 5]], 1, float("nan")))
    with pytest.raises(PreflightError) as caught:
        preflight(case_of(dataset(bad, TARGETS), test=held_out), CPU, mlp(features=5))
    assert [type(complaint) for complaint in caught.value.complaints] == [ModelError, DataError, DataError, DataError]
    text = str(caught.value)
    for part in (
        "4 problems",
        "does not predict",
        "2 train samples have a NaN or infinite input, the first at position 2",
        "1 test samples have a NaN or infinite target, the first at position 1",
        "test 0 = train 4",
    ):
        assert part in text


def test_items_that_do_not_make_a_batch_are_explained():
    ragged = Listed(torch.arange(24), item=lambda i: (torch.zeros(int(i) + 1), torch.tensor(0.0)))
    with pytest.raises(UnregressError, match="collate"):
        preflight(case_of(ragged), CPU, mlp())


@DATASETS
def test_looking_changes_nothing(dataset):
    model = mlp().train()
    model(INPUTS).sum().backward()
    model[0].eval()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    before, random_state = weights(model), torch.get_rng_state()
    preflight(case_of(dataset(INPUTS, TARGETS), test=TEST), CPU, model)
    assert weights(model) == before
    assert [module.training for module in model] == [False, True, True, True, True]
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    assert torch.equal(torch.get_rng_state(), random_state)
