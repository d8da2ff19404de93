"""Blindspot unlearning (paper Section 4.1, Algorithm 1, Equations 6-9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from unregress.cost import Cost
from unregress.data.case import Case
from unregress.data.loading import Batch
from unregress.errors import UnregressError, require_fields
from unregress.hooks.activations import activations, resolve_layers
from unregress.hooks.attention_transfer import AttentionLoss, channel_axes
from unregress.methods.base import Method, Unlearned
from unregress.tasks.unwrap import unwrapped
from unregress.training.fresh_model import fresh_model
from unregress.training.loop import fit
from unregress.training.objective import Objective, SampleLoss, retain_objective
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class Blindspot(Method):
    """Imitate, on the forget set, a helper that never saw it, while fitting the retain set.

    A fresh helper B is trained briefly on D_r.  Then the original M is trained on D with the
    per-sample loss (1 - l_f) L_r + l_f (L_f + L_attn): on retain samples the task's loss against
    the true target, on forget samples the task's loss against B's prediction plus λ times the
    distance between M's and B's activations (Eq. 9).  B sees forget rows only; the forget labels
    are never used.

    Departs from the paper in three points: the attention term is by default the published code's, not Eq. 8
    as printed; activations that are vectors, or have a single position left, are compared as one map over their
    features, where the published code compares constants; and where the task's loss is a quantile loss, L_f
    compares predictions level by level, since Eq. 7's pinball loss would draw all levels to the helper's point.

    Raises:
        SettingError: a setting is out of range; all of them at once.
        LayerError: a layer does not exist or cannot serve, when unlearning.
    """

    helper: Recipe = Recipe(epochs=2, lr=0.01)
    """How the helper is trained on D_r; as published for AgeDB: 2 epochs at 0.01."""
    recipe: Recipe = Recipe(epochs=1, lr=1e-3)
    """How the original is trained to forget; as published for AgeDB: 1 epoch at 0.001.
    Its `mode` is the student's: in training mode (as published) batch statistics and dropout act."""
    attention_weight: float = 50.0
    """λ of Eq. 8; as published: 50.  Zero leaves the activations alone."""
    attention: Literal["transfer", "raw"] = "transfer"
    """How activations are compared: attention transfer (published code) or Eq. 8 as printed."""
    layers: int | Sequence[str] = 3
    """Layers to compare: names, patterns (`layer?`), or how many of the last hidden ones in execution order."""
    channel_axis: Mapping[str, int] = field(default_factory=dict)
    """Channel axis by layer name, where the layer's type does not tell: see `unregress.hooks.attention_transfer`."""
    helper_mode: Literal["eval", "train"] = "eval"
    """Mode of the helper while it teaches; as published: eval."""

    def __post_init__(self) -> None:
        layers_fine = isinstance(self.layers, Sequence) and not isinstance(self.layers, str) and len(self.layers) > 0
        rules = [
            ("attention_weight", 0 <= self.attention_weight < float("inf"), "a number, 0 or more"),
            ("attention", self.attention in ("transfer", "raw"), "transfer or raw"),
            ("helper_mode", self.helper_mode in ("eval", "train"), "eval or train"),
            (
                "layers",
                layers_fine or (isinstance(self.layers, int) and self.layers >= 1),
                "a number, 1 or more, or a list of names or patterns",
            ),
        ]
        require_fields("Blindspot", self, rules)

    @property
    def deviations(self) -> tuple[str, ...]:
        """How predictions and activations are compared, where paper and published code say it differently."""
        quantiles = (
            "With a quantile loss, Blindspot compares forget predictions with the helper's level by level: Equation "
            "7's pinball loss would draw all levels to the helper's point prediction.",
        )
        if self.attention == "raw" or not self.attention_weight:
            return quantiles
        return (
            "Blindspot's attention term is attention transfer, as in the published code: the mean squared "
            "difference of normalised maps of squared activations, averaged over channels.  Equation 8 as "
            "printed, the norm of the activations' difference, is `attention='raw'`.",
            "Activations without channels (vectors), or with a single position left, are one map over their "
            "features; the published code maps them to a single constant, so that their attention loss is always zero.",
            *quantiles,
        )

    def objections(self, student: nn.Module, case: Case, runtime: Runtime) -> Iterator[UnregressError]:
        for ask in (lambda: fresh_model(case, student), lambda: self._resolve(student, case, runtime)):
            try:
                ask()
            except UnregressError as error:
                yield error

    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        helper = fresh_model(case, student)
        axes, notes = self._resolve(student, case, runtime)
        helped = fit(helper, case, self.helper, retain_objective(case), runtime, stage="helper")
        helper.requires_grad_(False).train(self.helper_mode == "train")
        teacher = runtime.set_up(helper)
        loss = self._loss(case, teacher, AttentionLoss(axes, raw=self.attention == "raw"))
        objective = Objective.over(torch.from_numpy(case.rows("train")), loss)
        taught = fit(student, case, self.recipe, objective, runtime, stage="unlearn")
        teaching = Cost(forward=len(taught.history) * len(case.requested.forget))
        return Unlearned(
            model=student,
            history=(*helped.history, *taught.history),
            cost=helped.cost + taught.cost + teaching,
            notes=notes,
            helper=helper,
        )

    def _resolve(
        self, student: nn.Module, case: Case, runtime: Runtime
    ) -> tuple[dict[str, int | None], tuple[str, ...]]:
        """Names and channel axes of the layers to compare, found once, on two forget rows."""
        if not self.attention_weight:
            return {}, ()
        rows = torch.tensor(case.requested.forget[:2])
        model = runtime.set_up(student)
        (batch,) = runtime.load(case.source("train_eval"), [rows])
        names = resolve_layers(self.layers, model, case.task, batch)
        axes = channel_axes(model, names, self.channel_axis, case.task, batch, raw=self.attention == "raw")
        listed = ", ".join(name if axis is None else f"{name} (channels on axis {axis})"
                           for name, axis in axes.items())  # fmt: skip
        return axes, (f"activations compared at: {listed}",)

    def _loss(self, case: Case, teacher: nn.Module, distance: AttentionLoss) -> SampleLoss:
        """Eq. 9 per sample."""
        task, layers = case.task, list(distance.axes)

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            with activations(unwrapped(model), layers) as of_student:
                prediction = task.predict(model, batch.data)
            retained, forgotten = batch.retained.to(prediction.device), batch.forgotten.to(prediction.device)
            # Retain rows first, then forget rows: the order within a batch means nothing to a mean.
            losses: list[Tensor] = []
            if len(retained):
                kept = task.select(batch.data, retained)
                losses.append(task.checked_loss(prediction[retained], task.target(kept)))
            if len(forgotten):
                with torch.no_grad(), activations(unwrapped(teacher), layers) as of_helper:
                    taught = task.predict(teacher, task.select(batch.data, forgotten))
                imitation = task.imitation_loss(prediction[forgotten], taught)
                if layers:
                    seen = {name: [a[forgotten] for a in calls] for name, calls in of_student.items()}
                    imitation = imitation + self.attention_weight * distance(seen, of_helper)
                losses.append(imitation)
            return torch.cat(losses)

        return loss
