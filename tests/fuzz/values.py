# ruff: noqa: E501
"""Values that nobody should give to an option, and seeded choices among them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")

HOSTILE = "!!python/object/apply:os.system ['touch MARKER']"
VALUES = (
    *("", " ", "-1", "0", "-0.0", "1.5", "1e400", "-1e400", "1e-400", "nan", ".nan", "inf", ".inf", "-inf", "null", "~"),
    *("true", "False", "no", "[]", "{}", "[1", "{a: b}", "[null]", "[[1]]", "[1, two]", "{1: 2}", "[1, 2, 3]"),
    *("é", "日本", "\u202egnp", "\x1b[31mred", "a\tb", "line\nline", "😀", "a" * 5000, "'", '"', "%s", "{0}", "$HOME"),
    *("*x", "&a", "!x", "2026-01-01", "0x10", "1_000", ".5", "1e3", "../..", "/", "runs", "runs/original", "-", "--"),
    *("os.system", "builtins.print", "torch.nn.Linear", "unregress.Retrain", "unregress", ".", "a..b", "class_path: x"),
    *(HOSTILE, "!!python/name:os.system", "{class_path: os.system, init_args: {command: touch MARKER}}", "9" * 30),
)  # fmt: skip
"""As words of a command line, and as values of YAML."""


def chosen(values: Sequence[T], count: int, *seed: object) -> list[T]:
    """So many different ones of some values; the same seed gives the same."""
    return Random("/".join(map(str, seed))).sample(values, min(count, len(values)))


def short(value: str) -> str:
    """A value in the name of a trial."""
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
