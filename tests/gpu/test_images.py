"""Face images on a GPU: ResNet18 in channels-last layout, augmentation on the device, a memory-mapped table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from support.device_jobs import answers, require_close, runtime_on
from support.face_images import write_faces
from unregress import Blindspot, Case, ForgetRequest, Recipe, TensorTask, train
from unregress.datasets.images.age_images import CropAndFlip, age_images
from unregress.models.resnet import resnet18_regressor

pytestmark = pytest.mark.gpu
RECIPE = Recipe(epochs=1, lr=1e-3, batch_size=42)


def faces(folder: Path) -> Case:
    splits = age_images(str(write_faces(folder / "faces")), index="utkface.csv", size=16, cache=str(folder / "cache"))
    ages = splits.train[:][1].numpy()  # type: ignore[index]
    request = ForgetRequest.band(ages, high=30, reason="test")
    return splits.case(TensorTask(build_model=resnet18_regressor, loss="l1"), request)


def test_augmentation_is_the_same_on_every_device(device: str) -> None:
    pixels = torch.arange(5 * 8 * 8 * 3, dtype=torch.uint8).view(5, 8, 8, 3)
    on_device, on_cpu = (
        CropAndFlip(2)([pixels.to(place)], torch.Generator().manual_seed(0))[0] for place in (device, "cpu")
    )
    assert on_device.device.type == device
    assert torch.equal(on_device.cpu(), on_cpu) and not torch.equal(on_cpu, pixels)


def test_training_and_blindspot_give_the_cpus_answer(device: str, tmp_path: Path) -> None:
    case = faces(tmp_path)
    method = Blindspot(helper=RECIPE, recipe=RECIPE, layers=["resnet.layer?"])
    found, expected = [], []
    for place, kept in ((device, found), ("cpu", expected)):
        runtime = runtime_on(place)
        original = train(case, RECIPE, runtime)
        kept += [answers(made, case, runtime) for made in (original, method.unlearn(original.model, case, runtime))]
    require_close(found, expected, 1e-5)
