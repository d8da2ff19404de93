"""Forget an age band of faces: a convolutional network trained by the user's own function.

Images are flipped and cropped at random in `__getitem__`, loaded by workers, and drawn by a `WeightedRandomSampler`
that balances the ages.  Faces of 60 years and above are forgotten.  UTKFace is read from ../shared/data/utkface.
"""

import sys
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler
from torchvision.transforms import v2

from unregress import AuditReport, Project, TensorTask, TrainingData, print_table

DATA = Path(__file__).parents[2] / "shared/data/utkface"


class Augmented(TensorDataset):
    augment = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomCrop(32, padding=2)])

    def __getitem__(self, row: int) -> tuple[Tensor, ...]:
        image, age = super().__getitem__(row)
        return self.augment(image), age


def read(table: pd.DataFrame) -> tuple[Tensor, Tensor]:
    images = [v2.functional.pil_to_tensor(Image.open(DATA / path).resize((32, 32))) for path in table["path"]]
    return torch.stack(images) / 127.5 - 1, torch.tensor(table["age"].to_numpy(), dtype=torch.float32)


def build_model() -> nn.Module:
    def block(n: int, m: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(n, m, 3, stride=2, padding=1), nn.BatchNorm2d(m), nn.ReLU())

    return nn.Sequential(block(3, 16), block(16, 32), block(32, 32), nn.Flatten(), nn.Linear(512, 1))


def fit(data: TrainingData, start: nn.Module, seed: int, epochs: int) -> nn.Module:
    random = torch.Generator().manual_seed(seed)
    sampler = WeightedRandomSampler(data.weights, len(data.weights), generator=random)
    loader = DataLoader(data.train, 64, sampler=sampler, num_workers=2, persistent_workers=True, generator=random)
    optimizer = torch.optim.AdamW(start.parameters(), lr=2e-3)
    for _ in range(epochs):
        for images, ages in loader:
            optimizer.zero_grad()
            nn.functional.l1_loss(start(images).squeeze(1), ages).backward()
            optimizer.step()
    return start


def main(output: Path, faces: int = 2000, epochs: int = 15, golds: int = 9) -> AuditReport:
    table = pd.read_csv(DATA / "utkface.csv")
    table = pd.concat([table[table["split"] == part].head(n) for part, n in (("train", faces), ("test", faces // 4))])
    # UTKFace has some photographs twice.
    table = table[~table["path"].map(lambda path: (DATA / path).read_bytes()).duplicated(keep=False)]
    train, test = (table[table["split"] == part] for part in ("train", "test"))
    decade = train["age"] // 10
    pixels, ages = read(train)
    project = Project(
        task=TensorTask(build_model, "l1", outputs=["age [years]"]),
        training=partial(fit, epochs=epochs),
        train=Augmented(pixels, ages),
        train_eval=TensorDataset(pixels, ages),
        test=TensorDataset(*read(test)),
        weights=1 / decade.map(decade.value_counts()),
        ids=train["path"],
    )
    project.train()
    done = project.forget(band=(60, None), reason="consent for faces of 60 and above withdrawn")
    report = project.audit(done, golds=golds)
    report.to_html(output / "audit.html")
    return report


if __name__ == "__main__":
    print_table(main(Path(*sys.argv[1:] or ["runs/faces"])))
