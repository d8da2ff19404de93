"""A cache of trained models and audits in a folder, keyed by data, request, settings, seed and source code."""

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
from unregress.methods.unlearned import Unlearned
from unregress.runs.folder import CONFIG, new_run
from unregress.runs.model_io import read_model, write_model
from unregress.runs.provenance import require_whole
from unregress.training.runtime import Runtime

CacheKey = dict[str, Any]
"""Everything that determines a stored model or audit, as plain data; its SHA-256 names the entry."""
PACKAGE = Path(__file__).resolve().parents[1]
LAYOUT = 3
"""Version of an entry's files; to be raised when code for the old layout would misread the new one."""
REPORT = "audit.json"
_ANOTHER_STORE = "another store: `--store` of `unregress reproduce`, `--retrain.store` of `unregress audit`"
TRAINING = ("cost", "data", "distributed", "evidence/nan_means", "hooks", "methods", "tasks", "trainers", "training")
"""Folders and modules whose code determines a trained model, besides the code of its data and architecture."""
STACKING = ("retraining/stack", "retraining/stacked_training")
"""Modules whose code determines models that are trained in one loop."""
MEASURING = (*TRAINING, *STACKING, "auditing", "checks/survey", "evidence/audit_report", "evidence/combined_memory",
             "evidence/coupling", "evidence/findings", "evidence/long_values", "evidence/memory_limit",
             "evidence/model_record", "evidence/noise_floor", "evidence/rule", "evidence/table_verdict", "metrics",
             "retraining/model_factory")  # fmt: skip
"""Folders and modules whose code determines an audit's measurements and what it says of them; verdicts are computed
again on each reading."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """A cache of models and audits, keyed by data, request, settings, seed and code.

    An entry is a run folder, which is written atomically, so that an interrupted run can be resumed.
    Threads, device and the version of PyTorch are recorded with the results but are not part of the key: a store may
    be copied to another machine, where the same training would round, and on a GPU draw dropout, differently.
    """

    root: Path
    log: Callable[[str], None] = print
    """Called with a line for each entry that is made."""

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
        """Load the model with this key, or make and store it.

        Args:
            kind: kind of model, the prefix of the entry's folder name.
            key: everything that determines it, as plain data; `request` is the digest of the request that it has
                forgotten, or None.
            code_modules: modules besides `TRAINING` whose code determines it, such as `models/resnet`.
            case: the data, and the request.
            runtime: used to load the weights.
            make: called to make the model if it is not stored.
            title: description for the log; by default the entry's name.

        Returns:
            The digest of the key, and the model.

        Raises:
            StaleError: the entry was written by another version, or was changed.
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
            raise StaleError(f"{path} has no record of its model", remedy=_remedy(path))
        return digest, read

    def digest(self, kind: str, key: CacheKey, code_modules: Sequence[str]) -> str:
        """Digest of a model's key, whether it is stored or not; arguments as for `model`."""
        return self._model(kind, key, code_modules)[0]

    def holds(self, kind: str, key: CacheKey, code_modules: Sequence[str]) -> bool:
        """Whether a model is stored; arguments as for `model`."""
        return self._model(kind, key, code_modules)[1].exists()

    def may_hold(self, kind: str) -> bool:
        """Whether any entry of a kind is stored; unlike `holds`, this needs no key and so no hashing of the data."""
        return any(self.root.glob(f"{kind}-*"))

    def _model(self, kind: str, key: CacheKey, code_modules: Sequence[str]) -> tuple[str, Path, str]:
        return self._entry(kind, {**key, "code": code((*TRAINING, *code_modules))})

    def report(self, key: CacheKey, code_modules: Sequence[str], make: Callable[[], AuditReport]) -> AuditReport:
        """Load the audit with this key, or make and store it; arguments as for `model`."""
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
        """Path of the entry of a kind and a key's digest, whether it exists or not."""
        return self.root / f"{kind}-{digest[:20]}"

    @contextmanager
    def _new(self, path: Path, config: str) -> Iterator[Path]:
        try:
            with new_run(path, config) as folder:
                yield folder
        except RunFolderError as error:
            raise RunFolderError(error.found, expected=error.expected, remedy=f"Name {_ANOTHER_STORE}") from error

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
            raise StaleError(f"{path} belongs to another key", remedy=remedy)
        return True


def _remedy(path: Path) -> str:
    return f"Remove {path}, or name {_ANOTHER_STORE}"


@cache
def code(modules: tuple[str, ...]) -> str:
    """SHA-256 of the source of some folders and modules, without docstrings and comments.

    Args:
        modules: folders, which include their subfolders, or modules, such as `models/resnet`.

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
            total.update(f"{name}\0{without_docstrings(file.read_text(encoding='utf-8'))}\0".encode())
    return total.hexdigest()


def without_docstrings(source: str) -> str:
    """Remove docstrings, comments and formatting from source code."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [each for each in body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined] # it has one
    return ast.unparse(tree)
