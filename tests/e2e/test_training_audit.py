"""Audits that train: golds as the original was trained, a deep audit, and all that is refused before any training."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from e2e.conftest import PROJECT, REQUEST
from e2e.test_flow import names, read
from unregress.cli import main
from unregress.evidence import AuditReport
from unregress.runs.digests import weights_digest
from unregress.runs.provenance import digest_of_folder

TRAINED = (
    "Recipe(epochs=30, lr=0.01, batch_size=256, optimizer='adam', optimizer_options={}, weight_decay=0.0, "
    "schedule='plateau'"
)
"""How the original of `runs` was trained."""


def audit(runs: Path, output: Path, *more: str, original: str = "original", methods: tuple[str, ...] = ("FineTune",)
          ) -> list[str]:  # fmt: skip
    models = [f"--models.{name}={runs / name}" for name in methods]
    return ["audit", *PROJECT, *REQUEST, "--metrics", "[Errors]", f"--models.original={runs / original}", *models,
            "--output", str(output), *more]  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "unregress" / "store"


def ended(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, what was printed and what was complained about, each in one line."""
    code = main(words)
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err + shown.out
    return code, " ".join(shown.out.split()), " ".join(shown.err.split())


def test_golds_are_trained_as_the_original_was(
    runs: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = audit(runs, tmp_path / "audit", "--retrain", "{golds: 2}", "--golds+", str(runs / "retrained"))
    code, out, err = ended(words, capsys)
    assert (code, err) == (0, "")
    assert f"trained as {runs / 'original'} says: {TRAINED}" in out
    forgotten = len(read(runs / "retrained" / "request.json")["forget"])
    passes = 2 * 2 * 30 * (60 - forgotten)  # golds, there and back, epochs, samples
    assert f"2 models to train, {passes:,} sample passes" in out
    assert out.index("models to train") < out.index("making a gold under seed 1001")

    report = AuditReport.from_json(tmp_path / "audit" / "audit.json")
    assert report.golds == ["retrained", "retrained #2", "retrained #3"]
    golds = [model.record for model in report.models if model.role == "gold" and model.record is not None]
    assert [gold.kind for gold in golds] == ["retrained"] * 3 and [gold.seed for gold in golds][1:] == [1001, 1002]
    assert all(gold.recipe is not None and gold.recipe["epochs"] == 30 for gold in golds)
    assert not any("recipe" in caveat for caveat in report.caveats)

    record = read(tmp_path / "audit" / "golds.json")
    assert list(record) == ["recipe", "golds"] and record["recipe"]["epochs"] == 30
    named = [(gold["name"], gold["seed"]) for gold in record["golds"]]
    assert named == [("retrained #2", 1001), ("retrained #3", 1002)]
    for gold in record["golds"]:
        assert gold["weights"] == weights_digest(cache / gold["folder"])
        assert gold["digest"] == digest_of_folder(cache / gold["folder"])
        assert json.loads((cache / gold["folder"] / "config.yaml").read_text())["seed"] == gold["seed"]
    assert f"# trained with: {json.dumps(record['recipe'])}\n" in (tmp_path / "audit" / "config.yaml").read_text()

    # Again: nothing is trained, and the same is written.
    before = read(tmp_path / "audit" / "golds.json")
    code, out, _ = ended(words, capsys)
    assert code == 0 and "making" not in out and read(tmp_path / "audit" / "golds.json") == before
    assert names(tmp_path / "audit") == ["audit.html", "audit.json", "config.yaml", "golds.json", "manifest.json"]


def test_golds_of_a_stack(runs: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three in stacks of two: the last is trained alone."""
    recipe = "{epochs: 30, lr: 0.01, schedule: constant}"
    retrain = f"{{golds: 3, stack: 2, coupled: false, recipe: {recipe}}}"
    words = audit(runs, tmp_path / "audit", "--retrain", retrain)
    code, out, err = ended(words, capsys)
    assert (code, err) == (0, "") and "3 models to train" in out and out.count("making a gold") == 3
    kept = [json.loads((folder / "config.yaml").read_text()) for folder in sorted(cache.glob("gold-*"))]
    assert sorted((each["seed"], each.get("stacked")) for each in kept) == [
        (1001, [1001, 1002]),
        (1002, [1001, 1002]),
        (1003, None),
    ]
    record = read(tmp_path / "audit" / "golds.json")
    assert all(gold["weights"] == weights_digest(cache / gold["folder"]) for gold in record["golds"])
    assert "making" not in ended(words, capsys)[1]


def test_a_stack_with_the_originals_plateau_schedule_is_refused_before_anything_is_written(
    runs: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = ended(audit(runs, tmp_path / "audit", "--retrain", "{golds: 3, stack: 2}"), capsys)
    assert code == 2 and "Recipe.schedule is 'plateau'" in err and "`stack` 1" in err
    assert not cache.exists() and not (tmp_path / "audit").exists()


def test_a_trained_gold_may_be_given_as_a_file_with_the_same_digest(runs: Path, tmp_path: Path, cache: Path) -> None:
    assert main(audit(runs, tmp_path / "first", "--retrain", "{golds: 1, coupled: false}")) == 0
    (gold,) = read(tmp_path / "first" / "golds.json")["golds"]
    assert main(audit(runs, tmp_path / "second", "--golds+", str(cache / gold["folder"]))) == 0
    assert f"# weights of gold 1: {gold['weights']}" in (tmp_path / "second" / "config.yaml").read_text()


def test_for_bare_weights_the_recipe_must_be_named(
    runs: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = "original/original.safetensors"
    for more in (("--retrain", "{}"), ("--retrain.golds", "1"), ("--deep", "{}")):
        code, _, err = ended(audit(runs, tmp_path / "audit", *more, original=bare), capsys)
        assert code == 2 and "How the original was trained is not known" in err and "--retrain.recipe" in err
    assert not cache.exists() and not (tmp_path / "audit").exists()
    # What is not named is as for `unregress train`.
    more = ("--retrain.golds", "1", "--retrain.recipe.epochs", "3")
    code, out, _ = ended(audit(runs, tmp_path / "audit", *more, original=bare), capsys)
    assert code == 0 and "trained as the options say: Recipe(epochs=3, lr=0.01," in out and "'plateau'" in out


def test_a_recipe_of_another_kind_is_named_in_the_caveats(runs: Path, tmp_path: Path) -> None:
    assert main(audit(runs, tmp_path / "audit", "--retrain", "{golds: 1, recipe: {epochs: 2}}")) == 0
    report = AuditReport.from_json(tmp_path / "audit" / "audit.json")
    assert any("not trained with the same recipe" in caveat for caveat in report.caveats)


LATE: dict[str, tuple[list[str], str]] = {
    "misnamed original": (["--original", "orignal"], "no model called 'orignal'"),
    "name of a reference": (["--models.constant={runs}/FineTune"], "'constant', a name that the report itself uses"),
    "name of a gold to come": (["--models.retrained #3={runs}/FineTune"], "'retrained #3', a name that the report"),
    "unknown deep method": (["--deep.methods", "{FineTun: Retrain}"], "'FineTun', but no audited model.*'FineTune'"),
    "method by a wrong name": (["--deep.methods.FineTune", "Blindspott"], "no method 'Blindspott'.*'Blindspot'"),
    "no test data": (["--data", "support.tiny_project.without_test"], "no test data"),
    "a gold twice": (
        ["--golds+", "{runs}/retrained", "--golds+", "{runs}/retrained"],
        "is given as a gold twice",
    ),
    "a gold among the models": (
        ["--golds+", "{runs}/retrained", "--models.mine={runs}/retrained"],
        "'mine' and 'retrained' have the same weights",
    ),
    "a gold that is no gold": (["--golds+", "{runs}/FineTune"], "'retrained' was made by FineTune"),
    "a model that is not there": (["--models.mine=gone"], "There is no gone"),
}


@pytest.mark.parametrize("name", LATE)
def test_refused_before_any_gold_is_trained(
    name: str, runs: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more, expected = LATE[name]
    words = [word.replace("{runs}", str(runs)) for word in more]
    code, out, err = ended(audit(runs, tmp_path / "audit", "--retrain.golds", "4", *words), capsys)
    assert code == 2 and re.search(expected, err), err
    assert "making" not in out and not cache.exists() and not (tmp_path / "audit").exists()


def test_a_model_that_the_attack_cannot_read_is_audited_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = ["--task", "support.tiny_project.scaled_task", "--data", "support.tiny_project.load_data"]
    assert main(["train", *project, "--recipe.epochs", "1", "--output", str(tmp_path / "original")]) == 0
    words = ["audit", *project, *REQUEST, f"--models.original={tmp_path / 'original'}",
             "--output", str(tmp_path / "audit")]  # fmt: skip
    code, _, _ = ended(words, capsys)
    report = AuditReport.from_json(tmp_path / "audit" / "audit.json")
    assert code == 0 and any("Model 'original': The model's last layer with weights is '3', a PReLU" in caveat
                             for caveat in report.caveats)  # fmt: skip


def test_a_gold_that_would_be_trained_again_is_refused(
    runs: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = ["forget", *PROJECT, *REQUEST, "--method", "Retrain", "--method.recipe.epochs", "30",
            "--runtime.seed", "1002", "--output", str(tmp_path / "gold")]  # fmt: skip
    assert main(gold) == 0
    words = audit(runs, tmp_path / "audit", "--retrain", "{golds: 3}", "--golds+", str(tmp_path / "gold"))
    code, _, err = ended(words, capsys)
    assert code == 2 and "gold is given as a gold, and a gold of the same recipe and seed, 1002," in err
    assert not cache.exists()


def test_an_interrupted_audit_says_what_is_kept_and_goes_on(
    runs: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = audit(runs, tmp_path / "audit", "--retrain", "{golds: 2}")
    with monkeypatch.context() as patch:
        patch.setattr("unregress.auditing.pipeline.assemble", interrupt)
        code, _, err = ended(words, capsys)
    assert code == 130 and not (tmp_path / "audit").exists()
    assert err == (
        "error: interrupted; no unfinished run folder is left behind. Finished trainings are kept in "
        f"{cache}; the same command resumes from there."
    )
    code, out, _ = ended(words, capsys)
    assert code == 0 and "making" not in out


def interrupt(*arguments: object, **options: object) -> None:
    raise KeyboardInterrupt


DEEP = ("--deep.halves", "6", "--deep.seeds", "4")


def test_a_deep_audit_names_the_models_whose_method_is_not_known(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = f"--models.bare={runs / 'Blindspot' / 'unlearned.safetensors'}"
    code, out, err = ended(audit(runs, tmp_path / "audit", bare, *DEEP), capsys)
    assert (code, err) == (0, "")
    assert f"trained as {runs / 'original'} says: {TRAINED}" in out and "making gold" not in out
    report = AuditReport.from_json(tmp_path / "audit" / "audit.json")
    assert report.golds == []
    assert {m.model for m in report.measures if m.metric == "ulira"} == {"original", "FineTune"}
    (caveat,) = [caveat for caveat in report.caveats if "deep audit" in caveat]
    assert caveat == "The deep audit says nothing about bare: the method is neither named nor recorded."


def test_a_deep_audit_of_nothing_known_is_refused(
    runs: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = f"--models.bare={runs / 'Blindspot' / 'unlearned.safetensors'}"
    code, _, err = ended(audit(runs, tmp_path / "audit", bare, *DEEP, methods=()), capsys)
    assert code == 2 and "No audited model's method is known" in err and not cache.exists()


def test_an_original_s_recipe_is_that_of_its_own_retraining(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The original of a second request may be the gold of a first."""
    second = ["--request.band", "[null, 45]", "--retrain", "{golds: 1}"]
    words = audit(runs, tmp_path / "audit", *second, original="retrained", methods=())
    code, out, _ = ended(words, capsys)
    assert code == 0 and f"trained as {runs / 'retrained'} says: {TRAINED}" in out


def test_a_recipe_that_cannot_be_read_is_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "original"
    folder.mkdir()
    for name in names(runs / "original"):
        (folder / name).write_bytes((runs / "original" / name).read_bytes())
    written = read(folder / "history.json")
    written["made"]["recipe"] = {"epoch": 3}
    (folder / "history.json").write_text(json.dumps(written))
    words = audit(runs, tmp_path / "audit", "--retrain", "{}", f"--models.original={folder}")
    code, _, err = ended(words, capsys)
    assert code == 2 and "The recipe in" in err and "cannot be read" in err
