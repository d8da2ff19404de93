"""AllCNN for ages: shapes, size, names, bytes in, and samples that do not mix."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unregress.hooks.activations import activations
from unregress.models.allcnn import allcnn_regressor


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return allcnn_regressor().eval()


def images(samples: int, side: int = 32) -> torch.Tensor:
    drawn = torch.randint(0, 256, (samples, side, side, 3), generator=torch.Generator().manual_seed(1))
    return drawn.to(torch.uint8)


@pytest.mark.parametrize(("samples", "side"), [(1, 32), (3, 32), (2, 48), (1, 1)])
def test_one_number_per_image(model: nn.Module, samples: int, side: int) -> None:
    with torch.no_grad():
        assert model(images(samples, side)).shape == (samples, 1)


def test_parameters_by_hand(model: nn.Module) -> None:
    convolutions = 9 * (3 * 96 + 96 * 96 + 96 * 192 + 4 * 192 * 192) + 192 * 192
    normalisations = 2 * (2 * 96 + 6 * 192)
    assert sum(each.numel() for each in model.parameters()) == convolutions + normalisations + 192 + 1 == 1_618_273


def test_layers_are_those_of_the_published_code(model: nn.Module) -> None:
    convolutions = [each for each in model.modules() if isinstance(each, nn.Conv2d)]
    assert [(each.out_channels, each.kernel_size[0], each.stride[0]) for each in convolutions] == [
        (96, 3, 1), (96, 3, 1), (192, 3, 2),
        (192, 3, 1), (192, 3, 1), (192, 3, 2),
        (192, 3, 1), (192, 1, 1),
    ]  # fmt: skip
    kinds = [type(each) for each in model.modules() if not list(each.children())]
    assert kinds.count(nn.BatchNorm2d) == kinds.count(nn.ReLU) == len(convolutions)


def test_stages_can_be_named_for_blindspot(model: nn.Module) -> None:
    with torch.no_grad(), activations(model, [f"stage{number}" for number in (1, 2, 3)]) as seen:
        model(images(2))
        shapes = {name: tuple(found.shape) for name, (found,) in seen.items()}
        least = min(float(found.min()) for (found,) in seen.values())
    assert shapes == {"stage1": (2, 192, 16, 16), "stage2": (2, 192, 8, 8), "stage3": (2, 192, 8, 8)}
    assert least == 0


def test_bytes_count_as_bytes(model: nn.Module) -> None:
    pixels = images(2)
    as_numbers = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        assert torch.allclose(model(pixels), model[1:](as_numbers), atol=1e-6)  # type: ignore[index] # a Sequential


def test_a_samples_output_does_not_depend_on_the_others(model: nn.Module) -> None:
    pixels = images(4)
    with torch.no_grad():
        together = model(pixels)
        alone = torch.cat([model(image[None]) for image in pixels])
    assert torch.allclose(together, alone, atol=1e-5)
    assert len(together.unique()) == 4


def test_every_parameter_is_trained() -> None:
    model = allcnn_regressor()
    model(images(3)).square().sum().backward()
    assert [name for name, each in model.named_parameters() if each.grad is None or not each.grad.any()] == []


def test_a_seed_makes_the_model() -> None:
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(torch.cat([each.detach().flatten() for each in allcnn_regressor().parameters()]))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
