"""What an experiment leaves in its folder: whole, readable again, without a path of the machine, the same twice."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from report.test_render import Reader
from support.face_images import FAMILY, SETTINGS, files, young
from support.hand_experiments import experiment, reports
from unregress.evidence import AuditReport
from unregress.experiments.experiment import Experiment, Scale
from unregress.experiments.outputs import write
from unregress.experiments.runner import Outcome
from unregress.experiments.summary import Row, comma_separated, judged, markdown

pytestmark = pytest.mark.slow

COMMAND = "unregress reproduce young --data-root DATA"
HAND = Outcome(stages=(reports(),), notes=("Two photographs are the same.",))


def written(
    folder: Path, outcome: Outcome = HAND, about: Experiment | None = None, *, scale: Scale = "reduced"
) -> tuple[Row, ...]:
    folder.mkdir()
    return write(
        folder, about or experiment(), FAMILY, SETTINGS, outcome, scale=scale, tuning="as_published", command=COMMAND
    )


def read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "result.json").read_text(encoding="utf8")))


def test_everything_is_there_and_nothing_else(tmp_path: Path) -> None:
    rows = written(tmp_path / "run")
    assert sorted(files(tmp_path / "run")) == sorted(
        [
            *("index.html", "table.md", "table.csv", "result.json", "figures/density.svg"),
            *(f"audits/seed-{seed}.{kind}" for seed in (0, 1) for kind in ("html", "json")),
        ]
    )
    assert (tmp_path / "run" / "table.md").read_text(encoding="utf8") == markdown(rows, judged(HAND.stages))
    assert (tmp_path / "run" / "table.csv").read_text(encoding="utf8") == comma_separated(rows)
    for seed in (0, 1):
        assert AuditReport.from_json(tmp_path / "run" / "audits" / f"seed-{seed}.json") == HAND.stages[0][seed]


def test_the_record_says_what_the_table_says(tmp_path: Path) -> None:
    rows = written(tmp_path / "run")
    record = read(tmp_path / "run")
    assert list(record) == ["experiment", "facts", "notes", "verdicts", "rows", "variance"]
    assert record["verdicts"] == json.loads(json.dumps([asdict(each) for each in judged(HAND.stages)]))
    assert record["rows"] == json.loads(json.dumps([asdict(row) for row in rows]))
    assert record["variance"] == []  # nothing was repeated
    assert record["experiment"] == json.loads(json.dumps(asdict(experiment())))
    facts = record["facts"]
    assert facts["Source"] == "Table 1" and facts["Model"] == "Tiny" and facts["Command"] == COMMAND
    assert facts["Data"] == "Small faces; train-retain 8,000, train-forget 2,000, test-retain 350"
    assert facts["Settings"] == "as_published, scale reduced"
    assert facts["Training"] == str(SETTINGS.training) and facts["Relearning"] == str(SETTINGS.relearning)
    assert facts["FineTune"] == str(SETTINGS.methods["FineTune"]) and "Blindspot" not in facts
    assert facts["Seeds"] == "2 originals, 4 golds"
    assert "unregress 0.1.0" in facts["Versions"] and "torch 2.14.1" in facts["Versions"]


def test_the_record_is_json_for_everybody(tmp_path: Path) -> None:
    written(tmp_path / "run")
    text = (tmp_path / "run" / "result.json").read_text(encoding="utf8")

    def refuse(word: str) -> None:
        raise ValueError(word)

    assert json.dumps(json.loads(text, parse_constant=refuse), indent=1, ensure_ascii=False) + "\n" == text


def test_no_path_of_the_machine_is_told(tmp_path: Path, first: tuple[Path, Outcome, list[str]]) -> None:
    written(tmp_path / "run", first[1], young())
    home, here = str(Path.home()), str(tmp_path)
    for name, content in files(tmp_path / "run").items():
        text = content.decode()
        assert here not in text and f"{home}/" not in text and str(first[0]) not in text, name
    assert not re.search(r'"(/|[A-Z]:\\)', (tmp_path / "run" / "result.json").read_text(encoding="utf8"))


def test_the_same_outcome_gives_the_same_bytes(tmp_path: Path) -> None:
    written(tmp_path / "one")
    written(tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_links_lead_to_the_audits(tmp_path: Path) -> None:
    written(tmp_path / "run")
    links = Reader((tmp_path / "run" / "index.html").read_text(encoding="utf8")).links
    assert [link for link in links if (tmp_path / "run" / link).is_file()] == [
        "audits/seed-0.html",
        "audits/seed-1.html",
    ]


def test_a_twin_s_notes_say_so(tmp_path: Path) -> None:
    written(tmp_path / "own")
    written(tmp_path / "twin", about=experiment(twin_of="agedb-0-30"))
    other = "The paper's numbers are for other data: compare orderings, not values."
    assert other not in read(tmp_path / "own")["notes"]
    assert read(tmp_path / "twin")["notes"][0] == other
    assert read(tmp_path / "twin")["facts"]["Source"] == "Table 1; a twin of agedb-0-30"


@pytest.mark.parametrize("scale", ["smoke", "reduced", "paper"])
def test_the_notes_say_how_far_to_believe_it(scale: Scale, tmp_path: Path) -> None:
    written(tmp_path / "run", scale=scale)
    notes = read(tmp_path / "run")["notes"]
    # What is used by hand is neither trained nor unlearnt as the paper does, whatever the scale is called.
    assert any("trained in another way" in note for note in notes)
    assert any("err_Dt_f" in note for note in notes)
    assert "Two photographs are the same." in notes
    # Each of the two audits says it; once is enough.
    assert notes.count(HAND.stages[0][0].caveats[0]) == 1 and len(notes) == len(set(notes))


def test_numbers_that_the_paper_does_not_have_need_no_note(tmp_path: Path) -> None:
    written(tmp_path / "run", about=experiment(paper={}))
    assert not any("err_Dt_f" in note for note in read(tmp_path / "run")["notes"])


@pytest.mark.slow
def test_figures_are_drawings(tmp_path: Path, several: tuple[Path, Outcome, list[str]]) -> None:
    outcome = several[1]
    written(tmp_path / "run", outcome, young(highs=(10, 20, 30)))
    folder = tmp_path / "run"
    drawn = sorted(path.name for path in (folder / "figures").iterdir())
    stages = enumerate(outcome.stages, 1)
    expected = [f"{figure.key}-{number}.svg" for number, stage in stages for figure in stage[0].figures]
    splits = ("train-retain", "train-forget", "test-retain", "test-forget")
    assert drawn == sorted([*expected, *(f"requests-{split}.svg" for split in splits)])
    for name in drawn:
        root = ElementTree.fromstring((folder / "figures" / name).read_text(encoding="utf8"))
        assert root.tag == "{http://www.w3.org/2000/svg}svg" and len(list(root.iter())) > 10
    audits = sorted(path.name for path in (folder / "audits").iterdir())
    assert audits == sorted(f"request-{stage}-seed-0.{kind}" for stage in (1, 2, 3) for kind in ("html", "json"))


def test_figures_need_nothing_from_elsewhere(tmp_path: Path) -> None:
    written(tmp_path / "run")
    text = (tmp_path / "run" / "figures" / "density.svg").read_text(encoding="utf8")
    # The names of namespaces and of the document type, which nothing fetches, look like addresses.
    plain = re.sub(r"""xmlns(:\w+)?="[^"]*"|<!DOCTYPE[^>]*>""", "", text)
    assert re.findall(r"""(?:https?:)?//[^\s"'<>)]+""", plain) == []
    assert "<script" not in text and "<image" not in text


def test_a_run_s_folder_reads_back(tmp_path: Path, first: tuple[Path, Outcome, list[str]]) -> None:
    rows = written(tmp_path / "run", first[1], young())
    record = read(tmp_path / "run")
    assert len(record["rows"]) == len(rows) > 10
    assert AuditReport.from_json(tmp_path / "run" / "audits" / "seed-0.json") == first[1].stages[0][0]
    values = [cell["values"] for row in record["rows"] for cell in row["cells"].values()]
    assert values == [list(cell.values) for row in rows for cell in row.cells.values()]


def test_tuned_settings_are_said_not_to_be_the_paper_s(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write(
        tmp_path / "run", experiment(), FAMILY, replace(SETTINGS), HAND, scale="paper", tuning="tuned", command=COMMAND
    )
    assert any("tuned" in note for note in read(tmp_path / "run")["notes"])
