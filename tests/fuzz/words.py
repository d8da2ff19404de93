# ruff: noqa: E501
"""Command lines: options that are misspelt, missing, of the wrong type, extreme, or in other scripts."""

from __future__ import annotations

from collections.abc import Iterator

from fuzz.project import PROJECT, REQUEST, RETRAIN, audit, forget
from fuzz.trial import DIVERGED, DONE, NOT_PASSED, REFUSED, Trial
from fuzz.values import VALUES, chosen, short

_ANY = frozenset({DONE, DIVERGED, REFUSED})
_NO = frozenset({REFUSED})
_YES = frozenset({DONE})

FORGET = (
    *("--method", "--method.recipe", "--method.recipe.epochs", "--method.recipe.lr", "--method.recipe.batch_size"),
    *("--method.recipe.optimizer", "--method.recipe.schedule", "--method.recipe.gamma", "--method.recipe.patience"),
    *("--method.recipe.weight_decay", "--method.recipe.clip_norm", "--method.recipe.mode"),
    *("--request", "--request.reason", "--request.band", "--request.seed", "--request.after", "--request.from_run"),
    *("--task", "--task.loss", "--data", "--data.seed", "--data.named", "--checkpoint", "--output", "--config"),
    *("--runtime", "--runtime.seed", "--runtime.workers", "--runtime.accelerator", "--runtime.precision"),
    *("--runtime.strategy", "--runtime.evaluation_batch_size", "--runtime.progress", "--runtime.sync_batch_norm"),
    "--allow_overlap",
)
AUDIT = (
    *("--metrics", "--models", "--models.original", "--models.other", "--golds", "--original", "--protocol"),
    *("--require", "--rule.level", "--rule.golds", "--rule.samples", "--rule.tolerance", "--rule.resolution"),
    *("--retrain", "--retrain.golds", "--retrain.workers", "--retrain.stack", "--retrain.recipe.epochs"),
    *("--retrain.store", "--deep", "--deep.methods", "--deep.halves", "--deep.seeds"),
)
REPRODUCE = (*("--scale", "--tuning", "--seeds", "--golds", "--data-root", "--store", "--workers"),)
_LONG = {  # what is right to ask for, but takes its time
    *(("--method.recipe.epochs", value) for value in ("9" * 30, "1_000", "1e3")),
    *(("--retrain.recipe.epochs", value) for value in ("9" * 30, "1_000", "1e3")),
    *(("--retrain.golds", value) for value in ("9" * 30, "1_000", "1e3")),
    *((f"--deep.{name}", value) for name in ("halves", "seeds") for value in ("9" * 30, "1_000", "1e3", "0x10")),
    *(("--retrain.workers", value) for value in ("9" * 30, "1_000", "1e3", "0x10")),
}


def trials() -> Iterator[Trial]:
    """By hand, then one option at a time with values that it should not have."""
    yield from _refused()
    yield from _taken()
    yield from _streams()
    for option in FORGET:
        for draw, value in enumerate(chosen(VALUES, 5, option)):
            if (option, value) not in _LONG:
                yield _with(option, value, forget(option, value), draw=draw)
    for option in AUDIT:
        for draw, value in enumerate(chosen(VALUES, 4, option)):
            if (option, value) not in _LONG:
                codes = _ANY | ({NOT_PASSED} if option == "--require" else set())
                yield _with(option, value, audit(option, value), codes, draw=draw)
    for option in REPRODUCE:
        for draw, value in enumerate(chosen(VALUES, 3, option)):
            words = ("reproduce", "agedb-0-30", "--data-root", "nowhere", option, value)
            yield _with(option, value, words, _NO, draw=draw)


def _with(option: str, value: str, words: tuple[str, ...], codes: frozenset[int] = _ANY, *, draw: int) -> Trial:
    # An output of another name is written where it says.
    writes = ("*",) if option == "--output" else ("out", "out/*", "home", "home/*")
    if option == "--retrain.store":
        writes = ("*",)
    return Trial(name=f"{words[0]} {option} {short(value)}", words=words, codes=codes, writes=writes, draw=draw)


def _refused() -> Iterator[Trial]:
    project, random = PROJECT, ("--request.random", "3", "--request.reason", "x")
    refused = {
        "no command": (),
        "empty command": ("",),
        "unknown command": ("forgett",),
        "command in capitals": ("FORGET",),
        "command with a null": ("for\x01get",),
        "option for a command": ("--forget",),
        "two commands": ("train", "forget"),
        "only a method": ("forget", "--method", "Retrain"),
        "no request": ("forget", *project, *RETRAIN, "--output", "out"),
        "no output": ("forget", *project, *random, *RETRAIN),
        "no data": ("forget", "--task", project[1], *random, *RETRAIN, "--output", "out"),
        "task that is data": ("forget", "--task", project[3], "--data", project[1], *random, *RETRAIN, "--output", "out"),
        "task that is a module": ("train", "--task", "fuzz.project", "--data", project[3], "--output", "out"),
        "task that is a number": ("train", "--task", "7", "--data", project[3], "--output", "out"),
        "task that is no path": ("train", "--task", "a b", "--data", project[3], "--output", "out"),
        "task with a file's path": ("train", "--task", "fuzz/project.py", "--data", project[3], "--output", "out"),
        "task that runs a command": ("train", "--task", "os.system", "--task.command", "touch MARKER", "--output", "out"),
        "argument of data unknown": forget("--data.sample", "3"),
        "option's value missing": ("forget", *project, "--output"),
        "option twice, last missing": (*forget(), "--output"),
        "word without option": forget("stray"),
        "single dash": forget("-output", "x"),
        "abbreviated": forget("--out", "other"),
        "option with a dot at its end": forget("--method.recipe.", "1"),
        "option with two dots": forget("--method..recipe", "1"),
        "option with an empty name": forget("--", "1"),
        "option of another method": forget("--method.helper.epochs", "1"),
        "method of no such name": forget("--method", "Amnesia"),
        "method that is a metric": forget("--method", "Errors"),
        "method that is abstract": forget("--method", "unregress.methods.Method"),
        "method that is torch's": forget("--method", "torch.nn.Linear"),
        "negative rate": forget("--method.recipe.lr", "-0.1"),
        "rate of text": forget("--method.recipe.lr", "fast"),
        "rate of nan": forget("--method.recipe.lr", "nan"),
        "rate of infinity": forget("--method.recipe.lr", "inf"),
        "rate of null": forget("--method.recipe.lr", "null"),
        "half an epoch": forget("--method.recipe.epochs", "0.5"),
        "recipe of seven": forget("--method.recipe", "7"),
        "recipe of null": forget("--method.recipe", "null"),
        "batch of zero": forget("--method.recipe.batch_size", "0"),
        "band of one": forget("--request.band", "[1]"),
        "band of three": forget("--request.band", "[1, 2, 3]"),
        "band upside down": forget("--request.band", "[70, 60]"),
        "band of nothing": forget("--request.band", "[null, null]"),
        "band of text": forget("--request.band", "[a, b]"),
        "band of nan": forget("--request.band", "[.nan, .nan]"),
        "band where nobody is": forget("--request.band", "[900, 901]"),
        "band of everybody": forget("--request.band", "[-900, 900]"),
        "band and random": forget("--request.random", "3"),
        "band and a run": forget("--request.from_run", "runs/gold"),
        "no reason": forget("--request.reason", ""),
        "reason of blanks": forget("--request.reason", " \t "),
        "random of everybody": ("forget", *project, "--request.random", "40", "--request.reason", "x", *RETRAIN,
                                "--output", "out"),
        "random below zero": ("forget", *project, "--request.random", "-3", "--request.reason", "x", *RETRAIN,
                              "--output", "out"),
        "random beyond": ("forget", *project, "--request.random", "4000", "--request.reason", "x", *RETRAIN,
                          "--output", "out"),
        "no devices": forget("--runtime.devices", "0"),
        "device below zero": forget("--runtime.devices", "-1"),
        "list of no devices": forget("--runtime.devices", "[]"),
        "device of text": forget("--runtime.devices", "[cpu]"),
        "device minus one": forget("--runtime.devices", "[-1]"),
        "accelerator of beads": forget("--runtime.accelerator", "abacus"),
        "precision of eight": forget("--runtime.precision", "8-true"),
        "workers below zero": forget("--runtime.workers", "-1"),
        "evaluation batch of zero": forget("--runtime.evaluation_batch_size", "0"),
        "seed of text": forget("--runtime.seed", "lucky"),
        "loss of no such name": forget("--task.loss", "l7"),
        "no checkpoint": ("forget", *project, *random, "--method", "FineTune", "--output", "out"),
        "samples below zero": forget("--data.samples", "-5"),
        "no samples": forget("--data.samples", "0"),
        "one sample": forget("--data.samples", "1"),
        "audit without models": ("audit", *project, *REQUEST, "--output", "out"),
        "audit without an original": audit("--original", "theirs"),
        "audit of an unknown metric": audit("--metrics", "[Erors]"),
        
        "audit of a gold that is not there": audit(gold="runs/none"),
        "audit of a model that is not there": audit(model="runs/none"),
        "audit of an audit": audit(model="runs/audit"),
        "audit of an original as gold": audit(gold="runs/original"),
        "audit that requires luck": audit("--require", "luck"),
        "audit rule of level two": audit("--rule.level", "2"),
        "audit rule of two golds": audit("--rule.golds", "2"),
        "audit retrains below zero": audit("--retrain.golds", "-1"),
        "audit with no workers": audit("--retrain.workers", "0"),
        "audit with half a stack": audit("--retrain.stack", "0.5"),
        "audit deep of odd halves": audit("--deep.halves", "7"),
        "audit with a request of its own": audit("--request.band", "[55, null]"),
        "report of nothing": ("report",),
        "report of a file that is not there": ("report", "none.json"),
        "report of a model": ("report", "runs/original"),
        "report of weights": ("report", "runs/original/original.safetensors"),
        "report of an empty name": ("report", ""),
        "report of two": ("report", "runs/audit", "runs/audit"),
        "report of a folder of folders": ("report", "runs"),
        "reproduce nothing": ("reproduce",),
        "reproduce the unknown": ("reproduce", "agedb-0-3"),
        "reproduce without data": ("reproduce", "agedb-0-30"),
        "reproduce from nowhere": ("reproduce", "agedb-0-30", "--data-root", "nowhere"),
        "reproduce from an empty folder": ("reproduce", "agedb-0-30", "--data-root", "runs"),
        "reproduce with minus one gold": ("reproduce", "agedb-0-30", "--data-root", "runs", "--golds", "-1"),
        "demo without golds": ("demo", "--golds", "0", "--output", "out"),
        "demo with a seed of text": ("demo", "--seed", "x", "--output", "out"),
        "demo over a run": ("demo", "--output", "runs/original"),
        "demo over a file": ("demo", "--output", "runs/original/config.yaml"),
        "train over another run": ("train", *project, "--output", "runs/gold"),
        "train into a run": ("train", *project, "--output", "runs/gold/original"),
        "train over a parent": ("train", *project, "--output", "runs"),
        "train into a file": ("train", *project, "--output", "runs/gold/config.yaml/x"),
        "train into the folder itself": ("train", *project, "--output", "."),
        "train into the root": ("train", *project, "--output", "/"),
        "train into a name too long": ("train", *project, "--output", "a" * 300),
        "train into a device": ("train", *project, "--output", "/dev/null"),
        "train into proc": ("train", *project, "--output", "/proc/x"),
        "config that is not there": ("forget", "--config", "none.yaml"),
        "config that is a folder": ("forget", "--config", "runs"),
        "config without a name": ("forget", "--config", ""),
        "help of no such class": ("train", "--task.help", "NoSuchTask"),
        "diverging words": forget("--runtime.seed", "-1e400"),
    }  # fmt: skip
    for name, words in refused.items():
        yield Trial(name=name, words=words, codes=_NO)
    yield Trial(
        name="diverging", words=forget("--method.recipe.lr", "1e30", "--method.recipe.epochs", "5"),
        codes=frozenset({DIVERGED}),
    )  # fmt: skip


def _taken() -> Iterator[Trial]:
    taken = {
        "version": ("--version",),
        "help": ("--help",),
        "short help": ("-h",),
        "help of a command": ("forget", "--help"),
        "help of the audit": ("audit", "--help"),
        "help of a method": ("forget", "--method.help", "Blindspot"),
        "help of a task": ("train", "--task.help", "TensorTask"),
        "printed configuration": (*forget(), "--print_config"),
        "experiments": ("reproduce", "--list"),
        "forget": forget(),
        "forget with a lone surrogate": forget("--request.reason", "caf\udce9"),
        "forget with another script": forget("--request.reason", "忘れて é 😀"),
        "forget with escapes": forget("--request.reason", "\x1b[2J\x1b[31mred\x07"),
        "forget with a reason of lines": forget("--request.reason", "a\nb"),
        "forget into a folder of another script": forget(output="out/忘れ é"),
        "forget from a chain": forget("--request.band", "[50, null]", checkpoint="runs/chained"),
        "forget with dashes": forget("--allow-overlap", "true"),
        "retrain": ("forget", *PROJECT, *REQUEST, *RETRAIN, "--output", "out"),
        "audit": audit(),
        "audit as published": audit("--protocol", "published"),
        "audit of an earlier request": audit(model="runs/chained", gold="runs/later-gold"),
        "report": ("report", "runs/audit"),
        "report of a file": ("report", "runs/audit/audit.json"),
    }
    for name, words in taken.items():
        # A surrogate may be refused as well: it is no text.
        codes = _YES | _NO if "surrogate" in name else _YES
        yield Trial(name=name, words=words, codes=codes, writes=("out", "out/*", "runs/audit/audit.html"))
    yield Trial(name="debug", words=("--debug", *forget()), codes=_YES)
    yield Trial(name="audit that must pass", words=audit("--require", "pass"), codes=frozenset({NOT_PASSED}))
    yield Trial(
        name="forget once more", words=forget(output="runs/mine"), codes=_YES, writes=("runs/mine", "runs/mine/*")
    )


def _streams() -> Iterator[Trial]:
    commands = {
        "version": ("--version",),
        "help": ("forget", "--help"),
        "forget": forget("--request.reason", "é"),
        "report": ("report", "runs/audit"),
        "list": ("reproduce", "--list"),
    }
    for name, words in commands.items():
        writes = ("out", "out/*", "runs/audit/audit.html")
        # What could not be shown is an error, but the work is done.
        yield Trial(name=f"{name} on a full disk", words=words, codes=_NO, output="/dev/full", writes=writes)
        yield Trial(name=f"{name} for nobody", words=words, codes=_YES, output="closed", writes=writes)
        for encoding in ("ascii", "cp1252"):
            yield Trial(name=f"{name} in {encoding}", words=words, codes=_YES, encoding=encoding, writes=writes)
    for largest in (300, 600, 2000, 30_000):
        for name, words in {"forget": forget(), "audit": audit(), "report": ("report", "runs/audit")}.items():
            codes = _NO if largest < 2000 else _NO | _YES
            yield Trial(
                name=f"{name} with {largest} bytes left", words=words, codes=codes, largest=largest,
                writes=("out", "out/*", "runs/audit/audit.html"),
            )  # fmt: skip
