"""A forget request as options say it."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from unregress.case import Splits
from unregress.errors import DataError, RequestError, StaleError, UnregressError, raise_all
from unregress.loading import Source, read_targets
from unregress.provenance import REQUEST, read_request
from unregress.request import ForgetRequest
from unregress.task import Task


@dataclass(frozen=True, kw_only=True)
class RequestSpec:
    """Which training samples to forget: `reason`, and exactly one of the four ways to name them.

    Raises:
        RequestError: no or several ways, or values that make no sense; all of them at once.
    """

    reason: str = ""
    """Why: a reference to the deletion request, or the experiment's name.  It goes into the evidence."""
    ids_file: Path | None = None
    """Text file with one id per line, matched as text against the ids that `data` gives, or against
    positions from 0 where it gives none.  Blank lines and lines that begin with # are skipped."""
    band: tuple[float | None, float | None] | None = None
    """Forget all samples with a target from LOW to HIGH, both included: '[60, 100]', '[60, null]'."""
    random: int | None = None
    """Forget so many samples, drawn at random."""
    seed: int = 0
    """Seed of that draw."""
    from_run: Path | None = None
    """Run folder whose request to take over, its reason included."""

    def __post_init__(self) -> None:
        ways = ("ids_file", "band", "random", "from_run")
        given = [way for way in ways if getattr(self, way) is not None]
        complaints: list[UnregressError] = []
        if len(given) != 1:
            complaints.append(
                RequestError(
                    f"The request names its samples by {' and '.join(given) or 'nothing'}",
                    expected=f"exactly one of {', '.join(f'`request.{way}`' for way in ways)}",
                )
            )
        if not self.reason.strip() and self.from_run is None:
            complaints.append(
                RequestError(
                    "The request has no reason",
                    remedy="Say with `request.reason` what it is for: the evidence quotes it",
                )
            )
        if self.band is not None and self.band[0] is None and self.band[1] is None:
            complaints.append(RequestError("The band has no limits", remedy="Give a lower or an upper one, or both"))
        elif self.band is not None and None not in self.band and cast(float, self.band[0]) > cast(float, self.band[1]):
            complaints.append(RequestError(f"The band's lower limit {self.band[0]} is above its upper, {self.band[1]}"))
        if self.random is not None and self.random < 1:
            complaints.append(RequestError(f"{self.random} samples are to be drawn", expected="1 or more"))
        raise_all(complaints)

    def resolve(self, splits: Splits, task: Task[Any]) -> ForgetRequest:
        """The request as positions in a training set.

        Args:
            splits: whose training set, and its ids.
            task: finds the targets of a band.

        Raises:
            RequestError: the ids file cannot be read, or names samples that do not exist.
            DataError: there is not one id per sample.
            StaleError: the run's request is unreadable, or was made for other data.
        """
        size = len(cast(Sized, splits.train))
        if self.from_run is not None:
            return _read_request(self.from_run, size)
        if self.random is not None:
            return ForgetRequest.random(size, self.random, seed=self.seed, reason=self.reason)
        if self.band is not None:
            dataset = splits.train if splits.train_eval is None else splits.train_eval
            targets = read_targets(Source(dataset, torch.zeros(size, dtype=torch.bool), splits.collate), task)
            return ForgetRequest.band(targets.numpy(), *self.band, reason=self.reason)
        ids = range(size) if splits.ids is None else splits.ids
        if len(ids) != size:
            raise DataError(f"`data` gives {len(ids)} ids for {size} training samples", expected="one id per sample")
        wanted = _read_ids(cast(Path, self.ids_file))
        return ForgetRequest.ids([str(identity) for identity in ids], wanted, reason=self.reason)


def _read_ids(path: Path) -> list[str]:
    try:
        # Excel begins UTF-8 text with a mark, which is no part of the first id.
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RequestError(f"The ids file {path} cannot be read: {reason}", expected="one id per line") from error
    ids = [line for line in lines if line and not line.startswith("#")]
    if not ids:
        raise RequestError(f"The ids file {path} names nothing", expected="one id per line")
    return ids


def _read_request(folder: Path, size: int) -> ForgetRequest:
    request = read_request(folder)
    if request.size != size:
        raise StaleError(
            f"{folder / REQUEST} is about {request.size} training samples and `data` gives {size}",
            expected="the data that the request was made for",
        )
    return request
