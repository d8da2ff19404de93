"""Face photographs with ages in AgeDB's layout: an index csv (age, path, split) beside the images.

The photographs are decoded once, into a memory-mapped table of bytes; after that, a batch is one
indexing operation.  AgeDB itself is given out by its owners on request (Moschoglou et al., 2017).
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.lib.format import open_memmap
from PIL import Image
from torch import Generator, Tensor
from torch.utils.data import TensorDataset

from unregress.data.splits import Splits
from unregress.datasets.cache import cache_folder, written
from unregress.errors import DataError, SettingError, UnregressError, raise_all

SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
CHUNK = 512
"""Images decoded at a time; bounds the memory that decoding takes."""


def age_images(
    root: str, index: str = "agedb.csv", size: int = 32, padding: int = 4, cache: str | None = None
) -> Splits:
    """The splits of an AgeDB-like folder as resident tensors `(pixels, age)`.

    Pixels are uint8, `(n, size, size, 3)`, memory-mapped; ages float32, `(n,)`, in years.  Training
    batches are cropped and flipped at random (`CropAndFlip`).  Sample ids are the paths in the index.

    Args:
        root: folder of the index file, to which its paths are relative.
        index: csv with the columns age, path, split (train, val, test).
        size: side of the square images in pixels; larger ones are reduced.
        padding: pixels of the random crop's padding.
        cache: folder for the decoded table; by default `unregress` in the user's cache folder.

    Raises:
        DataError: the index or an image cannot be read, columns are missing, or values are not as they should be.
        SettingError: `size` or `padding` are out of range, or the cache folder cannot be written.
    """
    if size < 1 or padding < 0:
        raise SettingError(f"size is {size} and padding {padding}", expected="size 1 or more, padding 0 or more")
    table = read_index(Path(root) / index)
    pixels = _pixels(Path(root), table["path"].tolist(), size, cache_folder(cache))
    ages = torch.tensor(table["age"].to_numpy(np.float32))
    parts: dict[str, Any] = {}
    for name in ("train", "validation", "test"):
        rows = np.flatnonzero(table["split"] == name)
        if not len(rows):
            parts[name] = None
            continue
        chosen = torch.from_numpy(rows)
        # Rows are ordered by split, so that each split is a slice of the memory map and not a copy.
        parts[name] = TensorDataset(pixels[rows[0] : rows[-1] + 1], ages[chosen])
    ids = table.loc[table["split"] == "train", "path"].tolist()
    augment = CropAndFlip(padding)
    return Splits(**parts, augment=augment, ids=ids)


def read_index(path: Path) -> pd.DataFrame:
    """Read and check the index file; rows are ordered by split, columns are age, path, split.

    Raises:
        DataError: as for `age_images`.
    """
    try:
        # Read paths as text, also those such as 00012, 7 or NA.
        table = pd.read_csv(path, dtype={"path": str}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"The index {path} cannot be read: {error}",
            expected="a csv file with the columns age, path and split",
            remedy="Check the data root; AgeDB is given out on request by its owners, "
            "https://ibug.doc.ic.ac.uk/resources/agedb/",
        ) from error
    missing = [name for name in ("age", "path", "split") if name not in table]
    if missing:
        raise DataError(
            f"The index {path} has the columns {', '.join(map(str, table.columns))}",
            expected="age, path and split",
            remedy=f"Add {', '.join(missing)}",
        )
    ages = pd.to_numeric(table["age"], errors="coerce").to_numpy(np.float64)
    complaints: list[UnregressError] = []
    for column, kind, good in (
        ("age", "are missing or outside 0 to 200", (ages >= 0) & (ages <= 200)),
        ("path", "are empty", (table["path"].str.strip() != "").to_numpy()),
        ("split", f"are none of {', '.join(SPLITS)}", table["split"].isin(list(SPLITS)).to_numpy()),
    ):
        if len(bad := np.flatnonzero(~good)):
            first = table[column].tolist()[bad[0]]
            where = f"the first in line {bad[0] + 2}: {first!r}"
            complaints.append(DataError(f"{len(bad)} values of {column!r} in {path} {kind}, {where}"))
    if not complaints and not (table["split"] == "train").any():
        complaints.append(DataError(f"No row of {path} has the split train"))
    raise_all(complaints)
    table = table.assign(age=ages, split=table["split"].map(SPLITS))
    order = table["split"].map({"train": 0, "validation": 1, "test": 2}).argsort(kind="stable")
    return table.iloc[order.to_numpy()].reset_index(drop=True)


class CropAndFlip:
    """Zero-pad, crop at random to the original size, and mirror with probability 1/2: batched, on the batch's device.

    As in He et al. (2016) for small images.  The draws come from a CPU generator, so that they are the
    same on every device.
    """

    def __init__(self, padding: int) -> None:
        self.padding = padding

    def __repr__(self) -> str:
        return f"CropAndFlip(padding={self.padding})"

    def __call__(self, data: list[Tensor], generator: Generator) -> list[Tensor]:
        """Augment the first entry of a batch, pixels `(n, height, width, channels)`."""
        pixels, *rest = data
        samples, height, width, _ = pixels.shape
        p, device = self.padding, pixels.device
        draws = torch.randint(0, 2 * p + 1, (2, samples), generator=generator)
        mirrored = torch.rand(samples, generator=generator) < 0.5
        columns = torch.arange(width).expand(samples, width)
        columns = torch.where(mirrored[:, None], columns.flip(1), columns) + draws[1][:, None]
        lines = torch.arange(height) + draws[0][:, None]
        padded = torch.nn.functional.pad(pixels, (0, 0, p, p, p, p))
        which = torch.arange(samples, device=device)[:, None, None]
        return [padded[which, lines.to(device)[:, :, None], columns.to(device)[:, None, :]], *rest]


def _pixels(root: Path, paths: list[str], size: int, cache: Path) -> Tensor:
    """The decoded images, `(n, size, size, 3)` uint8, read from the cache or decoded into it.

    The cache file's name is a digest of each image's path, size and modification time, so that a changed
    folder is decoded again.
    """
    key = hashlib.sha256(f"v1 {size}".encode())
    absent: list[str] = []
    for path in paths:
        try:
            status = (root / path).stat()
        except OSError:
            absent.append(path)
            continue
        key.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    if absent:
        raise DataError(
            f"{len(absent)} of {len(paths)} images are not under {root}, the first: {absent[0]}",
            remedy="Check the data root and that the archive was extracted completely",
        )
    table = cache / f"images-{key.hexdigest()[:24]}.npy"
    if not table.exists():
        _decode(root, paths, size, table)
    # Copy-on-write: PyTorch requires writable memory, and the file must not change.
    return torch.from_numpy(np.load(table, mmap_mode="c"))


def _decode(root: Path, paths: list[str], size: int, table: Path) -> None:
    with written(table) as unfinished:
        pixels = open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=(len(paths), size, size, 3))
        if hasattr(os, "posix_fallocate"):
            # Reserve the space now: a full disk would later kill the process that writes to the map.
            with open(unfinished, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, os.path.getsize(unfinished))
        broken: list[str] = []
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(paths), CHUNK):
                decoded = pool.map(lambda path: _image(root / path, size), paths[start : start + CHUNK])
                for row, image in enumerate(decoded, start):
                    if image is None:
                        broken.append(paths[row])
                    else:
                        pixels[row] = image
        if broken:
            raise DataError(
                f"{len(broken)} of {len(paths)} images cannot be decoded, the first: {broken[0]}",
                expected="JPEG or PNG files",
                remedy="Fetch them again, or drop their rows from the index",
            )
        pixels.flush()


def _image(path: Path, size: int) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
    try:
        with Image.open(path) as image:
            colour = image.convert("RGB")
            if colour.size != (size, size):
                colour = colour.resize((size, size), Image.Resampling.BILINEAR)
            return np.asarray(colour)
    # Pillow raises SyntaxError or ValueError for some damaged files.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
