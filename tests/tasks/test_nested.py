"""A function is applied to the tensors of any structure, which stays what it was."""

from __future__ import annotations

from collections import OrderedDict, UserDict, defaultdict
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from unregress.tasks.nested import map_leaves

ONE = torch.tensor(1)


class Pair(NamedTuple):
    left: Tensor
    right: str


@dataclass(frozen=True)
class Frozen:
    value: Tensor
    note: str = "kept"
    doubled: Tensor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "doubled", self.value * 2)


@dataclass
class Output(OrderedDict[str, Tensor]):
    """A mapping and a dataclass in one, as language models return them."""

    logits: Tensor

    def __post_init__(self) -> None:
        self["logits"] = self.logits


def negative(data):
    return map_leaves(torch.neg, data)


@pytest.mark.parametrize("kind", [list, tuple])
def test_sequences(kind):
    assert negative(kind([ONE, "text", 3, None])) == kind([-ONE, "text", 3, None])


def test_named_tuples():
    made = negative(Pair(ONE, "right"))
    assert type(made) is Pair and made == (-ONE, "right")


@pytest.mark.parametrize("kind", [dict, OrderedDict, UserDict, MappingProxyType])
def test_mappings(kind):
    given = kind({"b": ONE, "a": [ONE]})
    made = negative(given)
    assert type(made) is kind and dict(made) == {"b": -ONE, "a": [-ONE]} and list(made) == ["b", "a"]
    assert dict(given) == {"b": ONE, "a": [ONE]}


def test_a_default_factory_is_kept():
    made = negative(defaultdict(list, x=ONE))
    assert made["x"] == -ONE and made["y"] == []


def test_dataclasses_and_what_they_compute_themselves():
    made = negative(Frozen(ONE))
    assert (made.value, made.note, made.doubled) == (-ONE, "kept", -2)
    assert type(made) is Frozen


def test_a_mapping_that_is_a_dataclass():
    made = negative(Output(ONE))
    assert type(made) is Output and made.logits == made["logits"] == -ONE


@pytest.mark.parametrize("value", ["text", b"bytes", 3, None, Pair, range(3)])
def test_what_is_no_container_is_kept(value):
    assert negative([value])[0] is value


def test_leaves_of_another_kind():
    assert map_leaves(len, {"a": ["xx", "y"], "t": ONE}, lambda data: isinstance(data, str)) == {"a": [2, 1], "t": ONE}
