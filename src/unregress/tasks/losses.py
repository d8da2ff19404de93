"""Per-sample regression losses: `(n, *out)` predictions and targets in, `(n,)` losses out.

A loss is any callable with that contract; the losses here can be chosen by name.  Where a sample has several outputs
and some are unknown (NaN in the target), they average over the known ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from unregress.errors import ModelError, SettingError

PerSampleLoss = Callable[[Tensor, Tensor], Tensor]


def mean_over_outputs(values: Tensor) -> Tensor:
    """Mean over all but the first axis: `(n, *out)` to `(n,)`; `(n,)` stays as it is.

    >>> mean_over_outputs(torch.tensor([[1.0, 3.0], [0.0, 0.0]]))
    tensor([2., 0.])
    """
    return values.flatten(1).mean(1) if values.ndim > 1 else values


def over_known(error: Tensor, target: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean of a function of the errors over the known outputs of each sample; shape `(n,)`.

    Of several outputs, those with a NaN target are unknown; a single output always counts.

    Args:
        error: error of each output, of the target's shape, or with further axes.
        target: targets, `(n, *out)`.
        loss: maps errors to losses of the target's shape.

    >>> target = torch.tensor([[0.0, 0.0], [0.0, torch.nan]])
    >>> over_known(torch.tensor([[1.0, 3.0], [4.0, 9.0]]) - target, target, torch.abs)
    tensor([2., 4.])
    """
    if target.shape[1:].numel() <= 1:
        return mean_over_outputs(loss(error))
    unknown = target.isnan()
    # Replace NaN before any computation: NaN that is masked afterwards leaves NaN gradients.
    error = error.masked_fill(unknown.view(*unknown.shape, *[1] * (error.ndim - unknown.ndim)), 0.0)
    # Without any known output the share is 0 and the mean is NaN.
    return mean_over_outputs(loss(error)) / (1 - unknown.flatten(1).mean(1, dtype=error.dtype))


def require_same_shape(prediction: Tensor, target: Tensor) -> None:
    """Refuse shapes that PyTorch would broadcast, such as `(n,)` against `(n, 1)`, which gives `(n, n)`.

    Raises:
        ModelError: the shapes differ.
    """
    if prediction.shape != target.shape:
        raise ModelError(
            f"Predictions have shape {tuple(prediction.shape)} and targets {tuple(target.shape)}",
            expected="the same shape; different shapes would broadcast or fail",
            remedy="Reshape in the task's `predict` or `target`, e.g. `.squeeze(-1)` on the model's output",
        )


def require_real(name: str, value: object) -> None:
    """Refuse a return value of the user's task that is not a tensor of real numbers.

    Args:
        name: function of the task, for the message.
        value: its return value.

    Raises:
        ModelError: the value is something else.
    """
    if isinstance(value, Tensor) and not value.is_complex():
        return
    found = f"a tensor of {value.dtype}" if isinstance(value, Tensor) else described_output(value)
    raise ModelError(
        f"The task's {name} returns {found}",
        expected="a tensor of real numbers",
        remedy="Use real and imaginary parts as two outputs: `torch.view_as_real`"
        if isinstance(value, Tensor)
        else "Convert it in the task",
    )


def described_output(value: object) -> str:
    """Describe a value that is not a tensor: its type, and its keys or length.

    >>> described_output((1, 2)), described_output({"logits": 1})
    ('a tuple of 2', 'a dict of logits')
    """
    names = getattr(value, "_fields", None) or (list(value) if isinstance(value, Mapping) else ())
    if names:
        return f"a {type(value).__name__} of {', '.join(map(str, names))}"
    size = f" of {len(value)}" if isinstance(value, (list, tuple)) else ""
    return f"a {type(value).__name__}{size}"


def in_precision_of(prediction: Tensor, target: Tensor) -> Tensor:
    """Convert targets to the precision of the predictions, but at least to single precision.

    Half-precision predictions come from mixed precision, where losses are computed in single precision.  Targets that
    have the predictions' type already are kept, in half precision too.

    >>> in_precision_of(torch.ones(2), torch.ones(2, dtype=torch.float64)).dtype
    torch.float32
    """
    if target.dtype == prediction.dtype:
        return target
    return target.to(torch.promote_types(prediction.dtype, torch.float32))


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Absolute error in target units, mean over outputs; shape `(n,)`.

    >>> l1(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0]))
    tensor([2., 0.])
    """
    require_same_shape(prediction, target)
    return over_known(prediction - target, target, torch.abs)


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared error in squared target units, mean over outputs; shape `(n,)`.

    >>> mse(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0]))
    tensor([4., 0.])
    """
    require_same_shape(prediction, target)
    return over_known(prediction - target, target, torch.square)


@dataclass(frozen=True)
class Huber:
    """Huber loss: quadratic up to `delta` (target units), linear beyond; shape `(n,)`.

    Raises:
        SettingError: `delta` is not positive.

    >>> Huber(1.0)(torch.tensor([0.5, 3.0]), torch.tensor([0.0, 0.0]))
    tensor([0.1250, 2.5000])
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.delta < float("inf"):
            raise SettingError(f"Huber.delta is {self.delta}", expected="a positive number of target units")

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        require_same_shape(prediction, target)

        def loss(error: Tensor) -> Tensor:
            return functional.huber_loss(error, torch.zeros_like(error), delta=self.delta, reduction="none")

        return over_known(prediction - target, target, loss)


@dataclass(frozen=True)
class Quantile:
    """Pinball loss of several quantiles, as in paper Section 6.3 (Electricity); shape `(n,)`.

    The prediction has one more axis than the target, the last one, with one entry per level:
    `(n, *out, len(levels))` against `(n, *out)`.  Sum over levels, mean over outputs, as in the
    Temporal Fusion Transformer's training loss.

    >>> Quantile((0.1, 0.5))(torch.tensor([[0.0, 0.0]]), torch.tensor([10.0]))
    tensor([6.])
    """

    levels: tuple[float, ...] = (0.1, 0.5, 0.9)

    def __post_init__(self) -> None:
        if not self.levels or not all(0 < level < 1 for level in self.levels):
            raise SettingError(f"Quantile levels are {self.levels}", expected="at least one, each between 0 and 1")

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        if prediction.shape != (*target.shape, len(self.levels)):
            raise ModelError(
                f"Predictions have shape {tuple(prediction.shape)} and targets {tuple(target.shape)}",
                expected=f"predictions of shape {(*target.shape, len(self.levels))}, "
                f"a last axis for the {len(self.levels)} quantile levels",
                remedy="Give the model one output per level or change `levels`",
            )
        error = target.unsqueeze(-1) - prediction
        level = error.new_tensor(self.levels)

        def loss(error: Tensor) -> Tensor:
            return torch.maximum(level * error, (level - 1) * error).sum(-1)

        return over_known(error, target, loss)

    def point(self, prediction: Tensor) -> Tensor:
        """The point prediction: the quantile of the level nearest to 0.5; shape `(n, *out)`."""
        middle = min(range(len(self.levels)), key=lambda k: abs(self.levels[k] - 0.5))
        return prediction[..., middle]


NAMED: dict[str, PerSampleLoss] = {"l1": l1, "mse": mse, "huber": Huber(), "quantile": Quantile()}


def named_loss(loss: str | PerSampleLoss) -> PerSampleLoss:
    """Look up a loss by name (`l1`, `mse`, `huber`, `quantile`); a callable is returned as it is.

    Raises:
        SettingError: there is no loss of that name.
    """
    if not isinstance(loss, str):
        return loss
    if loss not in NAMED:
        raise SettingError(
            f"There is no loss called {loss!r}",
            expected=f"one of {', '.join(NAMED)}",
            remedy="Use one of these names, or pass a callable (prediction, target) -> (n,) losses",
        )
    return NAMED[loss]
