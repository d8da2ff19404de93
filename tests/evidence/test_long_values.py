"""Long settings in records: size and digest stand for the content, and tell different values apart."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from unregress.evidence.long_values import LONGEST, MOST, shortened
from unregress.evidence.model_record import plain
from unregress.training.from_scratch import training_record


def train_by(data: Any, start: Any, seed: int, **given: Any) -> Any:
    return start


def test_short_values_are_kept() -> None:
    value = {"rate": 0.1, "names": ["a", None, True], "text": "a" * LONGEST, "nested": {"steps": [1, [2.5]]}}
    assert shortened(value) == value


def test_the_digest_is_that_of_the_content() -> None:
    numbers = list(range(500))
    digest = hashlib.sha256(json.dumps(numbers).encode()).hexdigest()
    assert shortened({"rows": numbers}) == {"rows": f"list of 500 values, SHA-256 {digest}"}
    text = "é" * (LONGEST + 1)
    assert shortened(text) == f"text of 1,001 characters, SHA-256 {hashlib.sha256(text.encode()).hexdigest()}"
    assert shortened({str(n): n for n in range(MOST + 1)}).startswith("101 values by name, SHA-256 ")


@pytest.mark.parametrize(
    "value",
    [np.arange(1000.0), np.arange(1000), torch.arange(1000.0), torch.arange(1000.0, dtype=torch.bfloat16),
     torch.arange(1000.0, requires_grad=True), pd.Series(np.arange(1000.0))],
)  # fmt: skip
def test_an_array_is_told_from_one_that_differs_in_the_middle(value: Any) -> None:
    # NumPy and pandas show the first and last numbers of a long array only.
    other = value + 0
    with torch.no_grad():
        other[500] = 7
    recorded = [plain(each) for each in (value, value + 0, other)]
    assert recorded[0] == recorded[1] != recorded[2]
    assert recorded[0].startswith("array (1000,) of ") and len(recorded[0]) < 110


def test_small_arrays_are_lists() -> None:
    assert plain(np.array([[1.5], [2.0]])) == [[1.5], [2.0]] and plain(torch.arange(2)) == [0, 1]
    assert plain(np.array(["2026-01-31"], "datetime64[D]")) == ["2026-01-31"]
    assert plain(np.array(["a", 1], dtype=object)) == ["a", 1] and plain(np.array(3)) == 3


def test_a_table_is_recorded_by_column() -> None:
    table = pd.DataFrame({"year": np.arange(1000), "city": ["Basel"] * 1000})
    other = table.assign(city=["Basel"] * 999 + ["Bern"])
    found, theirs = (training_record(partial(train_by, table=each))["init_args"]["table"] for each in (table, other))
    assert found["columns"]["year"] == theirs["columns"]["year"] and found["index"] == theirs["index"]
    assert found["columns"]["city"] != theirs["columns"]["city"]
    assert found["columns"]["city"].startswith("list of 1,000 values, SHA-256 ")
    assert plain(table.head(2)) == {"columns": {"year": [0, 1], "city": ["Basel", "Basel"]}, "index": [0, 1]}


def test_a_bound_list_is_no_part_of_the_record() -> None:
    record = training_record(partial(train_by, weights=tuple([0.5] * 2000), epochs=3))
    assert record["init_args"]["epochs"] == 3
    assert record["init_args"]["weights"].startswith("list of 2,000 values, SHA-256 ")
    assert len(json.dumps(record)) < 250
