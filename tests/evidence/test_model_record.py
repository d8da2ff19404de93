"""The record of how a model was made: plain data, exact in JSON, compared field by field."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import pytest

from unregress.evidence.model_record import ModelRecord, differences, plain, settings_of
from unregress.files.typed_json import build

RECIPE = {"epochs": 3, "lr": 0.1, "clip_norm": None}


@dataclass
class Inner:
    width: int = 2


@dataclass
class Outer:
    inner: Inner = field(default_factory=Inner)
    names: tuple[str, ...] = ("a", "b")


class Colour(Enum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (np.int64(3), 3),
        (0.1, 0.1),
        (np.float32(0.5), 0.5),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        ("a", "a"),
        ((1, (2, "b")), [1, [2, "b"]]),
        ({3, 1, 2}, [1, 2, 3]),
        ({1: (2,)}, {"1": [2]}),
        (b"ab", "b'ab'"),
        (Colour.RED, "<Colour.RED: 1>"),
        (Inner(), {"class_path": f"{__name__}.Inner", "init_args": {"width": 2}}),
    ],
)
def test_settings_are_plain_data(value: Any, expected: Any) -> None:
    found = plain(value)
    assert found == expected and type(found) is type(expected)


def test_a_setting_that_is_no_data_is_text_without_its_address() -> None:
    assert "0x" not in plain(object()) and plain(object()) == plain(object())


def test_settings_that_hold_themselves_end() -> None:
    circle: list[Any] = []
    circle.append(circle)
    found, depth = plain(circle), 0
    while isinstance(found, list):
        (found,), depth = found, depth + 1
    # Nested as deep as settings are recorded; the rest is text, as Python shows a list that holds itself.
    assert (found, depth) == ("[[...]]", 8)


def test_the_fields_of_a_dataclass_are_its_settings() -> None:
    assert settings_of(Outer()) == {
        "inner": {"class_path": f"{__name__}.Inner", "init_args": {"width": 2}},
        "names": ["a", "b"],
    }


def test_a_record_is_the_same_after_json() -> None:
    record = ModelRecord(
        method="Mine", module="my_model", settings=settings_of(Outer()), kind="retrained", recipe=RECIPE, seed=4,
        parents=("0a" * 32,),
    )  # fmt: skip
    assert build(ModelRecord, json.loads(json.dumps(asdict(record)))) == record


def test_differing_settings_are_named_with_both_values() -> None:
    assert list(differences(RECIPE, {**RECIPE, "lr": 0.2, "epochs": 4})) == [("epochs", 3, 4), ("lr", 0.1, 0.2)]
    assert list(differences({"recipe": RECIPE, "a": 1}, {"recipe": {**RECIPE, "lr": 1}, "b": 2})) == [
        ("recipe.lr", 0.1, 1)
    ]
    ours, theirs = ({"x": {"class_path": name, "init_args": {"y": 1}}} for name in ("a.B", "c.B"))
    assert list(differences(ours, theirs)) == []


def test_a_model_follows_the_one_that_it_was_made_from() -> None:
    """An unlearned model comes from its parent's training; a retrained one from none."""
    first = ModelRecord(method="train", kind="trained", recipe=RECIPE)
    second = ModelRecord(method="FineTune", parents=("b",)).following(
        ModelRecord(method="FineTune", recipe=RECIPE, parents=("a",))
    )
    assert (second.recipe, second.parents) == (RECIPE, ("b", "a"))
    assert ModelRecord(method="FineTune", parents=("a",)).following(first).recipe == RECIPE
    gold = ModelRecord(method="Retrain", kind="retrained", recipe=RECIPE)
    assert gold.following(second) == gold and second.following(None) == second


def test_seeds_and_parents_do_not_make_methods_differ() -> None:
    one = ModelRecord(method="FineTune", settings={"lr": 1.0}, seed=1, parents=("a",))
    assert one.made_like(ModelRecord(method="FineTune", settings={"lr": 1.0}, seed=2))
    assert not one.made_like(ModelRecord(method="FineTune", settings={"lr": 2.0}, seed=1))
    assert not one.made_like(ModelRecord(method="FineTune", module="mine", settings={"lr": 1.0}))


def test_a_record_in_words() -> None:
    record = ModelRecord(method="Mine", settings={"helper": RECIPE, **settings_of(Outer())})
    assert str(record) == (
        f"Mine(helper=(epochs=3, lr=0.1, clip_norm=None), inner={__name__}.Inner(width=2), names=['a', 'b'])"
    )
    assert str(ModelRecord(method="the median", kind="computed")) == "the median"
