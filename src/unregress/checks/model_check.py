"""Try a model on a few samples: does it fit task and data, and does it predict better than a constant?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from unregress.data.case import Case
from unregress.data.loading import chunked
from unregress.errors import ModelError, UnregressError
from unregress.errors.user_code import described
from unregress.evidence.nan_means import mean, median, root_mean_square
from unregress.tasks.unwrap import unwrapped
from unregress.training.loop import require_gradient
from unregress.training.runtime import Runtime, evaluating


def quick_check(case: Case, model: nn.Module, runtime: Runtime) -> float:
    """Predict two retain samples and check that prediction, target and loss fit; forget samples are not read.

    Args:
        case: the task and the data.
        model: moved to the runtime's device; its train or evaluation mode stays.
        runtime: device, precision and seed.

    Returns:
        The largest absolute value among predictions and targets of the two samples.

    Raises:
        ModelError: the model does not accept the task's batches, shapes do not fit, or predictions are not finite.
    """
    size = predicted_size(case, model, runtime)
    if not size < float("inf"):
        raise ModelError(
            "The model predicts NaN or infinity for the first retained samples",
            expected="finite predictions",
            remedy="Check that the model's weights and the inputs are finite",
        )
    return size


def predicted_size(case: Case, model: nn.Module, runtime: Runtime) -> float:
    """As `quick_check`, but returns infinity, instead of raising, where predictions are not finite."""
    rows = _retained_pair(case)
    try:
        wrapped = runtime.set_up(model)
        (batch,) = runtime.load(case.source("train_eval"), [rows])
        case.task.require_unambiguous_inputs(unwrapped(model), batch.data)
        with evaluating(wrapped), torch.no_grad():
            prediction, target = case.task.predict(wrapped, batch.data), case.task.target(batch.data)
            case.task.batch_loss(prediction, target, batch.data)
    except UnregressError:
        raise
    except Exception as error:
        raise _prediction_error(error, model, runtime) from error
    if not bool(prediction.isfinite().all()):
        return float("inf")
    return max(float(each.detach().double().nan_to_num(nan=0.0).abs().max()) for each in (prediction, target))


def _retained_pair(case: Case) -> torch.Tensor:
    """Positions of the first two training samples to retain, or of fewer if there are fewer."""
    rows = case.rows("train")
    return torch.from_numpy(rows[~case.forget_mask[rows]][:2])


def _prediction_error(error: Exception, model: nn.Module, runtime: Runtime) -> ModelError:
    """Explain why a model does not predict: its precision differs from the runtime's, or it does not fit the task."""
    own = {str(each.dtype).removeprefix("torch.") for each in model.parameters() if each.is_floating_point()}
    if runtime.precision == "32-true" and own - {"float32"}:
        return ModelError(
            f"The model's weights are {', '.join(sorted(own))}, and the runtime computes in single precision: "
            f"{described(error)}",
            expected="the same precision of weights, inputs and runtime",
            remedy="Call `model.float()`, which is exact for half precision, or set `Runtime(precision=...)` to "
            "`bf16-true` or `64-true`",
        )
    return ModelError(
        f"The model does not predict this task's batches: {described(error)}",
        expected="`task.predict(model, batch)` to work on batches of `case.splits.train`",
        remedy="Check the model's inputs, the task adapter, the dataset's items and `collate`",
    )


def check_training_mode(case: Case, runtime: Runtime, model: nn.Module) -> Iterator[ModelError]:
    """Complain if the model cannot predict two retained samples, augmented as in training, in training mode."""
    rows = _retained_pair(case)
    if len(rows) < 2:
        # Batch normalisation does not train on one sample; `fit` reports that.
        return
    try:
        wrapped = runtime.set_up(runtime.private_copy(model).train())
        draws = runtime.generator("preflight/augment")
        (batch,) = runtime.load(case.source("train"), [rows], augmentation=draws)
        prediction = case.task.predict(wrapped, batch.data)
        losses = case.task.training_loss(prediction, case.task.target(batch.data), batch.data)
        if any(parameter.requires_grad for parameter in model.parameters()):
            require_gradient(losses)
    except UnregressError as error:
        found = error.found if "training mode" in error.found else f"In training mode: {error.found}"
        yield ModelError(found, expected=error.expected, remedy=error.remedy)
    except Exception as error:
        yield ModelError(
            f"In training mode the model does not predict this task's batches: {described(error)}",
            expected="the same kind of output as in evaluation mode",
            remedy="Select the prediction from the output in the task's `predict`, or train with `Recipe(mode='eval')`",
        )


def check_unknown_outputs(case: Case, model: nn.Module, rows: torch.Tensor, runtime: Runtime) -> list[ModelError]:
    """Complain if the task's loss or its gradient is NaN for samples some of whose outputs are unknown.

    Args:
        case: the task and the data.
        model: a model; it is copied.
        rows: positions of training samples with known and unknown outputs.
        runtime: device, precision and seed.
    """
    wrapped = runtime.set_up(runtime.private_copy(model))
    (batch,) = runtime.load(case.source("train_eval"), [rows])
    with evaluating(wrapped), torch.no_grad():
        prediction = case.task.predict(wrapped, batch.data)
    prediction = prediction.detach().requires_grad_()
    losses = case.task.batch_loss(prediction, case.task.target(batch.data), batch.data)
    (gradient,) = torch.autograd.grad(losses.sum(), prediction, materialize_grads=True)
    # Infinite values do not count here: the targets may be too large for the loss.
    found = [name for name, values in (("loss", losses), ("loss's gradient", gradient)) if values.isnan().any()]
    if not found:
        return []
    return [
        ModelError(
            f"Some outputs are not known (NaN in the target of training sample {int(rows[0])}, for example), and the "
            f"task's {found[0]} is NaN there",
            expected="a loss over the known outputs, with finite gradients",
            remedy="Use a named loss (`l1`, `mse`, `huber`, `quantile`), which ignores unknown outputs, or replace NaN "
            "in the target before any computation: masking the loss afterwards leaves NaN gradients",
        )
    ]


CONSTANT_ROWS = 2000
"""Number of training samples, evenly spaced, on which an original is compared with a constant."""


def no_better_than_constant(case: Case, runtime: Runtime, model: nn.Module) -> Iterator[str]:
    """Warn if the original predicts its training data no better than a constant.

    Args:
        case: the task and the data.
        runtime: device, precision and seed.
        model: the original; it is copied.
    """
    members = torch.from_numpy(case.rows("train_eval"))
    rows = members[torch.linspace(0, len(members) - 1, min(len(members), CONSTANT_ROWS)).round().long().unique()]
    retained = ~case.forget_mask[rows.numpy()]
    if not retained.any():
        return
    copied = runtime.set_up(runtime.private_copy(model))
    predictions, targets = [], []
    with evaluating(copied), torch.no_grad():
        for batch in runtime.load(case.source("train_eval"), chunked(rows, runtime.evaluation_batch_size)):
            point = case.task.point(case.task.predict(copied, batch.data))
            predictions.append(case.task.to_units(point).cpu().double())
            targets.append(case.task.to_units(case.task.target(batch.data)).cpu().double())
    target = torch.cat(targets).numpy()
    own = np.abs(torch.cat(predictions).numpy() - target)
    constant = np.abs(median(target[retained]) - target)
    # Both by absolute and by squared error, since the training loss is not known.
    if mean(own) >= mean(constant) and root_mean_square(own) >= root_mean_square(constant):
        yield (
            "The model is no better than a constant on its training data: its mean absolute error on "
            f"{len(rows)} training samples is {mean(own):.4g}, that of the retained targets' median "
            f"{mean(constant):.4g}"
        )
