"""Forget sentences by their ids: a GRU on packed sequences of different lengths, with RMSprop and clipped gradients.

The network predicts how similar two sentences are from their words in one sequence.  Batches are dicts that the user's
own `collate` pads.  The pairs of one source, image captions, are withdrawn.  STS-B is read from ../shared/data/stsb.
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from unregress import AuditReport, MappingTask, Project, Recipe, Runtime

DATA = Path(__file__).parents[2] / "shared/data/stsb"
WORDS = 2000


def encode(pairs: pd.DataFrame, vocabulary: dict[str, int]) -> list[dict[str, Tensor]]:
    """A sequence of word numbers for each pair: 0 is padding, 1 an unknown word, 2 ends the first sentence."""
    found = []
    for first, second, score in zip(pairs.sentence1, pairs.sentence2, pairs.score, strict=True):
        one, two = ([vocabulary.get(word, 1) for word in re.findall(r"\w+", text.lower())] for text in (first, second))
        found.append({"tokens": torch.tensor([*one, 2, *two]), "labels": torch.tensor(score, dtype=torch.float32)})
    return found


def collate(samples: list[dict[str, Tensor]]) -> dict[str, Any]:
    tokens = [sample["tokens"] for sample in samples]
    return {
        "tokens": pad_sequence(tokens, batch_first=True),
        "lengths": torch.tensor([len(each) for each in tokens]),
        "labels": torch.stack([sample["labels"] for sample in samples]),
    }


class Similarity(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 32, padding_idx=0)
        self.gru = nn.GRU(32, 64, batch_first=True)
        self.head = nn.Linear(64, 1)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.words(tokens), lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self.head(self.gru(packed)[1][-1])


def main(output: Path, every: int = 4, epochs: int = 15, golds: int = 5) -> AuditReport:
    read = {"sep": "\t", "quoting": csv.QUOTE_NONE}
    train, dev, test = (pd.read_csv(DATA / f"{part}.tsv", **read)[::every] for part in ("train", "dev", "test"))
    texts = " ".join([*train.sentence1, *train.sentence2]).lower()
    common = pd.Series(re.findall(r"\w+", texts)).value_counts().index[: WORDS - 3]
    vocabulary = {word: number for number, word in enumerate(common, 3)}
    ids = train["filename"] + "/" + train["year"] + "/" + train["index"].astype(str)
    project = Project(
        task=MappingTask(Similarity, "mse"),
        training=Recipe(epochs=epochs, lr=2e-3, batch_size=32, optimizer="RMSprop", clip_norm=1.0),
        train=encode(train, vocabulary),
        validation=encode(dev, vocabulary),
        test=encode(test, vocabulary),
        collate=collate,
        ids=ids.tolist(),
        fitted={"vocabulary": vocabulary},
        runtime=Runtime(accelerator="cpu"),
    )
    project.train()
    done = project.forget(ids=ids[train["filename"] == "images"], reason="the captions were withdrawn")
    done.save(output / "forgotten")
    report = project.audit(done, golds=golds)
    report.to_html(output / "audit.html")
    for verdict in report.verdicts:
        print(f"{verdict.model}: {verdict.outcome}. {verdict.reason}")
    return report


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/packed_gru"))
