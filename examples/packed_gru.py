"""Forget sentences by their ids: a GRU on packed sequences of different lengths, with RMSprop and clipped gradients.

The network predicts how similar two sentences are from their words in one sequence; the user's own `collate` pads a
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
WORDS = 2000


def encode(pairs: pd.DataFrame, vocabulary: dict[str, int]) -> list[dict[str, Tensor]]:
    """A sequence of word numbers for each pair: 0 is padding, 1 an unknown word, 2 ends a sentence."""
    texts = (pairs.sentence1 + "\n" + pairs.sentence2).str.lower()
    numbers = [[vocabulary.get(word, 1) for word in re.findall(r"\w+|\n", text)] for text in texts]
    return [{"tokens": torch.tensor(n), "labels": torch.tensor(y)} for n, y in zip(numbers, pairs.score, strict=True)]


def collate(samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    tokens, labels = ([sample[name] for sample in samples] for name in ("tokens", "labels"))
    lengths = torch.tensor([len(each) for each in tokens])
    return {"tokens": pad_sequence(tokens, batch_first=True), "lengths": lengths, "labels": torch.stack(labels)}


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
    parts = [pd.read_csv(DATA / f"{part}.tsv", sep="\t", quoting=3)[::every] for part in ("train", "dev", "test")]
    train = parts[0]
    words = pd.concat([train.sentence1, train.sentence2]).str.lower().str.findall(r"\w+").explode()
    vocabulary = {"\n": 2} | {word: number for number, word in enumerate(words.value_counts().index[: WORDS - 3], 3)}
    ids = train["filename"] + "/" + train["year"] + "/" + train["index"].astype(str)
    data = dict(zip(("train", "validation", "test"), (encode(part, vocabulary) for part in parts), strict=True))
    project = Project(
        task=MappingTask(Similarity, "mse"),
        training=Recipe(epochs=epochs, lr=2e-3, batch_size=32, optimizer="RMSprop", clip_norm=1.0),
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
