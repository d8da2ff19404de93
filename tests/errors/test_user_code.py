"""Describe exceptions of models and losses that come from other libraries."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from unregress import TensorTask
from unregress.errors.user_code import described, is_users


def raised_below(call: Callable[[], object]) -> BaseException:
    """The exception of a call, its traceback without the frames of this file."""
    try:
        call()
    except Exception as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        return error.with_traceback(trace)
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("call", "place"),
    [
        (lambda task: task.predict(nn.Linear(2, 1), [torch.zeros(4, 3), torch.zeros(4)]), "predicting with the model"),
        (lambda task: task.loss(torch.zeros(4), torch.zeros(4)), "computing the loss"),
    ],
)
def test_a_call_of_the_users_model_or_loss_is_named(call: Callable[[TensorTask], object], place: str) -> None:
    error = raised_below(lambda: call(TensorTask(lambda: nn.Linear(3, 1), loss=torch.bmm)))
    assert is_users(error)
    assert described(error).endswith(f", while {place}")


def test_an_error_of_another_library_without_a_call_of_the_users_is_not_the_users() -> None:
    error = raised_below(lambda: torch.zeros(2) @ torch.zeros(3))
    assert not is_users(error)
