"""Adapters: how batches are opened, and what shapes are accepted."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from support.small_cases import mlp, numbers
from unregress import MappingTask, Quantile, TensorTask
from unregress.errors import ModelError


class Sum(nn.Module):
    """Adds up its inputs' features, by position or by name; output `(n, 1)`."""

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        parts = [*inputs, *named.values()]
        return torch.stack([part.sum(1) for part in parts]).sum(0).unsqueeze(1)


class Answers(nn.Module):
    """Answers with a given tensor in a given wrapping."""

    def __init__(self, answer: Tensor, wrap=lambda tensor: tensor) -> None:
        super().__init__()
        self.answer, self.wrap = answer, wrap

    def forward(self, **_: Tensor):
        return self.wrap(self.answer)


ONES, TWOS = torch.ones(3, 2), torch.full((3, 4), 2.0)


@pytest.mark.parametrize(("inputs", "expected"), [((ONES,), 2.0), ((ONES, TWOS), 10.0)])
def test_tensor_task_calls_the_model_with_all_but_the_last_tensor(inputs, expected):
    task = TensorTask(Sum)
    batch = [*inputs, torch.zeros(3)]
    assert task.predict(Sum(), batch).tolist() == [expected] * 3
    assert task.target(batch).tolist() == [0.0] * 3


def test_mapping_task_calls_the_model_with_all_but_the_target():
    task = MappingTask(Sum, target="age")
    batch = {"left": ONES, "age": torch.zeros(3), "right": TWOS}
    assert task.predict(Sum(), batch).tolist() == [10.0] * 3
    assert task.target(batch).tolist() == [0.0] * 3


@pytest.mark.parametrize("ignore", ["record_id", ["record_id"], ("record_id", "absent")], ids=["text", "one", "two"])
def test_mapping_task_leaves_out_what_the_model_does_not_take(ignore):
    batch = {"input": ONES, "record_id": torch.arange(3), "labels": torch.zeros(3)}
    model = nn.Linear(2, 1)
    with pytest.raises(TypeError, match="record_id"):
        MappingTask(Sum).predict(model, batch)
    task = MappingTask(Sum, ignore=ignore)
    assert_close(task.predict(model, batch), model(ONES).squeeze(1))
    assert task.target(batch).tolist() == [0.0] * 3
    assert (
        task.predict(Sum(), {"i": ONES, "record_id": TWOS, "d": TWOS, "labels": torch.zeros(3)}).tolist() == [10.0] * 3
    )


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensor: tensor,
        lambda tensor: {"logits": tensor},
        lambda tensor: OrderedDict(loss=None, logits=tensor),
        lambda tensor: SimpleNamespace(logits=tensor),
    ],
    ids=["tensor", "dict", "ordered", "attribute"],
)
def test_mapping_task_unwraps_hugging_face_outputs(wrap):
    model = Answers(torch.tensor([[1.0], [2.0]]), wrap)
    prediction = MappingTask(lambda: model).predict(model, {"x": ONES[:2], "labels": torch.zeros(2)})
    assert prediction.tolist() == [1.0, 2.0]


def test_a_missing_target_is_named_with_what_there_is():
    with pytest.raises(ModelError, match=r"\['age', 'x'\].*'labels'"):
        MappingTask(Sum).target({"x": ONES, "age": ONES})


@pytest.mark.parametrize(
    ("predicted", "target"),
    [((4, 1), (4,)), ((4,), (4, 1)), ((1, 1), (1,)), ((1,), (1, 1)), ((4, 3, 1), (4, 3)), ((4, 3), (4, 3))],
)
def test_a_trailing_axis_of_one_is_no_difference(predicted, target):
    """Published mistake 10, also for a batch of one: `(1, 1)` against `(1,)` must not lose the sample axis."""
    task = TensorTask(Sum)
    prediction = task._match_target_shape(torch.zeros(predicted), torch.zeros(target))
    assert prediction.shape == target
    assert task.checked_loss(prediction, torch.zeros(target)).shape == target[:1]


@pytest.mark.parametrize(("predicted", "target"), [((4, 2), (4,)), ((4, 3), (4, 1)), ((1, 4), (4,)), ((4, 1, 1), (4,))])
def test_any_other_difference_is_refused(predicted, target):
    task = TensorTask(Sum)
    prediction = task._match_target_shape(torch.zeros(predicted), torch.zeros(target))
    with pytest.raises(ModelError, match="the same shape"):
        task.checked_loss(prediction, torch.zeros(target))


@pytest.mark.parametrize(
    ("loss", "shape"),
    [
        (nn.L1Loss(), r"\(\)"),
        (nn.L1Loss(reduction="none"), r"\(4, 2\)"),
        (lambda p, t: (p - t).abs().mean(1, keepdim=True), r"\(4, 1\)"),
    ],
    ids=["reduced", "per-output", "extra-axis"],
)
def test_a_loss_that_is_not_one_number_per_sample_is_refused(loss, shape):
    with pytest.raises(ModelError, match=rf"loss has shape {shape} for 4 samples"):
        TensorTask(Sum, loss=loss).checked_loss(torch.zeros(4, 2), torch.zeros(4, 2))


@pytest.mark.parametrize("loss", ["l1", "mse", "huber", Quantile((0.5,))])
def test_whole_number_targets_are_as_good_as_decimal_ones(loss):
    """Ages are often int64, of which PyTorch's Huber loss has no gradient."""
    task = TensorTask(Sum, loss=loss)
    prediction = torch.tensor([1.5, 2.0, 7.0], requires_grad=True)
    shaped = prediction.unsqueeze(1) if isinstance(loss, Quantile) else prediction
    whole = task.checked_loss(shaped, torch.tensor([1, 2, 3]))
    assert_close(whole, task.checked_loss(shaped, torch.tensor([1.0, 2.0, 3.0])))
    whole.sum().backward()
    assert prediction.grad.isfinite().all()


def test_quantile_models_imitate_level_by_level():
    """|1 − 0| + |2 − 2| + |3 − 7| = 5: against the teacher's quantiles, not against its median."""
    task = TensorTask(Sum, loss=Quantile())
    student, teacher = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 2.0, 7.0]])
    assert task.imitation_loss(student, teacher).tolist() == [5.0]
    assert task.imitation_loss(teacher, teacher).tolist() == [0.0]
    assert task.point(student).tolist() == [2.0]


def test_other_models_imitate_by_the_tasks_own_loss():
    task = TensorTask(Sum, loss="mse")
    assert task.imitation_loss(torch.tensor([1.0, 2.0]), torch.tensor([4.0, 2.0])).tolist() == [9.0, 0.0]


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


@dataclass
class Record:
    value: Tensor


def test_select_takes_rows_of_every_tensor_and_keeps_the_structure():
    rows = torch.tensor([2, 0])
    chosen = TensorTask(Sum).select(
        {"a": torch.arange(3), "b": [Pair(torch.arange(3) * 10, torch.eye(3)), (torch.arange(3) * 100,)]}, rows
    )
    assert chosen["a"].tolist() == [2, 0]
    pair, (hundreds,) = chosen["b"]
    assert isinstance(pair, Pair)
    assert pair.left.tolist() == [20, 0]
    assert_close(pair.right, torch.eye(3)[rows])
    assert hundreds.tolist() == [200, 0]


def huber(prediction, target):
    """A loss of the user's own, by which PyTorch finds no gradient between two precisions."""
    return torch.nn.functional.huber_loss(prediction, target, reduction="none")


@pytest.mark.parametrize("loss", ["l1", "mse", "huber", huber, "quantile"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64])
def test_targets_are_taken_in_the_precision_of_the_prediction(loss, dtype):
    """A data frame's targets are float64."""
    task = TensorTask(mlp, loss=loss)
    prediction = numbers(3, 3) if loss == "quantile" else numbers(3)
    first, second = (prediction.clone().requires_grad_() for _ in range(2))
    own, other = task.checked_loss(first, TARGET.float()), task.checked_loss(second, TARGET.to(dtype))
    own.sum().backward()
    other.sum().backward()
    assert own.dtype == other.dtype == torch.float32
    assert torch.equal(own, other) and torch.equal(first.grad, second.grad)


TARGET = torch.tensor([1, 2, 300])


def test_targets_are_not_rounded_to_half_precision():
    """As of a part of a model under mixed precision; 301 is no number of bfloat16."""
    half, target = torch.zeros(1, dtype=torch.bfloat16), torch.tensor([301])
    for task in (TensorTask(mlp, loss="l1"), TensorTask(mlp, loss="huber")):
        one, other = (task.checked_loss(half, target.to(kind)) for kind in (torch.int64, torch.float64))
        assert one.dtype == other.dtype == torch.float32 and one.tolist() == other.tolist()
        assert float(one) in (301.0, 300.5)


@pytest.mark.parametrize("value", [torch.zeros(3, dtype=torch.complex64), [0.0, 0.0, 0.0], None])
def test_what_is_no_tensor_of_real_numbers_is_refused(value):
    task = TensorTask(mlp)
    with pytest.raises(ModelError, match="The task's `target` returns"):
        task.checked_loss(torch.zeros(3), value)
    with pytest.raises(ModelError, match="The task's `predict` returns"):
        task.checked_loss(value, torch.zeros(3))


def test_select_leaves_what_belongs_to_the_whole_batch():
    """A scale without a sample axis is everybody's; a list with one text per sample goes with the samples."""
    batch = {"x": torch.arange(3), "scale": torch.tensor(2.0), "text": ["a", "b", "c"]}
    chosen = TensorTask(Sum).select(batch, torch.tensor([2, 0]))
    assert chosen["x"].tolist() == [2, 0]
    assert chosen["scale"].item() == 2.0
    assert chosen["text"] == ["c", "a"]


def test_select_leaves_the_batch_alone():
    batch = Record(torch.arange(3))
    assert TensorTask(Sum).select(batch, torch.tensor([1])).value.tolist() == [1]
    assert batch.value.tolist() == [0, 1, 2]


class Said(nn.Module):
    """Returns its prediction under another name than the adapter expects."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x):
        return {"score": self.layer(x)}


def test_a_mapping_task_names_the_entries_that_are_there():
    batch = {"x": torch.ones(3, 2), "y": torch.zeros(3)}
    with pytest.raises(ModelError, match=r"keys \['x', 'y'\].*`target=`"):
        MappingTask(Said).predict(Said(), batch)
    with pytest.raises(ModelError, match=r"\['score'\].*`output=`"):
        MappingTask(Said, target="y").predict(Said(), batch)
    assert MappingTask(Said, target="y", output="score").predict(Said(), batch).shape == (3,)
