# ruff: noqa: E501
"""The user's own code: data, collating, models and losses that raise, return something else, or end.

Each trial writes a module `mine.py`, which begins with good functions and replaces some of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fuzz.trial import DIVERGED, DONE, REFUSED, Prepare, Trial

_YES, _NO, _ANY = frozenset({DONE}), frozenset({REFUSED}), frozenset({DONE, DIVERGED, REFUSED})
GOOD = """
import os, sys
from pathlib import Path
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset
from fuzz.project import load_data, make_model, tensors
from unregress import FineTune, MappingTask, Recipe, Retrain, Splits, TensorTask

x, y = tensors()
held_x, held_y = tensors(20, 1)
test_x, test_y = tensors(20, 2)
names = [f"person-{n}" for n in range(len(x))]


class Rows(Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, row):
        return x[row], y[row]


def splits(train=None, validation=None, test=None, **others) -> Splits:
    others = {"ids": names, **others}
    return Splits(train=TensorDataset(x, y) if train is None else train,
                  validation=TensorDataset(held_x, held_y) if validation is None else validation,
                  test=TensorDataset(test_x, test_y) if test is None else test, **others)


def data() -> Splits:
    return splits()


def task() -> TensorTask:
    return TensorTask(build_model=make_model, loss="l1")
"""


def trials() -> Iterator[Trial]:
    """What is wrong with data, tasks and models, and what is only unusual."""
    train = ("train", "--task", "mine.task", "--data", "mine.data", "--recipe.epochs", "1", "--output", "out")
    retrain = ("forget", "--task", "mine.task", "--data", "mine.data", "--request.random", "3", "--request.reason", "x",
               "--method", "Retrain", "--method.recipe.epochs", "1", "--output", "out")  # fmt: skip
    for name, code in _raising().items():
        yield Trial(name=f"{name} raises", words=train, prepare=module(code.format(act="raise ValueError('mistake')")),
                    codes=_NO, says="ValueError: mistake")  # fmt: skip
        yield Trial(name=f"{name} exits", words=retrain, prepare=module(code.format(act="sys.exit(0)")), codes=_NO)
        if name not in ("loss", "augment"):
            yield Trial(name=f"{name} is without memory", words=retrain,
                        prepare=module(code.format(act="raise MemoryError")), codes=_NO)  # fmt: skip
        yield Trial(name=f"{name} recurses", words=retrain, codes=_NO,
                    prepare=module(f"def again():\n    return again()\n\n\n{code.format(act='again()')}"))  # fmt: skip
        yield Trial(name=f"{name} has an odd error", words=train, codes=_NO, prepare=module(
            "class Odd(Exception):\n    def __str__(self):\n        raise KeyError('odd')\n\n\n" + code.format(act="raise Odd")))  # fmt: skip
    for name, code in _wrong().items():
        yield Trial(name=name, words=retrain, prepare=module(code), codes=_NO)
    for name, code in _unusual().items():
        yield Trial(name=name, words=retrain, prepare=module(code), codes=_ANY)
    for name, code in _fine().items():
        yield Trial(name=name, words=retrain, prepare=module(code), codes=_YES)


def module(code: str) -> Prepare:
    """A module that begins with `GOOD`."""
    return whole(GOOD + "\n\n" + code)


def whole(code: str) -> Prepare:
    """A module."""

    def prepare(folder: Path) -> None:
        (folder / "mine.py").write_bytes(code.encode("utf-8", "surrogateescape"))

    return prepare


def _raising() -> dict[str, str]:
    """Where `{act}` is done while the library calls the user's code."""
    rows = "class Bad(Rows):\n    def {method}:\n        {{act}}\n\n\ndef data() -> Splits:\n    return splits(Bad())\n"
    model = "class Bad(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.layer = nn.Linear(3, 1)\n{{}}"
    loss = "def bad(prediction, target):\n    {act}\n\n\ndef task() -> TensorTask:\n    return TensorTask(make_model, loss=bad)\n"
    return {
        "data function": "def data() -> Splits:\n    {act}\n",
        "task function": "def task() -> TensorTask:\n    {act}\n",
        "length": rows.format(method="__len__(self)"),
        "sample": rows.format(method="__getitem__(self, row)"),
        "one sample": "class Bad(Rows):\n    def __getitem__(self, row):\n        if row == 17:\n            {act}\n"
        "        return x[row], y[row]\n\n\ndef data() -> Splits:\n    return splits(Bad())\n",
        "test sample": "class Bad(Rows):\n    def __getitem__(self, row):\n        {act}\n\n\n"
        "def data() -> Splits:\n    return splits(test=Bad())\n",
        "collate": "def bad(samples):\n    {act}\n\n\ndef data() -> Splits:\n    return splits(Rows(), collate=bad)\n",
        "augment": "def bad(*batch):\n    {act}\n\n\ndef data() -> Splits:\n    return splits(augment=bad)\n",
        "build_model": "def bad():\n    {act}\n\n\ndef task() -> TensorTask:\n    return TensorTask(bad)\n",
        "forward": f"{model.format().format('')}\n    def forward(self, x):\n        {{act}}\n\n\n"
        "def task() -> TensorTask:\n    return TensorTask(Bad)\n",
        "loss": loss,
        "predict": "class Bad(TensorTask):\n    def predict(self, model, batch):\n        {act}\n\n\n"
        "def task() -> TensorTask:\n    return Bad(make_model)\n",
        "target": "class Bad(TensorTask):\n    def target(self, batch):\n        {act}\n\n\n"
        "def task() -> TensorTask:\n    return Bad(make_model)\n",
    }


def _data(expression: str) -> str:
    return f"def data() -> Splits:\n    return {expression}\n"


def _targets(expression: str) -> str:
    return _data(f"splits(TensorDataset(x, {expression}))")


def _task(expression: str, before: str = "") -> str:
    return f"{before}def task() -> TensorTask:\n    return {expression}\n"


def _wrong() -> dict[str, str]:
    """What cannot be right."""
    return {
        "data is None": _data("None"),
        "data is a tuple": _data("(x, y)"),
        "data without training": "def data() -> Splits:\n    return Splits(train=None)\n",
        "data of a number": _data("splits(7)"),
        "data of a list of None": _data("splits([None] * 40)"),
        "data of tensors of other lengths": _data("splits(TensorDataset(x, y[:30]))"),
        "data without end": "class Stream(IterableDataset):\n    def __iter__(self):\n        yield x[0], y[0]\n\n\n"
        + _data("splits(Stream())"),
        "data of no length": "class Bad(Rows):\n    __len__ = None\n\n\n" + _data("splits(Bad())"),
        "data of a length below zero": "class Bad(Rows):\n    def __len__(self):\n        return -4\n\n\n" + _data("splits(Bad())"),
        "data of a length of text": "class Bad(Rows):\n    def __len__(self):\n        return 'x'\n\n\n" + _data("splits(Bad())"),
        "data that say more than they hold": "class Bad(Rows):\n    def __len__(self):\n        return 50\n\n\n"
        + _data("splits(Bad(), ids=range(50))"),
        "empty training data": _data("splits(TensorDataset(x[:0], y[:0]), ids=[])"),
        "empty test data": _data("splits(test=Subset(Rows(), []))"),
        "samples of other shapes": "class Bad(Rows):\n    def __getitem__(self, row):\n"
        "        return x[row][: 1 + row % 3], y[row]\n\n\n" + _data("splits(Bad())"),
        "samples of other lengths": "class Bad(Rows):\n    def __getitem__(self, row):\n"
        "        return (x[row], y[row])[: 1 + row % 2]\n\n\n" + _data("splits(Bad())"),
        "samples of None": "class Bad(Rows):\n    def __getitem__(self, row):\n        return None\n\n\n" + _data("splits(Bad())"),
        "samples of text": "class Bad(Rows):\n    def __getitem__(self, row):\n        return 'a', 'b'\n\n\n" + _data("splits(Bad())"),
        "stop iteration": "class Bad(Rows):\n    def __getitem__(self, row):\n        raise StopIteration\n\n\n" + _data("splits(Bad())"),
        "collate gives None": _data("splits(Rows(), collate=lambda samples: None)"),
        "collate gives half": _data("splits(Rows(), collate=lambda s: torch.utils.data.default_collate(s[:len(s) // 2 + 1][:-1] or s))"),
        "collate takes nothing": _data("splits(Rows(), collate=lambda: None)"),
        "augment gives None": _data("splits(augment=lambda *batch: None)"),
        "ids too few": _data("splits(ids=names[:-1])"),
        "ids of a number": _data("splits(ids=7)"),
        "ids of lists": _data("splits(ids=[[n] for n in range(40)])"),
        "targets of NaN": _targets("torch.full_like(y, torch.nan)"),
        "one target of NaN": _targets("torch.where(torch.arange(40) == 5, torch.nan, y)"),
        "one infinite target": _targets("torch.where(torch.arange(40) == 5, torch.inf, y)"),
        "targets of complex": _targets("y.to(torch.complex64)"),
        "inputs of NaN": _data("splits(TensorDataset(torch.full_like(x, torch.nan), y))"),
        "inputs of complex": _data("splits(TensorDataset(x.to(torch.complex64), y))"),
        "inputs of integers": _data("splits(TensorDataset(x.long(), y))"),
        "inputs too narrow": _data("splits(TensorDataset(x[:, :2], y))"),
        "weights in the batch": _data("splits(TensorDataset(x, y, torch.ones(40)))"),
        "no inputs": _data("splits(TensorDataset(y))"),
        "test data of NaN": _data("splits(test=TensorDataset(test_x, test_y * torch.nan))"),
        "test data that are training data": _data("splits(test=TensorDataset(x[:20], y[:20]))"),
        "task is None": _task("None"),
        "task is a model": _task("make_model()"),
        "task is a class": _task("TensorTask"),
        "task without a model": _task("TensorTask(None)"),
        "task with a model": _task("TensorTask(make_model())"),
        "task of one model": _task("TensorTask(lambda: model)", "model = make_model()\n\n\n"),
        "task of an unknown loss": _task("TensorTask(make_model, loss='l7')"),
        "task of a loss of None": _task("TensorTask(make_model, loss=None)"),
        "model is None": _task("TensorTask(lambda: None)"),
        "model is a function": _task("TensorTask(lambda: torch.sin)"),
        "model without parameters": _task("TensorTask(lambda: nn.Flatten())"),
        "model of two outputs": _task("TensorTask(lambda: nn.Linear(3, 2))"),
        "model of another width": _task("TensorTask(lambda: nn.Linear(4, 1))"),
        "model of text": _task("TensorTask(Bad)", "class Bad(nn.Linear):\n    def __init__(self):\n        super().__init__(3, 1)\n\n"
                               "    def forward(self, x):\n        return 'text'\n\n\n"),
        "model of None": _task("TensorTask(Bad)", "class Bad(nn.Linear):\n    def __init__(self):\n        super().__init__(3, 1)\n\n"
                               "    def forward(self, x):\n        return None\n\n\n"),
        "model of NaN": _task("TensorTask(Bad)", "class Bad(nn.Linear):\n    def __init__(self):\n        super().__init__(3, 1)\n\n"
                              "    def forward(self, x):\n        return super().forward(x) * torch.nan\n\n\n"),
        "model that forgets to be called": _task("TensorTask(Bad)", "class Bad(nn.Module):\n    def __init__(self):\n"
                                                 "        super().__init__()\n        self.a = nn.Linear(3, 1)\n\n\n"),
        "model without super": _task("TensorTask(Bad)", "class Bad(nn.Module):\n    def __init__(self):\n"
                                     "        self.a = nn.Linear(3, 1)\n\n\n"),
        "model of a frozen kind": _task("TensorTask(bad)", "def bad():\n    return make_model().requires_grad_(False)\n\n\n"),
        "model without gradients": _task("TensorTask(Bad)", "class Bad(nn.Linear):\n    def __init__(self):\n        super().__init__(3, 1)\n\n"
                                         "    def forward(self, x):\n        return super().forward(x).detach()\n\n\n"),
        "model of another shape each time": _task("TensorTask(bad)", "widths = iter(range(2, 999))\n\n\ndef bad():\n"
                                                  "    w = next(widths)\n    return nn.Sequential(nn.Linear(3, w), nn.Linear(w, 1))\n\n\n"),
        "model on no device": _task("TensorTask(lambda: nn.Linear(3, 1, device='meta'))"),
        "model of integers": _task("TensorTask(lambda: nn.Linear(3, 1).to(torch.complex64))"),
        "loss of a mean": _task("TensorTask(make_model, loss=lambda p, t: (p - t).abs().mean())"),
        "loss of None": _task("TensorTask(make_model, loss=lambda p, t: None)"),
        "loss of a number": _task("TensorTask(make_model, loss=lambda p, t: 1.0)"),
        "loss of a square": _task("TensorTask(make_model, loss=lambda p, t: (p[:, None] - t[None]).abs())"),
        "loss without gradients": _task("TensorTask(make_model, loss=lambda p, t: (p - t).abs().detach())"),
        "loss of complex": _task("TensorTask(make_model, loss=lambda p, t: (p - t).to(torch.complex64))"),
        "loss of one argument": _task("TensorTask(make_model, loss=lambda p: p)"),
        "predictions of a list": _task("Bad(make_model)", "class Bad(TensorTask):\n    def predict(self, model, batch):\n"
                                       "        return model(batch[0]).tolist()\n\n\n"),
        "targets of a list": _task("Bad(make_model)", "class Bad(TensorTask):\n    def target(self, batch):\n"
                                   "        return batch[-1].tolist()\n\n\n"),
        "predictions too few": _task("Bad(make_model)", "class Bad(TensorTask):\n    def predict(self, model, batch):\n"
                                     "        return model(batch[0])[:-1, 0]\n\n\n"),
    }  # fmt: skip


def _unusual() -> dict[str, str]:
    """What one library takes and another refuses: any answer is right that is clear."""
    kinds = {f"targets of {kind}": _targets(f"y.to(torch.{kind})")
             for kind in ("float64", "bfloat16", "float16", "int64", "int32", "uint8")}  # fmt: skip
    inputs = {f"inputs of {kind}": _data(f"splits(TensorDataset(x.to(torch.{kind}), y))")
              for kind in ("float64", "bfloat16", "float16")}  # fmt: skip
    models = {f"model of {kind}": _task(f"TensorTask(lambda: make_model().to(torch.{kind}))")
              for kind in ("float64", "bfloat16", "float16")}  # fmt: skip
    return {
        **kinds,
        **inputs,
        **models,
        "targets of booleans": _targets("y > 50"),
        "targets of numpy": "class Bad(Rows):\n    def __getitem__(self, row):\n"
        "        return x[row].numpy(), float(y[row])\n\n\n" + _data("splits(Bad())"),
        "targets that are masked": _targets("torch.stack([y, torch.where(y > 50, torch.nan, y)], 1)")
        + "\n\n"
        + _task("TensorTask(lambda: nn.Linear(3, 2), loss='l1')"),
        "test data of another width": _data("splits(test=TensorDataset(held_x[:, :2], held_y))"),
        "targets with one more axis": _targets("y[:, None, None]"),
        "targets that need gradients": _targets("y.clone().requires_grad_()"),
        "loss of NaN": _task("TensorTask(make_model, loss=lambda p, t: (p - t).abs() * torch.nan)"),
        "targets that are equal": _targets("torch.full_like(y, 7.0)"),
        "targets beyond float32": _targets("y.double() * 1e200"),
        "targets that are huge": _targets("y * 1e30"),
        "targets that are tiny": _targets("y * 1e-40"),
        "inputs that are equal": _data("splits(TensorDataset(torch.ones_like(x), y))"),
        "duplicates": _data("splits(TensorDataset(x[[0] * 40], y[[0] * 40]))"),
        "duplicates of other targets": _data("splits(TensorDataset(x[[0] * 40], y))"),
        "ids that repeat": _data("splits(ids=['a', 'b'] * 20)"),
        "ids of several types": _data("splits(ids=[*range(20), *names[:20]])"),
        "ids of None": _data("splits(ids=[None] * 40)"),
        "ids of tuples": _data("splits(ids=[(n, n) for n in range(40)])"),
        "ids of NaN": _data("splits(ids=[float('nan')] * 40)"),
        "ids of numpy": _data("splits(ids=np.arange(40))"),
        "ids of a tensor": _data("splits(ids=torch.arange(40))"),
        "ids of a text": _data("splits(ids='x' * 40)"),
        "ids of surrogates": _data("splits(ids=[f'caf\\udce9{n}' for n in range(40)])"),
        "samples that change": "class Bad(Rows):\n    def __getitem__(self, row):\n"
        "        return x[row] + torch.randn(3), y[row]\n\n\n" + _data("splits(Bad())"),
        "samples that are written to": "class Bad(Rows):\n    def __getitem__(self, row):\n        x[row] += 1\n"
        "        return x[row], y[row]\n\n\n" + _data("splits(Bad())"),
        "model that returns more in training": _task(
            "TensorTask(Bad)",
            "class Bad(nn.Linear):\n    def __init__(self):\n        super().__init__(3, 1)\n\n    def forward(self, x):\n"
            "        y = super().forward(x)\n        return (y, y) if self.training else y\n\n\n",
        ),
        "model that is lazy": _task("TensorTask(lambda: nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(1)))"),
        "model in parallel": _task("TensorTask(lambda: nn.DataParallel(make_model()))"),
        "model of old norm": _task("TensorTask(lambda: torch.nn.utils.weight_norm(nn.Linear(3, 1)))"),
        "model that prints": _task(
            "TensorTask(bad)", "def bad():\n    print('making')\n    sys.stdout.flush()\n    return make_model()\n\n\n"
        ),
        "model that warns": _task(
            "TensorTask(bad)",
            "def bad():\n    import warnings\n    warnings.warn('old')\n    return make_model()\n\n\n",
        ),
        "loss below zero": _task("TensorTask(make_model, loss=lambda p, t: -(p - t).abs() * 1e6)"),
        "loss of bf16": _task("TensorTask(make_model, loss=lambda p, t: (p - t).abs().bfloat16())"),
        "interrupts itself": _task("TensorTask(bad)", "def bad():\n    raise GeneratorExit('x')\n\n\n"),
    }


def _fine() -> dict[str, str]:
    return {
        "good": "",
        "without held-out data but test": _data("Splits(train=TensorDataset(x, y), ids=names)"),
        "without ids": _data("splits(ids=None)"),
        "rows of a dataset": _data("splits(Rows())"),
        "targets of a column": _targets("y[:, None]"),
        "huber of float64": _targets("y.double()") + "\n\n" + _task("TensorTask(make_model, loss='huber')"),
        "quantile": _task("TensorTask(lambda: nn.Linear(3, 1), loss='mse')"),
        "own loss": _task("TensorTask(make_model, loss=lambda p, t: (p - t) ** 2)"),
        "mapping": "class Named(Rows):\n    def __getitem__(self, row):\n        return {'input': x[row], 'labels': y[row]}\n\n\n"
        "def data() -> Splits:\n    return Splits(train=Named())\n\n\n"
        "def task() -> MappingTask:\n    return MappingTask(lambda: nn.Linear(3, 1))\n",
    }
