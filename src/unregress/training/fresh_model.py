"""Fresh models from a task: new each time, and of the architecture of the model to unlearn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from unregress.data.case import Case
from unregress.errors import ModelError
from unregress.errors.user_code import described
from unregress.tasks.unwrap import require_weights, unwrapped


def fresh_model(case: Case, like: nn.Module | None = None) -> nn.Module:
    """A fresh model from the task, made sure to be a new one.

    Args:
        case: whose task.
        like: a model whose architecture the fresh one must have.

    Raises:
        ModelError: `build_model` fails, returns no model, or the same one twice, so that training it would train the
            user's own; or one of another architecture.
    """
    fresh, again = built(case), built(case)
    require_weights(fresh)
    known = {parameter.data_ptr() for parameter in again.parameters()}
    if any(parameter.data_ptr() in known for parameter in fresh.parameters() if parameter.numel()):
        raise ModelError(
            "The task's `build_model` returns the same model each time",
            expected="a function that makes a new, untrained model whenever it is called",
            remedy="Pass `lambda: MyModel(...)` or the class, not `lambda: my_model`",
        )
    if like is not None and (differing := differences(fresh, like)):
        if prefix := _prefix(fresh, like):
            raise ModelError(
                f"The given model is a {type(like).__name__}, in which the model that `build_model` makes is called "
                f"{prefix!r}",
                expected="the model itself, or one in a wrapper of PyTorch's (DataParallel, AveragedModel, compiled)",
                remedy=f"Pass `model.{prefix}`, or let `build_model` return the {type(like).__name__}",
            )
        raise ModelError(
            f"The task's `build_model` makes another architecture than the given model's; they differ in "
            f"{', '.join(differing[:3])}",
            expected="the architecture of the model to unlearn",
            remedy="Correct `build_model`",
        )
    return fresh


def built(case: Case) -> nn.Module:
    """What the task's `build_model` makes.

    Raises:
        ModelError: it fails, or what it makes is no model.
    """
    try:
        made: object = case.task.build_model()
    except Exception as error:
        raise ModelError(
            f"The task's `build_model` fails: {described(error)}",
            expected="a function without arguments that makes a model",
        ) from error
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"The task's `build_model` returns something of type {type(made).__name__}",
            expected="an `nn.Module`",
            remedy="Let it return the model: `lambda: MyModel(...)`",
        )
    return unwrapped(made)


def differences(first: nn.Module, second: nn.Module) -> list[str]:
    """Names of weights and buffers that only one of two models has, or that differ in shape."""
    one, other = ({name: tuple(value.shape) for name, value in unwrapped(model).state_dict().items()}
                  for model in (first, second))  # fmt: skip
    found = []
    for name in sorted(one.keys() | other.keys()):
        if name in one and name in other and one[name] != other[name]:
            found.append(f"{name} (shape {one[name]} and {other[name]})")
        elif name not in one or name not in other:
            found.append(name)
    return found


def _prefix(fresh: nn.Module, like: nn.Module) -> str:
    """Under which name a model holds one like the fresh one and nothing else; empty if it does not."""
    own = list(fresh.state_dict())
    for name, part in like.named_modules():
        if name and list(part.state_dict()) == own and len(like.state_dict()) == len(own):
            return str(name)
    return ""


def misshapen(golds: Mapping[str, nn.Module], original: nn.Module) -> Iterator[ModelError]:
    """Complaints about golds whose weights have other names or shapes than the original's."""
    for name, gold in golds.items():
        if differing := differences(gold, original):
            rest = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            yield ModelError(
                f"Gold {name!r} is of another architecture than the original; they differ in "
                f"{', '.join(differing[:3])}{rest}",
                expected="golds that differ from the original by their training alone",
                remedy="Retrain in the original's architecture, embeddings for what is forgotten included",
            )
