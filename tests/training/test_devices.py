"""Each process computes on its own device; batches of any structure are moved there."""

from __future__ import annotations

from collections import UserDict

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from unregress import Runtime
from unregress.errors import SettingError
from unregress.training.devices import choose_device, to_device


@pytest.fixture
def machine(monkeypatch):
    """Sets how many devices this machine has, and which process of a job this one is."""

    def have(*, cuda=0, mps=False, process=None):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        if process is not None:
            rank, size = process
            values = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size}
            for name, value in {**values, "TORCHELASTIC_RUN_ID": "x"}.items():
                monkeypatch.setenv(name, str(value))

    return have


@pytest.mark.parametrize(
    ("present", "accelerator", "devices", "device"),
    [
        ({}, "auto", 1, "cpu"),
        ({}, "cpu", [3], "cpu"),
        ({"cuda": 4}, "cpu", 1, "cpu"),
        ({"cuda": 4}, "auto", 1, "cuda:0"),
        ({"cuda": 4}, "cuda", [3], "cuda:3"),
        ({"mps": True}, "auto", 1, "mps:0"),
        ({"cuda": 8, "process": (1, 2)}, "auto", 2, "cuda:1"),
        ({"cuda": 8, "process": (1, 2)}, "auto", 1, "cuda:1"),
        ({"cuda": 8, "process": (1, 2)}, "cuda", [5, 7], "cuda:7"),
        ({"process": (1, 2)}, "auto", 2, "cpu"),
    ],
)
def test_a_process_has_a_device_of_its_own(machine, present, accelerator, devices, device):
    machine(**present)
    assert choose_device(accelerator, devices) == torch.device(device)
    assert Runtime(accelerator=accelerator, devices=devices).device == torch.device(device)


@pytest.mark.parametrize(
    ("present", "accelerator", "devices", "found"),
    [
        ({}, "cuda", 1, "Device 0 of accelerator 'cuda'"),
        ({}, "mps", 1, "Device 0 of accelerator 'mps'"),
        ({"cuda": 2}, "auto", [2], "Device 2 of accelerator 'cuda'"),
        ({"cuda": 1, "process": (1, 2)}, "auto", 2, "Device 1 of accelerator 'cuda'"),
    ],
)
def test_devices_that_are_not_there_are_refused(machine, present, accelerator, devices, found):
    machine(**present)
    with pytest.raises(SettingError) as refused:
        choose_device(accelerator, devices)
    assert refused.value.found.startswith(found)


@pytest.mark.parametrize("devices", [2, [0, 1]])
def test_two_devices_need_two_processes(machine, devices):
    machine(cuda=2)
    with pytest.raises(SettingError) as refused:
        choose_device("auto", devices)
    assert "2 devices" in refused.value.found and "one process" in refused.value.found
    assert "torchrun --nproc_per_node 2" in refused.value.remedy


class Encoding(UserDict[str, Tensor]):
    """Moves itself, as tokenisers' batches do, and notes it."""

    moved_to: torch.device | None = None

    def to(self, device):
        made = Encoding({key: value.to(device) for key, value in self.items()})
        made.moved_to = device
        return made


def test_batches_are_moved_whatever_their_structure():
    packed = pack_sequence([torch.ones(3), torch.ones(2)])
    nested = [torch.ones(2), (torch.ones(1), "text")]
    batch = {"x": nested, "packed": packed, "words": Encoding(a=torch.ones(2)), "n": 3}
    moved = to_device(batch, torch.device("meta"))
    assert moved["x"][0].is_meta and moved["x"][1][0].is_meta and moved["x"][1][1] == "text" and moved["n"] == 3
    assert isinstance(moved["packed"], PackedSequence) and moved["packed"].data.is_meta
    assert moved["words"].moved_to == torch.device("meta") and moved["words"]["a"].is_meta
    assert batch["x"][0].device == batch["words"]["a"].device == torch.device("cpu")


def test_what_is_there_already_is_not_copied():
    inputs = torch.ones(2)
    assert to_device([inputs], torch.device("cpu"))[0] is inputs
