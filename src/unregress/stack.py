"""Many models of one architecture as the weights of one: each weight a stack, each layer one product for all.

It is `torch.func.vmap`, after JAX (Bradbury et al. 2018), that makes one model's computation that of many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from unregress.case import Case
from unregress.errors import SettingError
from unregress.loading import Batch, chunked
from unregress.runtime import Runtime, evaluating

State = Mapping[str, Tensor]
"""Weights or buffers by name: of one model, or of many with a first axis for these."""
ALONE = "Train each alone (`stack` 1), with as many `workers` as there are cores"
"""What to do with models that cannot be stacked."""


class Stack:
    """Many models as the weights of one.

    Args:
        models: of one architecture.
        case: whose task they do.
    """

    def __init__(self, models: list[nn.Module], case: Case) -> None:
        self._models, self._case = models, case
        self.module = models[0]
        weights, self.buffers = stack_module_state(models)
        self.weights = {name: nn.Parameter(each, requires_grad=each.requires_grad) for name, each in weights.items()}

    @property
    def trainable(self) -> list[nn.Parameter]:
        """The stacks that are not frozen."""
        return [stack for stack in self.weights.values() if stack.requires_grad]

    def losses(self, batch: Batch) -> Tensor:
        """Losses `(models, n)` of a batch that holds all models' rows, one model's after the other's."""
        rows, count = len(batch.index), len(self._models)

        def cut(tensor: Tensor) -> Tensor:
            if tensor.ndim == 0 or len(tensor) != rows:
                raise RuntimeError(f"a batch of {rows} samples holds a tensor of shape {tuple(tensor.shape)}")
            return tensor.reshape(count, rows // count, *tensor.shape[1:])

        with _in_words(count):
            losses = self._vmapped(apply_to_collection(batch.data, Tensor, cut), 0)
        return losses

    def evaluate(self, rows: Tensor, runtime: Runtime) -> list[float]:
        """Each model's mean loss over some validation rows, in evaluation mode."""
        chunks = chunked(rows, runtime.evaluation_batch_size)
        with evaluating(self.module), torch.no_grad():
            batches = runtime.load(self._case.source("validation"), chunks)
            sums = [self._vmapped(batch.data, None).sum(1) for batch in batches]
        means: list[float] = (torch.stack(sums).double().sum(0) / len(rows)).tolist()
        return means

    def require_equal(self, runtime: Runtime) -> None:
        """Refuse models that answer otherwise in a stack: what makes them differ is no weight and no buffer.

        Raises:
            SettingError: they do.
        """
        rows = torch.from_numpy(self._case.request.retain[:2])
        (batch,) = runtime.load(self._case.source("train_eval"), [rows])
        with evaluating(self.module), torch.no_grad(), _in_words(len(self._models)):
            together = self._vmapped(batch.data, None)
            near = 1e-3 * float(together.abs().nan_to_num(0.0, 0.0).max())
            for model, found in zip(self._models, together, strict=True):
                with evaluating(model):
                    alone = self._losses_of(model, batch.data)
                if not torch.allclose(found, alone, rtol=1e-3, atol=near, equal_nan=True):
                    raise RuntimeError("a model answers otherwise there, so it holds more than weights and buffers")

    def clip(self, norm: float) -> None:
        """Clip each model's gradients to a norm of their own."""
        slopes = [stack.grad for stack in self.trainable if stack.grad is not None]
        norms = torch.stack([slope.flatten(1).square().sum(1) for slope in slopes]).sum(0).sqrt()
        share = (norm / (norms + 1e-6)).clamp(max=1)
        for slope in slopes:
            slope.mul_(along(share, slope))

    def give_back(self) -> list[nn.Module]:
        """The models, each with its own weights."""
        stacks = {**self.weights, **self.buffers}
        with torch.no_grad():
            for k, model in enumerate(self._models):
                for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                    tensor.copy_(stacks[name][k])
        return self._models

    def _vmapped(self, data: Any, axis: int | None) -> Tensor:
        """Losses `(models, n)`; `axis` is the data's for the models, None where all get the same."""

        def of_one(weights: State, buffers: State, own: Any) -> Tensor:
            return self._losses_of(_Lent(self.module, {**weights, **buffers}), own)

        losses: Tensor = vmap(of_one, in_dims=(0, 0, axis), randomness="error")(self.weights, self.buffers, data)
        return losses

    def _losses_of(self, model: nn.Module, data: Any) -> Tensor:
        task = self._case.task
        return task.checked_loss(task.predict(model, data), task.target(data))


@contextmanager
def _in_words(count: int) -> Iterator[None]:
    """Say in words that a model cannot be stacked, whatever PyTorch says of it."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, AttributeError, TypeError) as error:
        raise SettingError(
            f"The model cannot be trained as one of {count}: {str(error).splitlines()[0]}",
            expected="a model that is called as a function and draws nothing (no dropout), of layers that "
            "`torch.func.vmap` knows (no LSTM)",
            remedy=ALONE,
        ) from error


class _Lent(nn.Module):
    """A module that computes with weights that are not its own."""

    def __init__(self, module: nn.Module, state: State) -> None:
        super().__init__()
        # In a list, so that the module's weights do not become this one's.
        self._held, self._state = [module], state
        self.training = module.training

    def forward(self, *args: Any, **named: Any) -> Any:
        return functional_call(self._held[0], dict(self._state), args, named)


def along(share: Tensor, like: Tensor) -> Tensor:
    """A number for each model, in a shape that broadcasts over a stack of that tensor's shape."""
    return share.view(-1, *[1] * (like.ndim - 1)).expand_as(like)
