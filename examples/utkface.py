"""Forget the faces of age 60 and over: the paper's AgeDB experiment (Table 1, 60-100) on UTKFace photographs.

Trains ResNet18 at 32×32 for 12 epochs, retrains golds without the forget set, runs the paper's methods with
the paper's epochs and learning rates, audits all of them and writes `audit.json` and `audit.html`.

    python examples/utkface.py --data_root DATA/utkface --output runs/utkface

Every model is written to the output folder as soon as it is made and is not made again by a later call, so
that an interrupted run goes on, and several processes can share the work: `--only retrained,retrained-2`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from jsonargparse import auto_cli

import unregress
from unregress import (
    Anamnesis,
    Blindspot,
    Deviation,
    Errors,
    FineTune,
    ForgetRequest,
    GaussianAmnesiac,
    Membership,
    Recipe,
    Retrain,
    Runtime,
    UniformAmnesiac,
    Unlearned,
    Wasserstein,
)
from unregress.artefacts import read_model, write_model
from unregress.datasets.age_images import age_images
from unregress.models.resnet import resnet18_regressor
from unregress.report import print_table, render_html
from unregress.runs import new_run

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
    relearn_epochs: int = 10,
) -> None:
    """Run the experiment, or the part of it that is still missing.

    Args:
        data_root: folder with the index file and the images.
        output: folder for weights and report; models found there are not made again.
        index: the index file.
        low: forget the faces of this age and over.
        golds: number of retrained models; five or more allow a verdict.
        seed: seed of the original and the methods; gold k has seed + k.
        only: names of the models to make, separated by commas; nothing is audited then.
        cache: folder for the decoded images.
        relearn_epochs: cap of the anamnesis index, in epochs; as published 10.
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
    made: dict[str, Unlearned] = {}
    made["original"] = kept(folder / "original", case, runtime, partial(unregress.train, case, TRAINING, runtime))
    jobs: dict[str, tuple[unregress.Method, Runtime]] = {
        "retrained" if k == 1 else f"retrained-{k}": (Retrain(recipe=TRAINING), Runtime(seed=seed + k, progress=True))
        for k in range(1, golds + 1)
    }
    jobs |= {name: (method, runtime) for name, method in methods.items()}
    for name, (method, where) in jobs.items():
        if not only or name in only.split(","):
            make = partial(method.unlearn, made["original"].model, case, where)
            made[name] = kept(folder / name, case, runtime, make)
    if only:
        return
    retrained = [made.pop(name) for name in list(made) if name.startswith("retrained")]
    relearning = Anamnesis(recipe=Recipe(epochs=relearn_epochs, lr=1e-3))
    metrics = (Errors(), Wasserstein(), Deviation(), Membership(), relearning)
    # The photographs hold a few duplicates across the splits: a caveat of the report.
    warnings = unregress.preflight(case, runtime, allow_overlap=True).warnings
    report = unregress.audit(case, made, runtime, golds=retrained, metrics=metrics, caveats=warnings)
    report.to_json(folder / "audit.json")
    render_html(report, folder / "audit.html")
    print_table(report)


def kept(path: Path, case: unregress.Case, runtime: Runtime, make: Callable[[], Unlearned]) -> Unlearned:
    """The model in that run folder, or else a newly made one, which is then kept there.

    A folder that was made with other data, or for another request, is refused.
    """
    if not path.exists():
        made = make()
        request = None if path.name == "original" else case.request
        with new_run(path, f"method: {made.method!r}\n") as folder:
            write_model(folder, "weights.safetensors", made, case, request, ())
    model = read_model(path, case, runtime, forgot=path.name != "original")
    print(f"{path.name}: {model.cost}", flush=True)
    return model


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
