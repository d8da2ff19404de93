"""Small, deterministic data, models and cases that many tests share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from unregress import Case, ForgetRequest, Runtime, Splits, Task, TensorTask
from unregress.data.loading import Batch
from unregress.tasks.losses import PerSampleLoss

CPU = Runtime(accelerator="cpu")


class Listed(Dataset[Any]):
    """A map-style dataset that is not a `TensorDataset`, so that it streams through a `DataLoader`.

    Reading a forbidden position raises; `read` records the positions read.
    """

    def __init__(
        self, *tensors: Tensor, forbidden: Collection[int] = (), item: Callable[..., Any] | None = None
    ) -> None:
        self.tensors, self.forbidden, self.item = tensors, frozenset(forbidden), item
        self.read: set[int] = set()

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, position: int) -> Any:
        if position in self.forbidden:
            raise AssertionError(f"sample {position} was read")
        self.read.add(position)
        row = tuple(tensor[position] for tensor in self.tensors)
        return self.item(*row) if self.item else row


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers drawn from a seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def table(samples: int = 24, features: int = 3) -> tuple[Tensor, Tensor]:
    """Inputs `(samples, features)` and targets `(samples,)` that depend on them."""
    inputs = numbers(samples, features)
    return inputs, 5 + 3 * inputs.sum(1)


def mlp(features: int = 3, outputs: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, outputs))


def flat_case(
    *,
    task: Task[Any],
    request: ForgetRequest | None = None,
    validation_forget_like: Sequence[int] | None = None,
    test_forget_like: Sequence[int] | None = None,
    **splits: Any,
) -> Case:
    """Build a case from its own fields and those of its `Splits`."""
    return Case(
        task=task,
        splits=Splits(**splits),
        request=request,
        validation_forget_like=validation_forget_like,
        test_forget_like=test_forget_like,
    )


def case_of(
    train: Dataset[Any] | None = None,
    *,
    build: Callable[[], nn.Module] = mlp,
    loss: str | PerSampleLoss = "l1",
    forget: Sequence[int] = (0, 3, 5, 11, 17),
    **more: Any,
) -> Case:
    """Build a case over `(x, y)` samples; `more` are further fields of `Case` and `Splits`."""
    data: Any = TensorDataset(*table()) if train is None else train
    if "request" not in more:
        more["request"] = ForgetRequest(size=len(data), forget=tuple(forget), reason="test")
    more.setdefault("task", TensorTask(build_model=build, loss=loss))
    return flat_case(train=data, **more)


def batch_of(*tensors: Tensor, forget: Sequence[int] = ()) -> Batch:
    """Build a batch of all given rows, some of them to be forgotten."""
    mask = torch.zeros(len(tensors[0]), dtype=torch.bool)
    mask[list(forget)] = True
    return Batch(torch.arange(len(mask)), mask, list(tensors))


def filled(model: nn.Module, value: float) -> nn.Module:
    """Set every parameter of a model to one value."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    return model


def weights(model: nn.Module) -> dict[str, bytes]:
    """The bytes of every weight and buffer, by name."""
    return {name: tensor.detach().cpu().contiguous().numpy().tobytes() for name, tensor in model.state_dict().items()}
