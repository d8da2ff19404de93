"""Windows of a series in the format of pytorch-forecasting's models.

Windows are not stored: each batch is gathered from the series when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor
from torch.utils.data import Dataset

from unregress.data.request import Index
from unregress.datasets.series.series import Series, time_of

Window = tuple[dict[str, Tensor], tuple[Tensor, None]]
"""`(x, (y, None))`, of one window or a batch."""


class Windows(Dataset[Window]):
    """The windows of one part as `(x, (y, None))`, in pytorch-forecasting's format, read in batches.

    With n windows, E hours of encoder and H of horizon, x has `encoder_cat` `(n, E, 3)` int64 (client, hour of
    the day, day of the week from Monday), `encoder_cont` `(n, E, 2)` float32 (years since validation begins; scaled
    value), `decoder_cat` and `decoder_cont` `(n, H, ...)` for the horizon, `encoder_target`, `decoder_target`,
    `encoder_lengths`, `decoder_lengths`, `decoder_time_idx` (hours since 1970), `groups` (client) and `target_scale`
    (0 and 1: nothing is to be scaled back).  y is `(n, H)`, the scaled values that are forecast.  As in
    `TimeSeriesDataSet`, `decoder_cont` holds them too, and models know not to look.

    Read it with `collate`: `__getitems__` gives a batch, not a list.

    Args:
        cat: client, hour and weekday of every step, `(steps, 3)` int16.
        cont: time and scaled value of every step, `(steps, 2)` float32.
        hour: of every step, `(steps,)`.
        places: the step that each window forecasts first, `(n,)`.
        encoder: hours looked back.
        horizon: hours forecast.
    """

    def __init__(self, cat: Tensor, cont: Tensor, hour: Tensor, places: Index, encoder: int, horizon: int) -> None:
        self.cat, self.cont, self.hour = cat, cont, hour
        self.places = torch.from_numpy(places)
        self.encoder, self.horizon = encoder, horizon

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, row: int) -> Window:
        x, (y, _) = self.__getitems__([row])
        return {name: value[0] for name, value in x.items()}, (y[0], None)

    def __getitems__(self, rows: Sequence[int]) -> Window:
        """A batch of windows."""
        places = self.places[torch.as_tensor(rows)]
        steps = places[:, None] + torch.arange(-self.encoder, self.horizon)
        cat, cont, end = self.cat[steps].long(), self.cont[steps], self.encoder
        x = {
            "encoder_cat": cat[:, :end],
            "encoder_cont": cont[:, :end],
            "encoder_target": cont[:, :end, -1],
            "encoder_lengths": torch.full((len(rows),), end),
            "decoder_cat": cat[:, end:],
            "decoder_cont": cont[:, end:],
            "decoder_target": cont[:, end:, -1],
            "decoder_lengths": torch.full((len(rows),), self.horizon),
            "decoder_time_idx": self.hour[steps[:, end:]],
            "groups": cat[:, end, :1],
            "target_scale": torch.tensor([0.0, 1.0]).repeat(len(rows), 1),
        }
        return x, (cont[:, end:, -1], None)


def collate(batch: Any) -> Window:
    """Collate single windows into a batch; a batch from `Windows.__getitems__` is returned as it is."""
    if isinstance(batch, list):
        windows: list[Window] = batch
        names = windows[0][0]
        x = {name: torch.stack([window[0][name] for window in windows]) for name in names}
        return x, (torch.stack([window[1][0] for window in windows]), None)
    whole: Window = batch
    return whole


@dataclass(frozen=True)
class WindowIds(Sequence[str]):
    """The windows' ids: client and first hour forecast, such as `MT_200 2014-03-30 01:00`."""

    series: Series
    places: Index

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        place = self.places[row]
        return f"{self.series.clients[self.series.client[place]]} {time_of(self.series.hour[place])}"

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(len(self)))
