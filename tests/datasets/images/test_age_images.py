"""The AgeDB layout on a generated folder: values, order, cache, complaints; and the batched augmentation."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import TensorDataset

from unregress.data.splits import Splits
from unregress.datasets.images import age_images as module
from unregress.datasets.images.age_images import CropAndFlip, age_images
from unregress.errors import DataError, PreflightError, SettingError, UnregressError

ROWS = [  # age, file, split: mixed, and of several shapes
    (61, "b.jpg", "train", (50, 40)),
    (7, "a.jpg", "test", (32, 32)),
    (33.5, "c.jpg", "val", (20, 64)),
    (18, "d.jpg", "train", (32, 32)),
    (90, "e.jpg", "validation", (100, 100)),
    (2, "f.jpg", "train", (16, 16)),
]


def write_index(root: Path, rows: list[tuple[object, str, str]], header: str = "age,path,split") -> None:
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    (root / "agedb.csv").write_text("\n".join(lines) + "\n", encoding="utf8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six JPEGs of random colours, smooth enough for JPEG, with their index."""
    folder = tmp_path / "agedb"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for _, name, _, (width, height) in ROWS:
        corners = Image.fromarray(rng.integers(0, 256, (2, 2, 3), dtype=np.uint8))
        corners.resize((width, height), Image.Resampling.BICUBIC).save(folder / "images" / name, quality=95)
    write_index(folder, [(age, f"images/{name}", split) for age, name, split, _ in ROWS])
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def load(root: Path, cache: Path) -> Callable[..., Splits]:
    return lambda **options: age_images(str(root), cache=str(cache), **options)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are opened as images."""
    opened: list[str] = []
    plain = Image.open

    def watched(path: Path, *args: object, **options: object) -> Image.Image:
        opened.append(Path(path).name)
        return plain(path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module.Image, "open", watched)
    return opened


def tensors(dataset: object) -> tuple[Tensor, Tensor]:
    assert isinstance(dataset, TensorDataset)
    pixels, ages = dataset.tensors
    return pixels, ages


def test_splits_ages_and_ids_in_the_order_of_the_index(load: Callable[..., Splits]) -> None:
    splits = load()
    assert splits.ids == ["images/b.jpg", "images/d.jpg", "images/f.jpg"]
    for name, ages in (("train", [61, 18, 2]), ("validation", [33.5, 90]), ("test", [7])):
        pixels, found = tensors(getattr(splits, name))
        assert (found.dtype, found.tolist()) == (torch.float32, ages)
        assert (pixels.dtype, tuple(pixels.shape)) == (torch.uint8, (len(ages), 32, 32, 3))


@pytest.mark.parametrize("size", [8, 32])
def test_pixels_are_those_of_the_files(load: Callable[..., Splits], root: Path, size: int) -> None:
    splits = load(size=size)
    for name, files in (("train", "bdf"), ("validation", "ce"), ("test", "a")):
        pixels, _ = tensors(getattr(splits, name))
        for image, file in zip(pixels, files, strict=True):
            with Image.open(root / "images" / f"{file}.jpg") as original:
                small = original if original.size == (size, size) else original.resize((size, size), Image.BILINEAR)
                assert torch.equal(image, torch.from_numpy(np.array(small)))


def test_grey_and_transparent_pictures_become_colour(load: Callable[..., Splits], root: Path) -> None:
    Image.new("L", (32, 32), 77).save(root / "images" / "grey.png")
    Image.new("RGBA", (32, 32), (1, 2, 3, 0)).save(root / "images" / "clear.png")
    write_index(root, [(1, "images/grey.png", "train"), (2, "images/clear.png", "train"), (3, "images/a.jpg", "test")])
    pixels, _ = tensors(load().train)
    assert pixels[0].unique().tolist() == [77]
    assert pixels[1, 0, 0].tolist() == [1, 2, 3]


def test_a_second_time_nothing_is_decoded(load: Callable[..., Splits], decoded: list[str]) -> None:
    first = load()
    assert sorted(decoded) == [f"{name}.jpg" for name in "abcdef"]
    decoded.clear()
    second = load()
    assert decoded == []
    for split in ("train", "validation", "test"):
        assert all(map(torch.equal, tensors(getattr(first, split)), tensors(getattr(second, split))))


def test_other_sizes_and_padding(load: Callable[..., Splits], decoded: list[str]) -> None:
    load()
    decoded.clear()
    assert isinstance(augment := load(padding=2).augment, CropAndFlip) and augment.padding == 2
    assert decoded == [], "padding has nothing to do with the table"
    assert tensors(load(size=16).train)[0].shape[1] == 16
    assert len(decoded) == 6


def test_a_changed_file_is_decoded_again(load: Callable[..., Splits], root: Path, decoded: list[str]) -> None:
    before = tensors(load().train)[0].clone()
    path = root / "images" / "d.jpg"
    Image.new("RGB", (32, 32), (200, 0, 0)).save(path)
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    decoded.clear()
    after = tensors(load().train)[0]
    assert "d.jpg" in decoded
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert abs(int(after[1, 5, 5, 0]) - 200) <= 3


def test_changed_ages_and_splits_are_never_answered_from_the_table(load: Callable[..., Splits], root: Path) -> None:
    load()
    write_index(root, [(5, "images/f.jpg", "test"), (6, "images/a.jpg", "train"), (8, "images/b.jpg", "train")])
    splits = load()
    assert tensors(splits.train)[1].tolist() == [6, 8]
    with Image.open(root / "images" / "a.jpg") as original:
        assert torch.equal(tensors(splits.train)[0][0], torch.from_numpy(np.array(original)))


def test_writing_to_a_batch_never_reaches_the_table(load: Callable[..., Splits]) -> None:
    before = tensors(load().train)[0].clone()
    tensors(load().train)[0].zero_()
    assert torch.equal(tensors(load().train)[0], before)


def png(root: Path, *, damage: slice, value: bytes) -> None:
    path = root / "images" / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    content[damage] = value
    path.write_bytes(content)
    write_index(root, [(1, "images/b.jpg", "train"), (2, "images/a.png", "train")])


BREAK: dict[str, Callable[[Path], object]] = {
    "cut off": lambda root: (root / "images/d.jpg").write_bytes((root / "images/d.jpg").read_bytes()[:300]),
    "empty": lambda root: (root / "images/d.jpg").write_bytes(b""),
    "text": lambda root: (root / "images/d.jpg").write_text("not found"),
    "a folder": lambda root: ((root / "images/d.jpg").unlink(), (root / "images/d.jpg").mkdir()),
    "png, chunk's name": lambda root: png(root, damage=slice(38, 39), value=b"\x00"),
    "png, header's length": lambda root: png(root, damage=slice(11, 12), value=b"\x05"),
}


@pytest.mark.parametrize("kind", BREAK)
def test_a_broken_image_is_named_and_leaves_nothing_behind(
    load: Callable[..., Splits], root: Path, cache: Path, kind: str
) -> None:
    BREAK[kind](root)
    with pytest.raises(DataError, match=r"1 of \d images cannot be decoded, the first: images/[ad]\.(jpg|png)"):
        load()
    assert list(cache.iterdir()) == []


def test_missing_files_are_counted(load: Callable[..., Splits], root: Path, cache: Path) -> None:
    for name in "cf":
        (root / "images" / f"{name}.jpg").unlink()
    with pytest.raises(DataError, match="2 of 6 images are not under"):
        load()
    assert not cache.exists()


def test_a_missing_or_unreadable_index_is_said_to_be(root: Path, cache: Path) -> None:
    (root / "empty.csv").write_text("")
    (root / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    for index in ("absent.csv", "empty.csv", "binary.csv", "images"):
        with pytest.raises(DataError, match="cannot be read"):
            age_images(str(root), index, cache=str(cache))


@pytest.mark.parametrize("header", ["age,path,part", "years,path,split", "age,file,split", "age;path;split"])
def test_missing_columns_are_named(load: Callable[..., Splits], root: Path, header: str) -> None:
    write_index(root, [(1, "images/a.jpg", "train")], header)
    with pytest.raises(DataError, match="has the columns") as refused:
        load()
    absent = [name for name in ("age", "path", "split") if name not in header.split(",")]
    assert refused.value.remedy == f"Add {', '.join(absent)}"


@pytest.mark.parametrize("age", ["-1", "201", "old", "", "inf", "nan"])
def test_ages_that_are_none_are_refused(load: Callable[..., Splits], root: Path, age: str) -> None:
    write_index(root, [(1, "images/b.jpg", "train"), (age, "images/a.jpg", "train")])
    with pytest.raises(DataError, match=r"1 values of 'age' .* the first in line 3"):
        load()


@pytest.mark.parametrize("path", ["", "  "])
def test_rows_without_a_path_are_refused(load: Callable[..., Splits], root: Path, path: str) -> None:
    write_index(root, [(1, "images/b.jpg", "train"), (2, path, "train")])
    with pytest.raises(DataError):
        load()


def test_all_complaints_about_the_index_at_once(load: Callable[..., Splits], root: Path) -> None:
    write_index(root, [("x", "images/b.jpg", "train"), (2, "images/a.jpg", "trian")])
    with pytest.raises(PreflightError, match="'trian'") as refused:
        load()
    assert len(refused.value.complaints) == 2


@pytest.mark.parametrize("name", ["7", "NA", "007", "1e5", "null"])
def test_file_names_are_text_whatever_they_look_like(load: Callable[..., Splits], root: Path, name: str) -> None:
    (root / "images" / "d.jpg").rename(root / name)
    write_index(root, [(18, name, "train"), (7, "images/a.jpg", "test")])
    splits = load()
    assert splits.ids == [name]
    assert tensors(splits.train)[1].tolist() == [18]


def test_splits_without_rows_are_none(load: Callable[..., Splits], root: Path) -> None:
    write_index(root, [(1, "images/b.jpg", "train"), (2, "images/a.jpg", "train")])
    splits = load()
    assert (splits.validation, splits.test) == (None, None)
    assert len(tensors(splits.train)[1]) == 2


def test_without_training_rows_there_is_no_dataset(load: Callable[..., Splits], root: Path) -> None:
    write_index(root, [(1, "images/b.jpg", "test")])
    with pytest.raises(DataError, match="train"):
        load()


@pytest.mark.parametrize("options", [{"size": 0}, {"padding": -1}])
def test_senseless_options_are_refused(load: Callable[..., Splits], options: dict[str, int]) -> None:
    with pytest.raises(SettingError):
        load(**options)


def test_a_cache_that_cannot_be_made_is_said_to_be(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnregressError, match="file"):
        age_images(str(root), cache=str(tmp_path / "file" / "cache"))


def images(samples: int, height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (samples, height, width, 3), generator=torch.Generator().manual_seed(0)).byte()


def is_crop(found: Tensor, image: Tensor, padding: int) -> list[tuple[int, int, bool]]:
    """The (line, column, mirrored) for which `found` is that crop of the zero-padded image."""
    height, width, channels = image.shape
    padded = torch.zeros(height + 2 * padding, width + 2 * padding, channels, dtype=image.dtype)
    padded[padding : padding + height, padding : padding + width] = image
    fits = []
    for line in range(2 * padding + 1):
        for column in range(2 * padding + 1):
            crop = padded[line : line + height, column : column + width]
            fits += [(line, column, side) for side, seen in ((False, crop), (True, crop.flip(1))) if seen.equal(found)]
    return fits


@pytest.mark.parametrize(("height", "width", "padding"), [(8, 8, 2), (6, 10, 3), (10, 5, 1), (7, 7, 0), (4, 9, 6)])
def test_each_image_is_a_crop_of_its_padded_self_or_that_mirrored(height: int, width: int, padding: int) -> None:
    pixels = images(60, height, width)
    found, ages = CropAndFlip(padding)([pixels, torch.arange(60.0)], torch.Generator().manual_seed(1))
    assert (found.dtype, found.shape) == (torch.uint8, pixels.shape)
    assert ages.tolist() == list(range(60))
    places = [is_crop(after, before, padding) for after, before in zip(found, pixels, strict=True)]
    # A crop of nothing but padding can be of several places; every image has one.
    assert all(places)
    sure = [place for (place, *others) in places if not others]
    assert {mirrored for _, _, mirrored in sure} == {False, True}
    assert {line for line, _, _ in sure} | {0} >= set(range(2 * padding + 1)) or padding > 2
    assert 0.25 < sum(mirrored for _, _, mirrored in sure) / len(sure) < 0.75


def test_every_place_is_as_likely_as_every_other() -> None:
    pixels = images(1, 5, 5).expand(9000, 5, 5, 3)
    found, _ = CropAndFlip(1)([pixels, torch.zeros(9000)], torch.Generator().manual_seed(2))
    kinds, counts = found.flatten(1).unique(dim=0, return_counts=True)
    assert len(kinds) == 3 * 3 * 2
    assert counts.min() > 400 and counts.max() < 600  # 500 expected


def test_same_draws_same_images_and_the_batch_stays_as_it_is() -> None:
    pixels = images(20, 8, 8)
    before = pixels.clone()
    first, again, other = (
        CropAndFlip(2)([pixels, torch.zeros(20)], torch.Generator().manual_seed(seed))[0] for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_type_and_further_entries_stay(dtype: torch.dtype) -> None:
    data = [images(3, 4, 4).to(dtype), torch.arange(3), torch.arange(6.0).reshape(3, 2)]
    found = CropAndFlip(1)(data, torch.Generator())
    assert found[0].dtype == dtype
    assert found[1] is data[1] and found[2] is data[2]
    assert CropAndFlip(1)([images(1, 4, 4)], torch.Generator())[0].shape == (1, 4, 4, 3)


def test_a_full_disk_is_said_before_any_image_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    monkeypatch.setattr(module, "_image", None)
    with pytest.raises(SettingError, match="cannot be written: No space left") as caught:
        module._decode(tmp_path, ["a.jpg"], 8, tmp_path / "cache" / "images.npy")
    assert "Free some space" in caught.value.remedy and os.listdir(tmp_path / "cache") == []
