"""The interface between the library and a user's model and batches.

A `Task` is the only code that looks into a batch.  All other code passes batches on as they are, whatever their
structure.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from unregress.errors import ModelError
from unregress.tasks.losses import in_precision_of, require_real, require_same_shape
from unregress.tasks.nested import map_leaves
from unregress.tasks.units import Output

B = TypeVar("B")


class Task(ABC, Generic[B]):
    """Interface to a user's model: build it, predict a batch, find the targets, compute the loss.

    Subclass it where neither `tasks.adapters` nor `tasks.forecasting` fits the batches or the model's output.
    """

    outputs: tuple[Output, ...] = ()
    """Names and units of the outputs, for reports; empty if they have none."""
    version: str = ""
    """Part of the key under which models are stored: change it when code changes that `retraining.fingerprint` cannot
    see."""

    @abstractmethod
    def build_model(self) -> nn.Module:
        """Make a new, untrained model of the user's architecture, for a helper or a gold; called under a seed."""

    @abstractmethod
    def predict(self, model: nn.Module, batch: B) -> Tensor:
        """Predict a batch; the prediction is in target units, shape `(n, *out)`."""

    @abstractmethod
    def target(self, batch: B) -> Tensor:
        """The true targets of a batch; shape `(n, *out)`.

        Where a sample has several outputs, some may be unknown (NaN) if the loss ignores them, as the named losses do.
        """

    @abstractmethod
    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The training loss of each sample, not reduced over samples; shape `(n,)`."""

    def batch_loss(self, prediction: Tensor, target: Tensor, batch: B) -> Tensor:
        """The loss of each sample against given targets, where the rest of the batch may play a part; shape `(n,)`.

        By default it is `checked_loss`, which does not look at the batch.  Override it for a loss that does.  Outputs
        that the batch masks are not its business: let `target` return NaN for them, since errors and distances read
        targets too.  The targets are the batch's own, except for methods that replace those of forgotten samples.
        """
        return self.checked_loss(prediction, target)

    def weights(self, batch: B) -> Tensor | None:
        """Weights of a batch's samples in training, `(n,)`; None for equal weights, the default.

        Metrics do not use them: a sample's loss does not depend on how much it counted in training.
        """
        return None

    def training_loss(self, prediction: Tensor, target: Tensor, batch: B) -> Tensor:
        """`batch_loss`, times the samples' weights; shape `(n,)`."""
        return self.weighed(self.batch_loss(prediction, target, batch), batch)

    def weighed(self, losses: Tensor, batch: B) -> Tensor:
        """Losses of a batch's samples, `(n,)`, times their weights.

        Raises:
            ModelError: there is not one weight for each sample.
        """
        weights = self.weights(batch)
        if weights is None:
            return losses
        if weights.shape not in (losses.shape, (*losses.shape, 1)):
            raise ModelError(
                f"The batch has weights of shape {tuple(weights.shape)} for {len(losses)} samples",
                expected=f"one weight for each sample, shape ({len(losses)},)",
            )
        return losses * weights.reshape(losses.shape).to(losses)

    def to_units(self, values: Tensor) -> Tensor:
        """Convert points and targets, `(n, *out)`, to the units of reports; by default they are in these units already.

        Override it, together with `to_model`, where targets were transformed before training.
        """
        return values

    def to_model(self, values: Tensor) -> Tensor:
        """The inverse of `to_units`."""
        return values

    def point(self, prediction: Tensor) -> Tensor:
        """The point prediction that metrics use, of the target's shape; by default the prediction itself.

        Override it where the model predicts more than a point, such as quantiles, or a mean and a variance.
        """
        return prediction

    def imitation_loss(self, prediction: Tensor, teacher: Tensor) -> Tensor:
        """Loss of a prediction against another model's prediction (L_f of paper Eq. 7); shape `(n,)`.

        By default it is the task's loss against the teacher's point prediction.
        """
        return self.checked_loss(prediction, self.point(teacher))

    def select(self, batch: B, rows: Tensor) -> B:
        """Select rows of a batch.

        Every tensor is indexed along its first axis, and so is every list of strings.  Numbers, single strings and
        tensors without axes belong to the whole batch and are kept.

        Args:
            batch: a batch of any nested structure.
            rows: integer positions within the batch.
        """
        selected: B = map_leaves(lambda part: _select_rows(part, rows), batch, _is_per_sample)
        return selected

    def require_unambiguous_inputs(self, model: nn.Module, batch: B) -> None:
        """Refuse a batch whose inputs cannot be told from its other parts; by default no batch is refused.

        Args:
            model: the user's own module, without wrappers.
            batch: a batch of the case.

        Raises:
            ModelError: it is not clear which parts of the batch are inputs of the model.
        """

    def checked_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compute `loss` and check its contract: no broadcasting, one loss per sample.

        Targets, integer ones included, are converted to the prediction's precision; see `losses.in_precision_of`.

        Raises:
            ModelError: the prediction or the target is not a tensor of real numbers, or a shape does not fit.
        """
        require_real("`predict`", prediction)
        require_real("`target`", target)
        require_same_shape(self.point(prediction), target)
        losses = self.loss(prediction, in_precision_of(prediction, target))
        require_real("`loss`", losses)
        if losses.shape != target.shape[:1]:
            raise ModelError(
                f"The loss has shape {tuple(losses.shape)} for {len(target)} samples",
                expected=f"one unreduced loss per sample, shape ({len(target)},)",
                remedy="Return losses without reducing over samples (`reduction='none'`), averaged over outputs",
            )
        return losses


def _is_per_sample(data: Any) -> bool:
    """Whether a part of a batch has an entry for each sample: a tensor, or a list of strings."""
    texts = isinstance(data, (list, tuple)) and data and all(isinstance(text, str) for text in data)
    return bool(texts) or isinstance(data, Tensor)


def _select_rows(data: Any, rows: Tensor) -> Any:
    if isinstance(data, Tensor):
        return data[rows] if data.ndim else data
    return type(data)(data[row] for row in rows.tolist())
