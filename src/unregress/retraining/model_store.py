"""A folder of trained models that nothing is trained twice for: keyed by what a model was made from."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from unregress.data.case import Case
from unregress.errors import CheckpointError, RunFolderError, StaleError
from unregress.evidence import AuditReport
from unregress.methods.base import Unlearned
from unregress.runs.folder import CONFIG, new_run
from unregress.runs.model_io import read_model, write_model
from unregress.runs.provenance import require_whole
from unregress.training.runtime import Runtime

CacheKey = dict[str, Any]
"""What a stored model or audit was made from, as plain data; its SHA-256 names the entry."""
PACKAGE = Path(__file__).resolve().parents[1]
LAYOUT = 3
"""Version of an entry's files; raised when a reader of the old one would misread the new one."""
REPORT = "audit.json"
_ANOTHER = "another store: `--store` of `unregress reproduce`, `--retrain.store` of `unregress audit`"
TRAINING = ("data", "distributed", "hooks", "methods", "tasks", "training")
"""The folders whose code decides what a trained model is, beside the code of its data and architecture."""
MEASURING = (*TRAINING, "auditing", "evidence/audit_report", "evidence/findings", "evidence/model_record",
             "evidence/nan_means", "evidence/noise_floor", "metrics", "retraining/model_factory")  # fmt: skip
"""The folders and modules whose code decides what an audit measures; the verdict is computed again on each reading."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """Models and audits by what they were made from: data, request, settings, seed and code.

    An entry is a run folder, written whole or not at all, so an interrupted run goes on where it was.
    Threads, device and the version of PyTorch are recorded with the results but are no part of the key: a store may
    be carried to another machine, where the same training would round, and on a GPU drop out, differently.
    """

    root: Path
    log: Callable[[str], None] = print
    """Called with a line for everything that is made."""

    def model(
        self,
        kind: str,
        key: CacheKey,
        code_modules: Sequence[str],
        case: Case,
        runtime: Runtime,
        make: Callable[[], Unlearned],
        *,
        title: str = "",
    ) -> tuple[str, Unlearned]:
        """The model that was made from these things, or else one that is made now and kept.

        Args:
            kind: what sort of model; begins the entry's folder name.
            key: everything that decides it, as plain data; `request` is the digest of what it has forgotten,
                or None.
            code_modules: modules beside `TRAINING` whose code decides it, as `models/resnet`.
            case: the data, and the request.
            runtime: loads the weights.
            make: makes it.
            title: what it is, for people; by default the entry's name.

        Returns:
            The digest of the key, and the model.

        Raises:
            StaleError: the entry is another version's, or was changed.
        """
        digest, path, config = self._model(kind, key, code_modules)
        forgot = key["request"] is not None
        if not self._found(path, config):
            self.log(f"making {title or path.name}")
            made = make()
            with self._new(path, config) as folder:
                write_model(folder, "weights.safetensors", made, case, case.request if forgot else None, ())
        try:
            read = read_model(path, case, runtime, forgot=forgot)
        except (StaleError, CheckpointError) as error:
            raise StaleError(f"An entry of the store is damaged: {error.found}", remedy=_remedy(path)) from error
        if not isinstance(read, Unlearned):
            raise StaleError(f"{path} holds no record of its model", remedy=_remedy(path))
        return digest, read

    def digest(self, kind: str, key: CacheKey, code_modules: Sequence[str]) -> str:
        """The digest of the key that a model has or would have; arguments as for `model`."""
        return self._model(kind, key, code_modules)[0]

    def holds(self, kind: str, key: CacheKey, code_modules: Sequence[str]) -> bool:
        """Whether there is an entry of a model; arguments as for `model`."""
        return self._model(kind, key, code_modules)[1].exists()

    def may_hold(self, kind: str) -> bool:
        """Whether there is any entry of a kind, which takes no look through the data to know."""
        return any(self.root.glob(f"{kind}-*"))

    def _model(self, kind: str, key: CacheKey, code_modules: Sequence[str]) -> tuple[str, Path, str]:
        return self._entry(kind, {**key, "code": code((*TRAINING, *code_modules))})

    def report(self, key: CacheKey, code_modules: Sequence[str], make: Callable[[], AuditReport]) -> AuditReport:
        """The audit of these things, or else one that is made now and kept; arguments as for `model`."""
        _, path, config = self._entry("audit", {**key, "code": code((*MEASURING, *code_modules))})
        if not self._found(path, config):
            self.log("making an audit")
            report = make()
            with self._new(path, config) as folder:
                report.to_json(folder / REPORT)
        try:
            require_whole(path, None)
            return AuditReport.from_json(path / REPORT)
        except StaleError as error:
            raise StaleError(f"An entry of the store is damaged: {error.found}", remedy=_remedy(path)) from error

    def _entry(self, kind: str, key: CacheKey) -> tuple[str, Path, str]:
        config = json.dumps({"layout": LAYOUT, "kind": kind, **key}, indent=1, sort_keys=True) + "\n"
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return digest, self.folder(kind, digest), config

    def folder(self, kind: str, digest: str) -> Path:
        """Where the entry of a kind and a key's digest lies, whether it is there or not."""
        return self.root / f"{kind}-{digest[:20]}"

    @contextmanager
    def _new(self, path: Path, config: str) -> Iterator[Path]:
        try:
            with new_run(path, config) as folder:
                yield folder
        except RunFolderError as error:
            raise RunFolderError(error.found, expected=error.expected, remedy=f"Name {_ANOTHER}") from error

    def _found(self, path: Path, config: str) -> bool:
        if not path.exists():
            return False
        remedy = _remedy(path)
        try:
            written = json.loads((path / CONFIG).read_text(encoding="utf-8"))
            layout = written["layout"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
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


def _remedy(path: Path) -> str:
    return f"Remove {path}, or name {_ANOTHER}"


@cache
def code(modules: tuple[str, ...]) -> str:
    """SHA-256 over the source of some folders and modules, without docstrings and comments.

    Args:
        modules: folders, with all that lies in them at any depth, or modules, such as `models/resnet`.

    Raises:
        FileNotFoundError: there is no such folder or module.
    """
    total = hashlib.sha256()
    for module in sorted(modules):
        single = PACKAGE / f"{module}.py"
        if not single.is_file() and not (PACKAGE / module).is_dir():
            raise FileNotFoundError(f"unregress has no module or folder {module!r}")
        for file in [single] if single.is_file() else sorted((PACKAGE / module).rglob("*.py")):
            name = file.relative_to(PACKAGE).as_posix()
            total.update(f"{name}\0{plain(file.read_text(encoding='utf-8'))}\0".encode())
    return total.hexdigest()


def plain(source: str) -> str:
    """Source text without what only people read."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [each for each in body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined] # it has one
    return ast.unparse(tree)
