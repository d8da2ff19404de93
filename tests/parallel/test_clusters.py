"""Golds trained by a Dask cluster and by Ray, each of two processes on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from torch import nn

from retraining.test_model_factory import RECIPE, dropping
from support.small_cases import CPU, case_of, mlp
from unregress.errors import JobsError
from unregress.parallel.jobs import run_all
from unregress.parallel.pickling import SHARED
from unregress.retraining.model_factory import retrain
from unregress.retraining.model_store import Store
from unregress.tasks.adapters import TensorTask

pytestmark = pytest.mark.slow
HERE = os.pathsep.join(str(Path(__file__).resolve().parents[k] / name) for k, name in ((2, "src"), (1, "")))


@pytest.fixture(scope="module")
def dask() -> Iterator[AbstractContextManager[Any]]:
    distributed = pytest.importorskip("distributed")
    with (
        pytest.MonkeyPatch.context() as patch,
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        patch.setenv("PYTHONPATH", HERE)
        client.run(__import__, "unregress.retraining.model_factory")
        yield partial(joblib.parallel_config, backend="dask")


@pytest.fixture(scope="module")
def ray() -> Iterator[AbstractContextManager[Any]]:
    library = pytest.importorskip("ray")
    from ray.util.joblib import register_ray

    library.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": HERE}}
    )
    register_ray()
    yield partial(joblib.parallel_config, backend="ray")
    library.shutdown()


@pytest.fixture(params=["dask", "ray"])
def cluster(request: pytest.FixtureRequest) -> Any:
    """Opens a block in which joblib uses the cluster."""
    return request.getfixturevalue(request.param)


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.glob("*/*.safetensors")}


def written(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}


def test_a_cluster_trains_the_golds_of_one_process_and_goes_on_after_failures(cluster: Any, tmp_path: Path) -> None:
    """Of four trainings one fails; a second run makes that one alone, and all are what one process makes."""
    here, there = tmp_path / "here", tmp_path / "there"
    lucky = tmp_path / "lucky"
    unlucky = replace(CPU, seed=2).generator("Retrain").initial_seed()

    def build() -> nn.Module:
        if torch.initial_seed() == unlucky and not lucky.exists():
            raise RuntimeError("bad luck")
        return dropping()

    case = case_of(task=TensorTask(build_model=build, loss=lambda p, t: (p - t).abs()))
    with cluster():
        with pytest.raises(JobsError, match=r"(?s)1 of 4 jobs failed.*under seed 2: .*RuntimeError: bad luck"):
            retrain(case, RECIPE, CPU, range(4), workers=2, store=Store(root=there))
        first = written(there)
        assert len(first) == 3
        lucky.touch()
        golds = retrain(case, RECIPE, CPU, range(4), workers=2, store=Store(root=there))
    second = written(there)
    assert len(second) == 4 and {name: second[name] for name in first} == first
    alone = retrain(case, RECIPE, CPU, range(4), store=Store(root=here, log=str))
    assert files(here) == files(there) and len(files(here)) == 4
    for one, other in zip(alone, golds, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True))


def test_a_job_of_a_cluster_has_its_own_copy_of_the_data_and_of_the_random_state(cluster: Any, tmp_path: Path) -> None:
    large = torch.arange(SHARED, dtype=torch.float32)
    table = np.memmap(tmp_path / "table", dtype=np.int32, mode="w+", shape=(SHARED,))
    table[:] = 3

    def work() -> tuple[int, float, int, str, float]:
        seen = float(large.double().sum()), int(table.sum())
        large.zero_()
        table[:] = 0
        with replace(CPU, seed=7).isolated_rng("test"):
            return os.getpid(), *seen, type(table).__name__, float(torch.rand(()))

    with cluster():
        found = list(dict(run_all({f"{n}": work for n in range(4)}, workers=2)).values())
    assert os.getpid() not in {pid for pid, *_ in found}
    assert [seen[:3] for _, *seen in found] == [[SHARED * (SHARED - 1) / 2, 3 * SHARED, "memmap"]] * 4
    assert len({drawn for *_, drawn in found}) == 1
    assert large[-1] == SHARED - 1 and (table == 3).all()


def test_dask_names_the_job_whose_worker_died(dask: Any) -> None:
    """And the others are done: Dask gives up a job after four workers."""
    ended: list[int] = []
    with dask(), pytest.raises(JobsError, match=r"(?s)1 of 3 jobs failed.*dies: a worker process ended.*KilledWorker"):
        jobs = {"lives": lambda: 1, "dies": lambda: os._exit(1), "lives too": lambda: 2}
        list(run_all(jobs, workers=2, ended=lambda: ended.append(1)))
    assert len(ended) == 3


def test_ray_says_that_a_worker_died(ray: Any) -> None:
    with ray(), pytest.raises(JobsError, match=r"worker process ended.*ActorDiedError.*in a store"):
        list(run_all({"lives": mlp, "dies": lambda: os._exit(1)}, workers=2))
