"""Many models of one architecture as one module, each weight a stack: `torch.func.vmap` computes all of them at once.

After JAX's `vmap` (Bradbury et al. 2018).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from unregress.data.case import Case
from unregress.errors import SettingError
from unregress.tasks.base import Task
from unregress.tasks.nested import map_leaves
from unregress.tasks.unwrap import private_copy
from unregress.training.runtime import Runtime

SEPARATE_HINT = "Train the models separately (`stack` 1), with as many `workers` as there are cores"
"""What to do with models that cannot be stacked."""
RTOL = 1e-3
"""Share of its size by which a step in a stack may differ from that of a model alone, as rounding could make it."""


class Stack:
    """Many models as the weights of one.

    Args:
        models: of one architecture, none of which is touched before `write_back`.
        task: what they do.

    Raises:
        SettingError: PyTorch cannot stack them.
    """

    def __init__(self, models: list[nn.Module], task: Task[Any]) -> None:
        self._models = models
        # A copy: what a forward pass keeps in the module is of all models at once, and of no use to one.
        self.module = private_copy(models[0])
        self._losses = _Losses(self.module, task)
        with self._explained():
            weights, self.buffers = stack_module_state(models)
        self.weights = {name: nn.Parameter(each, requires_grad=each.requires_grad) for name, each in weights.items()}

    @property
    def trainable(self) -> list[nn.Parameter]:
        """The stacks that are not frozen."""
        return [stack for stack in self.weights.values() if stack.requires_grad]

    def unstack_batch(self, data: Any, rows: int) -> Any:
        """A batch that holds so many rows, one model's after the other's, with a first axis for the models.

        Raises:
            SettingError: it holds a tensor of another number of rows.
        """
        count = len(self._models)

        def one(tensor: Tensor) -> Tensor:
            if tensor.ndim == 0 or len(tensor) != rows:
                raise SettingError(
                    f"A batch of {rows} samples holds a tensor of shape {tuple(tensor.shape)}",
                    expected="one row for each sample, where models are trained as one",
                    remedy=SEPARATE_HINT,
                )
            return tensor.reshape(count, rows // count, *tensor.shape[1:])

        return map_leaves(one, data)

    def losses(self, data: Any) -> Tensor:
        """Losses `(models, n)`, of rows of each model's own, as `unstack_batch` returns them."""

        def of_one(state: dict[str, Tensor], own: Any) -> Tensor:
            losses: Tensor = functional_call(self._losses, state, (own,))
            return losses

        state = {f"model.{name}": each for name, each in (*self.weights.items(), *self.buffers.items())}
        with self._explained():
            losses: Tensor = vmap(of_one, randomness="error")(state, data)
        return losses

    def clip(self, norm: float) -> None:
        """Clip each model's gradients to a norm of their own."""
        slopes = [stack.grad for stack in self.trainable if stack.grad is not None]
        norms = torch.stack([slope.flatten(1).square().sum(1) for slope in slopes]).sum(0).sqrt()
        share = (norm / (norms + 1e-6)).clamp(max=1)
        for slope in slopes:
            slope.mul_(broadcast_like(share, slope))

    def write_back(self) -> None:
        """Put its own weights and buffers into each model."""
        stacks = {**self.weights, **self.buffers}
        for k, model in enumerate(self._models):
            for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                tensor.data = stacks[name].detach()[k].clone()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn PyTorch's errors into one that says what cannot be stacked, and what to do."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, AttributeError, TypeError) as error:
            why = next(iter(str(error).splitlines()), type(error).__name__)
            raise SettingError(
                f"{len(self._models)} models cannot be trained as one: {why}",
                expected="models that draw nothing (no dropout), of layers that `torch.func.vmap` knows (no LSTM), and "
                "batches of nothing but tensors",
                remedy=SEPARATE_HINT,
            ) from error


class _Losses(nn.Module):
    """A model's per-sample losses, as a module that has the model's weights."""

    def __init__(self, model: nn.Module, task: Task[Any]) -> None:
        super().__init__()
        self.model = model
        # In a tuple, for a task may be a module itself.
        self._held = (task,)

    def forward(self, data: Any) -> Tensor:
        task: Task[Any] = self._held[0]
        return task.checked_loss(task.predict(self.model, data), task.target(data))


def require_alike(models: list[nn.Module], case: Case, rows: Tensor, runtime: Runtime, mode: str) -> None:
    """Take a first step with each model by itself and with all in a stack, on copies: losses, gradients, buffers agree.

    They do not where something beside weights and buffers decides: state that is not registered, buffers that are
    replaced, draws that PyTorch does not know of.

    Args:
        models: untouched.
        case: task and data.
        rows: of the training set, for the step.
        runtime: where.
        mode: `train` or `eval`.

    Raises:
        SettingError: they do not agree, or cannot be stacked.
    """
    padded = (part for part in models[0].modules() if isinstance(part, nn.Embedding) and part.padding_idx is not None)
    if any(part.weight.requires_grad for part in padded):
        # `vmap` would keep gradients from the first model's row alone.
        raise SettingError(
            "An embedding that is trained has a `padding_idx`", expected="none in a stack", remedy=SEPARATE_HINT
        )
    stack = Stack([private_copy(model) for model in models], case.task)
    (batch,) = runtime.load(case.source("train"), [rows.repeat(len(models))])
    data = stack.unstack_batch(batch.data, len(batch.index))
    stack.module.train(mode == "train")
    together = stack.losses(data)
    together.mean(1).sum().backward()
    for k, model in enumerate(models):
        alone = private_copy(model).train(mode == "train")
        # A draw that is one for all in the stack is each one's own here.
        with runtime.isolated_rng(f"stacked/alone {k}"):
            losses = _Losses(alone, case.task)(map_leaves(itemgetter(k), data))
            losses.mean().backward()
        slopes = [(stack.weights[name].grad, weight.grad) for name, weight in alone.named_parameters()]
        used = [(ours[k].flatten(), its.flatten()) for ours, its in slopes if ours is not None and its is not None]
        pairs = {
            "losses": (together[k], losses),
            "gradients": tuple(torch.cat(side) for side in zip(*used, strict=True)),
            **{f"buffer {name!r}": (stack.buffers[name][k], each) for name, each in alone.named_buffers()},
        }
        for what, (found, wanted) in pairs.items():
            if bool((found - wanted).double().norm() > RTOL * wanted.double().norm()):
                raise SettingError(
                    f"After a first step in a stack, a model's {what} would not be what they are alone",
                    expected="weights and buffers, these changed in place, and nothing else that decides",
                    remedy=SEPARATE_HINT,
                )


def broadcast_like(share: Tensor, like: Tensor) -> Tensor:
    """A number for each model, in a shape that broadcasts over a stack of that tensor's shape."""
    return share.view(-1, *[1] * (like.ndim - 1))
