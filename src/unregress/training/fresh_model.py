"""Build new models from a task, and compare their architecture with that of the model to unlearn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from unregress.data.case import Case
from unregress.errors import ModelError
from unregress.errors.user_code import described
from unregress.tasks.unwrap import require_weights, unwrapped


def fresh_model(case: Case, like: nn.Module | None = None) -> nn.Module:
    """Build a new, untrained model with the task's `build_model`, and check that it is new.

    Args:
        case: gives the task.
        like: a model whose architecture the new one must have.

    Raises:
        ModelError: `build_model` fails, does not return a model, returns the same model twice (training it would change
            the user's own), or returns another architecture.
    """
    fresh, second = call_build_model(case), call_build_model(case)
    require_weights(fresh)
    known = {parameter.data_ptr() for parameter in second.parameters()}
    if any(parameter.data_ptr() in known for parameter in fresh.parameters() if parameter.numel()):
        raise ModelError(
            "The task's `build_model` returns the same model each time",
            expected="a function that makes a new, untrained model in each call",
            remedy="Pass `lambda: MyModel(...)` or the class, not `lambda: my_model`",
        )
    if like is not None and (differing := architecture_differences(fresh, like)):
        if prefix := _wrapped_name(fresh, like):
            raise ModelError(
                f"The given model is a {type(like).__name__} that contains, as {prefix!r}, a model like that of "
                "`build_model`",
                expected="the model itself, or a PyTorch wrapper of it (DataParallel, AveragedModel, compiled)",
                remedy=f"Pass `model.{prefix}`, or let `build_model` return the {type(like).__name__}",
            )
        raise ModelError(
            f"The task's `build_model` makes another architecture than that of the given model; they differ in "
            f"{', '.join(differing[:3])}",
            expected="the architecture of the model to unlearn",
            remedy="Correct `build_model`",
        )
    return fresh


def initial_model(case: Case, like: nn.Module | None = None, start: nn.Module | None = None) -> nn.Module:
    """The model that a training from scratch begins with: a new one, or a new one with given initial weights.

    Args:
        case: gives the task.
        like: a model whose architecture the new one must have.
        start: the initial weights, as a model; it is copied.  None for those of `build_model`.

    Raises:
        ModelError: as `fresh_model`, or `start` is of another architecture.
    """
    # Built in any case, so that later draws from the random state do not depend on `start`.
    fresh = fresh_model(case, like)
    if start is None:
        return fresh
    if differing := architecture_differences(fresh, start):
        raise ModelError(
            f"The initial weights are of another architecture; they differ in {', '.join(differing[:3])}",
            expected="the weights that the training of this model began with",
        )
    fresh.load_state_dict(unwrapped(start).state_dict())
    return fresh


def call_build_model(case: Case) -> nn.Module:
    """Call the task's `build_model`, and remove wrappers from its result.

    Raises:
        ModelError: it fails, or does not return a model.
    """
    try:
        made: object = case.task.build_model()
    except Exception as error:
        raise ModelError(
            f"The task's `build_model` fails: {described(error)}",
            expected="a function without arguments that returns a model",
        ) from error
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"The task's `build_model` returns something of type {type(made).__name__}",
            expected="an `nn.Module`",
            remedy="Let it return the model: `lambda: MyModel(...)`",
        )
    return unwrapped(made)


def architecture_differences(first: nn.Module, second: nn.Module) -> list[str]:
    """Names of weights and buffers that only one of two models has or that differ in shape, with both shapes."""
    one, other = ({name: tuple(value.shape) for name, value in unwrapped(model).state_dict().items()}
                  for model in (first, second))  # fmt: skip
    found = []
    for name in sorted(one.keys() | other.keys()):
        if name in one and name in other and one[name] != other[name]:
            found.append(f"{name} (shape {one[name]} and {other[name]})")
        elif name not in one or name not in other:
            found.append(name)
    return found


def _wrapped_name(fresh: nn.Module, like: nn.Module) -> str:
    """Name of the submodule of `like` that matches `fresh` and holds all weights of `like`; empty if there is none."""
    own = list(fresh.state_dict())
    for name, part in like.named_modules():
        if name and list(part.state_dict()) == own and len(like.state_dict()) == len(own):
            return str(name)
    return ""


def architecture_mismatches(golds: Mapping[str, nn.Module], original: nn.Module) -> Iterator[ModelError]:
    """Complain about golds whose weights differ from the original's in name or shape."""
    for name, gold in golds.items():
        if differing := architecture_differences(gold, original):
            rest = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            yield ModelError(
                f"Gold {name!r} has another architecture than the original; they differ in "
                f"{', '.join(differing[:3])}{rest}",
                expected="golds that differ from the original only in their training",
                remedy="Retrain in the original's architecture; keep its embeddings of forgotten categories",
            )
