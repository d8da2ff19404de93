"""End commands at random points: `python -m fuzz.kills [real]` in `tests`, with the project's `src` in PYTHONPATH.

Each command is run once undisturbed over an earlier run of its own.  Then it is run again and again, ended by a signal
at a share of its usual time or when it is about to rename something, and run once more.  Printed is what came of each
kill, in JSON.  With `real`, processes are started afresh in place of forks.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from fuzz.forks import call, fork, imported, redirected, warmed
from fuzz.trial import snapshot

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
"""Each with the exit code that it should end in."""
TIMED = ("seconds", "date", "folder", "digest")
"""Entries that differ from run to run: times, and the digests of folders whose notes hold times."""


def commands() -> dict[str, tuple[tuple[str, ...], str]]:
    """By name the words, and the folder that they write, which an earlier run has filled already."""
    from fuzz.project import PROJECT, REQUEST, audit

    blindspot = ("forget", *PROJECT, *REQUEST, "--method", "Blindspot", "--method.recipe.epochs", "30",
                 "--checkpoint", "runs/original", "--output", "runs/mine")  # fmt: skip
    retrain = ("--retrain.golds", "3", "--retrain.store", "store", "--output", "runs/audited")
    return {"forget": (blindspot, "runs/mine"), "audit": (audit(*retrain), "runs/audited")}


def main(arguments: list[str]) -> int:
    """Print a JSON list of kills, each with its name and what is wrong after it."""
    imported()
    from fuzz.project import make_runs

    found = []
    with TemporaryDirectory(prefix="unregress-kills-") as scratch:
        # Everything happens in this folder, for configurations quote paths; beside it lies what it begins with.
        base = Path(scratch) / "run"
        base.mkdir()
        shutil.rmtree(make_runs(base) / "mine")
        _child(commands()["forget"][0], base)
        warmed(base)
        for name, (words, target) in commands().items():
            found += list(_killed(name, words, target, base, real="real" in arguments))
    print(json.dumps(found))
    return 0


def _killed(name: str, words: tuple[str, ...], target: str, base: Path, *, real: bool) -> Iterator[dict[str, Any]]:
    start = _start if real else _fork
    _child(words, base)
    shutil.rmtree(base / "store", ignore_errors=True)
    # Over what is there now, as it will be done below.
    began = time.monotonic()
    if code := _wait(start(words, base)):
        raise RuntimeError(f"{name} ended with {code}: {Path(f'{base}.stderr').read_text()}")
    usual = time.monotonic() - began
    expected = _content(base / target)
    shutil.rmtree(base / "store", ignore_errors=True)
    begin = Path(shutil.copytree(base, base.with_name(f"begin-{name}"), symlinks=True))
    random = Random(name)
    for number, code in SIGNALS.items():
        shares = [random.uniform(0.2, 0.8)] if real else [0.02, random.random(), 0.97]
        for share in shares:
            folder = _copied(begin, base)
            before = snapshot(folder)
            child = start(words, folder)
            time.sleep(share * usual)
            os.kill(child, number)
            found = _wait(child)
            wrong = [*_after(folder, target, before, expected), *_words(folder, found, code, number)]
            yield {"kill": f"{name}, {number.name} at {share:.0%}", "code": found,
                   "wrong": [*wrong, *_again(folder, words, target, expected)]}  # fmt: skip
    for count in () if real else range(1, 6):
        folder = _copied(begin, base)
        before = snapshot(folder)
        found = _wait(_fork(words, folder, renames=count))
        wrong = _after(folder, target, before, expected)
        yield {"kill": f"{name}, SIGKILL before renaming for the {count}. time", "code": found,
               "wrong": [*wrong, *_again(folder, words, target, expected)]}  # fmt: skip


def _after(folder: Path, target: str, before: dict[str, str], expected: dict[str, Any]) -> Iterator[str]:
    """What is wrong with what was there before: the target is the earlier run or a new one, all else is as it was."""
    after = snapshot(folder)
    inside = f"{target}/"
    for path, content in before.items():
        if not path.startswith((inside, "store")) and path != target and after.get(path) != content:
            yield f"{path} is changed or gone"
    if _content(folder / target) != expected:
        yield f"{target} is neither the earlier run nor a new one: it holds {', '.join(_content(folder / target))}"


def _words(folder: Path, found: int, code: int, number: signal.Signals) -> Iterator[str]:
    told = Path(f"{folder}.stderr").read_text()
    if found not in (code, 0):
        yield f"exit code {found} after {number.name}: {told[-300:]}"
    if "Traceback" in told or (found == code and code > 0 and not told.startswith("error: ")):
        yield f"it says {told[-300:]!r}"
    if found == code and code > 0 and (left := _unfinished(folder)):
        yield f"left behind: {', '.join(left)}"


def _again(folder: Path, words: tuple[str, ...], target: str, expected: dict[str, Any]) -> Iterator[str]:
    """What is wrong after the same command once more, undisturbed."""
    if code := _child(words, folder):
        yield f"the rerun ended with {code}: {Path(f'{folder}.stderr').read_text()[-300:]}"
    elif _content(folder / target) != expected:
        yield "the rerun made something else"
    if left := _unfinished(folder):
        yield f"after the rerun there is still {', '.join(left)}"
    from unregress.cli.dispatch import COMMANDS

    if "verify" in COMMANDS and _child(("verify", target), folder):
        yield f"it is not whole: {Path(f'{folder}.stderr').read_text()[-300:]}"


def _unfinished(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")
                  if path.suffix in (".partial", ".replaced", ".lock", ".tmp"))  # fmt: skip


def _content(folder: Path) -> dict[str, Any]:
    """What a run folder holds, without what differs from run to run: times, pages, digests of files with times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*")):
        if path.name in ("audit.html", "digests.json", "manifest.json"):
            found[path.name] = None
        elif path.suffix == ".json" and path.name != "request.json":
            found[path.name] = _timeless(json.loads(path.read_text()))
        else:
            found[path.name] = path.read_bytes()
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(part) for name, part in value.items() if name not in TIMED}
    return [_timeless(part) for part in value] if isinstance(value, list) else value


def _copied(begin: Path, folder: Path) -> Path:
    shutil.rmtree(folder)
    return Path(shutil.copytree(begin, folder, symlinks=True))


def _fork(words: tuple[str, ...], folder: Path, renames: int = 0) -> int:
    """Start a command in a fork; it has begun when this ends."""
    reader, writer = os.pipe()

    def work() -> int:
        from unregress.cli.interrupt import leaving_at_once

        os.environ["XDG_CACHE_HOME"] = os.environ["HOME"] = str(folder / "home")
        redirected(folder)
        if renames:
            _die_before(renames)
        # In force from the first moment of the program; said here so that no signal comes before it.
        with leaving_at_once():
            os.write(writer, b"x")
            return call(words, folder)

    child = fork(work)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return child


def _die_before(count: int) -> None:
    """Let this process be killed when it renames something for the nth time."""
    left = iter(range(count - 1))

    def deadly(usual: Callable[..., None]) -> Callable[..., None]:
        def rename(*arguments: Any, **options: Any) -> None:
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            usual(*arguments, **options)

        return rename

    os.rename, os.replace = deadly(os.rename), deadly(os.replace)


def _start(words: tuple[str, ...], folder: Path) -> int:
    """Start a command as a program of its own."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "home"), "HOME": str(folder / "home")}
    with open(f"{folder}.stdout", "wb") as out, open(f"{folder}.stderr", "wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "unregress", *words], cwd=folder, env=environment, stdout=out, stderr=err
        )
    process.returncode = 0  # it is waited for below
    return process.pid


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _child(words: tuple[str, ...], folder: Path) -> int:
    return _wait(_fork(words, folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
