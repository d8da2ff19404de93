"""A second request does not undo the first: through the command line, on the data that training actually reads."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from torch.utils.data import TensorDataset

from e2e.conftest import PROJECT, SHORT
from support import tiny_project as tiny
from unregress import Splits
from unregress.cli import main
from unregress.evidence import AuditReport

FIRST, SECOND = ["p3", "p7", "p20"], ["p11", "p7", "p40"]
"""The second person's letter names one record that the first had deleted already."""
GONE = [3, 7, 20]
METHODS = ("Retrain", "FineTune", "UniformAmnesiac", "GaussianAmnesiac", "Blindspot")


def poisoned() -> Splits:
    """The same data with garbage in the rows of the first request: whoever reads them spoils what is trained."""
    data = tiny.load_data()
    x, y = (tensor.clone() for tensor in data.train.tensors)  # type: ignore[attr-defined]
    x[GONE], y[GONE] = 1e4, -1e6
    return Splits(train=TensorDataset(x, y), validation=data.validation, test=data.test, ids=data.ids)


def without_first() -> Splits:
    """The same data after the first request's rows were deleted from the table, and it was sorted anew."""
    return _rows([i for i in reversed(range(60)) if i not in GONE])


def without_both() -> Splits:
    """Nothing of either request is left."""
    return _rows([i for i in range(60) if i not in (*GONE, 11, 40)])


def nameless() -> Splits:
    """The same data without ids."""
    return replace(tiny.load_data(), ids=None)


def _rows(rows: list[int]) -> Splits:
    data = tiny.load_data()
    x, y = (tensor[rows] for tensor in data.train.tensors)  # type: ignore[attr-defined]
    return Splits(train=TensorDataset(x, y), validation=data.validation, test=data.test, ids=[f"p{i}" for i in rows])


def of(data: str) -> list[str]:
    return ["--task", "support.tiny_project.make_task", "--data", f"e2e.test_chain.{data}"]


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `original`, `first` and `second`, each made from the one before; and files `one.txt`, `two.txt`."""
    folder = tmp_path_factory.mktemp("chain")
    (folder / "one.txt").write_text("\n".join(FIRST))
    (folder / "two.txt").write_text("\n".join(SECOND))
    assert main(["train", *PROJECT, "--recipe.epochs", "3", "--output", str(folder / "original")]) == 0
    for name, start, ids in (("first", "original", "one"), ("second", "first", "two")):
        words = ["forget", *PROJECT, "--request.ids_file", str(folder / f"{ids}.txt"), "--request.reason", name,
                 "--checkpoint", str(folder / start), "--method", "FineTune", *SHORT]  # fmt: skip
        assert main([*words, "--output", str(folder / name)]) == 0
    return folder


def weights(folder: Path) -> bytes:
    return (folder / "unlearned.safetensors").read_bytes()


def test_a_run_folder_carries_the_requests_it_was_made_after(chain: Path) -> None:
    second = read(chain / "second" / "request.json")
    assert (second["forget"], second["excluded"], second["reason"]) == ([11, 40], GONE, "second")
    assert [each["forget"] for each in second["before"]] == [GONE]
    assert read(chain / "first" / "request.json")["before"] == []
    assert any("1 of 3 samples" in warning for warning in read(chain / "second" / "history.json")["warnings"])


@pytest.mark.parametrize("method", METHODS)
def test_no_later_training_reads_what_was_forgotten(method: str, chain: Path, tmp_path: Path) -> None:
    """Garbage in the first request's rows changes no bit, and deleting them changes none either.

    Row order decides the batches, so that the deleted rows are compared in their order.
    """
    start = [] if method == "Retrain" else ["--checkpoint", str(chain / "first")]
    after = ["--request.after", f"[{chain / 'first'}]"]
    words = ["forget", "--request.ids_file", str(chain / "two.txt"), "--request.reason", "second", *after, *start,
             "--method", method, "--method.recipe.epochs", "2"]  # fmt: skip
    made = {}
    for name, data in (("clean", PROJECT), ("poisoned", of("poisoned"))):
        assert main([*words, *data, "--output", str(tmp_path / name)]) == 0
        made[name] = weights(tmp_path / name)
    assert made["clean"] == made["poisoned"]


def test_a_request_that_would_undo_the_first_says_so(
    chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    third = ["forget", *PROJECT, "--request.ids_file", str(tmp_path / "three.txt"),
             "--request.reason", "third", "--output", str(tmp_path / "third")]  # fmt: skip
    (tmp_path / "three.txt").write_text("p50")
    # By exact retraining too, which takes nothing of the model but its initial weights.
    for method in ("FineTune", "Retrain"):
        shutil.rmtree(tmp_path / "third", ignore_errors=True)
        assert main([*third, "--method", method, *SHORT, "--checkpoint", str(chain / "original")]) == 0
        out = capsys.readouterr().out
        assert "'first' (first), 'second' (second)" in out and "up to 3 of which" in out
    shutil.rmtree(tmp_path / "third")
    assert main([*third, "--method", "FineTune", *SHORT, "--checkpoint", str(chain / "second")]) == 0
    assert "Run folders beside" not in capsys.readouterr().out
    # A bare file's past is unknown, whatever the method.
    shutil.copy(chain / "first" / "unlearned.safetensors", tmp_path / "bare.safetensors")
    shutil.rmtree(tmp_path / "third")
    assert main([*third, "--method", "Retrain", *SHORT, "--checkpoint", str(tmp_path / "bare.safetensors")]) == 0
    assert "bare weights file" in capsys.readouterr().out


def test_golds_helpers_relearning_and_attacks_leave_it_out_too(chain: Path, tmp_path: Path) -> None:
    """An audit with golds of its own gives the same numbers with garbage in the first request's rows."""
    reports = {}
    for name, data in (("clean", PROJECT), ("poisoned", of("poisoned"))):
        words = ["audit", *data, "--request.from_run", str(chain / "second"), f"--models.original={chain / 'first'}",
                 f"--models.mine={chain / 'second'}", "--retrain", "{golds: 2}",
                 "--retrain.store", str(tmp_path / f"store-{name}"), "--output", str(tmp_path / name)]  # fmt: skip
        assert main(words) == 0
        reports[name] = AuditReport.from_json(tmp_path / name / "audit.json")
    assert reports["clean"].measures == reports["poisoned"].measures
    assert reports["clean"].samples["train-retain"] == 55
    assert not any("same recipe" in caveat for caveat in reports["clean"].caveats)
    # The recipe came through the chain, from `original`.
    assert read(tmp_path / "clean" / "golds.json")["recipe"]["epochs"] == 3


def test_an_audit_looks_at_earlier_requests_again(chain: Path, tmp_path: Path) -> None:
    words = ["audit", *PROJECT, "--request.from_run", str(chain / "second"), f"--models.original={chain / 'original'}",
             f"--models.mine={chain / 'second'}", "--retrain", "{golds: 2}", "--metrics", "[Errors]",
             "--retrain.store", str(tmp_path / "store"), "--output", str(tmp_path / "audit")]  # fmt: skip
    assert main(words) == 0
    report = AuditReport.from_json(tmp_path / "audit" / "audit.json")
    (again,) = report.earlier
    assert (again.reason, again.samples, [verdict.model for verdict in again.verdicts]) == ("first", 3, ["mine"])
    # And the other way round: the audit may be about the first, with the second out of everything.
    words[words.index(str(chain / "second"))] = str(chain / "first")
    words[-1] = str(tmp_path / "of-first")
    assert main(words) == 0
    report = AuditReport.from_json(tmp_path / "of-first" / "audit.json")
    assert (report.samples["train-forget"], report.samples["train-retain"]) == (3, 55)
    assert [each.reason for each in report.earlier] == ["second"]


def test_requests_hold_when_their_rows_are_gone(
    chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["forget", *of("without_first"), "--request.from_run", str(chain / "second"), "--method", "Retrain",
             "--method.recipe.epochs", "2", "--output", str(tmp_path / "gold")]  # fmt: skip
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "3 of 3 ids are no longer in the training data" in told
    found = read(tmp_path / "gold" / "request.json")
    rows = [i for i in reversed(range(60)) if i not in GONE]
    assert sorted(rows[i] for i in found["forget"]) == [11, 40] and found["excluded"] == []
    assert [each["reason"] for each in found["before"]] == ["first"]
    words = ["audit", *of("without_first"), "--request.from_run", str(chain / "second"), "--metrics", "[Errors]",
             f"--models.original={chain / 'original'}", f"--models.mine={chain / 'second'}",
             "--golds", f"[{tmp_path / 'gold'}]", "--output", str(tmp_path / "audit")]  # fmt: skip
    assert main(words) == 0
    report = AuditReport.from_json(tmp_path / "audit" / "audit.json")
    assert report.samples["train-forget"] == 2
    assert any("60 samples then, 57 now" in caveat for caveat in report.caveats)


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(words) == 2
    return capsys.readouterr().err


def test_nothing_is_left_to_forget(chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = ["--checkpoint", str(chain / "second"), "--method", "FineTune", *SHORT, "--output", str(tmp_path / "x")]
    one = ["--request.ids_file", str(chain / "one.txt"), "--request.reason", "again"]
    assert "already" in refused(["forget", *PROJECT, *one, *start], capsys)
    assert "already" in refused(["forget", *PROJECT, "--request.from_run", str(chain / "first"), *start], capsys)
    gone = ["forget", *of("without_both"), "--request.from_run", str(chain / "second"), *start]
    assert "None of the records" in refused(gone, capsys)
    assert list(tmp_path.iterdir()) == []


def test_golds_that_were_trained_on_an_earlier_request_are_refused(
    chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = ["forget", *PROJECT, "--request.ids_file", str(chain / "two.txt"), "--request.reason", "second",
            "--method", "Retrain", "--method.recipe.epochs", "1", "--output", str(tmp_path / "gold")]  # fmt: skip
    assert main(gold) == 0
    words = ["audit", *PROJECT, "--request.from_run", str(chain / "second"), "--metrics", "[Errors]",
             f"--models.original={chain / 'original'}", f"--models.mine={chain / 'second'}",
             "--golds", f"[{tmp_path / 'gold'}]", "--output", str(tmp_path / "audit")]  # fmt: skip
    assert "was trained on 2 samples" in refused(words, capsys)


def test_a_bare_weights_file_loses_its_past_not_without_a_word(
    chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "deployed.safetensors"
    shutil.copy(chain / "first" / "unlearned.safetensors", bare)
    words = ["forget", *PROJECT, "--request.ids_file", str(chain / "two.txt"), "--request.reason", "second",
             "--checkpoint", str(bare), "--method", "FineTune", *SHORT]  # fmt: skip
    assert main([*words, "--output", str(tmp_path / "bare")]) == 0
    assert "`request.after`" in capsys.readouterr().out
    named = [*words, "--request.after", f"[{chain / 'first'}]", "--output", str(tmp_path / "named")]
    assert main(named) == 0
    assert "`request.after`" not in capsys.readouterr().out
    assert weights(tmp_path / "named") == weights(chain / "second") != weights(tmp_path / "bare")
    for nothing in (chain / "typo", chain / "original"):
        wrong = [*words, "--request.after", f"[{nothing}]", "--output", str(tmp_path / "wrong")]
        assert "holds no request" in refused(wrong, capsys)
    # In the folder that it was written to its past is known.
    words[words.index(str(bare))] = str(chain / "first" / "unlearned.safetensors")
    assert main([*words, "--output", str(tmp_path / "inside")]) == 0
    assert weights(tmp_path / "inside") == weights(chain / "second")


def test_an_id_that_is_forgotten_and_gone_may_be_named_again(
    chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "three.txt").write_text("p3\np11\n")
    words = ["forget", *of("without_first"), "--request.ids_file", str(tmp_path / "three.txt"), "--request.reason", "x",
             "--checkpoint", str(chain / "first"), "--method", "FineTune", *SHORT]  # fmt: skip
    assert main([*words, "--output", str(tmp_path / "third")]) == 0
    assert "1 ids were forgotten by an earlier request" in capsys.readouterr().out
    assert len(read(tmp_path / "third" / "request.json")["forget"]) == 1
    (tmp_path / "three.txt").write_text("p3\np7\n")
    assert "All 2 ids" in refused([*words, "--output", str(tmp_path / "none")], capsys)
    # Without ids, a line would be taken for a position: somebody else would be forgotten.
    (tmp_path / "three.txt").write_text("3\n")
    assert "no ids" in refused(
        [*words, "--data", "e2e.test_chain.nameless", "--output", str(tmp_path / "none")], capsys
    )


def test_code_that_a_run_folder_names_is_not_run(
    chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil.py").write_text("open('ran', 'w').close()\nclass Nice: pass\n")
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        shutil.copytree(chain / name, tmp_path / name)
        config = tmp_path / name / "config.yaml"
        config.write_text(config.read_text().replace("class_path: unregress.FineTune", "class_path: evil.Nice"))
        assert "evil.Nice" in config.read_text()
        # A folder that agrees with itself: without a manifest nothing else shows that it was edited.
        history = tmp_path / name / "history.json"
        history.write_text(
            history.read_text().replace(
                '"method": "FineTune",\n  "module": ""', '"method": "Nice",\n  "module": "evil"'
            )
        )
        (tmp_path / name / "manifest.json").unlink()
    words = ["audit", *PROJECT, "--request.from_run", str(chain / "second"), f"--models.original={tmp_path / 'first'}",
             f"--models.mine={tmp_path / 'second'}", "--metrics", "[Errors]", "--retrain", "{golds: 1}", "--deep", "{}",
             "--retrain.store", str(tmp_path / "store"), "--output", str(tmp_path / "audit")]  # fmt: skip
    assert "evil.Nice" in refused(words, capsys)
    assert not (tmp_path / "ran").exists()


def test_the_tensors_of_this_test_are_what_they_say() -> None:
    clean, garbage = tiny.load_data().train[:], poisoned().train[:]  # type: ignore[index]
    same: Tensor = (clean[0] == garbage[0]).all(1)
    assert (~same).nonzero().squeeze(1).tolist() == GONE
