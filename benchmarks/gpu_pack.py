"""Prepare a folder with all that `gpu_run.py` needs on a machine without a network (`make gpu-carry`).

The folder holds wheels of the packages that the machine lacks, and the data of the benchmark jobs in one archive:

    python benchmarks/gpu_pack.py runs/gpu-carry --data ../shared/data --python 3.12

Wheels need a package index; `--no-wheels` leaves them out, for a machine that has every package.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Collection, Iterable, Iterator
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
ROOTS = ("unregress[experiments]", "pytest", "hypothesis")
"""What tests and benchmarks need."""
PRESENT = ("torch", "torchvision", "numpy", "scipy", "pandas", "scikit-learn", "matplotlib", "pillow")
"""Packages that a machine with PyTorch for CUDA is taken to have, with all that they need."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64",
             "manylinux_2_12_x86_64", "manylinux2010_x86_64", "manylinux_2_5_x86_64", "manylinux1_x86_64")  # fmt: skip
FOLDERS = ("stsb", "electricity")
"""Datasets that are taken whole, beside the images."""
LIMIT = 60.0
"""Largest size of the folder in MiB."""
HELD_OUT_SHARE = 6
"""UTKFace has this many times fewer validation (and test) images than training images, rounded up."""


def needed(roots: Iterable[str], present: Collection[str], python: str) -> dict[str, str]:
    """Versions of the packages that must be carried: the requirements, and theirs, as installed here.

    Args:
        roots: requirements to start from.
        present: packages that the machine has; what they require is not followed.
        python: the machine's Python version, such as `3.12`.

    Raises:
        PackageNotFoundError: a required package is not installed here.
    """
    known = {canonicalize_name(name) for name in present}
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(root) for root in roots]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in known:
            continue
        if name != "unregress":  # its wheel is built from this checkout
            found[name] = distribution(name).version
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            place = {"python_version": python, "python_full_version": f"{python}.0", "extra": extra}
            for text in distribution(name).requires or ():
                other = Requirement(text)
                if other.marker is None or other.marker.evaluate(place):
                    waiting.append(other)
    return dict(sorted(found.items()))


def download(folder: Path, versions: dict[str, str], python: str, platforms: Iterable[str]) -> None:
    """Download the wheels, and build the one of this checkout: its metadata say which version runs."""
    folder.mkdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    wanted = [f"{name}=={version}" for name, version in versions.items()]
    places = [word for platform in platforms for word in ("--platform", platform)]
    kind = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, *places]
    subprocess.run([*pip, "download", "--quiet", "--no-deps", *kind, "--dest", str(folder), *wanted], check=True)
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True)


def chosen_images(index: Path, training: int | None) -> tuple[str, list[str]]:
    """The index of the first images of each split as csv text, and their paths.

    Args:
        index: csv with the columns path and split.
        training: number of training images, None for all images; of validation and test a sixth of that each.
    """
    with index.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows, columns = list(reader), list(reader.fieldnames or ())
    counts: dict[str, int] = {}
    kept = []
    for row in rows:
        split = row["split"]
        counts[split] = counts.get(split, 0) + 1
        most = None if training is None else training if split == "train" else -(-training // HELD_OUT_SHARE)
        if most is None or counts[split] <= most:
            kept.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(kept)
    return text.getvalue(), [row["path"] for row in kept]


def archive(file: Path, data: Path, training: int | None) -> int:
    """Write the datasets that are there into one archive; returns the number of images."""
    images: list[str] = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as made:
        if (index := data / "utkface" / "utkface.csv").exists():
            table, images = chosen_images(index, training)
            made.writestr("utkface/utkface.csv", table)
            for path in images:
                made.write(data / "utkface" / path, f"utkface/{path}")
        for name in FOLDERS:
            for source in files_in(data / name):
                made.write(source, source.relative_to(data), zipfile.ZIP_DEFLATED)
    return len(images)


def files_in(folder: Path) -> Iterator[Path]:
    yield from (file for file in sorted(folder.rglob("*")) if file.is_file())


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to write; what it holds from an earlier time is replaced")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the datasets")
    parser.add_argument("--images", type=int, help="training images of UTKFace; default: all images")
    parser.add_argument("--present", nargs="*", default=PRESENT, metavar="PACKAGE", help="packages not to carry")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser.add_argument("--python", default=here, help=f"the machine's Python version; default: {here}")
    parser.add_argument("--platforms", nargs="*", default=PLATFORMS, help="tags of wheels that the machine takes")
    parser.add_argument("--no-wheels", action="store_true", help="carry no packages")
    parser.add_argument("--limit", type=float, default=LIMIT, help="largest size of the folder in MiB")
    return parser.parse_args()


def main() -> None:
    args = parsed()
    contents = args.folder / "contents.json"
    if args.folder.exists() and any(args.folder.iterdir()) and not contents.exists():
        sys.exit(f"error: {args.folder} holds other files. Expected: a new folder, or one that this script wrote.")
    shutil.rmtree(args.folder, ignore_errors=True)
    args.folder.mkdir(parents=True)
    versions = {} if args.no_wheels else needed(ROOTS, args.present, args.python)
    about = {"python": args.python, "present": sorted(args.present), "wheels": versions}
    contents.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    if versions:
        download(args.folder / "wheels", versions, args.python, args.platforms)
    images = archive(args.folder / "data.zip", args.data, args.images)
    contents.write_text(json.dumps({**about, "images": images}, indent=1) + "\n", encoding="utf-8")
    size = sum(file.stat().st_size for file in files_in(args.folder)) / 2**20
    print(f"Wrote {args.folder}: {len(versions)} packages, {images} images, {size:.1f} MiB")
    if size > args.limit:
        sys.exit(
            f"error: the folder has {size:.1f} MiB. Expected: at most {args.limit:g} MiB. "
            "Take fewer --images, or name more packages as --present."
        )


if __name__ == "__main__":
    main()
