"""Family of sentence pairs with a similarity score: STS-B."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from unregress.experiments.experiment import Forget
from unregress.experiments.families.base import Family, Loaded
from unregress.tasks.adapters import TensorTask


def _sentences(root: Path, forget: tuple[Forget, ...]) -> Loaded:
    from unregress.datasets.text.glove import glove
    from unregress.datasets.text.stsb import read_stsb, sentence_pairs, sentences
    from unregress.datasets.text.vocabulary import Vocabulary
    from unregress.models.sentence_pair import SentencePairLSTM

    tables = read_stsb(root)
    files = sorted(root.glob("glove*.txt"))
    # With fixed vectors nothing is learned about words, so the vocabulary may contain held-out sentences' words.
    vocabulary = Vocabulary.of(sentences(*tables.values()) if files else sentences(tables["train"]))
    if files:
        largest = max(files, key=lambda file: file.stat().st_size)
        found = glove(largest, vocabulary)
        build_model, note = partial(SentencePairLSTM, vectors=found.vectors), f"Words: {largest.name}, {found}."
    else:
        build_model = partial(SentencePairLSTM, words=len(vocabulary))
        note = (
            f"Words: an embedding of the {len(vocabulary.words):,} words of the training sentences, learned with the "
            f"model, since there is no glove*.txt in the data's folder.  The paper takes GloVe's fixed vectors."
        )
    known = {
        name: {"target": table["score"].to_numpy("float32"), "year": table["year_number"].to_numpy()}
        for name, table in tables.items()
    }
    task = TensorTask(build_model=build_model, loss="mse")
    notes = [note]
    if (sizes := [len(table) for table in tables.values()]) != [5249, 1000, 1000]:
        notes.append(f"The splits have {', '.join(map(str, sizes))} pairs; the paper's have 5249, 1000 and 1000.")
    return Loaded(splits=sentence_pairs(tables, vocabulary), task=task, attributes=known, notes=tuple(notes))


FAMILIES = {
    "stsb": Family(
        title="STS-B",
        model="LSTM",
        kind="text",
        error="rmse",
        folder="stsb",
        needs=("train.tsv|sts-train.csv", "dev.tsv|sts-dev.csv", "test.tsv|sts-test.csv"),
        samples=5_249,
        layers={"lstm": None, "hidden": None},
        seconds=0.25,
        code=("models/sentence_pair",),
        open=_sentences,
    ),
}
