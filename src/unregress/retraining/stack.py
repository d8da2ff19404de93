"""Evaluate several models of one architecture in a single call, with stacked weights and `torch.func.vmap`.

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
"""Remedy for models that cannot be stacked."""
RTOL = 1e-3
"""Relative tolerance, of norms, between a step of the stack and the step of a separate model; covers rounding."""


class Stack:
    """Several models of one architecture with stacked weights.

    Args:
        models: the models; unchanged until `write_back`.
        task: computes predictions and losses.

    Raises:
        SettingError: PyTorch cannot stack them.
    """

    def __init__(self, models: list[nn.Module], task: Task[Any]) -> None:
        self._models = models
        # A copy, since a forward pass may store stacked tensors in the module.
        self.module = private_copy(models[0])
        self._losses = _Losses(self.module, task)
        with self._explained():
            weights, self.buffers = stack_module_state(models)
        self.weights = {name: nn.Parameter(each, requires_grad=each.requires_grad) for name, each in weights.items()}

    @property
    def trainable(self) -> list[nn.Parameter]:
        """The stacked weights that are not frozen."""
        return [stack for stack in self.weights.values() if stack.requires_grad]

    def unstack_batch(self, data: Any, rows: int) -> Any:
        """Split a batch of all models' rows, ordered by model, into a first axis for the models.

        Raises:
            SettingError: a tensor of the batch has another number of rows.
        """
        count = len(self._models)

        def split(tensor: Tensor) -> Tensor:
            if tensor.ndim == 0 or len(tensor) != rows:
                raise SettingError(
                    f"A batch of {rows} samples has a tensor of shape {tuple(tensor.shape)}",
                    expected="one row for each sample, to train models in one loop",
                    remedy=SEPARATE_HINT,
                )
            return tensor.reshape(count, rows // count, *tensor.shape[1:])

        return map_leaves(split, data)

    def losses(self, data: Any) -> Tensor:
        """Losses `(models, n)` of a batch from `unstack_batch`, in which each model has its own rows."""

        def losses_of_model(state: dict[str, Tensor], own: Any) -> Tensor:
            losses: Tensor = functional_call(self._losses, state, (own,))
            return losses

        state = {f"model.{name}": each for name, each in (*self.weights.items(), *self.buffers.items())}
        with self._explained():
            losses: Tensor = vmap(losses_of_model, randomness="error")(state, data)
        return losses

    def clip(self, norm: float) -> None:
        """Clip the gradient norm of each model separately."""
        gradients = [stack.grad for stack in self.trainable if stack.grad is not None]
        norms = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0).sqrt()
        scale = (norm / (norms + 1e-6)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(broadcast_like(scale, gradient))

    def write_back(self) -> None:
        """Copy the stacked weights and buffers back into the models."""
        stacks = {**self.weights, **self.buffers}
        for k, model in enumerate(self._models):
            for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                tensor.data = stacks[name].detach()[k].clone()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Convert PyTorch's errors into a `SettingError` that names the cause and a remedy."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, AttributeError, TypeError) as error:
            why = next(iter(str(error).splitlines()), type(error).__name__)
            raise SettingError(
                f"{len(self._models)} models cannot be trained in one loop: {why}",
                expected="models without random layers (dropout), layers that `torch.func.vmap` supports (no LSTM), "
                "and batches of tensors only",
                remedy=SEPARATE_HINT,
            ) from error


class _Losses(nn.Module):
    """A module that computes per-sample losses with a model's weights, for `functional_call`."""

    def __init__(self, model: nn.Module, task: Task[Any]) -> None:
        super().__init__()
        self.model = model
        # A tuple keeps a task that is a module from being registered as a submodule.
        self._held = (task,)

    def forward(self, data: Any) -> Tensor:
        task: Task[Any] = self._held[0]
        return task.training_loss(task.predict(self.model, data), task.target(data), data)


def require_equal_step(models: list[nn.Module], case: Case, rows: Tensor, runtime: Runtime, mode: str) -> None:
    """Check that a first step of the stack equals the models' separate steps: losses, gradients and buffers.

    They differ if results depend on anything besides weights and buffers: state that is not registered, buffers that
    are replaced and not changed in place, random draws outside PyTorch's generators.

    Args:
        models: the models; the steps are taken with copies.
        case: task and data.
        rows: rows of the training set for the step.
        runtime: device and precision.
        mode: `train` or `eval`.

    Raises:
        SettingError: they differ, or the models cannot be stacked.
    """
    padded = (part for part in models[0].modules() if isinstance(part, nn.Embedding) and part.padding_idx is not None)
    if any(part.weight.requires_grad for part in padded):
        # `vmap` would ignore the padding row's gradients for the first model only.
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
        # Own random state, so that a draw shared by the stack shows as a difference.
        with runtime.isolated_rng(f"stacked/alone {k}"):
            losses = _Losses(alone, case.task)(map_leaves(itemgetter(k), data))
            losses.mean().backward()
        gradients = [(stack.weights[name].grad, weight.grad) for name, weight in alone.named_parameters()]
        used = [(ours[k].flatten(), its.flatten()) for ours, its in gradients if ours is not None and its is not None]
        pairs = {
            "losses": (together[k], losses),
            "gradients": tuple(torch.cat(side) for side in zip(*used, strict=True)),
            **{f"buffer {name!r}": (stack.buffers[name][k], each) for name, each in alone.named_buffers()},
        }
        for what, (found, wanted) in pairs.items():
            if bool((found - wanted).double().norm() > RTOL * wanted.double().norm()):
                raise SettingError(
                    f"After a first step in a stack, a model's {what} would differ from a separate training's",
                    expected="models that depend on nothing but weights and buffers, and change buffers in place",
                    remedy=SEPARATE_HINT,
                )


def broadcast_like(values: Tensor, like: Tensor) -> Tensor:
    """Reshape one value per model, `(models,)`, so that it broadcasts over a stacked tensor."""
    return values.view(-1, *[1] * (like.ndim - 1))
