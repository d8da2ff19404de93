"""A folder of trained models that nothing is trained twice for: keyed by what a model was made from."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unregress.artefacts import read_model, write_model
from unregress.case import Case
from unregress.content import columns, digest_of, row_hashes
from unregress.errors import CheckpointError, RunFolderError, StaleError
from unregress.evidence import AuditReport
from unregress.loading import chunked
from unregress.methods.base import Method, Unlearned, fresh_model
from unregress.parallel import one_thread
from unregress.runs import CONFIG, new_run
from unregress.runtime import Precision, Runtime

Facts = dict[str, Any]
LAYOUT = 1
"""Version of an entry's files; raised when a reader of the old one would misread the new one."""
REPORT = "audit.json"
TRAINING = ("activations", "attention", "case", "draws", "guard", "loading", "losses", "methods", "processes",
            "recipe", "request", "runtime", "task", "training")  # fmt: skip
"""The rooms whose code decides what a trained model is, beside those of its data and architecture."""
MEASURING = (*TRAINING, "audit", "evidence", "features", "floor", "golds", "metrics", "predictions", "references",
             "trainings")  # fmt: skip
"""The rooms whose code decides what an audit measures; what it concludes is judged anew each time."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """Models and audits by what they were made from: data, request, settings, seed and code.

    An entry is a run folder, written whole or not at all, so an interrupted run goes on where it was.
    Threads, device and the version of PyTorch are recorded with the results but are no part of the key: a store may
    be carried to another machine, where the same training would round, and on a GPU drop out, differently.
    """

    root: Path
    say: Callable[[str], None] = print
    """Told of everything that is made."""

    def model(
        self,
        kind: str,
        made_from: Facts,
        own: Sequence[str],
        case: Case,
        runtime: Runtime,
        make: Callable[[], Unlearned],
    ) -> tuple[str, Unlearned]:
        """The model that was made from these things, or else one that is made now and kept.

        Args:
            kind: what sort of model; begins the entry's folder name.
            made_from: everything that decides it, as plain data; `request` is the digest of what it has forgotten,
                or None.
            own: modules beside `TRAINING` whose code decides it, as `models/resnet`.
            case: the data, and the request.
            runtime: loads the weights.
            make: makes it.

        Returns:
            The entry's key, and the model.

        Raises:
            StaleError: the entry is another version's, or was changed.
        """
        key, path, config = self._entry(kind, {**made_from, "code": code((*TRAINING, *own))})
        forgot = made_from["request"] is not None
        if not self._found(path, config):
            self.say(f"making {path.name}")
            made = make()
            with self._new(path, config) as folder:
                write_model(folder, "weights.safetensors", made, case, case.request if forgot else None, ())
        try:
            read = read_model(path, case, runtime, forgot=forgot)
        except (StaleError, CheckpointError) as error:
            raise StaleError(f"An entry of the store is damaged: {error}", remedy=_remedy(path)) from error
        if not isinstance(read, Unlearned):
            raise StaleError(f"{path} holds no record of its model", remedy=_remedy(path))
        return key, read

    def report(self, made_from: Facts, own: Sequence[str], make: Callable[[], AuditReport]) -> AuditReport:
        """The audit of these things, or else one that is made now and kept; arguments as for `model`."""
        _, path, config = self._entry("audit", {**made_from, "code": code((*MEASURING, *own))})
        if not self._found(path, config):
            self.say(f"making {path.name}")
            report = make()
            with self._new(path, config) as folder:
                report.to_json(folder / REPORT)
        try:
            return AuditReport.from_json(path / REPORT)
        except StaleError as error:
            raise StaleError(f"An entry of the store is damaged: {error}", remedy=_remedy(path)) from error

    def _entry(self, kind: str, made_from: Facts) -> tuple[str, Path, str]:
        facts = json.dumps({"layout": LAYOUT, "kind": kind, **made_from}, indent=1, sort_keys=True) + "\n"
        key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
        return key, self.root / f"{kind}-{key[:20]}", facts

    @contextmanager
    def _new(self, path: Path, config: str) -> Iterator[Path]:
        try:
            with new_run(path, config) as folder:
                yield folder
        except RunFolderError as error:
            raise RunFolderError(error.found, expected=error.expected, remedy="Name another `--store`") from error

    def _found(self, path: Path, config: str) -> bool:
        if not path.exists():
            return False
        remedy = _remedy(path)
        try:
            written = json.loads((path / CONFIG).read_text(encoding="utf-8"))
            layout = written["layout"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StaleError(f"{path} is not an entry of a store: {error}", remedy=remedy) from error
        if layout != LAYOUT:
            raise StaleError(
                f"{path} was written in layout {layout}, by another version of unregress",
                expected=f"layout {LAYOUT}",
                remedy=remedy,
            )
        if written != json.loads(config):
            raise StaleError(f"{path} says that it was made from other things", remedy=remedy)
        return True


def circumstances(case: Case, runtime: Runtime) -> Facts:
    """What decides a model beside method, seed and start, for a task of anybody's own: facts for `Store.model`.

    Experiments know which modules decide.  Of somebody's own code we know names and what it does: the fresh
    model, and what collation, augmentation, model and loss make of the first few samples, are part of the facts.
    A change that shows on none of them goes unnoticed; then start another store.

    Args:
        case: task, data and request.
        runtime: its precision and evaluation.
    """
    fresh, held_out = fresh_of(case, runtime), case.validation is not None
    return {
        "task": nameless(case.task),
        "fresh": weights_of(fresh),
        "behaviour": _behaviour(case, fresh, runtime),
        "augment": nameless(case.augment),
        "collate": getattr(case.collate, "__qualname__", nameless(case.collate)),
        "precision": runtime.precision,
        "data": {"train": case.data_digest, "validation": case.content_digest("validation") if held_out else None},
        "request": case.request.digest,
        # A plateau schedule watches the validation samples that are not of the forgotten kind.
        "alike": hashlib.sha256(case.group("validation").tobytes()).hexdigest() if held_out else None,
    }


def fresh_of(case: Case, runtime: Runtime) -> nn.Module:
    """The task's untrained model under seed 0, whatever the runtime's: it stands for the architecture."""
    with replace(runtime, seed=0).isolated("fresh"):
        return fresh_model(case).eval()


def nameless(thing: Any) -> str:
    """How a thing shows itself, less addresses in memory, which are others each time."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(thing))


def weights_of(model: nn.Module) -> str:
    """SHA-256 of a fresh model under a fixed seed: its architecture and what it starts from."""
    total = hashlib.sha256(nameless(model).encode())
    for name, value in model.state_dict().items():
        total.update(name.encode() + value.contiguous().cpu().numpy().tobytes())
    return total.hexdigest()


def method_of(method: Method) -> str:
    """A method's name and settings; the source of its class too, where that is not ours."""
    kind, shown = type(method), nameless(method)
    if kind.__module__.partition(".")[0] == "unregress":
        return shown
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):
        # Typed at a prompt.
        return shown
    return f"{shown} {hashlib.sha256(source.encode()).hexdigest()}"


def _behaviour(case: Case, fresh: nn.Module, runtime: Runtime, samples: int = 64) -> str:
    """SHA-256 of some samples as a training sees them, and of a fresh model's predictions and losses on them.

    Spread evenly over the training set, which may be sorted: a loss may treat the ends of the targets differently.
    """
    precision: Precision = "64-true" if runtime.precision == "64-true" else "32-true"
    probe = replace(runtime, accelerator="cpu", devices=1, precision=precision, seed=0, workers=0, progress=False)
    rows = torch.linspace(0, case.request.size - 1, samples).round().long().unique()
    chunks = chunked(rows, samples)
    found: list[str] = []
    # Bytes of the same sums only on one thread, and on the CPU.
    with one_thread(), probe.isolated("behaviour"), torch.no_grad():
        model = probe.set_up(probe.private_copy(fresh)).eval()
        for batch in probe.load(case.source("train"), chunks, augmentation=probe.generator("behaviour")):
            prediction = case.task.predict(model, batch.data)
            loss = case.task.checked_loss(prediction, case.task.target(batch.data))
            seen = [*columns(batch.data, len(batch.index)), prediction, loss]
            found.append(digest_of(row_hashes(seen, len(batch.index))))
    return " ".join(found)


def _remedy(path: Path) -> str:
    return f"Remove {path}, or name another `--store`"


@cache
def code(rooms: tuple[str, ...]) -> str:
    """SHA-256 over the source of some rooms, docstrings and comments left out: another code makes another model."""
    total = hashlib.sha256()
    package = resources.files("unregress")
    for room in sorted(rooms):
        single = package / f"{room}.py"
        files = [single] if single.is_file() else sorted((package / room).iterdir(), key=lambda file: file.name)
        for file in files:
            if file.name.endswith(".py"):
                total.update(f"{room}/{file.name}\0{_plain(file.read_text(encoding='utf-8'))}\0".encode())
    return total.hexdigest()


def _plain(source: str) -> str:
    """Source text without what only people read."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [each for each in body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined] # it has one
    return ast.unparse(tree)
