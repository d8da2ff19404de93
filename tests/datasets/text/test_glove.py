"""GloVe's text files: values, words with spaces, damage; and the cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from unregress.datasets.text import glove as module
from unregress.datasets.text.glove import WordVectors, glove
from unregress.datasets.text.vocabulary import Vocabulary
from unregress.errors import DataError, PreflightError, SettingError

LINES = [
    ", -0.082752 0.67204 -0.14987",
    "the 0.27204 -0.06203 -0.1884",
    ". . . 0.1 0.2 0.3",
    "at name@domain.com 0.4 0.5 0.6",
    "The 9.0 9.0 9.0",
    "Zürich\u00a0\u0085see 7.0 7.0 7.0",
    "cat 1.0 2.0 -3e-05",
    "1.5 4.0 5.0 6.0",
    "cat 8.0 8.0 8.0",
    "<unk> 0.22418 -0.28882 0.13854",
]
VOCABULARY = Vocabulary(("1.5", "cat", "dog", "the", "zebra"))
THE = [0.27204, -0.06203, -0.1884]


def write(path: Path, lines: list[str], end: str = "\n") -> Path:
    path.write_bytes(("\n".join(lines) + end).encode())
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "glove.840B.3d.txt", LINES)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def load(path: Path, cache: Path) -> Callable[..., WordVectors]:
    return lambda vocabulary=VOCABULARY: glove(path, vocabulary, cache=str(cache))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read, rather than answered from the cache."""
    read: list[Path] = []
    plain = module._read

    def watched(path: Path, *rest: object) -> dict[str, torch.Tensor]:
        read.append(path)
        return plain(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_read", watched)
    return read


def test_words_get_their_vectors_and_others_the_mean(load: Callable[..., WordVectors]) -> None:
    found = load()
    cat, number = [1.0, 2.0, -3e-05], [4.0, 5.0, 6.0]
    # (4 + 1 + 0.27204) / 3, (5 + 2 - 0.06203) / 3, (6 - 0.00003 - 0.1884) / 3
    mean = [1.757346667, 2.312656667, 1.937190]
    expected = torch.tensor([[0.0, 0.0, 0.0], mean, number, cat, mean, THE, mean])
    assert found.vectors.dtype == torch.float32
    assert torch.allclose(found.vectors, expected, atol=1e-6)
    assert found.missing == ("dog", "zebra")
    assert str(found) == "5 words with 3 numbers each, 2 of them unknown to GloVe"


def test_words_with_spaces_are_words(load: Callable[..., WordVectors]) -> None:
    found = load(Vocabulary((". . .", "at name@domain.com")))
    assert torch.allclose(found.vectors[2:], torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]))
    assert found.missing == ()


def test_a_vocabulary_of_one_word_is_enough(load: Callable[..., WordVectors]) -> None:
    assert torch.allclose(load(Vocabulary(("the",))).vectors, torch.tensor([[0.0, 0.0, 0.0], THE, THE]))


def test_the_last_line_may_end_without_a_break(path: Path, cache: Path) -> None:
    write(path, LINES, end="")
    assert glove(path, Vocabulary(("<unk>",)), cache=str(cache)).vectors[2].tolist() == pytest.approx(
        [0.22418, -0.28882, 0.13854]
    )


def test_bytes_that_are_no_text_do_no_harm(path: Path, load: Callable[..., WordVectors]) -> None:
    path.write_bytes(b", 1.0 2.0 3.0\n\xff\xfe 1.0 2.0 3.0\nthe 4.0 5.0 6.0\r\n")
    assert load(Vocabulary(("the",))).vectors[2].tolist() == [4.0, 5.0, 6.0]


def test_a_second_time_nothing_is_read(load: Callable[..., WordVectors], reads: list[Path]) -> None:
    first = load()
    assert len(reads) == 1
    second = load()
    assert len(reads) == 1
    assert torch.equal(first.vectors, second.vectors) and first.missing == second.missing


def test_another_vocabulary_is_read_anew(load: Callable[..., WordVectors], reads: list[Path]) -> None:
    load()
    other = load(Vocabulary(("1.5", "cat", "dog", "the", "zoo")))
    assert len(reads) == 2
    assert other.missing == ("dog", "zoo")


def test_a_changed_file_is_read_anew(load: Callable[..., WordVectors], path: Path, reads: list[Path]) -> None:
    before = load()
    content = path.read_bytes().replace(b"the 0.27204", b"the 0.99999")
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    after = load()
    assert len(reads) == 2
    assert before.vectors[5, 0] == pytest.approx(0.27204)
    assert after.vectors[5, 0] == pytest.approx(0.99999)


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_damaged_cache_is_read_anew(load: Callable[..., WordVectors], cache: Path, damage: bytes) -> None:
    before = load()
    (kept,) = cache.iterdir()
    kept.write_bytes(damage)
    assert torch.equal(load().vectors, before.vectors)
    assert len(list(cache.iterdir())) == 1
    assert kept.stat().st_size > len(damage)


def test_changing_what_came_from_the_cache_does_not_change_the_cache(load: Callable[..., WordVectors]) -> None:
    load().vectors.zero_()
    load().vectors.zero_()
    assert torch.allclose(load().vectors[5], torch.tensor(THE))


def test_a_missing_file_says_where_there_is_one(path: Path, cache: Path) -> None:
    for absent in (path.parent / "glove.6B.50d.txt", path.parent):
        with pytest.raises(DataError, match="cannot be read") as refused:
            glove(absent, VOCABULARY, cache=str(cache))
        assert "https://nlp.stanford.edu/projects/glove/" in refused.value.remedy
    assert not cache.exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "begins with ''"),
        ("one line", "begins with 'one line'"),
        ("word,1.0,2.0\n", "begins with 'word,1.0,2.0'"),
        ("400000 3\nthe 1.0 2.0 3.0\n", "Remove the first line"),
        ("PK\x03\x04 glove.6B.50d.txt\n", "Unpack the archive"),
        ("the 1.0 two 3.0\n", "begins with 'the 1.0 two 3.0'"),
        (", 1.0 2.0\n" + "x" * 70_000, "a line of more than 65536 bytes"),
        ("x" * 70_000, "is not one of GloVe's files"),
    ],
)
def test_files_of_other_kinds_are_refused(
    path: Path, load: Callable[..., WordVectors], cache: Path, content: str, told: str
) -> None:
    path.write_text(content, encoding="utf8")
    with pytest.raises(DataError) as refused:
        load()
    assert told in str(refused.value)
    assert not cache.exists()


@pytest.mark.parametrize("last", ["dog", "dog 1.0", "dog 1.0 2.0"])
def test_a_file_that_was_cut_off_is_refused(
    path: Path, load: Callable[..., WordVectors], cache: Path, last: str
) -> None:
    write(path, [*LINES, last], end="")
    with pytest.raises(DataError, match="is cut off in its last line, 11"):
        load()
    assert not cache.exists()


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["dog 1.0 2.0"], "1 line of .* with fewer than 3 numbers, the first is line 11"),
        (["", "dog"], "2 lines of .* with fewer than 3 numbers, the first is line 11"),
        (["dog 1.0 2.0 3.0 4.0"], "1 line of .* with more than 3 numbers, the first is line 11"),
        (["dog 1.0 x 3.0"], "1 line of .* with no finite numbers, the first is line 11"),
        (["zebra 1.0 2.0 3.0", "dog 1.0 nan 3.0"], "1 line of .* with no finite numbers, the first is line 12"),
        (["dog 1.0 2.0 1e40"], "1 line of .* with no finite numbers, the first is line 11"),
    ],
)
def test_damaged_lines_are_counted(path: Path, load: Callable[..., WordVectors], lines: list[str], told: str) -> None:
    write(path, [*LINES, *lines])
    with pytest.raises(DataError, match=told):
        load()


def test_all_kinds_of_damage_at_once(path: Path, load: Callable[..., WordVectors]) -> None:
    write(path, [*LINES, "a 1.0 2.0", "b 1.0 2.0 3.0 4.0", "dog 1.0 2.0 three", "e 1.0"], end="")
    with pytest.raises(PreflightError, match="cut off in its last line, 14") as refused:
        load()
    assert len(refused.value.complaints) == 4


def test_a_file_with_none_of_the_words_is_refused(load: Callable[..., WordVectors]) -> None:
    with pytest.raises(DataError, match="none of the vocabulary's 2 words"):
        load(Vocabulary(("Cat", "dog")))


def test_a_cache_that_cannot_be_made_is_said_to_be(path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="file"):
        glove(path, VOCABULARY, cache=str(tmp_path / "file" / "cache"))
