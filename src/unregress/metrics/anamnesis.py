"""Anamnesis index: how fast a model learns the forgotten samples again (paper Section 5, Eq. 10)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from math import isfinite
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import nn

from unregress.errors import DivergenceError, SettingError
from unregress.evidence import About, Curve, Figure, Measure
from unregress.methods.base import task_loss
from unregress.metrics.base import Finding, Metric, Panel
from unregress.recipe import Recipe
from unregress.training import evaluate, fit


@dataclass(frozen=True)
class Relearning:
    """How the monitored loss fell while a model was trained on D again."""

    losses: tuple[float, ...]
    """Mean loss after 0, 1, 2, … steps."""
    reached: bool
    """Whether the last of them is at the threshold or below; if not, the measurement was cut off there."""

    @property
    def steps(self) -> int:
        """Steps until the threshold, or until the cut-off: rt of paper Eq. 10."""
        return len(self.losses) - 1


def index(model: Relearning, gold: Relearning) -> tuple[float | None, Literal["=", "<=", ">="], str]:
    """AIN = rt(model) / rt(gold), as value, bound and note.

    A measurement that was cut off makes the value a bound; where nothing can be said it is None.

    >>> index(Relearning((3.0, 2.0, 1.0), True), Relearning((3.0, 2.5, 2.0, 1.5, 1.0), True))
    (0.5, '=', '')
    >>> index(Relearning((3.0, 2.0, 1.0), True), Relearning((3.0, 2.9, 2.8, 2.7, 2.6), False))[:2]
    (0.5, '<=')
    """
    if gold.reached and gold.steps == 0:
        return (
            None,
            "=",
            "the retrained model is within the margin without relearning: there is nothing to relearn",
        )
    if not gold.reached and not model.reached:
        return None, "=", f"neither model relearnt within {gold.steps} steps"
    ratio = model.steps / gold.steps
    if not gold.reached:
        return ratio, "<=", f"the retrained model did not relearn within {gold.steps} steps"
    if not model.reached:
        return ratio, ">=", f"did not relearn within {model.steps} steps"
    return ratio, "=", ""


@dataclass(frozen=True, kw_only=True)
class Anamnesis(Metric):
    """AIN: steps to relearn, relative to the retrained model's.

    A copy of each model is trained on all of D, with the same batches for all, until its loss on
    held-out samples of the forgotten kind comes within α of the original model's: rt.  The loss is
    looked at before the first step and after each one.  The published code relearns the models in
    place, gold included, so that each call compares with an already relearned gold.

    Raises:
        SettingError: α is negative, or the cap allows no step.
    """

    about: ClassVar[tuple[About, ...]] = (
        About(
            metric="ain",
            title="Anamnesis index",
            meaning="Steps the model needs to learn the forgotten samples again, as a multiple of the "
            "retrained model's steps.",
            ideal="1.  Near 0 the model still knows them; far above 1 it was pushed away from them, "
            "which can betray them too (the Streisand effect).  One shuffle; the steps are whole numbers.",
            unit="ratio",
            source="paper Section 5, Eq. 10 (AIN)",
        ),
        About(
            metric="relearn-steps",
            title="Steps to relearn",
            meaning="Training steps on all data until the loss on samples of the forgotten kind is within "
            "the margin of the original model's.",
            ideal="The retrained model's own value.",
            unit="steps",
            source="paper Section 5, rt(M, M_orig, α)",
        ),
    )

    alpha: float = 0.05
    """Margin α: relearnt at (1 + α) times the original's loss; as published: 5 %."""
    recipe: Recipe = Recipe(epochs=10, lr=1e-3, batch_size=256)
    """How to relearn; its epochs are the cap.  The published code relearns at 0.01."""

    def __post_init__(self) -> None:
        if self.alpha < 0 or self.recipe.epochs < 1:
            raise SettingError(
                f"Anamnesis has alpha={self.alpha} and a cap of {self.recipe.epochs} epochs",
                expected="alpha 0 or more, 1 epoch or more",
            )

    def measure(self, panel: Panel) -> Iterator[Finding]:
        """AIN and steps of every model, and the relearning curves."""
        split: Literal["train_eval", "validation"] = "validation" if len(panel.validation_group) else "train_eval"
        monitored = panel.validation_group if len(panel.validation_group) else np.array(panel.case.request.forget)
        rows = torch.from_numpy(monitored.astype(np.int64))
        runtime = panel.runtime
        reference = runtime.set_up(runtime.private_copy(panel.original.model))
        own = evaluate(reference, panel.case, split, rows, runtime)
        # (1 + α) L for the positive losses of the paper; α of its size above it for those that can be negative.
        threshold = own + self.alpha * abs(own)
        relearned = {
            subject.name: self.relearn(subject.model, panel, split, rows, threshold) for subject in panel.subjects
        }
        gold = relearned[panel.gold.name]
        name = "validation-forget" if split == "validation" else "train-forget"
        for model, run in relearned.items():
            value, bound, note = index(run, gold)
            yield Measure(metric="ain", split=name, model=model, value=value, bound=bound, note=note)
        for model, run in relearned.items():
            bound = "=" if run.reached else ">="
            yield Measure(metric="relearn-steps", split=name, model=model, value=float(run.steps), bound=bound)
        yield Figure(
            key="relearning",
            title="Relearning the forgotten samples",
            caption="Loss on samples of the forgotten kind while each model is trained on all data again. "
            "A model that forgot relearns like the retrained model; one that remembers is back at once.",
            x_label="training steps",
            y_label="loss",
            curves=tuple(
                Curve(model=model, x=tuple(float(step) for step in range(run.steps + 1)), y=run.losses)
                for model, run in relearned.items()
            ),
            threshold=threshold,
        )

    def relearn(
        self,
        model: nn.Module,
        panel: Panel,
        split: Literal["train_eval", "validation"],
        rows: torch.Tensor,
        threshold: float,
    ) -> Relearning:
        """Train a copy of `model` on D until its loss on some rows is at the threshold, or the cap is hit."""
        case, runtime = panel.case, panel.runtime
        twin = runtime.private_copy(model)
        # A reference is often frozen for inference; relearning trains what training from scratch would.
        trainable = {name: parameter.requires_grad for name, parameter in case.task.build_model().named_parameters()}
        for name, parameter in twin.named_parameters():
            parameter.requires_grad_(trainable.get(name, True))
        watched = runtime.set_up(twin)
        losses = [evaluate(watched, case, split, rows, runtime)]

        def watch(_: int) -> bool:
            losses.append(evaluate(watched, case, split, rows, runtime))
            return losses[-1] <= threshold

        if losses[0] > threshold:
            everything = torch.arange(case.request.size)
            with runtime.isolated("anamnesis"), suppress(DivergenceError):
                fit(
                    twin,
                    case,
                    self.recipe,
                    everything,
                    task_loss(case),
                    runtime,
                    stage="relearn",
                    after_step=watch,
                )
        # A model that runs away while relearning did not relearn; its losses are shown while they are numbers.
        finite = tuple(takewhile(isfinite, losses))
        return Relearning(losses=finite, reached=finite[-1] <= threshold)
