"""Choose the `tuned` settings of the experiments, on a forget set and a seed that no experiment reports.

Every method has the same budget: the published setting and four schedules of two or four epochs in all, a helper's
among them.  The one whose predictions on the forget set are nearest to a gold's by the paired difference is taken.

    python benchmarks/tuning.py --family utkface --data_root DATA --low 40 --high 55
    python benchmarks/tuning.py --family stsb --data_root DATA --low 4
    python benchmarks/tuning.py --family etth2 --data_root DATA --highest 0.25 --samples 4000 --golds 3
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from jsonargparse import auto_cli

from unregress import Deviation, Errors, Method, Recipe, Retrain, Runtime, Wasserstein, audit, train
from unregress.experiments.experiment import Experiment, Forget, Settings, settings
from unregress.experiments.families import FAMILIES
from unregress.experiments.runner import case_of, part
from unregress.methods import Blindspot, FineTune, GaussianAmnesiac, UniformAmnesiac


def main(
    family: str,
    data_root: Path,
    low: float | None = None,
    high: float | None = None,
    lowest: float | None = None,
    highest: float | None = None,
    seed: int = 100,
    samples: int | None = None,
    golds: int = 1,
    output: Path | None = None,
) -> None:
    """Try schedules and print a Markdown table.

    Args:
        family: data and model.
        data_root: the data's folder.
        low: forget targets of at least this.
        high: forget targets of at most this.
        lowest: forget this share of the samples, those with the lowest targets.
        highest: or those with the highest.
        seed: of original and methods; golds have the next ones.
        samples: at most so many samples of each split.
        golds: number of retrained models to compare with.
        output: file to write the table to as well.
    """
    known = FAMILIES[family]
    forget = Forget(low=low, high=high, lowest=lowest, highest=highest)
    everything = known.load(data_root, (forget,))
    forget = forget.fixed(everything.attributes["train"]["target"])
    loaded = part(everything, samples)
    row = Experiment(name="tuning", title="tuning", source="", family=family, forget=[forget])
    case = case_of(loaded, 0, row, len(loaded.attributes["train"]["target"]))
    used, published = settings(known.kind, "tuned", "reduced"), settings(known.kind, "as_published", "reduced")
    runtime = Runtime(seed=seed, progress=True)
    original = train(case, used.training, runtime)
    retrained = [
        Retrain(recipe=used.training).unlearn(original.model, case, Runtime(seed=seed + k, progress=True))
        for k in range(1, golds + 1)
    ]
    tried = {
        **{f"{name}, as published": method for name, method in row.chosen(published, known.layers).items()},
        **candidates(row.chosen(used, known.layers), used),
    }
    made = {name: method.unlearn(original.model, case, runtime) for name, method in tried.items()}
    models = {"original": original, **made}
    report = audit(case, models, runtime, golds=retrained, metrics=(Errors(), Wasserstein(), Deviation()))
    measures = (("paired", "train-forget"), ("w1", "train-forget"), (known.error, "train-forget"),
                (known.error, "test-retain"))  # fmt: skip
    lines = ["| model | " + " | ".join(f"{metric}, {split}" for metric, split in measures) + " | passes |"]
    lines += ["|" + "---|" * (len(measures) + 2)]
    for model in report.models:
        numbers = (report.value(metric, split, model.name) for metric, split in measures)
        passes = f"{model.cost.passes:,}" if model.cost else "–"
        lines.append(f"| {model.name} | " + " | ".join(f"{number:.3g}" for number in numbers) + f" | {passes} |")
    print("\n".join(lines))
    if output is not None:
        output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def candidates(chosen: dict[str, Method], used: Settings) -> dict[str, Method]:
    """Each method with one-cycle schedules: peak rate 1 or 0.3 times that of training, two or four epochs in all."""
    tried: dict[str, Method] = {}

    def schedule(epochs: int, share: float) -> Recipe:
        return replace(used.training, epochs=epochs, lr=used.training.lr * share, schedule="one-cycle")

    for name, method in chosen.items():
        for share in (0.3, 1.0):
            for epochs in (2, 4):
                label = f"{name}, {epochs} epochs to {used.training.lr * share:g}"
                if isinstance(method, Blindspot):
                    # The last of its epochs unlearns; those before it train the helper.
                    tried[label] = replace(method, helper=schedule(epochs - 1, 1.0), recipe=schedule(1, share))
                elif isinstance(method, (FineTune, GaussianAmnesiac, UniformAmnesiac)):
                    tried[label] = replace(method, recipe=schedule(epochs, share))
    return tried


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
