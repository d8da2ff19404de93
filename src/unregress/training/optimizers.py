"""Optimisers of a recipe: three by short names, and the classes of `torch.optim` by theirs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn, optim
from torch.optim import SGD, Adam, AdamW, Optimizer

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": Adam,
    "adamw": AdamW,
    "sgd": lambda parameters, **options: SGD(parameters, **{"momentum": 0.9, **options}),
}
"""Optimisers by short name; `sgd` has momentum 0.9."""
IMPOSSIBLE = {
    "LBFGS": "it computes the loss several times in a step",
    "SparseAdam": "it takes sparse gradients only, and weights of ordinary layers have dense ones",
}
"""Classes of `torch.optim` that the training loop cannot use, and why."""
NOT_ELEMENTWISE = ("Adafactor", "Muon")
"""Optimisers whose step for a weight depends on the other weights of its tensor."""
_FIELDS = ("params", "lr", "weight_decay")
_IMPLEMENTATIONS = ("foreach", "fused", "capturable", "differentiable")


def optimizer_names() -> list[str]:
    """The names that a recipe accepts: the short ones, and the classes of the installed PyTorch."""
    found = [name for name in optim.__all__ if isinstance(kind := getattr(optim, name), type) and kind is not Optimizer]
    return [*OPTIMIZERS, *(name for name in found if name not in IMPOSSIBLE)]


def expected_optimizer(name: object) -> str:
    """What is expected in place of an optimiser's name; empty if the name can be used."""
    if isinstance(name, str) and name in IMPOSSIBLE:
        return f"another optimiser than {name}: {IMPOSSIBLE[name]}"
    names = optimizer_names()
    return "" if name in names else f"one of {', '.join(names)}"


def expected_options(name: str, lr: float, weight_decay: float, options: object) -> str:
    """What is expected in place of an optimiser's options; empty if PyTorch accepts them for one weight.

    Args:
        name: a name that `expected_optimizer` accepts.
        lr: the learning rate.
        weight_decay: the weight decay.
        options: further arguments by name.
    """
    if not (isinstance(options, Mapping) and is_plain(options)):
        return "names with numbers, texts or lists"
    if own := [each for each in options if each in _FIELDS]:
        return f"no {own[0]!r} among the options: it is a setting of the recipe"
    try:
        # A matrix, since Muon accepts no other weights.
        construct(name, [nn.Parameter(torch.zeros(1, 1))], lr=lr, weight_decay=weight_decay, **options)
    except Exception as error:
        kind = getattr(optim, name) if name not in OPTIMIZERS else {"adam": Adam, "adamw": AdamW, "sgd": SGD}[name]
        return refused(kind, error, *_FIELDS)
    return ""


def has_weight_decay(name: str) -> bool:
    """Whether an optimiser has a weight decay; `Rprop` has none."""
    return name in OPTIMIZERS or "weight_decay" in inspect.signature(getattr(optim, name)).parameters


def construct(name: str, parameters: Sequence[nn.Parameter], **options: Any) -> Optimizer:
    """Make an optimiser by name; a weight decay of 0 is left out where it has none."""
    if not has_weight_decay(name) and not options.get("weight_decay"):
        options.pop("weight_decay", None)
    if name in OPTIMIZERS:
        return OPTIMIZERS[name](parameters, **options)
    made: Optimizer = getattr(optim, name)(parameters, **options)
    return made


def chooses_implementation(options: Mapping[str, Any]) -> bool:
    """Whether options say how an optimiser computes its steps, such as `fused`."""
    return any(name in options for name in _IMPLEMENTATIONS)


def refused(kind: type, error: Exception, *without: str) -> str:
    """What is expected in place of options that a class of PyTorch refuses, but for some that it is given otherwise."""
    accepted = ", ".join(name for name in inspect.signature(kind).parameters if name not in without)
    return f"options that {kind.__name__} accepts ({accepted}); PyTorch says: {error}"


def is_plain(value: object) -> bool:
    """Whether a value consists of numbers, texts, lists and mappings: a record can hold it, and a key stands for it."""
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and is_plain(each) for name, each in value.items())
    if isinstance(value, list | tuple):
        return all(is_plain(each) for each in value)
    return value is None or isinstance(value, bool | int | float | str)


def as_plain(value: Any) -> Any:
    """A copy of a plain value, with lists for tuples, as JSON and YAML give them back."""
    if isinstance(value, Mapping):
        return {name: as_plain(each) for name, each in value.items()}
    return [as_plain(each) for each in value] if isinstance(value, list | tuple) else value
