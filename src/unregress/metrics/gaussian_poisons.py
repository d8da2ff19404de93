"""Gaussian poisons: noise in the inputs of samples to be forgotten, which a model without memory knows nothing of."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.loading import chunked
from unregress.errors import DataError, ModelError, SettingError, UnregressError
from unregress.evidence import MetricInfo, Part
from unregress.metrics.base import Metric, MetricResult, Panel, measured, without_value
from unregress.metrics.predictions import Values
from unregress.tasks.nested import map_leaves

KEYS = ("poison-score", "poison-largest")
"""Keys of the measurements: over all forgotten samples, and of the most suspicious one."""
FORGOTTEN: Part = "train-forget"


class Poisoned(NamedTuple):
    """Inputs of which some rows carry noise."""

    inputs: Tensor
    """All rows, `(n, *in)`: a copy."""
    noise: Tensor
    """The noise of the given rows, in their order, `(m, *in)`.  Keep it: nothing can be tested without."""


def with_gaussian_noise(
    inputs: Tensor, rows: Sequence[int], scale: float | Tensor, generator: torch.Generator
) -> Poisoned:
    """Add independent normal noise to some rows of a training set's inputs, before an original is trained on them.

    Args:
        inputs: all training inputs, `(n, *in)`, of a floating-point type.
        rows: the rows to poison, ascending: those that will be forgotten.
        scale: standard deviation of the noise, in the inputs' units; a tensor has one for each feature, `(*in)`.
        generator: draws the noise.

    Raises:
        DataError: the inputs are not floating-point numbers, or rows are not ascending or not among them.
        SettingError: a scale is not positive.

    >>> made = with_gaussian_noise(torch.zeros(3, 2), [1], 0.5, torch.Generator().manual_seed(0))
    >>> made.noise.shape, bool((made.inputs[1] == made.noise[0]).all()), float(made.inputs[0].abs().sum())
    (torch.Size([1, 2]), True, 0.0)
    """
    _require_positive(scale)
    chosen = torch.as_tensor(rows, dtype=torch.int64)
    outside = bool(len(chosen)) and not 0 <= int(chosen[0]) <= int(chosen[-1]) < len(inputs)
    if not inputs.is_floating_point() or outside or bool((chosen.diff() <= 0).any()):
        raise DataError(
            f"Noise is asked for {len(chosen)} rows of {inputs.dtype} inputs, of which there are {len(inputs)}",
            expected="ascending rows of floating-point inputs",
        )
    shape = (len(chosen), *inputs.shape[1:])
    noise = scale * torch.randn(shape, generator=generator, dtype=inputs.dtype)
    poisoned = inputs.clone()
    poisoned[chosen] += noise
    return Poisoned(poisoned, noise)


def poison_scores(gradients: Values, noise: Values, scale: Values) -> Values:
    """How far each sample's loss falls along its noise, in standard deviations; `(m,)`.

    -⟨ξ, g⟩ / √Σ σ²g²: given the gradient g, standard normal if a model does not depend on the noise ξ.  NaN where the
    gradient is 0.

    Args:
        gradients: of the loss at the inputs without noise, `(m, inputs)`.
        noise: of the same shape.
        scale: standard deviation of the noise, `()` or `(inputs,)`.

    >>> poison_scores(np.array([[3.0, 4.0]]), np.array([[-1.0, -0.5]]), np.array(0.5))  # (3 + 2) / (0.5 · 5)
    array([2.])
    """
    unit = np.abs(gradients).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        direction = gradients / unit
        return np.asarray(-(direction * noise).sum(axis=1) / np.sqrt(((direction * scale) ** 2).sum(axis=1)))


@dataclass(frozen=True, kw_only=True)
class GaussianPoisons(Metric):
    """Whether a model still depends on noise that was added to the forgotten samples' inputs before all training.

    A test of a method on a model that you train for the test: the noise must be in the inputs before the original is
    trained (`with_gaussian_noise`), and the case's training data are those with noise.  It cannot be made up for later,
    and does not suit a model in use, which would have learnt from false inputs.

    A model that learnt a sample with its noise predicts it better in the direction of the noise: the gradient of the
    loss at the input *without* noise points against it.  For a model that never saw the noise, each sample's score is
    standard normal, whatever the model and the data: the p-values are exact with one model, and need no golds.

    Raises:
        SettingError: a scale is not positive, or does not fit the noise.
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric=KEYS[0],
            title="Gaussian poisons: noise remembered",
            meaning="How much the model still depends on noise that the forgotten samples' inputs had in training: the "
            "sum of the samples' scores divided by the square root of their number.",
            ideal="That of a model which never saw the samples: between -2 and 2, in 95 of 100 cases.  Above it the "
            "model remembers; below it, it was pushed away from the samples.",
            unit="standard deviations",
            source="Pawelczyk et al. 2024 (Gaussian unlearning score)",
        ),
        MetricInfo(
            metric=KEYS[1],
            title="Gaussian poisons: the sample remembered most",
            meaning="The largest of the single samples' scores.",
            ideal="A p-value that is not small: the largest of many is far above 0 by chance.",
            unit="standard deviations",
            source="Pawelczyk et al. 2024 (Gaussian unlearning score)",
        ),
    )

    noise: Tensor = field(repr=False, compare=False)
    """The noise of the forgotten samples, ascending by row, `(m, *in)`."""
    scale: float | Tensor = field(compare=False)
    """Standard deviation of the noise, as it was drawn."""
    leaf: int = 0
    """Which of a batch's tensors carries the noise, counted from 0."""

    def __post_init__(self) -> None:
        _require_positive(self.scale)
        if isinstance(self.scale, Tensor) and self.scale.ndim and self.scale.shape != self.noise.shape[1:]:
            raise SettingError(
                f"GaussianPoisons has noise of shape {tuple(self.noise.shape)} and scale of {tuple(self.scale.shape)}",
                expected="one scale, or one for each number of an input",
            )

    @property
    def needs_model(self) -> bool:
        """Whether the metric asks the models themselves: it differentiates their loss."""
        return True

    def objections(self, case: Case, names: Collection[str]) -> list[UnregressError]:
        """Check that there is noise for each forgotten sample."""
        asked = len(case.requested.forget)
        if len(self.noise) == asked:
            return []
        found = f"GaussianPoisons has noise for {len(self.noise)} samples, and {asked} are to be forgotten"
        return [DataError(found, expected="the noise of each forgotten sample, ascending by row")]

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """The score over all samples and the largest one, with one-sided p-values."""
        from scipy.stats import norm

        for subject in panel.subjects:
            if subject.model is None:
                continue
            scores = self._scores(panel, subject.model)
            known = scores[np.isfinite(scores)]
            if not len(known):
                yield from without_value(KEYS, FORGOTTEN, [subject.name], "the loss does not depend on the inputs")
                continue
            total, largest = float(known.sum()) / sqrt(len(known)), float(known.max())
            # All of m independent scores are below a limit with the m-th power of one's probability.
            chance = -np.expm1(len(known) * norm.logcdf(largest))
            note = f"{len(known)} of {len(scores)} samples"
            for metric, value, p in zip(KEYS, (total, largest), (norm.sf(total), chance), strict=True):
                yield measured(metric=metric, split=FORGOTTEN, model=subject.name, value=value, p=float(p), note=note)

    def _scores(self, panel: Panel, model: nn.Module) -> Values:
        """Each forgotten sample's score, `(m,)`."""
        case, runtime = panel.required_case, panel.runtime
        full = runtime.without_mixed_precision
        rows = torch.as_tensor(np.asarray(case.requested.forget, dtype=np.int64))
        chunks = chunked(torch.arange(len(rows)), runtime.evaluation_batch_size)
        found: list[Tensor] = []
        with full.isolated_rng("gaussian-poisons"):
            copy = full.set_up(full.private_copy(model))
            copy.eval()
            batches = full.load(case.source("train_eval"), [rows[chunk] for chunk in chunks])
            for batch, chunk in zip(batches, chunks, strict=True):
                found.append(self._gradients(case, copy, batch.data, self.noise[chunk]))
        scale = torch.as_tensor(self.scale).flatten().double().numpy()
        return poison_scores(torch.cat(found).numpy(), self.noise.flatten(1).double().numpy(), scale)

    def _gradients(self, case: Case, model: nn.Module, data: Any, noise: Tensor) -> Tensor:
        """Gradients of the loss at a batch's inputs without their noise, `(n, inputs)`, on the CPU.

        Raises:
            ModelError: the batch has no such tensor, or the loss does not depend on it.
        """
        clean: list[Tensor] = []
        place = iter(range(self.leaf + 1))

        def without_noise(part: Tensor) -> Tensor:
            if next(place, None) != self.leaf:
                return part
            if part.shape != noise.shape or not part.is_floating_point():
                raise ModelError(
                    f"Tensor {self.leaf} of a batch is {part.dtype} of shape {tuple(part.shape)}, and the noise is of "
                    f"shape {tuple(noise.shape)}",
                    expected="floating-point inputs of the noise's shape",
                    remedy="Name another tensor of the batch with `leaf`",
                )
            clean.append((part.detach() - noise.to(part)).requires_grad_())
            return clean[0]

        batch = map_leaves(without_noise, data)
        if not clean:
            raise ModelError(f"A batch has no tensor {self.leaf}", expected="a number from 0 on, less than its tensors")
        loss = case.task.batch_loss(case.task.predict(model, batch), case.task.target(batch), batch).sum()
        if not loss.requires_grad:  # of a constant without weights
            return torch.zeros_like(noise).flatten(1).double()
        (gradient,) = torch.autograd.grad(loss, clean, allow_unused=True, materialize_grads=True)
        return gradient.flatten(1).double().cpu()


def _require_positive(scale: float | Tensor) -> None:
    """Refuse a standard deviation that is not a positive number.

    Raises:
        SettingError: it is not.
    """
    numbers = torch.as_tensor(scale, dtype=torch.float64)
    if not bool((torch.isfinite(numbers) & (numbers > 0)).all()):
        raise SettingError(f"The noise has a scale of {scale}", expected="positive numbers")
