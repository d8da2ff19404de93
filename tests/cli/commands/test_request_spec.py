"""The options of a request: what a file and a band name, on the data of a task."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from unregress import Splits, TensorTask
from unregress.cli.commands.request_spec import RequestSpec
from unregress.errors import RequestError

X = torch.arange(12.0).reshape(6, 2)
DATA = Splits(train=TensorDataset(X, X), ids=[f"r{row}" for row in range(6)], subjects=[10, 10, 11, 11, 12, 12])
TASK = TensorTask(partial(nn.Linear, 2, 2))


@pytest.mark.parametrize(("by", "text"), [("ids", "r0\nr1\n"), ("subjects", "10\n11\n")])
def test_a_file_without_a_heading_is_refused(tmp_path: Path, by: Any, text: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match="no heading"):
        RequestSpec(file=file, by=by, reason="test").resolve(DATA, TASK)
    file.write_text(f"who\n{text}", encoding="utf-8")
    found = RequestSpec(file=file, by=by, reason="test").resolve(DATA, TASK)
    assert found.request.forget == ((0, 1) if by == "ids" else (0, 1, 2, 3))


def test_a_band_of_several_outputs_advises_the_command_line_s_conditions() -> None:
    with pytest.raises(RequestError) as caught:
        RequestSpec(band=(3, None), reason="test").resolve(DATA, TASK)
    assert "--request.where" in caught.value.remedy


@pytest.mark.parametrize("band", [(None, None), (3, 1), (float("nan"), 3)])
def test_limits_without_sense_are_refused_before_data_are_read(band: Any) -> None:
    with pytest.raises(RequestError):
        RequestSpec(band=band, reason="test")
