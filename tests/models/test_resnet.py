"""ResNet18 for ages: shapes, names, bytes in, and samples that do not mix."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unregress.models.resnet import Pixels, resnet18_regressor


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return resnet18_regressor().eval()


def images(samples: int, side: int = 32) -> torch.Tensor:
    drawn = torch.randint(0, 256, (samples, side, side, 3), generator=torch.Generator().manual_seed(1))
    return drawn.to(torch.uint8)


@pytest.mark.parametrize(("samples", "side"), [(1, 32), (3, 32), (2, 64)])
def test_one_number_per_image(model: nn.Module, samples: int, side: int) -> None:
    with torch.no_grad():
        assert model(images(samples, side)).shape == (samples, 1)


def test_bytes_become_numbers_from_minus_one_to_one() -> None:
    pixels = torch.tensor([[[[0, 51, 255]], [[255, 0, 102]]]], dtype=torch.uint8)  # (1, 2, 1, 3)
    found = Pixels()(pixels)
    assert (found.dtype, tuple(found.shape)) == (torch.float32, (1, 3, 2, 1))
    assert torch.allclose(found[0, :, :, 0], torch.tensor([[-1.0, 1.0], [-0.6, -1.0], [1.0, -0.2]]))


def test_blocks_have_their_names(model: nn.Module) -> None:
    names = dict(model.named_modules())
    assert {f"resnet.layer{block}" for block in range(1, 5)} <= set(names)
    assert isinstance(names["resnet.fc"], nn.Linear)
    assert names["resnet.fc"].out_features == 1


def test_a_samples_output_does_not_depend_on_the_others(model: nn.Module) -> None:
    pixels = images(6)
    with torch.no_grad():
        together = model(pixels)
        changed = model(torch.cat([pixels[:3], 255 - pixels[3:]]))
        alone = torch.cat([model(image[None]) for image in pixels])
    assert torch.allclose(together[:3], changed[:3], atol=1e-5)
    assert not torch.allclose(together[3:], changed[3:], atol=1e-3)
    assert torch.allclose(together, alone, atol=1e-5)


def test_each_call_makes_another_model() -> None:
    first, second = resnet18_regressor(), resnet18_regressor()
    assert not torch.equal(first.resnet.fc.weight, second.resnet.fc.weight)  # type: ignore[union-attr]
