"""Closed-form unlearning of few samples: the smallest change of weights that moves them to leave-out predictions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from unregress.cost import Cost
from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.loading import chunked
from unregress.errors import UnregressError, require_fields
from unregress.hooks.exact_layers import exact_layers, raw_predictions
from unregress.hooks.gram_passes import footprint, gram_matrices, within_memory
from unregress.hooks.nearest import nearest_rows
from unregress.methods.base import Method
from unregress.methods.unlearned import Unlearned
from unregress.training.fresh_model import fresh_model
from unregress.training.from_scratch import Training, require_possible, train_from
from unregress.training.loop import Epoch, fit
from unregress.training.objective import retain_objective
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime, evaluating

CLOSE = 0.05
"""The edit stops when the forgotten samples' mean distance to their targets is below this share of the first one."""
WATCHED = 500
"""Retained samples, none of them an anchor, whose drift decides which layers are changed."""


@dataclass(frozen=True, kw_only=True)
class LeaveOutEdit(Method):
    """Move the forgotten samples' predictions to those of a model that never saw them, and hold the others.

    The targets are the predictions of a `LeaveOutTable`, or of a briefly trained helper where there is no table. The
    change of the weights is the smallest one that reaches the targets and leaves the predictions of some retained
    samples, the anchors, as they are: with Jacobian J of the predictions of both, residual r and a small ridge D, it is
    Jᵀ (J Jᵀ + D)⁻¹ r.  It is repeated, since the model is not linear.  Only products of gradients are held (see
    `unregress.hooks.gram`), so memory grows with the number of samples and not with that of the weights.  For what is
    kept of the samples there is a bound (`unregress.hooks.gram_passes.HELD`); above it the layers are taken in turn, in
    several passes over the samples.

    Changed are linear, embedding and convolution layers with trainable weights, in evaluation mode: batch statistics
    and dropout play no part.  The forgotten labels are never used.

    Raises:
        SettingError: settings are out of range; all of them are reported at once.
        ModelError: the model has no layer that can be changed.
    """

    table: LeaveOutTable | None = None
    """Predictions of the forgotten samples by models that never saw them; None to train a helper instead."""
    helper: Training = Recipe(epochs=2, lr=1e-3)
    """Training of the helper on D_r, used without a table."""
    anchors: int = 300
    """Number of retained samples whose predictions are held, half of them the nearest to the forgotten ones and half
    drawn at random; at least six for each forgotten sample."""
    layers: Literal["least drift", "all", "first", "last"] = "least drift"
    """Layers to change: all, the first, the last two, or those of these three that move retained samples least."""
    iterations: int = 2
    """Largest number of changes."""
    ridge: float = 0.01
    """Ridge of the forgotten samples, relative to the mean squared gradient; that of the anchors is three times as
    large."""
    rounds: int = 0
    """Further rounds of a few training steps on D_r and another change, against revival: a change of the outputs alone
    may be undone by later training."""
    repair: Recipe = Recipe(epochs=1, lr=1e-3, batch_size=128)
    """Training of these rounds, of which `repair_steps` steps are taken."""
    repair_steps: int = 8
    """Steps on D_r of a round."""

    def __post_init__(self) -> None:
        rules = [
            ("anchors", type(self.anchors) is int and self.anchors >= 0, "a whole number, 0 or more"),
            ("layers", self.layers in ("least drift", "all", "first", "last"), "least drift, all, first or last"),
            ("iterations", type(self.iterations) is int and self.iterations >= 1, "a whole number, 1 or more"),
            ("ridge", 0 < self.ridge < float("inf"), "a positive number"),
            ("rounds", type(self.rounds) is int and self.rounds >= 0, "a whole number, 0 or more"),
            ("repair_steps", type(self.repair_steps) is int and self.repair_steps >= 1, "a whole number, 1 or more"),
        ]
        require_fields("LeaveOutEdit", self, rules)

    def passes(self, model: nn.Module, case: Case, runtime: Runtime) -> int:
        """Number of sample passes that the edit takes at most, with a table.

        It depends on the memory that two samples are found to take: what is kept of all layers may not fit at once, as
        of large images in a deep network, and each group of layers that does takes passes of its own.

        Args:
            model: the trained model; it is not changed.
            case: the request and the data.
            runtime: where to run.

        Raises:
            UnregressError: the edit cannot be applied to the model.
        """
        forgotten, rows = len(case.requested.forget), torch.from_numpy(case.requested.retain[:2])
        anchors = max(self.anchors, 6 * forgotten) if self.anchors else 0
        held = forgotten + min(anchors, len(case.requested.retain))
        with runtime.isolated_rng("edit/passes"):
            copy = runtime.set_up(runtime.private_copy(model)).eval()
            reading = within_memory(runtime, copy, case, rows)
            layers = exact_layers(copy, case, rows, reading)
            groups = footprint(copy, layers, case, rows, reading).passes(set(layers), held)
            outputs = _predict(copy, case, rows, reading).shape[1]
        gradients = len(groups) * held * (1 + outputs)
        # Gradients, change and predictions for each iteration; trials of three groups of layers.
        trials = 3 * (2 * held + WATCHED) + WATCHED if self.layers == "least drift" else 0
        return self.iterations * (gradients + 2 * held + 2 * forgotten) + held + forgotten + trials

    def objections(self, student: nn.Module, case: Case, runtime: Runtime) -> Iterator[UnregressError]:
        try:
            if self.table is None:
                fresh_model(case, student)
                require_possible(self.helper, runtime)
            else:
                self.table.targets(case)
            rows = torch.from_numpy(case.requested.retain[:2])
            exact_layers(runtime.set_up(student).eval(), case, rows, runtime)
        except UnregressError as error:
            yield error

    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        reading = within_memory(runtime, runtime.set_up(student), case, torch.from_numpy(case.requested.retain[:2]))
        history: tuple[Epoch, ...] = ()
        cost, helper = Cost(), None
        if self.table is None:
            rows = case.requested.retain
            helper, fitted = train_from(
                fresh_model(case, student), case, self.helper, rows, runtime, stage="helper", validation="retain"
            )
            history, cost = fitted.history, fitted.cost
            targets = _predict(helper, case, torch.tensor(case.requested.forget), reading)
            cost += Cost(forward=len(targets))
        else:
            targets = _flat(self.table.targets(case)).double()
        edit = _Edit(self, student, case, reading, targets)
        notes = edit.apply()
        for number in range(1, self.rounds + 1):
            steps = fit(
                student,
                case,
                self.repair,
                retain_objective(case),
                runtime,
                stage=f"repair {number}",
                after_step=lambda step, _: step >= self.repair_steps,
            )
            history, cost = (*history, *steps.history), cost + steps.cost
            edit.apply()
        return Unlearned(model=student, history=history, cost=cost + edit.cost, notes=notes, helper=helper)


class _Edit:
    """The edit of one model: rows, targets and the chosen layers."""

    def __init__(self, method: LeaveOutEdit, model: nn.Module, case: Case, runtime: Runtime, targets: Tensor) -> None:
        self.method, self.case, self.runtime = method, case, runtime
        self.model = runtime.set_up(model).eval()
        self.cost = Cost()
        forget = torch.tensor(case.requested.forget)
        draws = runtime.generator("edit/anchors")
        wanted = max(method.anchors, 6 * len(forget)) if method.anchors else 0
        self.anchors, self.watched = _anchors(self.model, case, runtime, wanted, draws)
        self.rows = torch.cat([forget, self.anchors])
        self.layers = exact_layers(self.model, case, self.rows[:2], runtime)
        self.size = footprint(self.model, self.layers, case, self.rows[:2], runtime)
        # The anchors' predictions before any change are held, also in later rounds.
        self.targets = torch.cat([targets, self._predict(self.anchors)]) if len(self.anchors) else targets
        self.forgotten = len(forget)
        self.group: str | None = None if method.layers == "least drift" else method.layers

    def apply(self) -> tuple[str, ...]:
        """Change the weights until the forgotten samples are near their targets; returns notes."""
        first = gap = float("nan")
        done = 0
        for done in range(1, self.method.iterations + 1):
            kernels, current = self._kernels()
            residual = self.targets - current
            gap = float(residual[: self.forgotten].abs().mean())
            first = gap if done == 1 else first
            if gap <= CLOSE * first and done > 1:
                done -= 1
                break
            if self.group is None:
                self.group = self._least_drift(kernels, residual)
            self._step(self.group, self._solution(kernels[self.group], residual), first)
        self.model.zero_grad(set_to_none=True)
        names = ", ".join(_group(self.layers, self.group or "all"))
        after = float((self.targets[: self.forgotten] - self._predict(self.rows[: self.forgotten])).abs().mean())
        return (
            f"changed in {done} steps: {names}",
            f"forgotten samples' mean distance to their targets: {first:.4g}, afterwards {after:.4g}",
            f"{len(self.anchors)} retained samples were held",
        )

    def _kernels(self) -> tuple[dict[str, Tensor], Tensor]:
        """Products of gradients by group of layers, and the present predictions `(n, k)`."""
        groups = [self.group] if self.group is not None else ["all", "first", "last"]
        # Inputs and gradients of layers that stay as they are need no memory.
        layers = {name: layer for group in groups for name, layer in _group(self.layers, group).items()}
        made = gram_matrices(self.model, layers, self.case, self.rows, self.size, self.runtime)
        done = made.passes * len(self.rows)
        self.cost += Cost(forward=done, backward=done * made.outputs.shape[1])
        return {
            group: torch.stack([made.by_layer[name] for name in _group(self.layers, group)]).sum(0) for group in groups
        }, made.outputs

    def _solution(self, kernel: Tensor, residual: Tensor) -> Tensor:
        """(J Jᵀ + D)⁻¹ r, `(n, k)`."""
        scale = float(kernel.diagonal().mean())
        ridge = torch.full(residual.shape, 3 * self.method.ridge * scale, dtype=torch.float64)
        ridge[: self.forgotten] = self.method.ridge * scale
        system = kernel + torch.diag(ridge.reshape(-1))
        factor = torch.linalg.cholesky(system)
        return torch.cholesky_solve(residual.reshape(-1, 1), factor).reshape(residual.shape)

    def _direction(self, group: str, solution: Tensor) -> dict[nn.Parameter, Tensor]:
        """Jᵀ x for the weights of a group of layers."""
        weights = [w for layer in _group(self.layers, group).values() for w in layer.parameters() if w.requires_grad]
        total = [torch.zeros_like(weight) for weight in weights]
        done = 0
        with torch.enable_grad():
            for batch in self.runtime.load(self.case.source("train_eval"), chunked(self.rows, self.size.chunk)):
                raw = raw_predictions(self.case, self.model, batch)
                factor = solution[done : done + len(raw)].to(raw)
                done += len(raw)
                found = torch.autograd.grad((raw * factor).sum(), weights, allow_unused=True)
                # Otherwise what is left of the graph would stay until the next chunk's is complete.
                del raw
                for sum_, piece in zip(total, found, strict=True):
                    if piece is not None:
                        sum_ += piece
        self.cost += Cost(forward=len(self.rows), backward=len(self.rows))
        return dict(zip(weights, total, strict=True))

    def _step(self, group: str, solution: Tensor, first: float) -> None:
        """Change the weights; half as far, up to three times, where the forgotten samples would move away."""
        direction = self._direction(group, solution)
        forget, wanted = self.rows[: self.forgotten], self.targets[: self.forgotten]
        before = float((wanted - self._predict(forget)).abs().mean())
        with torch.no_grad():
            for weight, change in direction.items():
                weight.add_(change)
            for _ in range(3):
                if float((wanted - self._predict(forget)).abs().mean()) <= before:
                    return
                for weight, change in direction.items():
                    change *= 0.5
                    weight.sub_(change)

    def _least_drift(self, kernels: dict[str, Tensor], residual: Tensor) -> str:
        """The group of layers whose first change moves retained samples that are no anchors least."""
        if not len(self.watched):
            return "all"
        before, drift = self._predict(self.watched), dict[str, float]()
        for group, kernel in kernels.items():
            direction = self._direction(group, self._solution(kernel, residual))
            kept = [weight.detach().clone() for weight in direction]
            with torch.no_grad():
                for weight, change in direction.items():
                    weight.add_(change)
                drift[group] = float((self._predict(self.watched) - before).abs().mean())
                for weight, old in zip(direction, kept, strict=True):
                    weight.copy_(old)
        return min(drift, key=lambda group: drift[group])

    def _predict(self, rows: Tensor) -> Tensor:
        self.cost += Cost(forward=len(rows))
        return _predict(self.model, self.case, rows, self.runtime)


def _flat(raw: Tensor) -> Tensor:
    """Raw predictions with all outputs, and quantile levels, on one axis; `(n, k)`."""
    return raw.reshape(len(raw), -1)


def _predict(model: nn.Module, case: Case, rows: Tensor, runtime: Runtime) -> Tensor:
    """Raw predictions of training samples, `(n, k)` float64, in evaluation mode."""
    ready = runtime.set_up(model)
    with evaluating(ready), torch.no_grad():
        found = [
            raw_predictions(case, ready, batch).double().cpu()
            for batch in runtime.load(case.source("train_eval"), chunked(rows, runtime.evaluation_batch_size))
        ]
    return torch.cat(found)


def _anchors(model: nn.Module, case: Case, runtime: Runtime, count: int, draws: Generator) -> tuple[Tensor, Tensor]:
    """Positions of the samples to hold, half nearest and half random, and of others to watch."""
    retain = torch.from_numpy(case.requested.retain)
    near = nearest_rows(model, case, count // 2, draws, runtime) if count > 1 else retain[:0]
    others = retain[~torch.isin(retain, near)]
    others = others[torch.randperm(len(others), generator=draws)]
    drawn = others[: count - len(near)]
    return torch.cat([near, drawn]), others[len(drawn) : len(drawn) + WATCHED]


def _group(layers: dict[str, nn.Module], group: str) -> dict[str, nn.Module]:
    """The layers of a group, by name: `all`, the `first`, or the `last` two."""
    names = list(layers)
    chosen = {"all": names, "first": names[:1], "last": names[-2:]}[group]
    return {name: layers[name] for name in chosen}
