"""The weights that a training ends with: those of the last step, their moving average, or those of the best epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from math import inf

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unregress.errors import SettingError
from unregress.tasks.unwrap import private_copy, unwrapped
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


class FinalWeights:
    """Keeps the moving average and the best epoch of a running training, as its recipe says.

    Args:
        model: the module to call, as `Runtime.training` yields it.
        recipe: `ema` and `stop_after` are used.
        runtime: device and precision.

    Raises:
        SettingError: a moving average of sharded weights is asked for.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, runtime: Runtime) -> None:
        self._trained, self._stop_after = unwrapped(model), recipe.stop_after
        self._average: AveragedModel | None = None
        self._best: list[Tensor] = []
        self._best_loss, self._worse = inf, 0
        self.evaluated = model
        """The module whose validation loss counts: the average if there is one."""
        if recipe.ema is not None:
            if runtime.strategy == "fsdp2" and runtime.process_group.world_size > 1:
                raise SettingError(
                    "Recipe.ema is set, and the weights are sharded (`Runtime.strategy` is fsdp2)",
                    expected="whole weights in each process to average",
                    remedy="Use `strategy='ddp'`, or no `ema`",
                )
            average = get_ema_multi_avg_fn(recipe.ema)
            self._average = AveragedModel(private_copy(self._trained), multi_avg_fn=average, use_buffers=True)
            self.evaluated = runtime.set_up(self._average.module)

    @torch.no_grad()
    def after_step(self) -> None:
        """Add the weights after a step to the average."""
        if self._average is None:
            return
        self._average.update_parameters(self._trained)
        # Counts and positions have no average.
        for kept, now in zip(self._average.module.buffers(), self._trained.buffers(), strict=True):
            if not (kept.is_floating_point() or kept.is_complex()):
                kept.copy_(now)

    @torch.no_grad()
    def after_epoch(self, loss: float) -> bool:
        """Keep the weights if the epoch is the best so far; returns whether to stop the training.

        Args:
            loss: the monitored loss of the epoch.
        """
        if self._stop_after is None:
            return False
        if loss < self._best_loss:
            self._best_loss, self._worse = loss, 0
            self._best = [each.detach().clone() for each in self._chosen()]
        else:
            self._worse += 1
        return self._worse >= self._stop_after

    @torch.no_grad()
    def apply(self, *, best: bool) -> None:
        """Give the trained model its final weights.

        Args:
            best: whether those of the best epoch count, if they are kept; false for a training that was interrupted.
        """
        kept = self._best if best else []
        if not kept and self._average is None:
            return
        for own, chosen in zip(_state(self._trained), kept or self._chosen(), strict=True):
            own.copy_(chosen)

    def _chosen(self) -> Iterator[Tensor]:
        return _state(self._trained if self._average is None else self._average.module)


def _state(model: nn.Module) -> Iterator[Tensor]:
    """The parameters and buffers of a model."""
    return chain(model.parameters(), model.buffers())
