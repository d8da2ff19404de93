"""The command `unregress reproduce`: the paper's experiments."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from unregress.cli.console import store_noted, with_progress
from unregress.data.case import Case
from unregress.datasets.cache import cache_folder
from unregress.datasets.download.sources import fetch
from unregress.errors import SettingError
from unregress.experiments.experiment import Experiment, Forget, Scale, Settings, Tuning, experiment, names, settings
from unregress.experiments.families import FAMILIES
from unregress.experiments.outputs import write
from unregress.experiments.runner import reproduce as run
from unregress.experiments.summary import judged, markdown
from unregress.retraining.model_store import Store
from unregress.runs.digests import contents
from unregress.runs.folder import new_run
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


def reproduce(
    *,
    config: str,
    name: str | None = None,
    list: bool = False,  # the option's name
    data_root: Path | None = None,
    scale: Scale = "reduced",
    tuning: Tuning = "as_published",
    seeds: int = 1,
    golds: int = 5,
    repetitions: int = 1,
    output: Path | None = None,
    store: Path | None = None,
    download: bool = False,
    workers: int = 1,
    runtime: Runtime = Runtime(),  # noqa: B008 frozen
) -> None:
    """Run an experiment of the paper and show its published numbers beside ours.

    Trains original and golds, runs the methods, audits, and writes table, figures and page.  Trained
    models are kept in a store and not trained again: an interrupted run is resumed.

    Args:
        config: the resolved configuration.
        name: the experiment, as `--list` shows them.
        list: show all experiments, with their data's state and a rough cost.
        data_root: folder of the dataset, or parent folder of several datasets; not needed for data that a library
            includes.
        scale: the paper's training; `reduced` for a laptop; `smoke` only shows that everything runs.
        tuning: the paper's settings, or annealing schedules in place of its constant rates.
        seeds: number of originals, each with a run of every method.
        golds: number of retrained models, which differ by their seed only; five or more allow a verdict.
        repetitions: how often each method unlearns each original; with two or more, and two seeds or more, the variance
            of training and that of unlearning are told apart.
        output: folder to write: index.html, table.md, table.csv, result.json, figures, audits; by default `runs/NAME`.
        store: folder for trained models; by default `unregress/store` in the user's cache folder.
        download: download the data into `data_root` first, if their licence allows it.
        workers: trainings at a time; several compute on one CPU thread each.  On a CPU, its cores; on one GPU, what
            its memory holds.
        runtime: where to run; its seed is the first.
    """
    console = Console(highlight=False, emoji=False)
    if list:
        console.print(_listing(data_root, scale, tuning, seeds, golds))
        return
    if name is None:
        raise SettingError("No experiment is named", remedy="Name one of those that `unregress reproduce --list` shows")
    chosen = experiment(name)
    family = FAMILIES[chosen.family]
    if download and data_root is not None and family.missing(data_root):
        fetch(family.folder, data_root)
    runtime = with_progress(runtime)
    how = settings(family.kind, tuning, scale)
    loaded = family.load(data_root, tuple(chosen.forget))
    kept = Store(
        root=cache_folder() / "store" if store is None else store, log=lambda text: console.print(text, style="dim")
    )
    target = Path("runs") / name if output is None else output
    again = f" --repetitions {repetitions}" if repetitions > 1 else ""
    words = f"--scale {scale} --tuning {tuning} --seeds {seeds} --golds {golds}{again}{_runtime_options(runtime)}"
    command = f"unregress reproduce {name} {'' if family.shipped else '--data-root DATA '}{words}"
    made_from = contents(Case(task=loaded.task, splits=loaded.splits), {})
    thousands = _thousands(chosen, how, seeds, golds, repetitions, whole=loaded.splits.size)
    cost = f"{1000 * thousands:,.0f} sample passes" if family.seconds is None else _duration(family.seconds * thousands)
    on = " on two CPU cores" if family.seconds is not None else ""
    if scale == "smoke":
        console.print("Scale smoke only shows that everything runs: its numbers and verdicts mean nothing.")
    console.print(
        f"{chosen.title}: roughly {cost} of training{on}, less for models already in {kept.root}.",
        markup=False,
        soft_wrap=True,
    )
    with new_run(target, _without_irrelevant_options(config) + made_from) as folder, store_noted(kept.root):
        outcome = run(
            chosen,
            family,
            loaded,
            how,
            seeds=seeds,
            golds=golds,
            store=kept,
            runtime=runtime,
            repetitions=repetitions,
            workers=workers,
        )
        rows = write(folder, chosen, family, how, outcome, scale=scale, tuning=tuning, command=command)
    console.print(markdown(rows, judged(outcome.stages), brief=True), markup=False, soft_wrap=True)
    console.print(f"Wrote {target}/index.html, table.md, table.csv and result.json", markup=False)


def _runtime_options(runtime: Runtime) -> str:
    """Command-line options for the runtime's settings that affect results and differ from the defaults."""
    given = {field.name: getattr(runtime, field.name) for field in dataclasses.fields(Runtime)}
    plain = {field.name: field.default for field in dataclasses.fields(Runtime)}
    return "".join(f" --runtime.{name} {value}" for name, value in given.items()
                   if value != plain[name] and name != "progress")  # fmt: skip


def _without_irrelevant_options(config: str) -> str:
    """The configuration without options that do not affect results."""
    settings = yaml.safe_load(config)
    for name in ("download", "list", "store", "workers"):
        settings.pop(name, None)
    settings.get("runtime", {}).pop("progress", None)
    text: str = yaml.safe_dump(settings, sort_keys=False)
    return text


def _listing(data_root: Path | None, scale: Scale, tuning: Tuning, seeds: int, golds: int) -> Table:
    table = Table(box=None, pad_edge=False, caption=_CAPTION.format(scale, seeds, golds), caption_justify="left")
    table.add_column("experiment", no_wrap=True)
    for heading in ("paper", "data, model", "forgets", "found"):
        table.add_column(heading)
    table.add_column("CPU", justify="right", no_wrap=True)
    table.add_column("GPU", justify="right", no_wrap=True)
    for name in names():
        found = experiment(name)
        family = FAMILIES[found.family]
        state = "yes" if family.shipped else "?" if data_root is None else "no" if family.missing(data_root) else "yes"
        forgets = ", then ".join(_forgets(each) for each in found.forget)
        cpu = gpu = "?"
        if family.seconds is not None and family.samples is not None:
            how = settings(family.kind, tuning, scale)
            seconds = family.seconds * _thousands(found, how, seeds, golds, whole=family.samples)
            cpu, gpu = (_duration(each) for each in (seconds, seconds / GPU))
        table.add_row(name, found.source.split(";")[0], f"{family.title} {family.model}", forgets, state, cpu, gpu)
    return table


GPU = 40
"""Assumed, not measured, speed of a data-centre GPU in multiples of two CPU cores."""
_CAPTION = (
    "Cost: training only, at scale {}, {} seed(s) and {} golds, nothing in the store; on two CPU cores from measured "
    f"seconds a sample; a GPU is assumed to be {GPU} times as fast, which was not measured."
)


def _thousands(found: Experiment, how: Settings, seeds: int, golds: int, repetitions: int = 1, *, whole: int) -> float:
    """Thousands of sample passes in training all models of an experiment; forget sets are not subtracted."""
    size = whole if how.samples is None else min(whole, how.samples)
    methods = found.chosen(how, FAMILIES[found.family].layers).values()
    recipes = [getattr(method, field.name) for method in methods for field in dataclasses.fields(method)]
    unlearning = sum(recipe.epochs for recipe in recipes if isinstance(recipe, Recipe))
    requests = len(found.forget)
    epochs = how.training.epochs * (seeds + golds * requests) + unlearning * seeds * repetitions * requests
    return epochs * size / 1000


def _forgets(forget: Forget) -> str:
    bounds = [f"{sign} {limit:g}" for sign, limit in (("≥", forget.low), ("≤", forget.high)) if limit is not None]
    shares = [f"{end} {share:.0%}" for end, share in (("lowest", forget.lowest), ("highest", forget.highest)) if share]
    drawn = [] if forget.random is None else [f"{forget.random:,} at random"]
    named = [] if forget.column is None else [f"{forget.column} {forget.equal}"]
    return " and ".join([*bounds, *shares, *drawn, *named])


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(1, seconds):.0f} s"
