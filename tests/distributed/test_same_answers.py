"""Every method and the default metrics give the same answer on one process, with DDP and with FSDP2 (gloo, CPU).

In double precision to ten digits; in float32 to five.  The answers of both processes are the same to the last bit.
"""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from support.device_jobs import require_close
from support.distributed_worker import jobs, results
from support.subprocesses import torchrun
from unregress import Runtime

pytestmark = pytest.mark.slow
NAMES = [*(name for name, *_ in jobs()), "train", "average", "audit", "diverged"]
Answers = dict[str, Any]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Answers, Answers]]:
    """The answers of both processes, by strategy."""
    folder = tmp_path_factory.mktemp("answers")
    done = torchrun("support.distributed_worker", str(folder))
    assert done.returncode == 0, done.stderr
    read = {file.stem: pickle.loads(file.read_bytes()) for file in folder.iterdir()}
    return {strategy: (read[f"{strategy}-0"], read[f"{strategy}-1"]) for strategy in ("ddp", "fsdp2")}


@pytest.fixture(scope="module")
def alone() -> Answers:
    return results(Runtime(accelerator="cpu", precision="64-true"))


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("unlike/")])
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_processes_answer_as_one(
    strategy: str, name: str, together: dict[str, tuple[Answers, Answers]], alone: Answers
) -> None:
    if (strategy, name) == ("fsdp2", "average"):
        assert "Recipe.ema is set, and the weights are sharded" in together[strategy][0][name]
        return
    # A bias before batch normalisation has no gradient but rounding, which Adam divides by its own size.
    tolerance = 1e-5 if name.endswith("float32") else 1e-6 if name.endswith(("batchnorm", "average")) else 1e-10
    require_close(together[strategy][0][name], alone[name], tolerance, name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_both_processes_answer_alike(strategy: str, name: str, together: dict[str, tuple[Answers, Answers]]) -> None:
    first, second = together[strategy]
    require_close(first[name], second[name], 0.0, name)


def test_what_cannot_be_the_same_differs(together: dict[str, tuple[Answers, Answers]], alone: Answers) -> None:
    """The control of the tests above: they would notice."""
    for name in ("unlike/dropout", "unlike/batchnorm"):
        with pytest.raises(AssertionError):
            require_close(together["ddp"][0][name], alone[name], 1e-6)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_a_model_that_is_not_called_whole_is_explained(
    strategy: str, together: dict[str, tuple[Answers, Answers]], alone: Answers
) -> None:
    assert alone["unlike/bypassed"] == ["", ""]
    for message in together[strategy][0]["unlike/bypassed"]:
        assert "calls a submodule or another method of the model" in message and "one device" in message


def test_an_audit_measured_relearning(alone: Answers) -> None:
    metrics = {metric for metric, *_ in alone["audit"]}
    assert {"mae", "w1", "relearn-steps", "ain"} <= metrics
    assert any(metric == "relearn-steps" and value > 0 for metric, _, _, value, *_ in alone["audit"])
