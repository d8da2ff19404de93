"""Write an experiment's results to its folder: table, figures, page, audits, and the settings used."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from unregress.experiments.experiment import Experiment, Scale, Settings, Tuning, has_published_settings, settings
from unregress.experiments.families.base import Family
from unregress.experiments.page import figures, render_page
from unregress.experiments.runner import Outcome
from unregress.experiments.summary import Row, comma_separated, judged, markdown, summarise
from unregress.experiments.variance import markdown as of_spreads
from unregress.experiments.variance import spreads
from unregress.files.writing import write_text, writing
from unregress.report import render_html
from unregress.report.figures import save_figure, styles
from unregress.report.formatting import plural


def write(
    folder: Path,
    experiment: Experiment,
    family: Family,
    used: Settings,
    outcome: Outcome,
    *,
    scale: Scale,
    tuning: Tuning,
    command: str,
) -> tuple[Row, ...]:
    """Write `table.md`, `table.csv`, `result.json`, `index.html`, `figures/` and `audits/`.

    Args:
        folder: an existing folder.
        experiment: the experiment.
        family: its dataset and model.
        used: its settings.
        outcome: its audits.
        scale: the settings' scale.
        tuning: the settings' tuning.
        command: the command line that repeats the experiment.

    Returns:
        The table.
    """
    rows, verdicts = summarise(experiment, family, outcome.stages), judged(outcome.stages)
    notes = _notes(outcome, experiment, family, used)
    settings_name = f"{tuning if has_published_settings(family.kind) else family.kind}, scale {scale}"
    facts = _facts(experiment, family, used, outcome, settings_name, command)
    audits = _audits(folder, outcome)
    variance = spreads(outcome.repeated)
    write_text(folder / "table.md", markdown(rows, verdicts) + of_spreads(variance))
    write_text(folder / "table.csv", comma_separated(rows))
    record = {
        "experiment": asdict(experiment),
        "facts": facts,
        "notes": notes,
        "verdicts": [asdict(verdict) for verdict in verdicts],
        "rows": [asdict(row) for row in rows],
        "variance": [asdict(each) for each in variance],
    }
    write_text(folder / "result.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    _figures(folder / "figures", rows, outcome)
    lead = f"{plural(len(outcome.stages[0]), 'seed')} of {family.model} on {family.title}"
    lead += ", with what the paper printed beside it." if experiment.paper else "."
    page = render_page(
        experiment, rows, outcome.stages, verdicts, variance, lead=lead, facts=facts, notes=notes, audits=audits
    )
    write_text(folder / "index.html", page)
    return rows


def _facts(
    experiment: Experiment, family: Family, used: Settings, outcome: Outcome, settings_name: str, command: str
) -> dict[str, str]:
    """Data, settings, machine and versions of an experiment, as text by name."""
    first = outcome.stages[0][0]
    versions = {"unregress": first.version, **first.settings["versions"]}
    return {
        "Source": f"{experiment.source}{f'; a twin of {experiment.twin_of}' if experiment.twin_of else ''}",
        "Data": f"{family.title}; " + ", ".join(f"{part} {size:,}" for part, size in first.samples.items()),
        "Model": family.model,
        "Settings": settings_name,
        "Training": str(used.training),
        **{name: str(method) for name, method in experiment.chosen(used, family.layers).items()},
        "Relearning": str(used.relearning),
        "Seeds": f"{plural(len(outcome.stages[0]), 'original')}, {plural(len(first.golds), 'gold')}"
        + (f", {len(outcome.repeated[0][0])} repetitions of unlearning" if outcome.repeated else ""),
        "Machine": f"{first.settings['device']}, {platform.machine()}, {plural(first.settings['threads'], 'thread')}",
        "Versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "Command": command,
    }


def _notes(outcome: Outcome, experiment: Experiment, family: Family, used: Settings) -> list[str]:
    notes = []
    if experiment.twin_of:
        notes.append("The paper's numbers are for other data: compare orderings, not values.")
    if not has_published_settings(family.kind):
        notes.append("The paper has no such experiment; its settings are ours.")
    notes += _differences_from_paper(experiment, family, used)
    if experiment.anamnesis and used.relearned is not None:
        notes.append(f"Relearning was measured for {plural(used.relearned, 'seed')} only.")
    if used.samples is not None:
        notes.append(f"At most {used.samples:,} samples of each split are used, drawn at random.")
    if "err_Dt_f" in experiment.paper:
        notes.append(
            "The paper measures err_Dt_f on training data by its caption and on test data by its code: its number "
            "stands beside both."
        )
    caveats = [caveat for reports in outcome.stages for report in reports for caveat in report.caveats]
    return list(dict.fromkeys([*notes, *outcome.notes, *caveats]))


def _differences_from_paper(experiment: Experiment, family: Family, used: Settings) -> list[str]:
    """Notes on settings that differ from the paper's."""
    if not has_published_settings(family.kind):
        return []
    notes = []
    published = settings(family.kind, "as_published", "paper")
    if used.methods != published.methods:
        notes.append("The methods' settings are tuned, not the paper's.")
    if used.training != published.training:
        notes.append(f"Original and golds are trained in another way than the paper's: {used.training}.")
    if experiment.anamnesis and used.relearning != published.relearning:
        notes.append(f"Relearning is cut off after {plural(used.relearning.epochs, 'epoch')}, not the paper's ten.")
    return notes


def _audits(folder: Path, outcome: Outcome) -> list[str]:
    pages = []
    with writing(folder):
        (folder / "audits").mkdir()
    for stage, reports in enumerate(outcome.stages, 1):
        for seed, report in enumerate(reports):
            name = f"audits/request-{stage}-seed-{seed}" if len(outcome.stages) > 1 else f"audits/seed-{seed}"
            report.to_json(folder / f"{name}.json")
            render_html(report, folder / f"{name}.html")
            pages.append(f"{name}.html")
    return pages


def _figures(folder: Path, rows: Sequence[Row], outcome: Outcome) -> None:
    look = styles(outcome.stages[0][0])
    with writing(folder):
        folder.mkdir()
        for name, figure in figures(rows, outcome.stages).items():
            save_figure(figure, look, folder / f"{name}.svg")
