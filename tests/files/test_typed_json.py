"""Dataclasses from JSON: what fits comes back as it was, and what does not is named."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import pytest

from unregress.files.typed_json import Misfit, build, parse


@dataclass(frozen=True)
class Inner:
    kind: Literal["a", "b"]
    size: int
    share: float | None


@dataclass(frozen=True)
class Outer:
    name: str
    yes: bool
    inner: Inner | None
    many: tuple[Inner, ...]
    pair: tuple[float, str]
    counts: dict[str, int]
    listed: list[int]
    either: int | str
    open: dict[str, Any]


def value() -> Outer:
    inner = Inner("a", 3, None)
    return Outer("n", True, inner, (inner, Inner("b", 0, 0.5)), (1, "x"), {"t": 7}, [1, 2], "z", {"v": [{"w": None}]})


def plain(**changes: Any) -> dict[str, Any]:
    return {**asdict(value()), "many": [asdict(each) for each in value().many], "pair": [1, "x"], **changes}


def test_what_fits_comes_back_as_it_was() -> None:
    built = build(Outer, plain())
    assert built == value()
    assert type(built.pair[0]) is int  # as it was written
    assert build(dict[str, Inner], {"k": asdict(value().many[1])}) == {"k": value().many[1]}


@pytest.mark.parametrize(
    ("changes", "complaints"),
    [
        ({"name": 7}, ["name is 7, expected a text"]),
        ({"yes": 1}, ["yes is 1, expected true or false"]),
        ({"inner": []}, ["inner is a list, expected an object"]),
        ({"inner": {"kind": "a", "size": True, "share": 1}}, ["inner.size is true, expected a whole number"]),
        ({"inner": {"kind": "c", "size": 1, "share": 1}}, ["inner.kind is 'c', expected one of 'a', 'b'"]),
        ({"inner": {"kind": [], "size": 1, "share": "1"}},
         ["inner.kind is a list, expected one of 'a', 'b'", "inner.share is '1', expected a number"]),
        ({"many": [{"size": 1, "share": 1, "x": 2}]}, ["many[0].kind is missing", "many[0].x is not a known field"]),
        ({"many": {}}, ["many is an object, expected a list"]),
        ({"pair": [1]}, ["pair has 1 entries, expected 2"]),
        ({"pair": [float("inf"), "x"]}, ["pair[0] is inf, expected a number"]),
        ({"counts": {"t": 2**63}}, ["counts['t'] is a whole number of more than 18 digits, expected a whole number"]),
        ({"counts": None}, ["counts is null, expected an object"]),
        ({"listed": [1.0]}, ["listed[0] is 1.0, expected a whole number"]),
        ({"either": None}, ["either is null, expected a whole number or a text"]),
        ({"name": None, "listed": "x" * 90}, ["name is null, expected a text",
                                              f"listed is '{'x' * 39}…, expected a list"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(changes: dict[str, Any], complaints: list[str]) -> None:
    with pytest.raises(Misfit) as refused:
        build(Outer, plain(**changes))
    assert list(refused.value.complaints) == complaints


def test_a_path_is_put_before() -> None:
    with pytest.raises(Misfit) as refused:
        build(Inner, {"kind": "a", "size": "s", "share": None}, "runs[3]")
    assert refused.value.complaints == ("runs[3].size is 's', expected a whole number",)


def test_what_is_nested_too_deep_is_refused() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    with pytest.raises(Misfit, match="open"):
        build(Outer, plain(open={"d": deep}))


def test_of_many_complaints_the_first_are_shown() -> None:
    with pytest.raises(Misfit, match=r"listed\[7\] is 'x'.*; and 12 more$"):
        build(Outer, plain(listed=["x"] * 20))


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"\xff\xfe", b"NaN", b"[Infinity]", b"[1e999]", b"[" * 100_000, b'{"a":' * 100_000,
        b'{"a": 1, "a": 2}', b"[" + b"9" * 5000 + b"]",
    ],
    ids=lambda text: repr(text[:10]),
)  # fmt: skip
def test_what_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(Misfit):
        parse(text)


def test_plain_json_is_parsed() -> None:
    assert parse('{"a": [1, 2.5, null, "ä"]}'.encode()) == {"a": [1, 2.5, None, "ä"]}
