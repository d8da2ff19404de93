"""Write models to run folders, and read them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from unregress.data.case import Case
from unregress.data.request import ForgetRequest
from unregress.distributed.process_group import ProcessGroup
from unregress.errors import CheckpointError, SettingError
from unregress.methods.unlearned import Unlearned
from unregress.runs.checkpoint import load_weights, save_weights
from unregress.runs.folder import new_run
from unregress.runs.provenance import LAYOUT, Record, record_of, require_whole, write_record
from unregress.runs.record_matching import Sketch, TrainingRecords
from unregress.runs.request_chain import Chain
from unregress.runs.scalers import write_scalers
from unregress.runs.staleness import require_request, require_same_data
from unregress.training.fresh_model import call_build_model
from unregress.training.runtime import Runtime

ORIGINAL, UNLEARNED = "original.safetensors", "unlearned.safetensors"
"""Weights files of an original that was trained here, and of a model that has forgotten."""
START = "start.safetensors"
"""Weights file with the initial weights of an original that was trained here."""
HELPER = "helper.safetensors"
"""Weights file of the helper (teacher), if the run folder's model had one."""


@contextmanager
def run_folder(
    group: ProcessGroup, path: Path, config: str, made_from: Mapping[str, Path] | None = None
) -> Iterator[Path]:
    """Create a run folder (see `new_run`) in a job of one or several processes.

    The folder of the main process is put in place when all processes have reached the end of the block.  The others
    write to temporary folders, which are deleted.

    Args:
        group: the processes, all of which must call this.
        path: the run folder.
        config: the resolved configuration.
        made_from: run folders and weights files that the job starts from, by their roles.
    """
    with new_run(path, config, made_from) if group.is_main else TemporaryDirectory() as folder:
        yield Path(folder)
        group.barrier()


def write_model(
    folder: Path,
    weights: str,
    made: Unlearned,
    case: Case,
    request: ForgetRequest | None,
    warnings: tuple[str, ...],
    *,
    continued: bool = False,
) -> None:
    """Write a model's weights, those of its helper, and the record of how it was made.

    Args:
        folder: the run folder.
        weights: name of the weights file.
        made: the model.
        case: the data that it was made with.
        request: the request that it has forgotten; None for an original.
        warnings: warnings of the preflight.
        continued: whether later requests may start from it, unlike from an entry of a store: with a sketch of the
            training samples, for comparison with later data, and the scalers of a table.
    """
    save_weights(made.model, folder / weights)
    if made.helper is not None:
        save_weights(made.helper, folder / HELPER)
    if made.start is not None:
        save_weights(made.start, folder / START)
    if made.record is None:
        raise SettingError(
            "The model has no record of how it was made",
            expected="an `Unlearned` with its `record`, as `Method.unlearn` and `train` return",
        )
    if continued:
        write_scalers(folder, case.splits.fitted)
    record = Record(
        layout=LAYOUT,
        weights=weights,
        helper=None if made.helper is None else HELPER,
        request_digest=None if request is None else request.digest,
        data_digest=case.splits.data_digest,
        records=Sketch.of(TrainingRecords(case.splits)) if continued else None,
        made=made.record,
        notes=made.notes,
        deviations=made.deviations,
        warnings=warnings,
        cost=made.cost,
        history=made.history,
    )
    write_record(folder, record)


def read_model(
    path: Path, case: Case, runtime: Runtime, *, forgot: bool, told: Callable[[str], None] = lambda note: None
) -> nn.Module | Unlearned:
    """Read a model from a weights file, or with its record from a run folder.

    Args:
        path: a weights file, or a run folder.
        case: the present request and data.
        runtime: seeds the random draws of the model's constructor.
        forgot: whether the model must have forgotten the present request; False for an original.
        told: called with notes on converted names and numbers of a weights file.

    Raises:
        CheckpointError: the weights cannot be read or do not fit the task's model.
        StaleError: the folder's model was made for another request or other data, or its files were changed.
    """

    def fresh() -> nn.Module:
        with runtime.isolated_rng("load"):
            return call_build_model(case).eval()

    model = fresh()
    if not path.is_dir():
        if not path.exists():
            raise CheckpointError(
                f"There is no {path}",
                expected="a run folder, or a weights file: safetensors, or a state dict saved by `torch.save`",
            )
        for note in load_weights(model, path):
            told(note)
        return model
    record = record_of(path)
    require_whole(path, record.request_digest)
    data = TrainingRecords(case.splits)
    require_same_data(path, record, data)
    requests = Chain.of([path], data)
    if forgot and record.request_digest is not None:
        require_request(path, record.request_digest, requests, case)
    load_weights(model, path / record.weights)
    helper = None if record.helper is None else fresh()
    if helper is not None and record.helper is not None:
        load_weights(helper, path / record.helper)
    start = fresh() if (path / START).is_file() else None
    if start is not None:
        load_weights(start, path / START)
    return Unlearned(
        model=model,
        start=start,
        start_digest=record.made.start,
        history=record.history,
        cost=record.cost,
        record=record.made,
        deviations=record.deviations,
        notes=record.notes,
        helper=helper,
        request=requests.last(),
    )


def read_start(path: Path, case: Case, runtime: Runtime) -> nn.Module:
    """Read the initial weights of a training.

    Args:
        path: a weights file, or the run folder of an original that was trained here.
        case: gives the architecture.
        runtime: seeds the random draws of the model's constructor.

    Raises:
        CheckpointError: the weights cannot be read, do not fit the task's model, or the folder has none.
    """
    if path.is_dir():
        require_whole(path, record_of(path).request_digest)
        if not (path / START).is_file():
            raise CheckpointError(
                f"{path} holds no {START}: the initial weights of its model are not known",
                expected="the folder of an original that `unregress train` wrote, or a weights file",
                remedy="In your own training, keep them with `unregress.keep_start`",
            )
        path = path / START
    with runtime.isolated_rng("load"):
        model = call_build_model(case).eval()
    load_weights(model, path)
    return model
