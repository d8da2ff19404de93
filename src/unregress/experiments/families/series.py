"""Families of hourly time series: electricity load of clients, and ETT's oil temperature."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from unregress.errors import SettingError
from unregress.experiments.experiment import Forget
from unregress.experiments.families.base import Attributes, Family, Loaded


def _series(kind: str) -> Callable[[Path, tuple[Forget, ...]], Loaded]:
    def load(root: Path, forget: tuple[Forget, ...]) -> Loaded:
        from unregress.datasets.series.electricity import electricity, electricity_client
        from unregress.datasets.series.ett import ett
        from unregress.datasets.series.windowed import PARTS, WindowedSeries
        from unregress.models.tft import tft
        from unregress.tasks.forecasting import ForecastingTask

        readers: dict[str, Callable[[Path], WindowedSeries]] = {
            "electricity": electricity,
            "mt200": electricity_client,
            "etth1": ett,
            "etth2": partial(ett, file="ETTh2.csv"),
        }
        cut = readers[kind](root)
        known: dict[str, Attributes] = {part: {"target": cut.targets(part)} for part in PARTS}
        if len(forget) > 1:
            raise SettingError(
                "A series is asked to forget in several steps", expected="one request: it decides the scale"
            )
        low, high = forget[0].limits(known["train"]["target"])
        return Loaded(
            splits=cut.splits(cut.band(low, high)),
            task=ForecastingTask(build_model=partial(tft, **cut.variables)),
            attributes=known,
            notes=(SCALES,),
        )

    return load


SCALES = (
    "Limits are in units of each client's mean and deviation over the whole training period; what models see is scaled "
    "by the retained hours of that period only."
)


def _family(title: str, folder: str, needs: str, samples: int, name: str) -> Family:
    """A data set with the Temporal Fusion Transformer."""
    return Family(
        title=title,
        model="TFT",
        kind="series",
        error="loss",
        folder=folder,
        needs=(needs,),
        samples=samples,
        layers={"static_enrichment": -1, "post_attn_gate_norm": -1, "pre_output_gate_norm": -1},
        seconds=2.0,
        code=("models/tft",),
        open=_series(name),
    )


FAMILIES = {
    "electricity": _family("Electricity", "electricity", "LD2011_2014.txt", 1_852_000, "electricity"),
    "mt200": _family("MT_200", "electricity", "LD_MT200_hour.csv", 31_392, "mt200"),
    "etth1": _family("ETTh1", "ett", "ETTh1.csv", 8_472, "etth1"),
    # Used to tune settings; no experiment reports it.
    "etth2": _family("ETTh2", "ett", "ETTh2.csv", 8_472, "etth2"),
}
