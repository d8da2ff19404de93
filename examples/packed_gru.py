"""Forget sentences by their ids: a GRU on packed sequences of different lengths, with RMSprop and clipped gradients.

One GRU reads both sentences of a pair, and the network predicts how similar they are; the user's own `collate` pads a
batch.  The pairs of one source, image captions, are withdrawn.  STS-B is read from ../shared/data/stsb.
"""

import re
import sys
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from unregress import AuditReport, MappingTask, Project, Recipe, print_table

DATA = Path(__file__).parents[2] / "shared/data/stsb"
WORDS = 4000


def encode(pairs: pd.DataFrame, vocabulary: dict[str, int]) -> list[dict[str, Tensor]]:
    """The word numbers of both sentences of each pair: 0 is padding, 1 an unknown word."""

    def numbers(text: str) -> Tensor:
        return torch.tensor([vocabulary.get(word, 1) for word in re.findall(r"\w+", text.lower())])

    rows = zip(pairs.sentence1, pairs.sentence2, pairs.score, strict=True)
    return [{"first": numbers(a), "second": numbers(b), "labels": torch.tensor(y)} for a, b, y in rows]


def collate(samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    texts = [sample[name] for sample in samples for name in ("first", "second")]
    lengths = torch.tensor([len(each) for each in texts]).view(-1, 2)
    tokens = pad_sequence(texts, batch_first=True).view(len(samples), 2, -1)
    return {"tokens": tokens, "lengths": lengths, "labels": torch.stack([sample["labels"] for sample in samples])}


class Similarity(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Sequential(nn.Embedding(WORDS, 64, padding_idx=0), nn.Dropout(0.3))
        self.gru = nn.GRU(64, 64, batch_first=True)
        self.head = nn.Linear(128, 1)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        words = self.words(tokens.flatten(0, 1))
        packed = pack_padded_sequence(words, lengths.flatten().cpu(), batch_first=True, enforce_sorted=False)
        first, second = self.gru(packed)[1][-1].view(len(tokens), 2, -1).unbind(1)
        return self.head(torch.cat([(first - second).abs(), first * second], dim=1))


def main(output: Path, every: int = 1, epochs: int = 10, golds: int = 5) -> AuditReport:
    parts = [pd.read_csv(DATA / f"{part}.tsv", sep="\t", quoting=3)[::every] for part in ("train", "dev", "test")]
    train = parts[0]
    words = pd.concat([train.sentence1, train.sentence2]).str.lower().str.findall(r"\w+").explode()
    vocabulary = {word: number for number, word in enumerate(words.value_counts().index[: WORDS - 2], 2)}
    ids = train["filename"] + "/" + train["year"] + "/" + train["index"].astype(str)
    data = dict(zip(("train", "validation", "test"), (encode(part, vocabulary) for part in parts), strict=True))
    project = Project(
        task=MappingTask(Similarity, "mse"),
        training=Recipe(epochs=epochs, lr=1e-3, batch_size=32, optimizer="RMSprop", clip_norm=1.0),
        collate=collate,
        ids=ids,
        fitted={"vocabulary": vocabulary},
        **data,
    )
    project.train()
    done = project.forget(ids=ids[train["filename"] == "images"], reason="the captions were withdrawn")
    report = project.audit(done, golds=golds)
    report.to_html(output / "audit.html")
    return report


if __name__ == "__main__":
    print_table(main(Path(*sys.argv[1:] or ["runs/packed_gru"])))
