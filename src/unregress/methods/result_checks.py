"""Check what a method or a training returns: its type, and that the model has not diverged."""

from __future__ import annotations

from torch import nn

from unregress.checks.model_check import predicted_size
from unregress.cost import Cost
from unregress.data.case import Case
from unregress.errors import DivergenceError, SettingError
from unregress.methods.unlearned import Unlearned
from unregress.tasks.unwrap import not_finite
from unregress.training.divergence import EXPLODED
from unregress.training.runtime import Runtime

_SLOWER = "Lower the learning rate, or set `clip_norm`"


def require_unlearned(method: str, done: object) -> Unlearned:
    """Check the type of the value returned by `run`, which may be a user's own method.

    Args:
        method: name of the method.
        done: the returned value.

    Raises:
        SettingError: it is not an `Unlearned` with a model and a cost.
    """
    found = f"something of type {type(done).__name__}"
    if isinstance(done, Unlearned):
        # A dataclass does not check the types of its fields.
        model: object = done.model
        cost: object = done.cost
        if isinstance(model, nn.Module) and isinstance(cost, Cost):
            return done
        found = f"an `Unlearned` whose model is of type {type(model).__name__} and whose cost is of type"
        found += f" {type(cost).__name__}"
    raise SettingError(
        f"`{method}.run` returns {found}",
        expected="an `Unlearned` with the new model and its `Cost`",
        remedy="Return `Unlearned(model=student, history=(), cost=Cost())`",
    )


def require_no_divergence(done: Unlearned, method: str, size: float, case: Case, runtime: Runtime) -> None:
    """Refuse a model whose training has diverged, for methods that do not check it themselves.

    Args:
        done: result of the method.
        method: name of the method.
        size: largest absolute prediction or target of the original, from `quick_check`.
        case: the request and the data.
        runtime: where to run.

    Raises:
        DivergenceError: weights are NaN or infinite, or predictions far beyond the size of the original's.
    """
    if broken := not_finite(done.model):
        raise DivergenceError(
            f"{method} made a model whose weights {', '.join(broken[:3])} are NaN or infinite",
            remedy=_SLOWER,
        )
    require_no_explosion(done.model, method, size, case, runtime)


def require_no_explosion(model: nn.Module, name: str, size: float, case: Case, runtime: Runtime) -> None:
    """Refuse a model whose predictions are far beyond a size; arguments as for `require_no_divergence`."""
    found = predicted_size(case, model, runtime)
    if found > EXPLODED * max(1.0, size):
        raise DivergenceError(
            f"{name} made a model that predicts {found:.3g}, where targets and the original's predictions are at most "
            f"{size:.3g}",
            remedy=_SLOWER,
        )
