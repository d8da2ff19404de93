"""Forget one customer of six: loads of two transformers (ETTh1, ETTh2), forecast by a Temporal Fusion Transformer.

The network is pytorch-forecasting's, with the customer as a static input.  The request names the customer: its windows
are forgotten in every split.  The files are read from ../shared/data/ett.
"""

import sys
from functools import partial
from pathlib import Path

from unregress import AuditReport, ForecastingTask, Project, Recipe, print_table
from unregress.datasets.series.ett import read_ett
from unregress.datasets.series.series import Series
from unregress.datasets.series.windowed import Boundaries, WindowedSeries
from unregress.models.tft import tft

DATA = Path(__file__).parents[2] / "shared/data/ett"
CUSTOMERS = [(file, load) for file in ("ETTh1", "ETTh2") for load in ("HUFL", "MUFL", "LUFL")]


def read_windows(days: int) -> WindowedSeries:
    """Windows of two days to look back and six hours to forecast, of six customers."""
    read = {f"{file} {load}": read_ett(DATA / f"{file}.csv", load).records()[load] for file, load in CUSTOMERS}
    series = Series.of(read)
    train, validation, test, end = (int(series.hour[0]) + 24 * day for day in (0, days, days + 5, days + 15))
    limits = Boundaries(train=train, validation=validation, test=test, end=end)
    return WindowedSeries(series=series.between(train, end), boundaries=limits, encoder=48, horizon=6, stride=5)


def main(output: Path, days: int = 30, epochs: int = 8, golds: int = 8) -> AuditReport:
    """Train on the first so many days, forget a customer, and audit."""
    windows = read_windows(days)
    task = ForecastingTask(partial(tft, **windows.variables))
    training = Recipe(epochs=epochs, lr=0.01, batch_size=64, clip_norm=1.0, schedule="one-cycle")
    project = Project(task=task, splits=windows.splits(), training=training)
    project.train()
    done = project.forget(where={"client": "ETTh2 MUFL"}, reason="the customer left and asked for erasure")
    report = project.audit(done, golds=golds)
    report.to_html(output / "audit.html")
    return report


if __name__ == "__main__":
    print_table(main(Path(*sys.argv[1:] or ["runs/customers"])))
