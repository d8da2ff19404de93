"""Measure time and memory of `LeaveOutEdit` on a ResNet50: 25 million weights, 50 images to forget, 300 held.

    python benchmarks/large_edit.py --output results/small-requests/resnet50.json

The images and the leave-out predictions are random and the network is untrained: time and memory do not depend on them.
"""

from __future__ import annotations

import argparse
import platform
import resource
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from unregress import ForgetRequest, LeaveOutEdit, Runtime, Splits, TensorTask
from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.files.writing import write_json
from unregress.methods.edit_gradients import Group

FORGOTTEN, SAMPLES = 50, 1000


class RandomImages(Dataset[tuple[Tensor, Tensor]]):
    """Random images with random targets, made when they are read."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        draws = torch.Generator().manual_seed(row)
        return torch.rand(3, self.size, self.size, generator=draws), torch.randn((), generator=draws)


def resnet50() -> nn.Module:
    """A ResNet50 with one output."""
    from torchvision.models import resnet50 as build

    network: nn.Module = build(num_classes=1)
    return network


def measured(size: int, layers: Group) -> dict[str, object]:
    """Seconds, and peak memory of this process, of one edit."""
    splits = Splits(train=RandomImages(size), test=RandomImages(size))
    request = ForgetRequest(size=SAMPLES, forget=tuple(range(FORGOTTEN)), reason="measurement")
    case = Case(task=TensorTask(resnet50, loss="mse"), splits=splits, request=request)
    hashes = splits.row_hashes("train_eval")
    table = LeaveOutTable(
        keys=tuple(hashes),
        predictions=torch.randn(SAMPLES, generator=torch.Generator().manual_seed(0)) / 10,
        folds=torch.zeros(SAMPLES, dtype=torch.int64),
        unseen=torch.zeros(1),
        unseen_keys=(hashes[0],),
    )
    torch.manual_seed(0)
    model = resnet50().eval()
    runtime = Runtime(accelerator="cpu", progress=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    made = LeaveOutEdit(table=table, layers=layers, anchors=300, iterations=2).unlearn(model, case, runtime)
    return {
        "image side in pixels": size,
        "layers": layers,
        "seconds": round(time.perf_counter() - started, 1),
        "peak memory in MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "memory before in MB": before // 1024,
        "sample passes": made.cost.passes,
        "notes": [note if len(note) < 200 else f"{note[:200]}…" for note in made.notes],
    }


def main() -> None:
    """Measure one edit and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--layers", default="all")
    given = parser.parse_args()
    found = measured(given.size, given.layers)
    record = {
        "command": f"python benchmarks/large_edit.py --size {given.size} --layers '{given.layers}'",
        "machine": f"{platform.machine()}, CPU, {torch.get_num_threads()} threads",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        **found,
    }
    write_json(given.output, record)
    print(record)


if __name__ == "__main__":
    main()
