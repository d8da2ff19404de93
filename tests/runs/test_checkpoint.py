"""Weights survive the disk; files that do not fit or cannot be trusted leave the model as it was."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from support.small_cases import mlp, numbers, weights
from unregress.errors import CheckpointError
from unregress.runs.checkpoint import load_weights, save_weights


class Tied(nn.Module):
    """Two names for one weight, as a language model's embedding and output have."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight

    def forward(self, inputs):
        return self.second(self.first(inputs))


def channels_last():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 1)).to(
        memory_format=torch.channels_last
    )


MODELS = {"mlp": mlp, "tied": Tied, "channels-last": channels_last, "recurrent": lambda: nn.LSTM(3, 4, 2)}


def changed(build):
    """A model that differs from any fresh one in every weight and buffer."""
    model = build()
    with torch.no_grad():
        for value in model.state_dict().values():
            value.copy_(value + 1)
    return model


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("form", ["safetensors", "pt", "nested", "model", "legacy"])
def test_weights_survive_the_disk(build, form, tmp_path):
    saved, loaded = changed(build), build()
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pt")
    if form == "safetensors":
        save_weights(saved, path)
    elif form in ("nested", "model"):
        torch.save({"epoch": 3, "state_dict" if form == "nested" else "model": saved.state_dict()}, path)
    else:
        torch.save(saved.state_dict(), path, _use_new_zipfile_serialization=form != "legacy")
    load_weights(loaded, path)
    assert weights(loaded) == weights(saved)
    strides = [{name: value.stride() for name, value in model.state_dict().items()} for model in (saved, loaded)]
    assert strides[0] == strides[1]


def test_tied_weights_stay_tied(tmp_path):
    loaded = Tied()
    save_weights(changed(Tied), tmp_path / "w.safetensors")
    load_weights(loaded, tmp_path / "w.safetensors")
    assert loaded.first.weight is loaded.second.weight


def test_saving_changes_neither_model_nor_folder(tmp_path):
    model = channels_last()
    before, stride = weights(model), model[0].weight.stride()
    save_weights(model, tmp_path / "w.safetensors", metadata={"request": "abc"})
    assert weights(model) == before
    assert model[0].weight.stride() == stride
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        assert file.metadata()["request"] == "abc"


def test_an_unfinished_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(mlp(), path)
    before = path.read_bytes()
    with pytest.raises(Exception, match=r"metadata|str|argument"):
        save_weights(mlp(), path, metadata={"number": 3})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]


def refused(path, match, model=None):
    model = model or mlp()
    before = weights(model)
    with pytest.raises(CheckpointError, match=match):
        load_weights(model, path)
    assert weights(model) == before


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (lambda: mlp(features=4), r"0\.weight has shape \(8, 4\), the model's has \(8, 3\)"),
        (lambda: mlp()[:4], r"4\.weight is missing; 4\.bias is missing"),
        (lambda: nn.Sequential(*mlp(), nn.Linear(1, 1)), r"5\.weight is not in the model"),
        (lambda: nn.Sequential(*(nn.Linear(1, 1) for _ in range(9))), r"and \d+ more"),
    ],
)
@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_weights_of_another_model_are_listed(other, match, suffix, tmp_path):
    path = tmp_path / f"w.{suffix}"
    if suffix == "pt":
        torch.save(other().state_dict(), path)
    else:
        save_weights(other(), path)
    refused(path, match)


@pytest.mark.parametrize("prefix", ["net.", "model.net."])
@pytest.mark.parametrize("build", [mlp, Tied])
def test_names_behind_a_prefix_are_refused_with_the_prefix(build, prefix, tmp_path):
    state = {f"{prefix}{name}": value for name, value in build().state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", rf"all its names begin with '{prefix}'.*if_present\(state, '{prefix}'\)", build())
    # One name that the model has not is more than a prefix.
    torch.save({**state, f"{prefix}more": torch.zeros(1)}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", rf"is missing; .*{prefix}\S+ is not in the model; .*and \d+ more", build())


def test_missing_and_unexpected_names_and_shapes_are_all_shown(tmp_path):
    state = dict(mlp().state_dict())
    for number, name in enumerate(("0.bias", "2.weight", "2.bias")):
        state[f"own.{number}"] = state.pop(name)
    torch.save({**state, "0.weight": torch.zeros(1)}, tmp_path / "w.pt")
    refused(
        tmp_path / "w.pt",
        r"0\.bias is missing; 2\.weight is missing; own\.0 is not in the model; own\.1 is not in the model; "
        r"0\.weight has shape \(1,\), the model's has \(8, 3\); and 2 more\.",
    )


class Payload:
    """Pickled, it would run a command when read."""

    def __init__(self, witness) -> None:
        self.witness = witness

    def __reduce__(self):
        return (open, (str(self.witness), "w"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: {"state_dict": {"0.weight": p}}])
def test_a_file_with_code_is_not_run(write, wrap, tmp_path):
    write(wrap(Payload(tmp_path / "ran")), tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "cannot be read")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [[1, 2], {"0.weight": "text"}, mlp(), 3.0], ids=["list", "text", "model", "number"])
def test_a_file_of_something_else_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "state dict")


def half(write):
    """What writes only the first half of what another writes."""

    def write_half(path):
        write(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return write_half


def as_text(path):
    path.write_text("0.weight = 1\n")


UNREADABLE = {
    "model": (lambda path: torch.save(mlp(), path), r"a pickled object \(torch\.nn\.\S+Sequential\)", "alone"),
    "model, old": (
        lambda path: torch.save(mlp(), path, _use_new_zipfile_serialization=False),
        r"a pickled object \(torch\.nn\.\S+Sequential\)",
        "alone",
    ),
    "a number of NumPy's": (lambda path: torch.save({"loss": np.float64(1)}, path), r"object \(numpy\.\S+\)", "alone"),
    "another pickle": (
        lambda path: path.write_bytes(pickle.dumps([1, 2])),
        "a pickle that `torch.save` did not write",
        "alone",
    ),
    "text": (as_text, "it is not a weights file", "alone"),
    "empty": (lambda path: path.touch(), "it is empty", "again"),
    "half": (half(lambda path: torch.save(mlp().state_dict(), path)), "truncated or damaged", "again"),
    "half, old": (
        half(lambda path: torch.save(mlp().state_dict(), path, _use_new_zipfile_serialization=False)),
        "truncated or damaged",
        "again",
    ),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_why_a_file_cannot_be_read_is_said_in_words_of_ours(name, tmp_path):
    write, reason, remedy = UNREADABLE[name]
    write(tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=f"cannot be read: .*{reason}") as error:
        load_weights(mlp(), tmp_path / "w.pt")
    text = str(error.value)
    assert remedy in error.value.remedy and text.isprintable() and "Errno" not in text
    assert "weights_only" not in text and ".." not in text


@pytest.mark.parametrize("write", [as_text, lambda path: path.touch(), half(lambda path: save_weights(mlp(), path))])
def test_a_damaged_safetensors_file_is_said_to_be_damaged(write, tmp_path):
    write(tmp_path / "w.safetensors")
    refused(tmp_path / "w.safetensors", "cannot be read: it (is empty|seems to be truncated or damaged)")


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "bin"])
def test_a_missing_file_and_a_folder_are_no_weights(suffix, tmp_path):
    (tmp_path / f"folder.{suffix}").mkdir()
    for name in ("missing", "folder"):
        refused(tmp_path / f"{name}.{suffix}", "no weights file")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["safetensors", "pt", "legacy"])
def test_a_damaged_file_is_refused_or_read_as_another_state_dict(form, tmp_path):
    """Cut off, overwritten at random places, or random altogether: never another error than ours."""
    model, path = mlp(), tmp_path / ("w.safetensors" if form == "safetensors" else "w.pt")
    if form == "safetensors":
        save_weights(model, path)
    else:
        torch.save(model.state_dict(), path, _use_new_zipfile_serialization=form != "legacy")
    whole, draw, refusals = path.read_bytes(), random.Random(0), 0
    for turn in range(150):
        data = bytearray(whole)
        if turn % 3 == 0:
            data = data[: draw.randrange(len(data))]
        elif turn % 3 == 1:
            for _ in range(8):
                data[draw.randrange(min(len(data), 500))] = draw.randrange(256)
        else:
            data = bytearray(draw.randbytes(draw.randrange(200)))
        path.write_bytes(data)
        try:
            load_weights(mlp(), path)
        except CheckpointError:
            refusals += 1
    assert refusals > 120


def test_loading_makes_a_model_predict_as_the_saved_one(tmp_path):
    saved, loaded = changed(mlp), mlp()
    save_weights(saved, tmp_path / "w.safetensors")
    load_weights(loaded, tmp_path / "w.safetensors")
    assert torch.equal(loaded(numbers(4, 3)), saved(numbers(4, 3)))


@pytest.mark.parametrize(
    "state",
    [
        {"weight": torch.eye(3).to_sparse(), "bias": torch.zeros(3)},
        {"weight": torch.empty(3, 3, device="meta"), "bias": torch.zeros(3)},
        {0: torch.eye(3), 1: torch.zeros(3)},
    ],
    ids=["sparse", "meta", "numbered"],
)
def test_tensors_that_are_no_plain_numbers_are_refused(state, tmp_path):
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError):
        load_weights(nn.Linear(3, 3), tmp_path / "weights.pt")
