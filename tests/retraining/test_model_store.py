"""Models and audits are made once for what they are made from; an entry that is not as it was written is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from support.face_images import CODE, RUNTIME, SHORT, files, table
from test_imports import imports
from unregress.auditing.pipeline import audit
from unregress.data.case import Case
from unregress.data.request import ForgetRequest
from unregress.errors import CheckpointError, StaleError, UnregressError
from unregress.evidence import AuditReport
from unregress.experiments.families import FAMILIES
from unregress.methods import Retrain, Unlearned, train
from unregress.metrics import Errors
from unregress.retraining import model_store as module
from unregress.retraining.model_store import LAYOUT, MEASURING, TRAINING, Store, code
from unregress.tasks.weights import weights_of

TARGETS = [float(age) for age in range(10, 34)]
FACTS = {"data": "d", "request": None, "method": "train", "seed": 0}


@pytest.fixture(scope="module")
def case() -> Case:
    loaded = table((TARGETS, TARGETS[::2], TARGETS[1::2]))
    return Case(task=loaded.task, splits=loaded.splits, request=ForgetRequest.band(TARGETS, high=15, reason="test"))


@pytest.fixture(scope="module")
def made(case: Case) -> Unlearned:
    return train(case, SHORT, RUNTIME)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def ask(case: Case, made: Unlearned, tmp_path: Path, said: list[str]) -> Callable[..., tuple[str, Unlearned]]:
    """Ask the store for a model; `kind`, `own` and facts can be named."""
    kept = Store(root=tmp_path / "store", log=said.append)

    def asking(kind: str = "original", own: tuple[str, ...] = CODE, **facts: Any) -> tuple[str, Unlearned]:
        return kept.model(kind, {**FACTS, **facts}, own, case, RUNTIME, lambda: made)

    return asking


Ask = Callable[..., tuple[str, Unlearned]]


def entries(folder: Path) -> list[Path]:
    return sorted((folder / "store").iterdir())


def test_a_model_is_made_once_and_comes_back_as_it_was(
    ask: Ask, made: Unlearned, said: list[str], tmp_path: Path
) -> None:
    key, one = ask()
    again, two = ask()
    assert key == again and len(key) == 64
    (entry,) = entries(tmp_path)
    assert entry.name == f"original-{key[:20]}" and said == [f"making {entry.name}"]
    for found in (one, two):
        assert replace(found, model=made.model, start=made.start) == replace(made, model=made.model)
        for ours, theirs in ((found.model, made.model), (found.start, made.start)):
            assert weights_of(ours) == weights_of(theirs)
    assert not two.model.training
    config = json.loads((entry / "config.yaml").read_text())
    assert {**FACTS, "layout": LAYOUT, "kind": "original", "code": code((*TRAINING, *CODE))} == config


def test_every_fact_the_kind_and_the_code_decide_the_entry(ask: Ask, said: list[str], tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"data": "e"},
        {"method": "train(x)"},
        {"seed": 1},
        {"from": "k"},
        {"own": ()},
        {"kind": "gold"},
    ]
    keys = [ask(**change)[0] for change in changes]
    assert len(set(keys[:-1])) == len(changes) - 1
    assert len(entries(tmp_path)) == len(said) == len(changes)
    assert [ask(**change)[0] for change in changes] == keys and len(said) == len(changes)


def test_the_order_of_facts_says_nothing(case: Case, made: Unlearned, said: list[str], tmp_path: Path) -> None:
    kept = Store(root=tmp_path / "store", log=said.append)
    for facts in (FACTS, dict(reversed(FACTS.items()))):
        kept.model("original", facts, (), case, RUNTIME, lambda: made)
    assert len(said) == 1


def test_a_making_that_fails_leaves_nothing(case: Case, tmp_path: Path) -> None:
    def fail() -> Unlearned:
        raise RuntimeError("power cut")

    kept = Store(root=tmp_path / "store", log=lambda text: None)
    with pytest.raises(RuntimeError, match="power cut"):
        kept.model("original", FACTS, (), case, RUNTIME, fail)
    assert list(tmp_path.iterdir()) == []


def test_a_writing_that_fails_leaves_nothing(ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_model", full)
    with pytest.raises((OSError, UnregressError), match="No space left"):
        ask()
    assert list(tmp_path.iterdir()) == []


def edited(entry: Path, **changes: Any) -> None:
    config = entry / "config.yaml"
    config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))


def as_a_file(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.write_text("a file")


def of_other_things(entry: Path) -> None:
    (entry / "config.yaml").unlink()
    (entry / "thesis.tex").write_text("precious")


def truncated(entry: Path) -> None:
    weights = entry / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])


def of_other_data(entry: Path) -> None:
    record = entry / "history.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "data_digest": "0" * 64}))


def emptied(entry: Path) -> None:
    for file in entry.iterdir():
        file.unlink()


def swapped(entry: Path) -> None:
    """Weights of the same shapes that somebody else trained."""
    weights = entry / "weights.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(bytes(changed))


DAMAGE: dict[str, tuple[Callable[[Path], object], type[UnregressError], str]] = {
    "other layout": (lambda entry: edited(entry, layout=LAYOUT + 1), StaleError, f"layout {LAYOUT + 1}"),
    "config edited": (lambda entry: edited(entry, seed=7), StaleError, "belongs to another key"),
    "config no json": (lambda entry: (entry / "config.yaml").write_text("{"), StaleError, "not an entry"),
    "config no object": (lambda entry: (entry / "config.yaml").write_text("[1]"), StaleError, "not an entry"),
    "a text as config": (lambda entry: (entry / "config.yaml").write_text('"layout"'), StaleError, "not an entry"),
    "other things": (of_other_things, StaleError, "not an entry"),
    "empty": (emptied, StaleError, "not an entry"),
    "a file": (as_a_file, StaleError, "not an entry"),
    "no weights": (
        lambda entry: (entry / "weights.safetensors").unlink(),
        StaleError,
        "weights.safetensors is missing",
    ),
    "weights truncated": (truncated, StaleError, "weights.safetensors was changed after it was written"),
    "weights empty": (
        lambda entry: (entry / "weights.safetensors").write_bytes(b""),
        StaleError,
        "weights.safetensors was changed after it was written",
    ),
    "weights swapped": (swapped, StaleError, "weights.safetensors was changed after it was written"),
    "manifest damaged": (lambda entry: (entry / "manifest.json").write_text("{"), StaleError, "manifest.json cannot"),
    "a file added": (lambda entry: (entry / "notes.txt").write_text("mine"), StaleError, "notes.txt was added"),
    "no history": (lambda entry: (entry / "history.json").unlink(), CheckpointError, "history.json"),
    "history damaged": (lambda entry: (entry / "history.json").write_text("{}"), CheckpointError, "history.json"),
    "other data": (of_other_data, StaleError, "history.json was changed after it was written"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_entry_is_refused_and_kept(name: str, ask: Ask, said: list[str], tmp_path: Path) -> None:
    damage, kind, message = DAMAGE[name]
    ask()
    (entry,) = entries(tmp_path)
    damage(entry)
    before = files(tmp_path)
    with pytest.raises((StaleError, CheckpointError), match=message) as caught:
        ask()
    # A damaged weights file may be told in the store's words as well as in the reader's.
    assert isinstance(caught.value, (kind, StaleError)) and entry.name in str(caught.value)
    assert files(tmp_path) == before and len(said) == 1


@pytest.mark.parametrize("name", ["weights truncated", "no weights", "no history", "other layout"])
def test_the_remedy_for_a_damaged_entry_is_to_remove_it(name: str, ask: Ask, tmp_path: Path) -> None:
    ask()
    (entry,) = entries(tmp_path)
    DAMAGE[name][0](entry)
    with pytest.raises(UnregressError) as caught:
        ask()
    text = str(caught.value)
    assert f"Remove {entry}" in text and ".." not in text.replace("...", "") and "Save" not in text
    assert "`--store` of `unregress reproduce`" in text and "`--retrain.store` of `unregress audit`" in text
    shutil.rmtree(entry)
    assert ask()[0].startswith(entry.name.removeprefix("original-"))


def test_an_entry_of_an_earlier_version_has_no_manifest_and_is_read(ask: Ask, said: list[str], tmp_path: Path) -> None:
    key, _ = ask()
    (entry,) = entries(tmp_path)
    manifest = json.loads((entry / "manifest.json").read_text())
    written = {file.name: file.read_bytes() for file in entry.iterdir() if file.name != "manifest.json"}
    assert manifest["files"] == {name: hashlib.sha256(content).hexdigest() for name, content in written.items()}
    assert (
        sorted(written) == ["config.yaml", "history.json", "start.safetensors", "weights.safetensors"]
        and manifest["made_from"] == []
    )
    (entry / "manifest.json").unlink()
    assert ask()[0] == key and len(said) == 1
    of_other_data(entry)
    with pytest.raises(StaleError, match="other data"):
        ask()


KEY = "32b5c4f437e561cc067dc99a5739ac626f32cfae007d3ef3ad9bc5f47fd4c888"


def test_the_keys_of_models_stay_as_they_are(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained models in many a store depend on how facts become a key."""
    monkeypatch.setattr(module, "code", lambda rooms: "c")
    assert ask()[0] == KEY


def test_an_audit_is_made_once_and_comes_back_as_it_was(
    case: Case, made: Unlearned, said: list[str], tmp_path: Path
) -> None:
    kept = Store(root=tmp_path / "store", log=said.append)
    gold = Retrain(recipe=SHORT).unlearn(made.model, case, RUNTIME)
    report = audit(case, {"original": made}, RUNTIME, golds=[gold], metrics=[Errors()])
    calls: list[int] = []

    def make() -> AuditReport:
        calls.append(1)
        return report

    assert kept.report(FACTS, CODE, make) == report
    assert kept.report(FACTS, CODE, make) == report
    assert len(calls) == len(said) == 1
    (entry,) = entries(tmp_path)
    assert sorted(file.name for file in entry.iterdir()) == ["audit.json", "config.yaml", "manifest.json"]
    (entry / "audit.json").write_text("{}")
    with pytest.raises(StaleError, match=r"audit\.json was changed after it was written"):
        kept.report(FACTS, CODE, make)
    (entry / "manifest.json").unlink()
    with pytest.raises(StaleError, match="not an audit report"):
        kept.report(FACTS, CODE, make)
    assert len(calls) == 1 and (entry / "audit.json").read_text() == "{}"


def test_the_code_of_every_room_counts() -> None:
    alone = {code((room,)) for room in MEASURING}
    assert len(alone) == len(MEASURING) and set(TRAINING) < set(MEASURING)
    assert code(TRAINING) not in alone and code(TRAINING) == code(tuple(reversed(TRAINING)))
    for family in FAMILIES.values():
        assert code(family.code) != code(())


PACKAGE = Path(str(resources.files("unregress")))
ROOTS = {"training": ("methods", "trainers", "training"), "measuring": ("auditing/pipeline", "metrics")}
"""Where what is stored begins: models, and the reports of `audit`."""
DECIDES_NOTHING = {
    "errors/__init__": "what is raised is not stored",
    "errors/user_code": "words of errors",
    "errors/wording": "words of errors and of keys, which change with them",
    "files/versions": "versions that are recorded with what is stored",
    "files/typed_json": "reads and writes what others made",
    "files/writing": "writes bytes that others made",
    "runs/checkpoint": "writes and reads weights as they are",
    "runs/digests": "digests of files that were given; models of a store have none in a report",
    "parallel/jobs": "where and in what order, never what",
    "checks/model_check": "tries a model and refuses it",
    "report": "shows a finished report",
    "retraining/fingerprint": "makes keys, which change with it",
    "retraining/model_spec": "makes keys, which change with it",
    "retraining/model_store": "makes keys, which change with it",
    "retraining/missing_work": "how long a job will take, which is said and not stored",
    "retraining/throughput": "how long a job will take, which is said and not stored",
    "retraining/workload": "how long a job will take, which is said and not stored",
    "evidence/contradictions": "refuses a report as it is read",
    "evidence/verdict": "judges anew on each reading, but for earlier requests, which no experiment has",
}
"""Modules, and a folder, that do not decide what is stored, with the reason; nor does what they alone import."""
RECORDS = {
    "evidence/long_values": "how a record is written",
    "evidence/model_record": "a record of settings, which are in the key themselves",
}
"""The same for models: an audit compares their records, and so depends on them."""


def test_code_at_any_depth_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "PACKAGE", tmp_path)
    (nested := tmp_path / "metrics" / "deep" / "klom.py").parent.mkdir(parents=True)
    found = []
    for text in ("LEVELS = 3\n", "LEVELS = 4\n", "LEVELS = 4  # a comment\n"):
        nested.write_text(text)
        code.cache_clear()
        found.append(code(("metrics",)))
    code.cache_clear()
    assert found[0] != found[1] == found[2]


def test_code_that_is_not_there_is_no_key() -> None:
    with pytest.raises(FileNotFoundError, match="metrics/gone"):
        code(("metrics/gone",))


class Library:
    """The modules of a package, and which of them each one imports; a module is named by its path: `evidence/coupling`.

    What is imported from a package by the name of what one of its modules defines is followed to that module.
    """

    def __init__(self, package: Path) -> None:
        self.package = package
        files = package.rglob("*.py")
        self.files = {file.relative_to(package).with_suffix("").as_posix(): file for file in files}

    def within(self, rooms: Iterable[str]) -> set[str]:
        """The modules of some folders, and modules as they are."""
        return {name for name in self.files for room in rooms if name == room or name.startswith(f"{room}/")}

    def imported(self, module: str) -> set[str]:
        """The modules that a module imports from."""
        targets = [each.target.split(".") for each in imports(self.files[module], self.package)]
        return {self.module_of(target[1:]) for target in targets if target[0] == self.package.name}

    def module_of(self, parts: list[str]) -> str:
        """The module that defines what is imported: a module itself, or something in it."""
        for end in range(len(parts), -1, -1):
            name, package = "/".join(parts[:end]), "/".join([*parts[:end], "__init__"])
            if name in self.files:
                return name
            if package in self.files:
                inner = [] if end == len(parts) else self._passed_on(package, parts[end])
                return self.module_of(inner) if inner else package
        raise AssertionError(f"{parts} is not in {self.package}")

    def _passed_on(self, package: str, name: str) -> list[str]:
        """Where a package takes a name from that it passes on; empty if it defines the name itself."""
        targets = [each.target.split(".") for each in imports(self.files[package], self.package)]
        return next((target[1:] for target in targets if target[0] == self.package.name and target[-1] == name), [])

    def reached(self, roots: Iterable[str], exempt: Collection[str]) -> set[str]:
        """The modules of some folders and all that they import, directly or not, but for what exempt ones import."""
        found, ahead = set[str](), self.within(roots)
        while ahead:
            found |= ahead
            ahead = {each for module in ahead - self.within(exempt) for each in self.imported(module)} - found
        return found


LIBRARY = Library(PACKAGE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("roots", "rooms", "exempt"),
    [
        (ROOTS["training"], TRAINING, {**DECIDES_NOTHING, **RECORDS}),
        ((*ROOTS["training"], *ROOTS["measuring"]), MEASURING, DECIDES_NOTHING),
    ],
    ids=["training", "measuring"],
)
def test_no_module_that_decides_what_is_stored_is_left_out_of_the_key(
    roots: tuple[str, ...], rooms: tuple[str, ...], exempt: dict[str, str]
) -> None:
    missing = LIBRARY.reached(roots, exempt) - LIBRARY.within(rooms)
    assert sorted(missing - LIBRARY.within(exempt)) == []


def test_every_exemption_is_needed() -> None:
    every = LIBRARY.reached((*ROOTS["training"], *ROOTS["measuring"]), DECIDES_NOTHING)
    assert [name for name in DECIDES_NOTHING if not LIBRARY.within([name]) & every] == []
    assert not LIBRARY.within(MEASURING) & LIBRARY.within(DECIDES_NOTHING)
    assert not LIBRARY.within(TRAINING) & LIBRARY.within(RECORDS)


@pytest.mark.parametrize("module", ["evidence/coupling", "evidence/memory_limit", "checks/survey", "evidence/rule"])
def test_what_an_audit_computes_with_is_in_its_key(module: str) -> None:
    assert module in LIBRARY.within(MEASURING) and module not in LIBRARY.within(TRAINING)
    assert "evidence/nan_means" in LIBRARY.within(TRAINING)


def test_imports_are_followed_module_by_module(tmp_path: Path) -> None:
    files = {
        "pkg/__init__.py": "",
        "pkg/start.py": "from pkg.shelf import Thing\nfrom pkg.shelf.own import other\nimport os\n",
        "pkg/shelf/__init__.py": "from pkg.shelf.deep import Thing\nfrom pkg.shelf.aside import Aside\n",
        "pkg/shelf/deep.py": "def late():\n    from pkg.exempt import x\n",
        "pkg/shelf/aside.py": "",
        "pkg/shelf/own.py": "from pkg.shelf import HERE\n",
        "pkg/exempt.py": "import pkg.behind\n",
        "pkg/behind.py": "",
    }
    for name, text in files.items():
        (path := tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    library = Library(tmp_path / "pkg")
    direct = {"start", "shelf/deep", "shelf/own", "exempt"}
    # `HERE` is of the folder's own `__init__`, which is a module then, with its imports.
    assert library.reached(["start"], ["exempt"]) == {*direct, "shelf/__init__", "shelf/aside"}
    assert library.reached(["start"], []) == {*direct, "shelf/__init__", "shelf/aside", "behind"}
