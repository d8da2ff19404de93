"""The user's units: names and units of outputs, and the scaler that targets were transformed with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Output:
    """One output of a model: its name, and the unit of its values.

    >>> Output.parse("weight [kg]")
    Output(name='weight', unit='kg')
    """

    name: str
    unit: str = ""
    """Empty for a number without a unit."""

    @classmethod
    def parse(cls, text: str) -> Output:
        """Read `name [unit]`, or a name alone."""
        found = re.fullmatch(r"\s*(.*?)\s*(?:\[(.*)\])?\s*", text)
        return cls(found[1], (found[2] or "").strip()) if found else cls(text)


class Scaler(Protocol):
    """The part of scikit-learn's transformers that is used; `FunctionTransformer` makes one of two functions."""

    def transform(self, values: Any, /) -> Any:
        """From the user's units to those that the model was trained on; `(n, outputs)`."""

    def inverse_transform(self, values: Any, /) -> Any:
        """The inverse of `transform`."""


def scaled(values: Tensor, scaler: Scaler) -> Tensor:
    """Convert targets from the user's units to the model's; `(n, *out)`."""
    return _converted(values, scaler.transform, scaler)


def unscaled(values: Tensor, scaler: Scaler) -> Tensor:
    """Convert predictions or targets from the model's units to the user's; `(n, *out)`."""
    return _converted(values, scaler.inverse_transform, scaler)


def _converted(values: Tensor, function: Any, scaler: Scaler) -> Tensor:
    """Apply a function of tables to a tensor, column by column; a scaler of one column to every output.

    Values that are not finite, such as unknown targets and predictions of a model that diverged, stay as they are.
    """
    width = 1 if values.ndim == 1 else getattr(scaler, "n_features_in_", values.shape[1:].numel())
    own = values.detach().double().cpu()
    finite = own.isfinite()
    table = torch.where(finite, own, 0.0).reshape(-1, width).numpy()
    found = torch.as_tensor(function(table) if len(table) else table, dtype=torch.float64).reshape(values.shape)
    converted = torch.where(finite, found, own)
    # Apple's devices have no double precision.
    return converted.float().to(values.device) if values.device.type == "mps" else converted.to(values.device)


def parsed_outputs(outputs: Sequence[str | Output]) -> tuple[Output, ...]:
    """Outputs as given by a user: texts as `weight [kg]`, or `Output`."""
    return tuple(each if isinstance(each, Output) else Output.parse(each) for each in outputs)
