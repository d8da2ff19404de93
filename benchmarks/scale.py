"""Measure how time and memory grow with the data and with the forget set, up to half a million images.

Images of 32 by 32 are made up and laid out as IMDB-WIKI's are; a network of two convolutions learns ages from them,
forgets the oldest, and is audited.  Each size runs in a process of its own, which tells after each stage how long it
took and how much memory the process held at most:

* `anonymous`: what the process itself made, which must fit into the machine's memory;
* `resident`: that and the pages of mapped files (the table of images, libraries) that happen to be in memory, which
  the system takes back when it needs them.

    python benchmarks/scale.py                              # 62,500 to 500,000 images: an hour, 6 GB of disk
    python benchmarks/scale.py --largest 10000              # a trial
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from harness import machine
from PIL import Image
from scipy.io import savemat
from torch import nn

from unregress import (
    Anamnesis,
    Blindspot,
    Case,
    FineTune,
    ForgetRequest,
    GaussianAmnesiac,
    Recipe,
    Runtime,
    TensorTask,
    audit,
    retrain,
    train,
)
from unregress.datasets.images.imdb_wiki import EPOCH as UNIX
from unregress.datasets.images.imdb_wiki import imdb_wiki, write_index
from unregress.metrics import default_metrics
from unregress.models.resnet import Pixels

matplotlib.use("Agg")
ROOT = Path(__file__).resolve().parents[1]
SIDE, FOLDERS, SHARE, SHARES = 32, 100, 0.1, (0.05, 0.1, 0.2, 0.4)
METHODS = ("FineTune", "GaussianAmnesiac", "Blindspot")
RECIPE = Recipe(epochs=1, lr=0.003)


def make(root: Path, count: int) -> None:
    """Write `count` images with ages from 1 to 100 in their names under `root/images`; existing files are kept."""
    done = root / f"made-{count}"
    if done.exists():
        return
    for start in range(0, count, FOLDERS * 10):
        rng = np.random.default_rng([7, start])
        block = range(start, min(count, start + FOLDERS * 10))
        coarse = rng.integers(0, 60, (len(block), 4, 4, 3)) + 1.4 * age_of(np.array(block))[:, None, None, None]
        for number, pixels in zip(block, coarse.clip(0, 255).astype(np.uint8), strict=True):
            path = root / "images" / name_of(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            held = io.BytesIO()
            Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(held, "jpeg", quality=50)
            path.write_bytes(held.getvalue())
    done.touch()


def age_of(number: Any) -> Any:
    """Age of an image by its number: 1 to 100."""
    return 1 + number * 37 % 100


def name_of(number: int) -> str:
    return f"{number % FOLDERS:02d}/nm{number:07d}_rm1_1960-1-1_{1960 + age_of(number)}.jpg"


def lay_out(root: Path, count: int) -> Path:
    """IMDB-WIKI's layout around the first images: `imdb_crop/imdb.mat`, and folders that lead to the images."""
    folder = root / f"imdb-{count}" / "imdb_crop"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(FOLDERS):
        link = folder / f"{number:02d}"
        if not link.is_symlink():
            link.symlink_to((root / "images" / link.name).resolve())
    numbers = np.arange(count)
    fields = {
        "full_path": np.array([name_of(number) for number in range(count)], dtype=object),
        "dob": np.full(count, UNIX - 3653.0),
        "photo_taken": 1960.0 + age_of(numbers),
        "face_score": np.full(count, 3.0),
        "second_face_score": np.full(count, np.nan),
    }
    if not (folder / "imdb.mat").exists():
        savemat(folder / "imdb.mat", {"imdb": fields})
    return folder.parent


def network() -> nn.Module:
    return nn.Sequential(
        Pixels(), nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 1),
    )  # fmt: skip


class Stages:
    """Seconds and peak memory (MB) of each stage, as Linux reports them for the process."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        most, over = {"anonymous": 0.0, "resident": 0.0}, threading.Event()

        def watch() -> None:
            while True:
                for kind, now in held().items():
                    most[kind] = max(most[kind], now)
                if over.wait(0.05):
                    return

        watcher, started = threading.Thread(target=watch), time.perf_counter()
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
        self.found[name] = {"seconds": time.perf_counter() - started, **most}
        print(name, {key: round(value, 2) for key, value in self.found[name].items()}, file=sys.stderr, flush=True)


def held() -> dict[str, float]:
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = {line.split(":")[0]: float(line.split()[1]) for line in lines if line.startswith(("VmRSS", "RssAnon"))}
    return {"anonymous": kilobytes["RssAnon"] / 1024, "resident": kilobytes["VmRSS"] / 1024}


def job(root: Path, cache: Path, share: float, threads: int) -> dict[str, dict[str, float]]:
    """Measure index, decoded table, training, unlearning and audit for one size."""
    torch.set_num_threads(threads)
    stages, runtime = Stages(), Runtime(accelerator="cpu")
    with stages.stage("index"):
        (root / "imdb_wiki.csv").unlink(missing_ok=True)
        write_index(root)
    with stages.stage("table"):
        splits = imdb_wiki(str(root), size=SIDE, cache=str(cache))
    ages = splits.train.tensors[1].numpy()  # type: ignore[attr-defined]
    request = ForgetRequest.band(ages, 101 - 100 * share, 100, reason=f"the oldest {share:.0%}")
    case = Case(task=TensorTask(build_model=network, loss="l1"), splits=splits, request=request)
    with stages.stage("training"):
        original = train(case, RECIPE, runtime)
    methods = {
        "FineTune": FineTune(recipe=RECIPE),
        "GaussianAmnesiac": GaussianAmnesiac(recipe=RECIPE),
        "Blindspot": Blindspot(helper=RECIPE, recipe=RECIPE),
    }
    models: dict[str, Any] = {"original": original}
    for name, method in methods.items():
        with stages.stage(name):
            models[name] = method.unlearn(original.model, case, runtime)
    with stages.stage("golds"):
        golds = retrain(case, RECIPE, runtime, range(2))
    metrics = [Anamnesis(recipe=RECIPE, shuffles=1) if isinstance(m, Anamnesis) else m for m in default_metrics()]
    with stages.stage("audit"):
        audit(case, models, runtime, golds=golds, metrics=metrics)
    return stages.found


def plot(runs: list[dict[str, Any]], file: Path) -> None:
    """Plot seconds and memory over the number of images and over the share of the forget set."""
    from matplotlib import pyplot as plt
    from matplotlib.ticker import MaxNLocator

    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "unregress", "font.size": 8})
    figure, axes = plt.subplots(2, 2, figsize=(7, 5), sharey="row", layout="constrained")
    largest = max(run["images"] for run in runs)
    sizes = [run for run in runs if run["share"] == SHARE]
    shares = [run for run in runs if run["images"] == largest // 4]
    for column, (kept, x, label) in enumerate(
        (
            (sizes, "images", "images (a tenth forgotten)"),
            (shares, "share", f"share forgotten of {largest // 4:,} images"),
        )
    ):
        kept = sorted(kept, key=lambda run: run[x])
        for stage in ("table", "training", *METHODS, "audit"):
            axes[0, column].plot(
                [run[x] for run in kept], [run["stages"][stage]["seconds"] for run in kept], ".-", label=stage
            )
        for kind in ("anonymous", "resident"):
            most = [max(stage[kind] for stage in run["stages"].values()) / 1024 for run in kept]
            axes[1, column].plot([run[x] for run in kept], most, ".-", label=kind)
        axes[1, column].set_xlabel(label)
        for axis in axes[:, column]:
            axis.set_xlim(left=0)
            axis.xaxis.set_major_locator(MaxNLocator(5))
            axis.set_ylim(bottom=0)
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("memory at most, GB")
    for row in (0, 1):
        axes[row, 0].legend(frameon=False)
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--largest", type=int, default=500_000, help="images of the largest size; the others are half of the one before"
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "scale", help="where images and tables are put")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "bench", help="folder of the results")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--one", nargs=2, metavar=("images", "share"), help="measure this one, and print it")
    args = parser.parse_args()
    if args.one is not None:
        root, share = args.folder / f"imdb-{args.one[0]}", float(args.one[1])
        print(json.dumps(job(root, args.folder / "tables", share, args.threads)))
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    make(args.folder, args.largest)
    sizes = [args.largest // part for part in (8, 4, 2, 1)]
    asked = [(size, SHARE) for size in sizes] + [(sizes[1], share) for share in SHARES if share != SHARE]
    runs: list[dict[str, Any]] = []
    for images, share in asked:
        lay_out(args.folder, images)
        # A table of its own each time: decoding is a stage.
        for table in (args.folder / "tables").glob("*.npy"):
            table.unlink()
        words = [sys.executable, __file__, "--folder", str(args.folder), "--threads", str(args.threads)]
        print(f"{images} images, {share:.0%} forgotten", file=sys.stderr, flush=True)
        told = subprocess.run([*words, "--one", str(images), str(share)], check=True, stdout=subprocess.PIPE, text=True)
        runs.append({"images": images, "share": share, "threads": args.threads, "stages": json.loads(told.stdout)})
        write(runs, args.output, args.threads)


def write(runs: list[dict[str, Any]], folder: Path, threads: int) -> None:
    """Write the results measured so far and their plot."""
    folder.mkdir(parents=True, exist_ok=True)
    command = f"python benchmarks/scale.py --largest {max(run['images'] for run in runs)} --threads {threads}"
    told = {
        "command": command,
        "machine": machine(torch.device("cpu"), threads),
        "unit": "seconds, and MB at most within a stage",
        "runs": runs,
    }
    (folder / "scale.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    plot(runs, folder / "scale.svg")


if __name__ == "__main__":
    main()
