"""GloVe's published word vectors (Pennington et al., 2014), for the words of a vocabulary.

The files (`glove.840B.300d.txt`, `glove.6B.50d.txt`, ...) are at https://nlp.stanford.edu/projects/glove/, free of
conditions (PDDL 1.0).
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unregress.datasets.cache import cache_folder, written
from unregress.datasets.text.vocabulary import PADDING, UNKNOWN, Vocabulary
from unregress.errors import DataError, UnregressError, raise_all

LONGEST = 1 << 16
"""Longest line in bytes; a file with a longer line has another format, and is not read further."""

CUT_OFF = "cut off"


@dataclass(frozen=True)
class WordVectors:
    """The vectors of a vocabulary."""

    vectors: Tensor
    """`(len(vocabulary), dim)` float32, row by word id.  Padding is zero; the reserved unknown word, and every word
    that is not in the file, has the mean of the vectors found, which is a typical vector."""
    missing: tuple[str, ...]
    """The vocabulary's words that are not in the file."""

    def __str__(self) -> str:
        words, dim = self.vectors.shape
        return f"{words - 2} words with {dim} numbers each, {len(self.missing)} of them unknown to GloVe"


def glove(path: str | Path, vocabulary: Vocabulary, cache: str | None = None) -> WordVectors:
    """Read the vectors of a vocabulary's words from one of GloVe's text files.

    The file is read line by line, and only once: the vocabulary's vectors are cached by the file's name, size and
    modification time and the vocabulary's digest.  The vocabulary's words are in lower case: the capitalised words of
    the 840B file are not used.

    Args:
        path: an unpacked text file: a word and its numbers per line, separated by spaces.
        vocabulary: the words.
        cache: folder for the vectors; by default `unregress` in the user's cache folder.

    Raises:
        DataError: the file does not exist, has another format, is damaged, or has none of the words.
        PreflightError: it is damaged in several ways, all reported together.
        SettingError: the cache folder cannot be written.
    """
    path = Path(path)
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(
            f"The word vectors {path} cannot be read: {error.strerror}",
            expected="a text file such as glove.840B.300d.txt",
            remedy="Fetch it from https://nlp.stanford.edu/projects/glove/ (free of conditions, PDDL) and unpack it",
        ) from error
    with file:
        status = os.fstat(file.fileno())
        key = f"v1\0{path.name}\0{status.st_size}\0{status.st_mtime_ns}\0{vocabulary.digest}"
        kept = cache_folder(cache) / f"glove-{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"
        found = _kept(kept, len(vocabulary))
        if found is None:
            found = _read(path, file, vocabulary)
            _keep(kept, found)
    vectors, known = found["vectors"], found["known"]
    if not bool(known.any()):
        raise DataError(f"{path} has none of the vocabulary's {len(vocabulary.words)} words", expected="GloVe's words")
    vectors[~known] = vectors[known].mean(0)
    vectors[PADDING] = 0.0
    missing = tuple(word for word, has in zip(vocabulary.words, known[UNKNOWN + 1 :].tolist(), strict=True) if not has)
    return WordVectors(vectors, missing)


# gensim's `KeyedVectors.load_word2vec_format(no_header=True)` does not suit: it splits a line at every space and so
# fails at words of the 840B file that contain spaces (". . .", "at name@domain.com"); and it keeps all 2.2 million
# words in memory.
def _read(path: Path, file: BinaryIO, vocabulary: Vocabulary) -> dict[str, Tensor]:
    """Vectors `(len(vocabulary), dim)`, zero where missing, and a mask of those found, `(len(vocabulary),)` bool."""
    dim = _dimension(path, file)
    wanted = {word.encode(): row for row, word in enumerate(vocabulary.words, UNKNOWN + 1)}
    vectors = np.zeros((len(vocabulary), dim), dtype=np.float32)
    known = np.zeros(len(vocabulary), dtype=np.bool_)
    first: dict[str, int] = {}
    count: Counter[str] = Counter()
    for number, line in enumerate(_lines(path, file), 1):
        # Words are compared as bytes, whatever their encoding; lines end at "\n" only, as words may hold other breaks.
        spaces, wrong = line.count(b" "), ""
        word = line[: line.find(b" ")] if spaces == dim else line.rsplit(b" ", dim)[0]
        if spaces < dim:
            wrong = f"fewer than {dim}" if line.endswith(b"\n") else CUT_OFF
        elif spaces > dim and b"." in (last := word.split(b" ")[-1]) and _is_number(last):
            wrong = f"more than {dim}"
        elif (row := wanted.get(word)) is not None and not known[row]:
            # Words are sorted by frequency: of two equal ones the first is the more frequent.
            try:
                with np.errstate(over="ignore"):
                    vectors[row] = [float(text) for text in line.rsplit(b" ", dim)[1:]]
                known[row] = bool(np.isfinite(vectors[row]).all())
            except ValueError:
                known[row] = False
            wrong = "" if known[row] else "no finite"
        if wrong:
            count[wrong] += 1
            first.setdefault(wrong, number)
    raise_all([_complaint(path, kind, count[kind], line) for kind, line in first.items()])
    return {"vectors": torch.from_numpy(vectors), "known": torch.from_numpy(known)}


def _dimension(path: Path, file: BinaryIO) -> int:
    """Numbers per word, from the first line: its word has no space in any of the published files."""
    first = file.readline(LONGEST)
    file.seek(0)
    numbers = first.split(b" ")[1:]
    if not first.endswith(b"\n") or len(numbers) < 2 or not all(map(_is_number, numbers)):
        start = first[:40].decode("utf-8", "replace").strip()
        raise DataError(
            f"{path} begins with {start!r} and is not one of GloVe's files",
            expected="a word and its numbers per line, separated by spaces",
            remedy="Unpack the archive" if first.startswith(b"PK") else "Remove the first line if it is a header",
        )
    return len(numbers)


def _lines(path: Path, file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(LONGEST):
        if len(line) == LONGEST:
            raise DataError(f"{path} has a line of more than {LONGEST} bytes", expected="a text file of GloVe's")
        yield line


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _complaint(path: Path, kind: str, count: int, first: int) -> UnregressError:
    if kind == CUT_OFF:
        return DataError(f"{path} is cut off in its last line, {first}", remedy="Fetch it again")
    return DataError(
        f"{count} line{'s' if count > 1 else ''} of {path} with {kind} numbers, the first is line {first}",
        expected="as many numbers in each line as in the first",
        remedy="Fetch it again",
    )


def _kept(path: Path, words: int) -> dict[str, Tensor] | None:
    """The vectors that an earlier call cached; None if they are missing or damaged."""
    try:
        found = load_file(path)
    except (FileNotFoundError, SafetensorError):
        return None
    whole = found.keys() == {"vectors", "known"} and len(found["vectors"]) == len(found["known"]) == words
    return found if whole else None


def _keep(path: Path, found: dict[str, Tensor]) -> None:
    with written(path) as unfinished:
        save_file(found, unfinished)
