"""The note of how a run folder's model was made: exact when read again, refused in another layout."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from unregress.cost import Cost
from unregress.errors import CheckpointError, StaleError
from unregress.evidence import ModelRecord
from unregress.runs.provenance import HISTORY, LAYOUT, Record, record_of, write_record
from unregress.training.loop import Epoch

MADE = ModelRecord(method="FineTune", settings={"recipe": {"epochs": 3}}, recipe={"epochs": 9}, seed=1, parents=("a",))
RECORD = Record(
    layout=LAYOUT,
    weights="w.safetensors",
    helper=None,
    request_digest="0" * 64,
    data_digest="1" * 64,
    records=None,
    made=MADE,
    notes=("a note",),
    deviations=(),
    warnings=(),
    cost=Cost(forward=2, backward=1, seconds=0.5),
    history=(Epoch(stage="unlearn", epoch=1, loss=0.25, validation=None, lr=0.1),),
)


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_record(tmp_path, RECORD)
    assert record_of(tmp_path) == RECORD


@pytest.mark.parametrize("layout", [None, 1, LAYOUT + 1, "2"])
def test_another_layout_is_refused_with_a_way_on(tmp_path: Path, layout: Any) -> None:
    """Folders of the previous version have no field `layout`, and name the method in a text."""
    written = json.loads(json.dumps(asdict(RECORD)))
    del written["layout"]
    given = (
        {**written, "method": "FineTune(recipe=Recipe(epochs=3))"} if layout is None else {"layout": layout} | written
    )
    (tmp_path / HISTORY).write_text(json.dumps(given))
    with pytest.raises(StaleError) as refused:
        record_of(tmp_path)
    assert refused.value.expected == f"layout {LAYOUT}" and "Make the model again" in refused.value.remedy


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    for text in ("[]", "{}", json.dumps({**asdict(RECORD), "made": "FineTune()"})):
        (tmp_path / HISTORY).write_text(text)
        with pytest.raises(CheckpointError):
            record_of(tmp_path)
