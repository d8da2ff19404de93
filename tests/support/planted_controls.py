"""Planted controls: models with known forgetting errors, on three tasks small enough to train a dozen in seconds.

On each task the forgotten samples have a visible feature that determines their target, so that an original has learnt
a relation that golds cannot know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import unregress
from support.bump_case import small_case

RUNTIME = unregress.Runtime(accelerator="cpu")
TRAIN, TEST = slice(0, 300), slice(300, 450)
SIZES = (0.05, 1.0, 4.0, 16.0)
"""Sizes of planted noise and bias, in units of the noise floor."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A case for planted models, with the recipe of its originals and golds."""

    case: unregress.Case
    recipe: unregress.Recipe

    def original(self) -> nn.Module:
        return unregress.train(self.case, self.recipe, RUNTIME).model

    def gold(self, seed: int) -> nn.Module:
        method = unregress.Retrain(recipe=self.recipe)
        return method.unlearn(self.case.task.build_model(), self.case, replace(RUNTIME, seed=seed)).model


def table() -> Ground:
    """Table of three inputs; the fifth of the samples with a large second input has targets about 30 higher."""
    recipe = unregress.Recipe(epochs=60, lr=0.02, batch_size=64, schedule="one-cycle")
    return Ground(case=small_case(), recipe=recipe)


def pictures() -> Ground:
    """Images of 12 × 12 pixels; targets are the brightness of a spot, or of two spots plus 15 for a fifth of them."""
    generator = torch.Generator().manual_seed(0)
    count = 450
    picture = 0.1 * torch.randn(count, 1, 12, 12, generator=generator)
    brightness = 0.5 + torch.rand(count, 2, generator=generator)
    two = torch.rand(count, generator=generator) < 0.2
    brightness[:, 1] *= two
    place = torch.randint(0, 4, (count, 2), generator=generator)
    for spot, left in ((0, 1), (1, 7)):
        for sample in range(count):
            row = int(place[sample, spot]) * 2 + 1
            picture[sample, 0, row : row + 3, left : left + 3] += brightness[sample, spot]
    target = 30 + 10 * brightness.sum(1) + 15 * two + 0.5 * torch.randn(count, generator=generator)
    recipe = unregress.Recipe(epochs=24, lr=0.02, batch_size=32, schedule="one-cycle")
    return Ground(case=_case(_network_for_pictures, picture, target[:, None], two, "two spots"), recipe=recipe)


def _network_for_pictures() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, 1), Scaled(),
    )  # fmt: skip


def series() -> Ground:
    """Series of 16 steps of a slow process, with the next step as target; a fifth has a jump in the last step only."""
    generator = torch.Generator().manual_seed(0)
    count, steps = 450, 16
    noise = torch.randn(count, steps + 1, generator=generator)
    values = torch.zeros(count, steps + 1)
    values[:, 0] = noise[:, 0]
    for step in range(1, steps + 1):
        values[:, step] = 0.9 * values[:, step - 1] + 0.4 * noise[:, step]
    jump = torch.rand(count, generator=generator) < 0.2
    values[:, steps - 1] += 3 * jump
    target = 30 + 10 * values[:, steps]
    recipe = unregress.Recipe(epochs=24, lr=0.02, batch_size=32, schedule="one-cycle")
    return Ground(case=_case(Recurrent, values[:, :steps, None], target[:, None], jump, "jumps"), recipe=recipe)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(1, 16, batch_first=True)
        self.head = nn.Sequential(nn.Linear(16, 1), Scaled())

    def forward(self, x: Tensor) -> Tensor:
        _, last = self.recurrent(x)
        answer: Tensor = self.head(last[0])
        return answer


class Scaled(nn.Module):
    """Rescales outputs, so that a fresh model's predictions are near the targets' mean."""

    def forward(self, z: Tensor) -> Tensor:
        return 30 + 10 * z


def _case(network: Callable[[], nn.Module], x: Tensor, y: Tensor, kind: Tensor, reason: str) -> unregress.Case:
    forget = np.flatnonzero(kind[TRAIN].numpy()).tolist()
    return unregress.Case(
        task=unregress.TensorTask(build_model=network, loss="l1"),
        splits=unregress.Splits(
            train=TensorDataset(x[TRAIN], y[TRAIN]),
            test=TensorDataset(x[TEST], y[TEST]),
        ),
        request=unregress.ForgetRequest(size=len(kind[TRAIN]), forget=tuple(forget), reason=reason),
        test_forget_like=np.flatnonzero(kind[TEST].numpy()).tolist(),
    )


class Planted(nn.Module):
    """A model that looks predictions up in a table by the input."""

    def __init__(self, x: Tensor, answers: Tensor) -> None:
        super().__init__()
        self.register_buffer("x", x.flatten(1))
        self.register_buffer("answers", answers)

    def forward(self, x: Tensor) -> Tensor:
        same = (x.flatten(1)[:, None] == self.get_buffer("x")).all(-1)
        return self.get_buffer("answers")[same.float().argmax(1), None]


def plant(ground: Ground, original: nn.Module, gold: nn.Module, floor: float) -> dict[str, nn.Module]:
    """Build models with one known fault each, by changing a gold's predictions.

    Args:
        ground: the case.
        original: its distance to the gold sets the size of one fault.
        gold: the model whose predictions are changed.
        floor: the mean paired difference of golds on the forgotten samples, in target units.
    """
    x, y = _data(ground.case)
    size = ground.case.requested.size
    forget = torch.tensor(ground.case.requested.forget)
    kept = size + torch.from_numpy(np.flatnonzero(~ground.case.forget_like("test")))
    with torch.no_grad():
        own, before = (model.eval()(x).squeeze(1) for model in (gold, original))
    error = y - own
    gap = float((before - own)[forget].abs().mean())
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(x), generator=generator)
    shuffled = own[forget[torch.randperm(len(forget), generator=generator)]]

    def changed(rows: Tensor, answers: Tensor) -> nn.Module:
        new = own.clone()
        new[rows] = answers
        return Planted(x, new)

    def moved(by: float) -> nn.Module:
        """Move predictions towards the targets, but not past them; away from them if negative."""
        return changed(forget, (own + error.sign() * error.abs().clamp(max=by))[forget])

    return {
        **{f"noise {times}": changed(forget, (own + times * floor * noise)[forget]) for times in SIZES},
        **{f"bias {times}": moved(times * floor) for times in SIZES},
        "shuffled": changed(forget, shuffled),
        "pushed": moved(-gap / 2),
        "damaged": changed(kept, (own + 2 * error.abs() * noise)[kept]),
    }


def _data(case: unregress.Case) -> tuple[Tensor, Tensor]:
    """Inputs and targets of training and test data, one after the other."""
    parts = [dataset[:] for dataset in (case.splits.train, case.splits.test) if dataset is not None]
    x, y = (torch.cat([part[place] for part in parts]) for place in (0, 1))
    return x, y.flatten()
