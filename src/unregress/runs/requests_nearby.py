"""Requests that a model may have to keep forgotten, and of which it does not know: said before it trains on them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from unregress.errors import StaleError
from unregress.runs.manifest import MANIFEST
from unregress.runs.request_chain import Chain
from unregress.runs.request_record import REQUEST, RequestRecord, read_requests

TOLD = 3
"""Number of run folders that are named."""


def retained_elsewhere_forgotten(places: Iterable[Path], chain: Chain, left_out: Collection[int]) -> list[str]:
    """A warning if run folders beside a model forgot samples of the same data that are about to be trained on.

    A request that starts from the original again, and not from the model of the last request, undoes that one.

    Args:
        places: the folder that is to be written, and the files and run folders of the model.
        chain: the requests that are known, which are kept forgotten.
        left_out: positions of the samples that are not trained on: those of the present request, and of these.
    """
    parents = dict.fromkeys(_run_folder(place.resolve()).parent for place in places)
    folders = [each for parent in parents for each in sorted(parent.glob(f"*/{REQUEST}"))]
    found: dict[RequestRecord, tuple[str, int]] = {}
    for file in folders:
        for record in _readable(file.parent):
            if record not in chain.records and (left := _retained(record, chain, left_out)):
                found.setdefault(record, (f"{record.reason!r} ({file.parent.name})", left))
    if not found:
        return []
    names = [name for name, _ in found.values()]
    named = ", ".join([*names[:TOLD], *([f"{len(names) - TOLD} more"] if len(names) > TOLD else [])])
    most = max(left for _, left in found.values())
    return [
        f"Run folders beside this one forgot samples of the same data, up to {most} of which are "
        f"retained here: {named}. If they are to stay forgotten, start from the last of these models, or name the "
        "folders with `request.after`"
    ]


def unknown_past(model: Path | None) -> list[str]:
    """A warning if it is unknown which requests a model was made to forget: it is a weights file in no run folder."""
    if model is None or model.is_dir() or read_requests(model):
        return []
    return [
        f"{model} is a bare weights file: if it was made to forget earlier requests, their samples are trained on "
        "again; start from the run folder that `forget` wrote, or name these folders with `request.after`"
    ]


def _run_folder(place: Path) -> Path:
    """The run folder that a weights file lies in; otherwise the path itself."""
    return place.parent if place.is_file() and (place.parent / MANIFEST).is_file() else place


def _readable(folder: Path) -> Iterator[RequestRecord]:
    try:
        yield from read_requests(folder)
    except StaleError:
        # It is of no concern here: nobody named this folder.
        return


def _retained(record: RequestRecord, chain: Chain, left_out: Collection[int]) -> int:
    """Number of a record's samples that are trained on; 0 if it was made with other data."""
    try:
        return len(set(record.find(chain.data).positions).difference(left_out))
    except StaleError:
        return 0
