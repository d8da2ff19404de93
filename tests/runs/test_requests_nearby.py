"""Warnings on requests that a model does not know of, and that a new request would undo."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from unregress import Case, ForgetRequest, Splits, TensorTask
from unregress.runs.record_matching import TrainingRecords
from unregress.runs.request_chain import Chain
from unregress.runs.request_record import write_request
from unregress.runs.requests_nearby import retained_elsewhere_forgotten, unknown_past

NAMES = ["ann", "bob", "cyd", "dan", "eva", "fay"]


def data(*, ids: bool = True, shift: float = 0.0) -> Splits:
    numbers = torch.arange(6.0) + shift
    return Splits(train=TensorDataset(numbers[:, None], numbers), ids=NAMES if ids else None)


def request(*forget: int) -> ForgetRequest:
    return ForgetRequest(size=6, forget=forget, reason=f"letter {forget[0]}")


def wrote(folder: Path, made: ForgetRequest, splits: Splits) -> Path:
    folder.mkdir(parents=True)
    write_request(folder, Case(task=TensorTask(build_model=lambda: torch.nn.Linear(1, 1)), splits=splits, request=made))
    return folder


def warnings(places: list[Path], made: ForgetRequest, splits: Splits, known: list[Path] | None = None) -> list[str]:
    chain = Chain.of(known or [], TrainingRecords(splits))
    return retained_elsewhere_forgotten(places, chain, made.beside(*chain.requests(but=made.forget)).left_out)


@pytest.mark.parametrize("ids", [True, False])
def test_what_a_neighbour_forgot_and_the_request_retains_is_said(ids: bool, tmp_path: Path) -> None:
    splits = data(ids=ids)
    first = wrote(tmp_path / "june", request(0, 1), splits)
    (told,) = warnings([tmp_path / "july"], request(1, 2), splits)
    # Bob is forgotten by both.
    assert "up to 1 of which" in told and "'letter 0' (june)" in told
    assert warnings([tmp_path / "july"], request(0, 1, 2), splits) == []
    assert warnings([tmp_path / "july"], request(2), splits, known=[first]) == []
    assert warnings([tmp_path / "elsewhere" / "july"], request(2), splits) == []
    # Beside the model's folder, beside a file in a run folder, and beside a file that is in none.
    (tmp_path / "original").mkdir()
    for name in ("original/manifest.json", "original/original.safetensors", "bare.safetensors"):
        (tmp_path / name).touch()
    for name in ("original", "original/original.safetensors", "bare.safetensors"):
        place = tmp_path / name
        assert len(warnings([tmp_path / "elsewhere" / "july", place], request(2), splits)) == 1


def test_other_data_and_damaged_folders_are_nothing(tmp_path: Path) -> None:
    wrote(tmp_path / "others", request(0), data(ids=False, shift=9.0))
    wrote(tmp_path / "damaged", request(0), data())
    (tmp_path / "damaged" / "request.json").write_text("{")
    assert warnings([tmp_path / "july"], request(2), data(ids=False)) == []


def test_many_are_counted(tmp_path: Path) -> None:
    for number in range(5):
        wrote(tmp_path / f"run-{number}", request(number), data())
    (told,) = warnings([tmp_path / "last"], request(5), data())
    assert told.count("letter") == 3 and "2 more" in told


def test_a_bare_weights_file_has_no_known_past(tmp_path: Path) -> None:
    assert len(unknown_past(tmp_path / "model.safetensors")) == 1
    assert unknown_past(tmp_path) == unknown_past(None) == []
