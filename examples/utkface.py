"""Forget the faces of age 60 and over: the paper's AgeDB experiment (Table 1, 60-100) on UTKFace photographs.

Trains ResNet18 at 32×32 for 12 epochs, retrains golds without the forget set, runs the paper's methods with
the paper's epochs and learning rates, audits all of them and writes `audit.json` and `audit.html`.

    python examples/utkface.py --data_root DATA/utkface --output runs/utkface

Every model is written to the output folder as soon as it is made and is not made again by a later call, so
that an interrupted run goes on, and several processes can share the work: `--only retrained,retrained-2`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from jsonargparse import auto_cli

import unregress
from unregress import Blindspot, FineTune, ForgetRequest, GaussianAmnesiac, Recipe, Retrain, Runtime, UniformAmnesiac
from unregress.checkpoint import load_weights, save_weights
from unregress.datasets.age_images import age_images
from unregress.models.resnet import resnet18_regressor
from unregress.report import print_table, render_html

TRAINING = Recipe(epochs=12, lr=0.01, schedule="one-cycle")
BLOCKS = ("resnet.layer?",)


def main(
    data_root: str,
    output: str = "runs/utkface",
    index: str = "utkface.csv",
    low: float = 60,
    golds: int = 2,
    seed: int = 0,
    only: str = "",
    cache: str | None = None,
) -> None:
    """Run the experiment, or the part of it that is still missing.

    Args:
        data_root: folder with the index file and the images.
        output: folder for weights and report; models found there are not made again.
        index: the index file.
        low: forget the faces of this age and over.
        golds: number of retrained models; those after the first give the noise floor.
        seed: seed of the original and the methods; gold k has seed + k.
        only: names of the models to make, separated by commas; nothing is audited then.
        cache: folder for the decoded images.
    """
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    data = age_images(data_root, index=index, cache=cache)
    ages = data.train.tensors[1]  # type: ignore[attr-defined]
    task = unregress.TensorTask(build_model=resnet18_regressor, loss="l1")
    request = ForgetRequest.band(ages, low=low, reason=f"faces of age {low:g} and over")
    case = data.case(task, request)
    runtime = Runtime(seed=seed, progress=True)

    methods: dict[str, unregress.Method] = {
        "FineTune": FineTune(),
        "UniformAmnesiac": UniformAmnesiac(),
        "GaussianAmnesiac": GaussianAmnesiac(),
        "Blindspot": Blindspot(layers=BLOCKS),
        # The same method with a better helper, and fine-tuning on the training schedule: what a schedule does.
        "Blindspot-one-cycle": Blindspot(
            layers=BLOCKS, helper=Recipe(epochs=3, lr=0.01, schedule="one-cycle"), recipe=Recipe(epochs=1, lr=1e-3)
        ),
        "FineTune-one-cycle": FineTune(recipe=Recipe(epochs=2, lr=0.01, schedule="one-cycle")),
    }
    made: dict[str, unregress.Unlearned] = {}
    made["original"] = stored(folder / "original", task, partial(unregress.train, case, TRAINING, runtime))
    jobs: dict[str, tuple[unregress.Method, Runtime]] = {
        "retrained" if k == 1 else f"retrained-{k}": (Retrain(recipe=TRAINING), Runtime(seed=seed + k, progress=True))
        for k in range(1, golds + 1)
    }
    jobs |= {name: (method, runtime) for name, method in methods.items()}
    for name, (method, where) in jobs.items():
        if not only or name in only.split(","):
            make = partial(method.unlearn, made["original"].model, case, where)
            made[name] = stored(folder / name, task, make)
            print(f"{name}: {made[name].cost}", flush=True)
    if only:
        return
    floor = [made.pop(name) for name in list(made) if name.startswith("retrained-")]
    report = unregress.audit(case, made, runtime, floor=floor)
    report.to_json(folder / "audit.json")
    render_html(report, folder / "audit.html")
    print_table(report)


def stored(
    path: Path, task: unregress.Task, make: Callable[[], unregress.Unlearned]  # type: ignore[type-arg]
) -> unregress.Unlearned:
    """The model kept under that path, or else a newly made one, which is then kept there."""
    weights, record = path.with_suffix(".safetensors"), path.with_suffix(".json")
    if not record.exists():
        made = make()
        save_weights(made.model, weights)
        kept = {"cost": asdict(made.cost), "method": made.method, "deviations": made.deviations, "notes": made.notes}
        record.write_text(json.dumps(kept, indent=1), encoding="utf8")
        return made
    model = task.build_model()
    load_weights(model, weights)
    kept = json.loads(record.read_text(encoding="utf8"))
    return unregress.Unlearned(
        model=model.eval(),
        history=(),
        cost=unregress.Cost(**kept["cost"]),
        method=kept["method"],
        deviations=tuple(kept["deviations"]),
        notes=tuple(kept["notes"]),
    )


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
