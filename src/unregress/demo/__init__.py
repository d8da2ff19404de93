"""Complete examples on real data, which `unregress demo` runs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich.console import Console

from unregress.demo.band import forget_band
from unregress.demo.console import say
from unregress.demo.people import forget_people, has_wages
from unregress.errors import SettingError

NO_WAGES = (
    "The demo about people needs the package linearmodels, which has its data and is not installed: "
    "`pip install 'unregress\\[demo]'`. This is the other one, about a band of targets: `unregress demo --job band`."
)


def demo(
    *,
    job: Literal["people", "band"] | None = None,
    output: Path = Path("runs/demo"),
    seed: int = 0,
    golds: int = 5,
    config: str = "",
) -> None:
    """Forget some people, or a band of targets, and audit it, on real data.

    `people`: twenty men of a wage panel withdraw; exact retraining and a closed-form edit side by side, audited beside
    retrained models and by leave-out predictions.  `band`: all diabetes patients with a high score are forgotten by
    each method of the paper.  The same seed gives the same models and the same numbers.

    Args:
        job: which example: `people` or `band`; by default `people`, and `band` where linearmodels, which has the data
            of `people`, is not installed.
        output: folder to write: audit.html, audit.json, request.json, config.yaml and the weights of every model.
        seed: seed of all random draws.
        golds: number of retrained models, each with its own seed; their differences are the noise floor.
        config: the resolved configuration.

    Raises:
        SettingError: `golds` is below 1, or `people` is asked for and linearmodels is not installed.
        RunFolderError: `output` exists and is not a run with the same configuration, or cannot be written.
    """
    if golds < 1:
        raise SettingError(f"golds is {golds}", expected="1 or more")
    if job is None and not has_wages():
        say(Console(highlight=False), "Another example", NO_WAGES)
        job = "band"
    if job != "band":
        forget_people(output=output, seed=seed, golds=golds, config=config)
    else:
        forget_band(output=output, seed=seed, golds=golds, config=config)
