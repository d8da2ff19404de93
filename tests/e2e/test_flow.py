"""Train, forget with every method, audit, report: through the command line, on tiny data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from e2e.conftest import METHODS, PROJECT, REQUEST, SHORT, audit_words
from support import tiny_project as tiny
from unregress.cli import main
from unregress.evidence import AuditReport, ModelRecord
from unregress.files.typed_json import build
from unregress.runs.checkpoint import load_weights


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_every_command_leaves_its_files_and_nothing_else(runs: Path) -> None:
    assert names(runs) == sorted(["original", "retrained", "retrained-2", *METHODS, "audit"])
    weights = ["original.safetensors", "start.safetensors"]
    assert names(runs / "original") == ["config.yaml", "history.json", "manifest.json", *weights]
    assert names(runs / "audit") == ["audit.html", "audit.json", "config.yaml", "manifest.json"]
    for name in ("retrained", *METHODS):
        files = ["config.yaml", "history.json", "manifest.json", "request.json", "unlearned.safetensors"]
        assert names(runs / name) == sorted([*files, *["helper.safetensors"] * (name == "Blindspot")])


def test_original_learnt_and_gold_did_not_see_the_band(runs: Path) -> None:
    report = AuditReport.from_json(runs / "audit" / "audit.json")
    original, gold = (report.value("mae", "train-forget", name) for name in ("original", "retrained"))
    assert original is not None and gold is not None
    assert original < gold
    assert [(model.name, model.role) for model in report.models] == [
        ("original", "original"),
        *((name, "unlearned") for name in METHODS),
        ("retrained", "gold"),
        ("retrained #2", "gold"),
        ("Blindspot's helper", "reference"),
        ("constant", "reference"),
    ]


@pytest.mark.parametrize("name", METHODS)
def test_each_method_changes_the_weights_and_tells_its_cost(runs: Path, name: str) -> None:
    model = tiny.make_model()
    load_weights(model, runs / name / "unlearned.safetensors")
    before = load_file(runs / "original" / "original.safetensors")
    assert any(not before[key].equal(value) for key, value in model.state_dict().items())
    record = read(runs / name / "history.json")
    assert record["made"]["method"] == name
    assert [epoch["epoch"] for epoch in record["history"]][-3:] == [1, 2, 3]
    assert record["cost"]["backward"] >= 3 * (60 - len(read(runs / name / "request.json")["forget"]))
    report = AuditReport.from_json(runs / "audit" / "audit.json")
    audited = next(model for model in report.models if model.name == name)
    assert audited.cost is not None and audited.cost.backward == record["cost"]["backward"]
    assert audited.record == build(ModelRecord, record["made"])


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("FineTune", ["Made a model that should have forgotten {} of 60 training samples: letter 17",
                      "`unregress audit` measures whether it has"]),
        ("Retrain", ["Retrained without {} of 60 training samples: letter 17"]),
    ],
)  # fmt: skip
def test_no_command_says_that_a_model_forgot(
    method: str, told: list[str], runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["forget", *PROJECT, *REQUEST, "--checkpoint", str(runs / "original"), "--method", method,
             "--method.recipe.epochs", "1", "--output", str(tmp_path / "run")]  # fmt: skip
    assert main(words) == 0
    shown = capsys.readouterr().out
    count = len(read(tmp_path / "run" / "request.json")["forget"])
    assert shown.splitlines()[: len(told)] == [line.format(count) for line in told]
    assert "Forgot" not in shown


def test_the_request_is_recorded_with_its_digest_and_the_data_s(runs: Path) -> None:
    request = read(runs / "retrained" / "request.json")
    targets = tiny.load_data().train[:][1]
    assert request["forget"] == [i for i, target in enumerate(targets.tolist()) if target >= 55]
    assert (request["reason"], request["target_band"], request["size"]) == ("letter 17", [55.0, None], 60)
    report = AuditReport.from_json(runs / "audit" / "audit.json")
    assert report.request_digest == request["digest"]
    assert report.data_digest == request["data_digest"] == read(runs / "original" / "history.json")["data_digest"]
    assert report.reason == "letter 17"


def test_report_renders_the_same_page_again(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["report", str(runs / "audit" / "audit.json"), "--output", str(page)]) == 0
    assert page.read_text() == (runs / "audit" / "audit.html").read_text()
    shown = capsys.readouterr().out
    assert "Mean absolute error" in shown and "Anamnesis index" in shown


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_seconds(item) for key, item in value.items() if key != "seconds"}
    return [without_seconds(item) for item in value] if isinstance(value, list) else value


def test_same_seed_same_weights_and_same_audit(runs: Path, tmp_path: Path) -> None:
    words = ["forget", *PROJECT, *REQUEST, "--checkpoint", str(runs / "original"), "--method", "Blindspot", *SHORT]
    assert main([*words, "--output", str(tmp_path / "again")]) == 0
    first, again = (folder / "unlearned.safetensors" for folder in (runs / "Blindspot", tmp_path / "again"))
    assert first.read_bytes() == again.read_bytes()
    assert main([*words, "--runtime.seed", "1", "--output", str(tmp_path / "other")]) == 0
    assert first.read_bytes() != (tmp_path / "other" / "unlearned.safetensors").read_bytes()
    assert main(audit_words(runs, tmp_path / "audit")) == 0
    one, two = (read(folder / "audit.json") for folder in (runs / "audit", tmp_path / "audit"))
    assert without_seconds(one) == without_seconds(two)


def test_the_same_run_again_is_replaced_and_another_refused(runs: Path, tmp_path: Path) -> None:
    words = ["forget", *PROJECT, *REQUEST, "--method", "Retrain", "--method.recipe.epochs", "1",
             "--output", str(tmp_path / "run")]  # fmt: skip
    assert main(words) == 0
    weights = tmp_path / "run" / "unlearned.safetensors"
    before = weights.read_bytes()
    weights.unlink()
    assert main(words) == 0
    assert weights.read_bytes() == before
    # What the run has not written is not deleted.
    notes = tmp_path / "run" / "notes.txt"
    for file in (notes, weights):
        file.write_bytes(b"mine")
        assert main(words) == 2 and file.read_bytes() == b"mine"
        notes.unlink(missing_ok=True)
    files = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    assert main([*words, "--runtime.seed", "9"]) == 2
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == files
    assert names(tmp_path) == ["run"]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_other_ids_in_the_same_file_are_another_run(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = tmp_path / "ids.txt"
    words = ["forget", *PROJECT, "--request.ids_file", str(ids), "--request.reason", "letter", "--method", "FineTune",
             "--checkpoint", str(runs / "original"), "--output", str(tmp_path / "run")]  # fmt: skip
    ids.write_text("p1\np2\n")
    assert main(words) == 0
    first = contents(tmp_path / "run")
    ids.write_text("p2\n# the same request in another order\np1\n")
    assert main(words) == 0
    assert contents(tmp_path / "run")["request.json"] == first["request.json"]
    kept = contents(tmp_path / "run")
    ids.write_text("p5\n")
    assert main(words) == 2
    assert "another run" in capsys.readouterr().err
    assert contents(tmp_path / "run") == kept


def test_another_checkpoint_under_the_same_name_is_another_run(runs: Path, tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    words = ["forget", *PROJECT, *REQUEST, "--method", "FineTune", "--checkpoint", str(weights),
             "--output", str(tmp_path / "run")]  # fmt: skip
    weights.write_bytes((runs / "original" / "original.safetensors").read_bytes())
    assert main(words) == 0
    kept = contents(tmp_path / "run")
    weights.write_bytes((runs / "retrained" / "unlearned.safetensors").read_bytes())
    assert main(words) == 2
    assert contents(tmp_path / "run") == kept


def test_a_band_s_limit_is_a_number_of_the_targets_precision(tmp_path: Path) -> None:
    # The shortest decimals of a float32 target are, as a float64, another number than the target.
    limit = str(tiny.load_data().train.tensors[1][7].numpy())
    words = ["forget", *PROJECT, "--request.band", f"[{limit}, {limit}]", "--request.reason", "letter",
             "--method", "Retrain", "--method.recipe.epochs", "1", "--output", str(tmp_path / "run")]  # fmt: skip
    assert main(words) == 0
    assert read(tmp_path / "run" / "request.json")["forget"] == [7]


def test_a_written_config_does_the_same_run(runs: Path, tmp_path: Path) -> None:
    config = (runs / "Blindspot" / "config.yaml").read_text()
    (tmp_path / "job.yaml").write_text(config)
    assert main(["forget", "--config", str(tmp_path / "job.yaml"), "--output", str(tmp_path / "run")]) == 0
    written = (tmp_path / "run" / "config.yaml").read_text()
    assert written == config.replace(str(runs / "Blindspot"), str(tmp_path / "run"))
    same = [folder / "unlearned.safetensors" for folder in (runs / "Blindspot", tmp_path / "run")]
    assert same[0].read_bytes() == same[1].read_bytes()


def test_bare_weights_are_audited_with_a_caveat(runs: Path, tmp_path: Path) -> None:
    words = ["audit", *PROJECT, *REQUEST, "--metrics", "[Errors]",
             f"--models.original={runs / 'original' / 'original.safetensors'}",
             "--golds+", str(runs / "retrained" / "unlearned.safetensors"),
             "--output", str(tmp_path / "audit")]  # fmt: skip
    assert main(words) == 0
    report = AuditReport.from_json(tmp_path / "audit" / "audit.json")
    assert {measure.metric for measure in report.measures} == {"mae", "rmse"}
    assert any("bare weights files" in caveat and "gold 1" in caveat for caveat in report.caveats)
    assert [(model.name, model.cost) for model in report.models] == [
        ("original", None),
        ("retrained", None),
        ("constant", None),
    ]


def finetuned(checkpoint: Path, output: Path, *request: str) -> Path:
    """A run folder of one epoch, started from a checkpoint."""
    words = ["forget", *PROJECT, *(request or REQUEST), "--checkpoint", str(checkpoint), "--method", "FineTune",
             "--method.recipe.epochs", "1", "--output", str(output)]  # fmt: skip
    assert main(words) == 0
    return output


def other_weights(original: Path, models: dict[str, Path], output: Path) -> list[str]:
    """The caveats about models that were made from other weights than the original's."""
    named = [f"--models.{name}={path}" for name, path in {"original": original, **models}.items()]
    assert main(["audit", *PROJECT, *REQUEST, *named, "--metrics", "[Errors]", "--output", str(output)]) == 0
    report = AuditReport.from_json(output / "audit.json")
    return [caveat for caveat in report.caveats if "other weights" in caveat]


def test_a_model_made_from_other_weights_than_the_original_s_is_a_caveat(runs: Path, tmp_path: Path) -> None:
    """Of retrained models, which start from nothing, and of bare files, which say nothing, none is said."""
    fresh = tmp_path / "fresh.pt"
    torch.save(tiny.make_model().state_dict(), fresh)
    other = finetuned(fresh, tmp_path / "other")
    mine = {"mine": runs / "FineTune", "theirs": other, "again": runs / "retrained",
            "bare": other / "unlearned.safetensors"}  # fmt: skip
    (caveat,) = other_weights(runs / "original", mine, tmp_path / "audit")
    assert caveat.startswith("Made from other weights than those of the original") and ": theirs." in caveat
    (caveat,) = other_weights(fresh, mine, tmp_path / "from-fresh")
    assert ": mine." in caveat
    # Weights are compared by value: the same ones in another format are the same.
    same = tmp_path / "same.pt"
    torch.save(load_file(runs / "original" / "original.safetensors"), same)
    assert other_weights(same, {"mine": runs / "FineTune"}, tmp_path / "from-same") == []


def test_a_chain_of_requests_leads_back_to_the_original(runs: Path, tmp_path: Path) -> None:
    earlier = finetuned(runs / "original", tmp_path / "earlier", "--request.random", "3", "--request.reason", "first")
    later = {"later": finetuned(earlier, tmp_path / "later")}
    assert other_weights(runs / "original", later, tmp_path / "audit") == []
    # What forgot another request before is an original too, and not one of a model that started elsewhere.
    assert other_weights(earlier, later, tmp_path / "from-earlier") == []
    (caveat,) = other_weights(earlier, {"direct": runs / "FineTune", **later}, tmp_path / "beside")
    assert ": direct." in caveat
    noted = [read(folder / "history.json")["made"]["parents"] for folder in (runs / "FineTune", *later.values())]
    assert [len(ancestors) for ancestors in noted] == [1, 2] and noted[1][1] == noted[0][0]
    assert read(runs / "retrained" / "history.json")["made"]["parents"] == []


@pytest.mark.parametrize(
    ("request_words", "forget"),
    [
        (["--request.ids_file", "ids.txt"], [2, 7]),
        (["--request.ids_file", "excel.txt"], [2, 7]),
        (["--request.ids_file", "positions.txt", "--data.named", "false"], [0, 59]),
        (["--request.random", "4", "--request.seed", "5"], None),
    ],
)
def test_other_ways_to_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_words: list[str], forget: list[int] | None
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("ids.txt").write_text("# letter 17\n\np7\n  p2  \n")
    Path("excel.txt").write_text("p7\r\np2\r\n", encoding="utf-8-sig")
    Path("positions.txt").write_text("59\n0\n")
    assert main(["forget", *PROJECT, *request_words, "--request.reason", "x", "--method", "Retrain",
                 "--method.recipe.epochs", "1", "--output", "run"]) == 0  # fmt: skip
    found = read(tmp_path / "run" / "request.json")["forget"]
    assert found == forget if forget is not None else len(found) == 4
