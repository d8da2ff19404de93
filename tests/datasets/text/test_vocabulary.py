"""Words, ids and padding."""

from __future__ import annotations

import pytest
import torch

from unregress.datasets.text.vocabulary import PADDING, UNKNOWN, Vocabulary, tokens
from unregress.errors import DataError, SettingError


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("A man is dancing.", ["a", "man", "is", "dancing", "."]),
        ('He said: "No!', ["he", "said", ":", '"', "no", "!"]),
        ("I don't, can't and won’t.", ["i", "do", "n't", ",", "ca", "n't", "and", "wo", "n't", "."]),
        ("Spain's it's they'll 'tis", ["spain", "'s", "it", "'s", "they", "'ll", "'", "tis"]),
        ("1,500.5 on 9/11 in the 1990s.", ["1,500.5", "on", "9", "/", "11", "in", "the", "1990s", "."]),
        ("Pro-Assad  ZÜRICH\tnaïve", ["pro", "-", "assad", "zürich", "naïve"]),
        ("isn't", ["is", "n't"]),
        ("n't", ["n't"]),
        ("@T.E.D. $5%", ["@", "t", ".", "e", ".", "d", ".", "$", "5", "%"]),
        (" \t ", []),
    ],
)
def test_sentences_are_cut_into_words_and_signs(sentence: str, expected: list[str]) -> None:
    assert tokens(sentence) == expected


def test_words_are_counted_over_all_sentences_and_sorted() -> None:
    sentences = ["The dog saw the cat", "a CAT", "a dog"]
    assert Vocabulary.of(sentences).words == ("a", "cat", "dog", "saw", "the")
    assert Vocabulary.of(sentences, minimum=2).words == ("a", "cat", "dog", "the")
    assert Vocabulary.of(reversed(sentences)) == Vocabulary.of(sentences)


def test_ids_reserve_padding_and_unknown() -> None:
    vocabulary = Vocabulary(("cat", "dog"))
    assert (PADDING, UNKNOWN, len(vocabulary)) == (0, 1, 4)
    found = vocabulary.encode(["Dog cat bird dog", "cat"])
    assert found.dtype == torch.int64
    assert found.tolist() == [[3, 2, 1, 3], [2, 0, 0, 0]]


@pytest.mark.parametrize(
    ("length", "expected"), [(1, [[3], [2]]), (2, [[3, 2], [2, 0]]), (6, [[3, 2, 1, 3, 0, 0], [2, 0, 0, 0, 0, 0]])]
)
def test_length_cuts_and_fills(length: int, expected: list[list[int]]) -> None:
    assert Vocabulary(("cat", "dog")).encode(["Dog cat bird dog", "cat"], length).tolist() == expected


def test_a_sentence_without_a_word_is_refused() -> None:
    with pytest.raises(DataError, match="1 of 3 sentences have no word, the first at position 1"):
        Vocabulary(("cat",)).encode(["cat", " ", "dog"])


def test_a_length_below_one_is_refused() -> None:
    with pytest.raises(SettingError, match="length is 0"):
        Vocabulary(("cat",)).encode(["cat"], 0)


def test_a_word_twice_is_refused() -> None:
    with pytest.raises(DataError, match="1 words of the vocabulary occur twice"):
        Vocabulary(("cat", "dog", "cat"))


def test_the_digest_tells_words_and_their_order_apart() -> None:
    digests = {Vocabulary(words).digest for words in (("a", "b"), ("b", "a"), ("a",), ("ab",), ())}
    assert len(digests) == 5
    assert Vocabulary(("a", "b")).digest == Vocabulary(("a", "b")).digest
