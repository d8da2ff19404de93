"""The jobs of `bench.py` written as research code usually is: the baseline of the comparison.

Written for this comparison, in the style of the notebooks that come with unlearning papers.  Samples are opened,
decoded and transformed one by one in a `DataLoader`, losses are read back at each step, the helper sees whole
batches, features for attacks are taken sample by sample, and after each relearning step everything is evaluated.
Nothing is slowed down on purpose: loaders have two workers, which persist between epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.models import ResNet, resnet18

NORMALISE = [transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]
TRAINING = transforms.Compose(
    [transforms.Resize(32), transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), *NORMALISE]
)
EVALUATION = transforms.Compose([transforms.Resize(32), *NORMALISE])


class Faces(Dataset[tuple[Tensor, float, int]]):
    """Samples of image, age and membership of the forget set, loaded one at a time."""

    def __init__(self, root: Path, table: pd.DataFrame, forget: Sequence[int], transform: Callable[[Any], Tensor]):
        self.root, self.paths, self.ages = root, table["path"].tolist(), table["age"].astype(float).tolist()
        self.forget, self.transform = list(forget), transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Tensor, float, int]:
        image = Image.open(self.root / self.paths[row]).convert("RGB")
        return self.transform(image), self.ages[row], self.forget[row]


def loader(dataset: Dataset[Any], *, batch_size: int = 256, sampler: Any = None, **options: Any) -> DataLoader[Any]:
    return DataLoader(dataset, batch_size, sampler=sampler, num_workers=2, persistent_workers=True, **options)


def network() -> ResNet:
    return resnet18(num_classes=1)


def train_epoch(model: nn.Module, batches: DataLoader[Any], device: torch.device) -> float:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    model.train()
    total = 0.0
    for images, ages, _ in batches:
        images, ages = images.to(device), ages.float().to(device)
        optimizer.zero_grad()
        loss = functional.l1_loss(model(images).squeeze(1), ages)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(batches)


def blindspot(
    model: nn.Module, helper: nn.Module, retained: DataLoader[Any], everything: DataLoader[Any], device: torch.device
) -> float:
    """Train the helper on D_r for two epochs and the model on D for one; the helper predicts whole batches."""
    for _ in range(2):
        train_epoch(helper, retained, device)
    helper.eval()
    seen: dict[str, list[Tensor]] = {"model": [], "helper": []}
    handles = [
        getattr(net, f"layer{k}").register_forward_hook(lambda _, __, output, name=name: seen[name].append(output))
        for name, net in (("model", model), ("helper", helper))
        for k in (1, 2, 3, 4)
    ]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    model.train()
    total = 0.0
    for images, ages, forget in everything:
        images, ages, forget = images.to(device), ages.float().to(device), forget.float().to(device)
        for recorded in seen.values():
            recorded.clear()
        with torch.no_grad():
            taught = helper(images).squeeze(1)
        prediction = model(images).squeeze(1)
        attention = sum(
            (maps(a) - maps(b)).square().mean(1) for a, b in zip(seen["model"], seen["helper"], strict=True)
        )
        kept = (1 - forget) * (prediction - ages).abs()
        forgotten = forget * ((prediction - taught).abs() + 50 * attention)
        loss = (kept + forgotten).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    for handle in handles:
        handle.remove()
    return total / len(everything)


def maps(activation: Tensor) -> Tensor:
    return functional.normalize(activation.square().mean(1).flatten(1))


def attack_features(model: ResNet, dataset: Faces, count: int, device: torch.device) -> dict[str, np.ndarray]:
    """Loss, final-layer input and final-layer gradient of the first `count` samples, computed one by one."""
    model.eval()
    inputs: list[Tensor] = []
    handle = model.fc.register_forward_hook(lambda _, args, __: inputs.append(args[0]))
    losses, activations, gradients = [], [], []
    for row in range(count):
        image, age, _ = dataset[row]
        inputs.clear()
        model.zero_grad()
        loss = functional.l1_loss(model(image[None].to(device)).squeeze(1), torch.tensor([age], device=device))
        loss.backward()
        losses.append(loss.item())
        activations.append(inputs[0][0].detach().cpu().numpy())
        gradients.append(torch.cat([model.fc.weight.grad[0], model.fc.bias.grad]).cpu().numpy().copy())
    handle.remove()
    return {"loss": np.array(losses), "activation": np.stack(activations), "gradient": np.stack(gradients)}


def evaluate(model: nn.Module, batches: Iterable[Any], device: torch.device) -> float:
    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for images, ages, _ in batches:
            loss = functional.l1_loss(model(images.to(device)).squeeze(1), ages.float().to(device), reduction="sum")
            total, count = total + loss.item(), count + len(images)
    model.train()
    return total / count


def relearn(
    model: nn.Module, batches: DataLoader[Any], watched: DataLoader[Any], threshold: float, device: torch.device
) -> int | None:
    """Number of steps until the watched loss reaches the threshold; None if one epoch does not suffice."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    if evaluate(model, watched, device) <= threshold:
        return 0
    model.train()
    for step, (images, ages, _) in enumerate(batches, 1):
        optimizer.zero_grad()
        loss = functional.l1_loss(model(images.to(device)).squeeze(1), ages.float().to(device))
        loss.backward()
        optimizer.step()
        if evaluate(model, watched, device) <= threshold:
            return step
    return None


class Sentences(Dataset[tuple[Tensor, Tensor, float]]):
    """Two sentences as word ids and their score, looked up one pair at a time."""

    def __init__(self, pairs: Sequence[tuple[str, str, float]], encode: Callable[[list[str]], Tensor]) -> None:
        self.pairs, self.encode = pairs, encode

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, float]:
        first, second, score = self.pairs[row]
        return self.encode([first])[0], self.encode([second])[0], score


def pad(pairs: Sequence[tuple[Tensor, Tensor, float]]) -> tuple[Tensor, Tensor, Tensor]:
    first, second, scores = map(list, zip(*pairs, strict=True))
    return pad_sequence(first, batch_first=True), pad_sequence(second, batch_first=True), torch.tensor(scores)


class Siamese(nn.Module):
    """The architecture of `unregress.models.sentence_pair`, with packed sequences."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 50, padding_idx=0)
        self.lstm = nn.LSTM(50, 64, batch_first=True)
        self.head = nn.Sequential(nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 1))

    def read(self, ids: Tensor) -> Tensor:
        lengths = (ids != 0).sum(1).cpu()
        packed = pack_padded_sequence(self.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        return self.lstm(packed)[1][0][-1]  # type: ignore[no-any-return]

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        u, v = self.read(first), self.read(second)
        return self.head(torch.cat([u, v, (u - v).abs(), u * v], dim=1))  # type: ignore[no-any-return]


def sentence_epoch(model: nn.Module, batches: DataLoader[Any], device: torch.device) -> float:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    model.train()
    total = 0.0
    for first, second, score in batches:
        optimizer.zero_grad()
        loss = functional.mse_loss(model(first.to(device), second.to(device)).squeeze(1), score.float().to(device))
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(batches)


def hourly(values: np.ndarray[Any, Any], client: str, encoder: int = 168) -> tuple[nn.Module, DataLoader[Any]]:
    """A Temporal Fusion Transformer and batches of 64 windows, made by pytorch-forecasting from an hourly table."""
    from pytorch_forecasting import TemporalFusionTransformer, TimeSeriesDataSet
    from pytorch_forecasting.metrics import QuantileLoss

    hours = np.arange(len(values))
    columns = {"value": values.astype(np.float32), "time": hours / 8766.0, "step": hours, "client": client}
    clock = {"hour": (hours % 24).astype(str), "weekday": (hours // 24 % 7).astype(str)}
    windows = TimeSeriesDataSet(
        pd.DataFrame({**columns, **clock}),
        time_idx="step",
        target="value",
        group_ids=["client"],
        min_encoder_length=encoder,
        max_encoder_length=encoder,
        max_prediction_length=1,
        static_categoricals=["client"],
        time_varying_known_categoricals=["hour", "weekday"],
        time_varying_known_reals=["time"],
        time_varying_unknown_reals=["value"],
        target_normalizer=None,
    )
    network = TemporalFusionTransformer.from_dataset(
        windows, hidden_size=16, attention_head_size=1, hidden_continuous_size=8, loss=QuantileLoss([0.1, 0.5, 0.9])
    )
    return network, windows.to_dataloader(train=True, batch_size=64, num_workers=2, persistent_workers=True)


def forecast_steps(model: nn.Module, batches: Iterator[Any], steps: int, device: torch.device) -> float:
    """Train a model whose forward pass is `model(x).prediction` for `steps` steps by the pinball loss."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    levels = torch.tensor([0.1, 0.5, 0.9], device=device)
    model.train()
    total = 0.0
    for _ in range(steps):
        x, (y, _) = next(batches)
        x = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in x.items()}
        error = y.to(device)[..., None] - model(x).prediction
        loss = torch.maximum(levels * error, (levels - 1) * error).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / steps
