"""Which exceptions are the user's, and how they are described."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from unregress import TensorTask
from unregress.errors.user_code import described, is_users


def raised_by(call: Callable[[], object]) -> Exception:
    """The exception of a call, without the frames of this file, which would count as the user's code."""
    with pytest.raises(Exception) as caught:
        call()
    error = caught.value
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename == __file__:
        frame = frame.tb_next
    return error.with_traceback(frame)


def test_an_exception_inside_a_torch_model_says_that_it_was_predicting() -> None:
    task = TensorTask(lambda: nn.Linear(3, 1))
    error = raised_by(lambda: task.predict(nn.Linear(3, 1), [torch.ones(2, 5), torch.ones(2)]))
    assert is_users(error)
    assert described(error).endswith(", while predicting with the model")


def test_an_exception_inside_a_torch_loss_says_that_it_was_computing_the_loss() -> None:
    loss: Callable[[Tensor, Tensor], Tensor] = nn.CrossEntropyLoss(reduction="none")
    task = TensorTask(lambda: nn.Linear(3, 1), loss=loss)
    error = raised_by(lambda: task.checked_loss(torch.ones(2), torch.ones(2, dtype=torch.int64) * 7))
    assert is_users(error)
    assert described(error).endswith(", while computing the loss")


def test_an_exception_of_torch_outside_the_task_is_not_the_users() -> None:
    assert not is_users(raised_by(lambda: torch.ones(2) @ torch.ones(3)))
