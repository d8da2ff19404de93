"""Try the command line with bad input: `python -m fuzz.run [GROUP ...]` in `tests`, with `src` in PYTHONPATH.

Without groups all of them are tried; `only=TEXT` takes the trials with TEXT in their name, `percent=30` a sample.  With
`-`, lines such as `words 0 40 2`, for the first 40 percent of a group and two draws of each kind, are read from
standard input, and each is answered by a line of JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

from fuzz.forks import endings, imported, warmed
from fuzz.trial import Trial, faults

GROUPS = ("words", "configs", "user_code", "plugins", "checkpoints", "folders", "audits", "lists")
"""Each a module with a function `trials`."""


def trials(group: str) -> list[Trial]:
    """All trials of a group, which have different names."""
    found = list(importlib.import_module(f"fuzz.{group}").trials())
    twice = [name for name, count in Counter(trial.name for trial in found).items() if count > 1]
    if twice:
        raise ValueError(f"{group} has several trials called {', '.join(twice)}")
    return found


@contextmanager
def runs() -> Iterator[Path]:
    """The run folders that trials start from, made in this process's forks."""
    imported()
    from fuzz.project import make_runs

    with TemporaryDirectory(prefix="unregress-fuzz-") as folder:
        (Path(folder) / "base").mkdir()
        base = make_runs(Path(folder) / "base")
        warmed(base.parent)
        yield base


def tried(
    group: str, base: Path, part: tuple[int, int] = (0, 100), only: str = "", draws: int | None = None
) -> dict[str, Any]:
    """What came of a group: how many trials, seconds, and of each bad one its name, words, faults and messages.

    Args:
        group: one of `GROUPS`.
        base: folder of the run folders that trials start from.
        part: from and to which percent of the trials to take; the same ones each time.
        only: part of the names of those to take.
        draws: how many to take of each kind whose trials are drawn at random; None for all.
    """
    started, bad, codes = time.monotonic(), [], Counter[int]()
    chosen = [
        each
        for each in trials(group)
        if crc32(each.name.encode()) % 100 in range(*part)
        and only in each.name
        and (draws is None or each.draw < draws)
    ]
    for trial, ending in endings(chosen, base):
        codes[ending.code] += 1
        if found := faults(trial, ending):
            bad.append(
                {"trial": trial.name, "words": trial.words, "faults": found, "out": ending.out, "err": ending.err}
            )
        elif only:
            print(trial.name, ending.code, f"{ending.seconds:.2f} s", ending.err, sep="\n  ")
    return {
        "group": group,
        "cases": len(chosen),
        "codes": dict(sorted(codes.items())),
        "seconds": time.monotonic() - started,
        "bad": sorted(bad, key=lambda each: str(each["trial"])),
    }


def told(bad: dict[str, Any]) -> str:
    """A bad trial in a few lines."""
    words = " ".join(word if len(word) < 200 else word[:200] + "…" for word in bad["words"])
    shown = "".join(f"\n      | {line[:300]}" for line in bad["err"].splitlines()[-6:])
    return f"  {bad['trial']}: {'; '.join(bad['faults'])}\n      unregress {words}{shown}"


def summary(results: list[dict[str, Any]]) -> str:
    """How many cases, how many of them bad, in how many seconds."""
    cases, bad = (sum(each["cases"] for each in results), sum(len(each["bad"]) for each in results))
    return f"{cases} cases, {bad} bad, {sum(each['seconds'] for each in results):.0f} seconds"


def main(arguments: list[str]) -> int:
    """Print a table, and what is wrong."""
    if arguments == ["-"]:
        with runs() as base:
            for line in sys.stdin:
                group, *numbers = line.split()
                low, high, draws = map(int, numbers)
                print(json.dumps(tried(group, base, (low, high), draws=draws)), flush=True)
        return 0
    options = dict(each.split("=", 1) for each in arguments if "=" in each)
    percent, only = int(options.get("percent", 100)), options.get("only", "")
    results = []
    with runs() as base:
        for group in [each for each in arguments if "=" not in each] or GROUPS:
            found = tried(group, base, (0, percent), only)
            results.append(found)
            print("\n".join(told(bad) for bad in found["bad"]))
    print(f"\n{'group':12} {'cases':>6} {'bad':>5} {'s':>6}  exit codes")
    for each in results:
        codes = ", ".join(f"{code}: {count}" for code, count in each["codes"].items())
        print(f"{each['group']:12} {each['cases']:6} {len(each['bad']):5} {each['seconds']:6.1f}  {codes}")
    print(summary(results))
    return 1 if any(each["bad"] for each in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
