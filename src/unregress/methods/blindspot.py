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
from unregress.methods.base import Method
from unregress.methods.unlearned import Unlearned
from unregress.tasks.unwrap import unwrapped
from unregress.training.fresh_model import fresh_model
from unregress.training.from_scratch import Training, require_possible, train_from
from unregress.training.loop import fit
from unregress.training.objective import Objective, SampleLoss
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class Blindspot(Method):
    """Imitate, on the forget set, a helper that was not trained on it, while fitting the retain set.

    A new helper B is trained briefly on D_r.  Then the original M is trained on D with the per-sample loss
    (1 - l_f) L_r + l_f (L_f + L_attn): on retain samples the task's loss against the true target, on forget samples
    the task's loss against B's prediction, plus λ times the distance between the activations of M and B (Eq. 9).
    As a teacher, B predicts the forget rows only.  The forget labels are never used.

    Differences from the paper: by default the attention term is that of the published code, not Eq. 8 as printed.
    Activations that are vectors, or have a single position, are compared as one map over their features, where the
    published code compares constants.  With a quantile loss, L_f compares predictions level by level, since the
    pinball loss of Eq. 7 would pull all levels towards the helper's point prediction.

    Raises:
        SettingError: settings are out of range; all of them are reported at once.
        LayerError: when unlearning, a layer does not exist or cannot be compared.
    """

    helper: Training = Recipe(epochs=2, lr=0.01)
    """Training of the helper on D_r: settings, or a function `(data, start, seed) -> model` that trains briefly; as
    published for AgeDB: 2 epochs at 0.01."""
    recipe: Recipe = Recipe(epochs=1, lr=1e-3)
    """Training of the original to forget; as published for AgeDB: 1 epoch at 0.001.  Its `mode` is that of the student:
    `train`, as published, uses batch statistics and dropout."""
    attention_weight: float = 50.0
    """λ of Eq. 8; as published: 50.  With 0 activations are not compared."""
    attention: Literal["transfer", "raw"] = "transfer"
    """How activations are compared: attention transfer (published code) or Eq. 8 as printed."""
    layers: int | Sequence[str] = 3
    """Layers to compare: names, patterns (`layer?`), or the number of last hidden layers in execution order."""
    channel_axis: Mapping[str, int] = field(default_factory=dict)
    """Channel axis by layer name, where the layer's type does not determine it; see
    `unregress.hooks.attention_transfer`."""
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
        """Differences in how predictions and activations are compared."""
        quantiles = (
            "With a quantile loss, Blindspot compares forget predictions with the helper's level by level: the pinball "
            "loss of Equation 7 would pull all levels towards the helper's point prediction.",
        )
        if self.attention == "raw" or not self.attention_weight:
            return quantiles
        return (
            "Blindspot's attention term is attention transfer, as in the published code: the mean squared "
            "difference of normalised maps of squared activations, averaged over channels.  Equation 8 as "
            "printed, the norm of the activations' difference, is `attention='raw'`.",
            "Activations without channels (vectors), or with a single position, are compared as one map over their "
            "features; the published code maps them to a constant, so that their attention loss is always zero.",
            *quantiles,
        )

    def objections(self, student: nn.Module, case: Case, runtime: Runtime) -> Iterator[UnregressError]:
        for check in (
            lambda: fresh_model(case, student),
            lambda: require_possible(self.helper, runtime),
            lambda: self._compared_layers(student, case, runtime),
        ):
            try:
                check()
            except UnregressError as error:
                yield error

    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        helper = fresh_model(case, student)
        axes, notes = self._compared_layers(student, case, runtime)
        rows = case.requested.retain
        helper, helper_training = train_from(
            helper, case, self.helper, rows, runtime, stage="helper", validation="retain"
        )
        helper.requires_grad_(False).train(self.helper_mode == "train")
        teacher = runtime.set_up(helper)
        loss = self._loss(case, teacher, AttentionLoss(axes, raw=self.attention == "raw"))
        objective = Objective.over(torch.from_numpy(case.rows("train")), loss)
        unlearning = fit(student, case, self.recipe, objective, runtime, stage="unlearn")
        teaching = Cost(forward=len(unlearning.history) * len(case.requested.forget))
        return Unlearned(
            model=student,
            history=(*helper_training.history, *unlearning.history),
            cost=helper_training.cost + unlearning.cost + teaching,
            notes=notes,
            helper=helper,
        )

    def _compared_layers(
        self, student: nn.Module, case: Case, runtime: Runtime
    ) -> tuple[dict[str, int | None], tuple[str, ...]]:
        """Channel axes by name of the layers to compare, and a note that lists them; two forget rows are predicted."""
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
        """The per-sample loss of Eq. 9."""
        task, layers, weighted = case.task, list(distance.axes), self.recipe.weights == "loss"

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            with activations(unwrapped(model), layers) as of_student:
                prediction = task.predict(model, batch.data)
            retained, forgotten = batch.retained.to(prediction.device), batch.forgotten.to(prediction.device)
            # Retain rows first, then forget rows: the mean does not depend on the order within a batch.
            losses: list[Tensor] = []
            if len(retained):
                own = task.select(batch.data, retained)
                losses.append(task.training_loss(prediction[retained], task.target(own), own))
            if len(forgotten):
                with torch.no_grad(), activations(unwrapped(teacher), layers) as of_helper:
                    teaching = task.predict(teacher, task.select(batch.data, forgotten))
                imitation = task.imitation_loss(prediction[forgotten], teaching)
                if layers:
                    own = {name: [a[forgotten] for a in calls] for name, calls in of_student.items()}
                    imitation = imitation + self.attention_weight * distance(own, of_helper)
                losses.append(imitation)
            joined = torch.cat(losses)
            # Weights are those of the batch's rows, in their order.
            return joined if not weighted else joined[torch.cat([retained, forgotten]).argsort()]

        return loss
