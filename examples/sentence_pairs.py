"""Forget a forum's sentence pairs by their ids: a BERT with a regression head, trained by Hugging Face's `Trainer`.

The pairs are those of STS-B.  The network is tiny and untrained, so nothing is downloaded.
"""

import re
import sys
from pathlib import Path
from zlib import crc32

import pandas as pd
import torch
from torch import nn
from torch.utils.data import StackDataset
from transformers import AutoModelForSequenceClassification, BertConfig

from unregress import AuditReport, MappingTask, Project, TransformersTraining, print_table

DATA = Path(__file__).parents[2] / "shared/data/stsb"
WORDS, LENGTH = 4000, 48  # tokens known, and tokens of a pair


def tokens(text: str) -> list[int]:
    """Each word's hash, which needs no vocabulary, and then [SEP]; 0 is padding, 1 [CLS] and 2 [SEP]."""
    words = re.findall(r"\w+|[^\w\s]", text.lower())[:22]
    return [*(3 + crc32(word.encode()) % (WORDS - 3) for word in words), 2]


def encode(pairs: pd.DataFrame) -> StackDataset:
    ids, types = torch.zeros(2, len(pairs), LENGTH, dtype=torch.long)
    for row, (first, second) in enumerate(zip(map(tokens, pairs.sentence1), map(tokens, pairs.sentence2), strict=True)):
        ids[row, : len(first) + len(second) + 1] = torch.tensor([1, *first, *second])
        types[row, len(first) + 1 : len(first) + len(second) + 1] = 1
    labels = torch.tensor(pairs.score.to_numpy() / 5, dtype=torch.float32)
    return StackDataset(input_ids=ids, token_type_ids=types, attention_mask=(ids > 0).long(), labels=labels)


def build_model() -> nn.Module:
    size = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 128}
    config = BertConfig(vocab_size=WORDS, max_position_embeddings=LENGTH, num_labels=1, **size)
    return AutoModelForSequenceClassification.from_config(config)


def main(output: Path, every: int = 4, epochs: int = 15, golds: int = 5) -> AuditReport:
    parts = [pd.read_csv(DATA / f"{part}.tsv", sep="\t", quoting=3)[::every] for part in ("train", "dev", "test")]
    ids = parts[0]["filename"] + "/" + parts[0]["year"] + "/" + parts[0]["index"].astype(str)
    arguments = {"num_train_epochs": epochs, "per_device_train_batch_size": 64, "learning_rate": 1e-3, "use_cpu": True}
    training = TransformersTraining(arguments=arguments)
    data = dict(zip(("train", "validation", "test"), map(encode, parts), strict=True))
    project = Project(task=MappingTask(build_model, loss="mse"), training=training, ids=ids, **data)
    project.train()
    done = project.forget(ids=ids[parts[0]["filename"] == "deft-forum"], reason="the forum withdrew its posts")
    report = project.audit(done, golds=golds)
    report.to_html(output / "audit.html")
    return report


if __name__ == "__main__":
    print_table(main(Path(*sys.argv[1:] or ["runs/sentence_pairs"])))
