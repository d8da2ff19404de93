"""The smallest change of weights that moves some predictions to targets and holds others, in closed form."""

from __future__ import annotations

from math import isnan

import torch
from torch import Tensor, nn

from unregress.cost import Cost
from unregress.data.case import Case
from unregress.hooks.changeable_layers import Changeable
from unregress.methods.edit_gradients import EditGradients, Group, layers_of
from unregress.methods.edit_samples import anchors_wanted, draw_anchors, predict_raw, spread_of
from unregress.methods.ridge_solution import ridge_solution
from unregress.training.runtime import Runtime

CLOSE = 0.05
"""The edit stops when the forgotten samples' mean distance to their targets is below this share of the first one."""
UNFORESEEN = 0.25
"""The gradients of the first change serve for the next ones as long as the forgotten samples' predictions are off by at
most this share of the way that a change was to take them; otherwise they are computed again."""
DRIFT = 0.1
"""Share of the first distance to the targets above which the edit warns of the retained samples' drift."""
RIDGES = (1.0, 0.1, 0.01, 0.001, 0.0001)
"""Shares of the ridge that are tried in turn with layers of unknown kinds, whose gradients may be nearly alike."""
SMALLEST = 1e-5
"""Relative ridge below which none smaller is tried: rounding would decide."""
REMAINS = 0.2
"""Share of the first distance to the targets above which layers of known kinds do not suffice, and above which the edit
warns."""


class ClosedFormEdit:
    """A change of one model's weights so that forgotten samples' predictions reach targets and those of anchors stay.

    Args:
        model: the model, which is changed in place.
        case: the request and the data.
        runtime: where to run.
        targets: raw predictions to which the forgotten samples are moved, `(m, k)` float64.
        anchors: as in `LeaveOutEdit`, like `layers`, `iterations` and `ridge`.
        layers: which layers to change.
        iterations: largest number of changes.
        ridge: relative ridge of the forgotten samples.
    """

    def __init__(
        self,
        model: nn.Module,
        case: Case,
        runtime: Runtime,
        targets: Tensor,
        *,
        anchors: int,
        layers: Group,
        iterations: int,
        ridge: float,
    ) -> None:
        self.case, self.runtime, self.iterations, self.ridge = case, runtime, iterations, ridge
        self.model = runtime.set_up(model).eval()
        self.cost = Cost()
        forget = torch.tensor(case.requested.forget)
        draws = runtime.generator("edit/anchors")
        wanted = anchors_wanted(anchors, len(forget))
        self.anchors, self.watched = draw_anchors(self.model, case, runtime, wanted, draws)
        self.rows = torch.cat([forget, self.anchors])
        self.changeable = Changeable.of(self.model, case, forget, runtime)
        self.cost += self.changeable.cost
        self.gradients = EditGradients(self.model, case, runtime, self.rows, self.changeable)
        self.layers = self.changeable.first_choice
        # The anchors' predictions before any change join these, and are held in later rounds too.
        self.targets, self.forgotten = targets, len(forget)
        self.before = self._predicted(forget), self._predicted(self.watched)
        self.units = spread_of(torch.cat([each for each in self.before if len(each)]))
        self.wanted = layers
        self.group: str | None = None if layers == "least drift" else layers
        self.first, self.after, self.moved, self.drift = (float("nan") for _ in range(4))
        self.changes: list[str] = []

    def apply(self) -> None:
        """Change the weights until the forgotten samples are near their targets.

        In layers of known kinds, and in all where these leave too much.  Later calls, after training, change the same.
        """
        self.model.eval()  # a training in between leaves it in training mode
        may_add = not self.changes and len(self.layers) < len(self.changeable.every)
        start = self._weights() if may_add else {}
        self.changes.append(self._attempt())
        self.after = self._distance()
        if start and self.after > REMAINS * self.first:
            self._with_all_layers(start)
        self.model.zero_grad(set_to_none=True)

    def measure_drift(self) -> None:
        """Measure how far all of this moved the forgotten samples' predictions, and those of watched samples."""
        rows = self.rows[: self.forgotten], self.watched
        shifts = (self._predicted(each) - old for each, old in zip(rows, self.before, strict=True))
        scaled = (each / self.units if len(each) else each for each in shifts)
        self.moved, self.drift = (float(each.square().mean().sqrt()) for each in scaled)

    @property
    def remains(self) -> float:
        """Share of the forgotten samples' mean distance to their targets that remains; 0 if there was none."""
        return self.after / self.first if self.first else 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What was changed, how far the forgotten samples came, and how far others moved if that was measured."""
        each = ", each output in units of its spread" if len(self.units) > 1 else ""
        moved = (
            f"forgotten samples' mean distance to their targets: {self.first:.4g}, afterwards {self.after:.4g}{each}"
        )
        warning = (
            f"Warning: {self.remains:.0%} of the distance to the targets remains, so that much of the memory may be "
            "kept; more iterations, a smaller ridge, fewer anchors or retraining leave less"
        )
        held = f"{len(self.anchors)} retained samples were held"
        drift = [] if isnan(self.drift) else [self._drift_note()]
        return (self.changes[0], moved, held, *drift, *([warning] if self.remains > REMAINS else []))

    def _drift_note(self) -> str:
        """How far retained samples moved that were not held, with a warning if that is far."""
        others = f"predictions of {len(self.watched)} retained samples that were not held moved by {self.drift:.4g}"
        note = f"{others}, those of the forgotten samples by {self.moved:.4g} (root mean squares)"
        if self.drift <= DRIFT * self.first:
            return note
        share = f"above {DRIFT:.0%} of the forgotten samples' mean distance to their targets"
        return f"Warning: {note}; the first is {share}, and more anchors or other layers may lower it"

    def _with_all_layers(self, start: dict[nn.Parameter, Tensor]) -> None:
        """Begin again with the layers of unknown kinds too; keep what comes nearer to the targets."""
        few, group, after, kept = self.layers, self.group, self.after, self._weights()
        self._restore(start)
        self.layers = self.changeable.every
        self.group = None if self.wanted == "least drift" else self.wanted
        change = self._attempt()
        self.after = self._distance()
        if self.after < after:
            self.changes = [f"{change}; layers of known kinds alone left {after:.4g} of {self.first:.4g}"]
            return
        self.layers, self.group, self.after = few, group, after
        self._restore(kept)

    def _attempt(self) -> str:
        """Take the steps of an edit; returns what was changed."""
        first, done, end = float("nan"), 0, ""
        kernels: dict[str, Tensor] = {}
        residual = left = torch.empty(0)
        for done in range(1, self.iterations + 1):
            current = self._predicted(self.rows[: self.forgotten]) if kernels else torch.empty(0)
            if kernels and self._gap(current) <= CLOSE * first:
                done -= 1
                break
            if not kernels or self._beyond_known or self._unforeseen(residual, left, current):
                kernels, current = self._kernels()
            else:
                current = torch.cat([current, self._predicted(self.anchors)]) if len(self.anchors) else current
            self.targets = torch.cat([self.targets, current[len(self.targets) :]])
            residual = self.targets - current
            first = self._gap(current) if done == 1 else first
            self.first = first if isnan(self.first) else self.first
            kernels = {group: kernel for group, kernel in kernels.items() if self._influences(kernel, current)}
            if not kernels:
                done, end = done - 1, "; their weights have no influence on the forgotten samples"
                break
            if self.group is None:
                self.group = self._least_drift(kernels, residual)
                self.gradients.hold(layers_of(self.layers, self.group))
            if self._beyond_known:
                self._nearest_step(self.group, kernels[self.group], residual)
            else:
                solution, left = self._solution(kernels[self.group], residual)
                self._step(self.group, solution)
        self.gradients.hold({})
        return f"changed in {done} steps: {', '.join(layers_of(self.layers, self.group or 'all'))}{end}"

    def _influences(self, kernel: Tensor, current: Tensor) -> bool:
        """Whether weights with these products of gradients have any influence on the forgotten samples' predictions."""
        return bool(kernel.diagonal()[: self.forgotten * current.shape[1]].any())

    def _distance(self) -> float:
        """Mean distance of the forgotten samples to their targets."""
        return self._gap(self._predicted(self.rows[: self.forgotten]))

    def _unforeseen(self, before: Tensor, foreseen: Tensor, now: Tensor) -> bool:
        """Whether the forgotten samples' predictions are not where the gradients said that a change would take them.

        Args:
            before: distances to the targets before the change, `(n, k)`; the forgotten samples' come first.
            foreseen: those that were to be left, `(n, k)`.
            now: the forgotten samples' predictions after it, `(m, k)`.
        """
        before, foreseen = before[: self.forgotten], foreseen[: self.forgotten]
        missed = ((self.targets[: self.forgotten] - now - foreseen) / self.units).abs().mean()
        return bool(missed > UNFORESEEN * ((before - foreseen) / self.units).abs().mean())

    def _gap(self, predicted: Tensor) -> float:
        """Mean distance of predictions, of which the forgotten samples' come first, to the targets."""
        gaps = (self.targets[: self.forgotten] - predicted[: self.forgotten]) / self.units
        return float(gaps.abs().mean())

    def _weights(self) -> dict[nn.Parameter, Tensor]:
        """Copies of all weights that can be changed."""
        layers = self.changeable.every.values()
        return {w: w.detach().clone() for layer in layers for w in layer.parameters() if w.requires_grad}

    def _restore(self, weights: dict[nn.Parameter, Tensor]) -> None:
        with torch.no_grad():
            for weight, value in weights.items():
                weight.copy_(value)

    def _kernels(self) -> tuple[dict[str, Tensor], Tensor]:
        """Products of gradients by group of layers, and the present predictions `(n, k)`."""
        groups = [self.group] if self.group is not None else ["all", "first", "last"]
        # Layers that stay as they are need no memory.
        layers = {name: layer for group in groups for name, layer in layers_of(self.layers, group).items()}
        by_layer, outputs = self.gradients.products(layers)
        return {
            group: torch.stack([by_layer[name] for name in layers_of(self.layers, group)]).sum(0) for group in groups
        }, outputs

    def _solution(self, kernel: Tensor, residual: Tensor, ridges: tuple[float, ...] = RIDGES) -> tuple[Tensor, Tensor]:
        """(J Jᵀ + D)⁻¹ r, `(n, k)`; with layers of unknown kinds, for the largest ridge that lets samples move.

        With what a linear model would have left to go.
        """
        # In units of its own no output outweighs the others.
        residual, unit = residual / self.units, self.units.repeat(len(residual))
        kernel = kernel / unit[:, None] / unit if len(self.units) > 1 else kernel
        scale = float(kernel.diagonal().mean())
        solution = left = residual
        for factor in ridges if self._beyond_known else RIDGES[:1]:
            ridge = torch.full(residual.shape, 3 * factor * self.ridge * scale, dtype=torch.float64)
            ridge[: self.forgotten] = factor * self.ridge * scale
            solution, ridge = ridge_solution(kernel, ridge, residual)
            left = ridge * solution
            if left[: self.forgotten].abs().mean() <= REMAINS * residual[: self.forgotten].abs().mean():
                break
            if factor * self.ridge < SMALLEST:
                break
        return solution / self.units, left * self.units

    @property
    def _beyond_known(self) -> bool:
        """Whether layers of unknown kinds are among those that may be changed."""
        return bool(self.changeable.others.layers.keys() & self.layers.keys())

    def _step(self, group: str, solution: Tensor) -> None:
        """Change the weights; half as far, up to three times, where the forgotten samples would move away."""
        direction = self.gradients.direction(layers_of(self.layers, group), solution)
        before = self._distance()
        with torch.no_grad():
            for weight, change in direction.items():
                weight.add_(change)
            for _ in range(3):
                if self._distance() <= before:
                    return
                for weight, change in direction.items():
                    change *= 0.5
                    weight.sub_(change)

    def _nearest_step(self, group: str, kernel: Tensor, residual: Tensor) -> None:
        """Step with the largest ridge that suffices, or with the one that comes nearest: models are not linear."""
        start, before = self._weights(), self._distance()
        best, nearest = start, before
        for factor in RIDGES:
            self._restore(start)
            self._step(group, self._solution(kernel, residual, (factor,))[0])
            left = self._distance()
            if left < nearest:
                best, nearest = self._weights(), left
            if left <= REMAINS * before or factor * self.ridge < SMALLEST:
                break
        self._restore(best)

    def _least_drift(self, kernels: dict[str, Tensor], residual: Tensor) -> str:
        """The group of layers whose first change moves retained samples that are no anchors least.

        Of groups that bring the forgotten samples near to their targets, if there are any; else the nearest.
        """
        if not len(self.watched):
            return "all"
        drift, left = dict[str, float](), dict[str, float]()
        for group, kernel in kernels.items():
            direction = self.gradients.direction(layers_of(self.layers, group), self._solution(kernel, residual)[0])
            kept = {weight: weight.detach().clone() for weight in direction}
            with torch.no_grad():
                for weight, change in direction.items():
                    weight.add_(change)
                # Groups are compared before any other change, so that this is the shift by one.
                drift[group] = float(((self._predicted(self.watched) - self.before[1]) / self.units).abs().mean())
            left[group] = self._distance() / self.first if self.first else 0.0
            self._restore(kept)
        suffice = [group for group in drift if left[group] <= REMAINS]
        return min(suffice, key=lambda group: drift[group]) if suffice else min(left, key=lambda group: left[group])

    def _predicted(self, rows: Tensor) -> Tensor:
        self.cost += Cost(forward=len(rows))
        return predict_raw(self.model, self.case, rows, self.runtime)
