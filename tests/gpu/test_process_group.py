"""A process group of one process: NCCL on a GPU, gloo on the CPU."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.subprocesses import torchrun

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def results(device: str) -> dict[str, Any]:
    done = torchrun("support.one_process_group", device, processes=1)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_collectives_keep_the_values_of_one_process(results: dict[str, Any], device: str) -> None:
    assert ("cuda:nccl" if device == "cuda" else "gloo") in results["backends"]
    assert results["all_reduce"] == [0.0, 1.0, 2.0]
    assert results["broadcast"] == ["kept"] and results["gathered"] == [{"rank": 0}]


@pytest.mark.parametrize("name", ["ddp", "fsdp2", "batchnorm"])
def test_training_gives_the_weights_of_a_model_alone(results: dict[str, Any], name: str) -> None:
    assert results[name] < 1e-9
