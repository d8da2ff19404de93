"""The code of the README, the guides and the notebooks runs, and the commands that they show exist."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from unregress import Case, Runtime, Splits, TensorTask
from unregress.evidence import AuditReport
from unregress.methods import train

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
TOUR = ROOT / "docs" / "guides" / "command-line-tour.md"
FENCE = re.compile(r"^```(?P<tag>[^\n`]*)\n(?P<text>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)

needs_readme = pytest.mark.skipif(not README.is_file(), reason="there is no README.md here")


class Block(NamedTuple):
    """One fenced block of a Markdown file."""

    tag: str
    text: str
    line: int
    """Line of its first line of text, counted from 1."""


def blocks(markdown: str, *languages: str) -> list[Block]:
    """The fenced blocks in any of these languages, in order."""
    found = (
        Block(match["tag"].strip(), match["text"], markdown.count("\n", 0, match.start("text")) + 1)
        for match in FENCE.finditer(markdown)
    )
    return [block for block in found if block.tag.split(" ")[0] in languages]


def commands(markdown: str, program: str) -> list[list[str]]:
    """The words after a program's name in shell blocks, one list for each line that calls it."""
    shell = "".join(block.text for block in blocks(markdown, "sh", "console")).replace("\\\n", " ")
    return [
        words[1:]
        for line in shell.splitlines()
        if line.removeprefix("$ ").startswith(f"{program} ")
        and (words := shlex.split(line.removeprefix("$ "), comments=True))
    ]


@needs_readme
def test_python_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = blocks(README.read_text(encoding="utf-8"), "python")
    assert found, "the README shows no Python"
    pytest.importorskip("linearmodels")
    assert [block.tag for block in found] == ["python"] * len(found), "a Python block has options"
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    reports: list[AuditReport] = []
    for block in found:
        # Blank lines before it give tracebacks the README's own line numbers.
        exec(compile("\n" * (block.line - 1) + block.text, str(README), "exec"), namespace)
        if isinstance(report := namespace.get("report"), AuditReport):
            reports.append(report)
    assert [reports[0].verdict(name).outcome for name in ("original", "Retrain")] == ["FAIL", "PASS"]
    # The edit is at the limit; what is said of it is that a part of the memory is left.
    first = reports[0]
    distances = [first.value("paired", "train-forget", name) for name in ("Retrain", "LeaveOutEdit", "original")]
    assert distances == sorted(distances)


ELSEWHERE = ("reading-an-audit",)
"""Pages whose block needs a report: tests/report/test_mlflow_log.py runs it."""
PAGES = [
    page
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if "```python" in page.read_text(encoding="utf-8") and page.stem not in ELSEWHERE
]
NEEDED = {
    "lightning": "lightning",
    "hugging-face": "transformers",
    "training": "skorch",
    "series": "pytorch_forecasting",
}
"""The library beside those of the tests that a page needs."""
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_blocks_of_the_guides_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if page.stem in NEEDED:
        pytest.importorskip(NEEDED[page.stem])
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    text = page.read_text(encoding="utf-8")
    # Where no verdict is shown, nothing follows from how well the models are trained.
    if not re.search(r"print\(.*# .*(FAIL|PASS)", text):
        text = re.sub(r"\bepochs=\d+", "epochs=2", text)
    for block in blocks(text, "python"):
        capsys.readouterr()
        exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), namespace)
        # What a block prints stands behind its last line.
        if "  # " in (last := block.text.rstrip().splitlines()[-1]) and last.startswith("print("):
            assert capsys.readouterr().out.strip() == last.split("  # ")[1]


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)], ids=["(n,)", "(n, 1)"])
def test_the_guide_s_training_function_trains_on_targets_of_both_shapes(shape: tuple[int, ...]) -> None:
    page = ROOT / "docs" / "guides" / "training.md"
    (block,) = [each for each in blocks(page.read_text(encoding="utf-8"), "python") if "def my_training" in each.text]
    namespace: dict[str, Any] = {}
    exec(compile(block.text, str(page), "exec"), namespace)
    x = torch.randn(256, 2, generator=torch.Generator().manual_seed(0))
    splits = Splits(train=TensorDataset(x, (3 * x[:, 0]).reshape(shape)))
    case = Case(task=TensorTask(lambda: nn.Linear(2, 1), "mse"), splits=splits)
    made = train(case, namespace["my_training"], Runtime(accelerator="cpu"))
    # Of a loss that compared each prediction with every target nothing would follow but the mean.
    before = made.start.weight[0, 0] if isinstance(made.start, nn.Linear) else None
    assert before is not None and made.model.weight[0, 0] > before + 0.1


def test_the_guide_s_masked_outputs_are_neither_trained_nor_measured() -> None:
    page = ROOT / "docs" / "guides" / "outputs-and-units.md"
    namespace: dict[str, Any] = {}
    for block in blocks(page.read_text(encoding="utf-8"), "python")[:2]:
        exec(compile(block.text, str(page), "exec"), namespace)
    x, body, known, made = (namespace[name] for name in ("x", "body", "known", "made"))
    with torch.no_grad():
        heights = namespace["scaler"].inverse_transform(made.model(x[200:]).numpy())[:, 1]
    off = abs(heights - body[200:, 1].numpy())[known[200:, 1].numpy() == 1]
    assert 0 < len(off) < 100 and namespace["error"] == pytest.approx(off.mean(), rel=1e-4)
    # Heights have a deviation of 8 cm, and the placeholder stands for 240 cm.
    assert off.mean() < 2


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, start=1):
        exec(compile("".join(cell["source"]), f"{path} cell {number}", "exec"), namespace)
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells), "strip the outputs"
    report = namespace["report"]
    assert isinstance(report, AuditReport)
    assert (report.verdict("original").outcome, len(report.golds)) == ("FAIL", 5)


@pytest.mark.slow
@pytest.mark.skipif(not TOUR.is_file(), reason="there is no docs folder here")
def test_the_tour_of_the_command_line_ends_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from unregress.cli import main

    text = TOUR.read_text(encoding="utf-8")
    (tour,) = [block for block in blocks(text, "sh") if "cd examples/own_model" in block.text]
    project = tmp_path / "project"
    shutil.copytree(ROOT / "examples" / "own_model", project, ignore=shutil.ignore_patterns("runs"))
    for block in blocks(text, "yaml"):
        name = block.text.split("\n")[0].removeprefix("# ")
        assert block.text == f"# {name}\n{(project / name).read_text(encoding='utf-8')}", name
    # The golds are trained here, and not in processes of their own, each of which would import PyTorch.
    audit = project / "audit.yaml"
    audit.write_text(audit.read_text(encoding="utf-8").replace("workers: 2", "workers: 1"), encoding="utf-8")
    monkeypatch.chdir(project)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", [*sys.path])  # the command adds the project's folder
    monkeypatch.delitem(sys.modules, "my_model", raising=False)

    def run(*words: str) -> tuple[int, str]:
        """Here rather than in a process of its own, which would import PyTorch for each command."""
        capsys.readouterr()
        return main(words), capsys.readouterr().err

    called = commands(f"```sh\n{tour.text}```\n", "unregress")
    assert [words[0] for words in called] == ["train", "forget", "forget", "audit", "report"]
    for words in called:
        assert run(*words)[0] == 0, words
    report = AuditReport.from_json(project / "runs" / "audit" / "audit.json")
    promised = re.findall(r"^(PASS|FAIL|INCONCLUSIVE)  (\w+)", text, re.MULTILINE)
    assert {model: report.verdict(model).outcome for _, model in promised} == {model: said for said, model in promised}
    assert {said for said, _ in promised} == {"PASS", "FAIL"} and len(report.golds) == 5
    # What the verdict needs and no more: relearning takes most of an audit's time.
    quick = ["--metrics", "[Errors, Wasserstein, Deviation, AttackAUC]", "--output", "runs/verdict"]
    code, error = run("audit", "--config", "audit.yaml", "--require", "pass", *quick)
    assert code == 3 and "finetune: FAIL" in error and "blindspot: " not in error


@needs_readme
def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in commands(README.read_text(encoding="utf-8"), "make"):
        named = {word for word in words if "=" not in word and not word.startswith("-")}
        assert named <= targets, f"make {' '.join(words)}"


@needs_readme
def test_subcommands_exist(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from unregress.cli import main

    named = [words[0] for words in commands(README.read_text(encoding="utf-8"), "unregress") if words]
    for command in dict.fromkeys(named):
        monkeypatch.setattr(sys, "argv", ["unregress", command, "--help"])
        with pytest.raises(SystemExit) as stop:
            sys.exit(main())
        assert stop.value.code in (0, None), f"unregress {command}: {capsys.readouterr().err}"


def test_blocks_are_found_with_their_language_and_line() -> None:
    text = "intro\n\n```python\nx = 1\n```\n\n```sh\n$ make test\n```\n```python no-run\nfail()\n```\n"
    assert blocks(text, "python") == [
        Block("python", "x = 1\n", 4),
        Block("python no-run", "fail()\n", 11),
    ]


def test_commands_are_read_from_shell_blocks_only() -> None:
    text = (
        "```console\n$ unregress demo --output x  # a comment\nan unregress line\n$ make\n```\n"
        "```python\nunregress forget\n```\nunregress report\n"
        "```sh\nunregress audit \\\n  --config 'a b.yaml'\n```\n"
    )
    assert commands(text, "unregress") == [["demo", "--output", "x"], ["audit", "--config", "a b.yaml"]]
    assert commands(text, "make") == []
