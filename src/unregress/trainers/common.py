"""What the training functions share: libraries that are imported when they are used, seeds, and the trained model."""

from __future__ import annotations

import importlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Generator, nn
from torch.utils.data import DataLoader, Dataset

from unregress.errors import SettingError, require
from unregress.training.from_scratch import TrainingData
from unregress.training.random_state import seeded_rng


def library(name: str, extra: str) -> Any:
    """Import a library that the core does not need.

    Args:
        name: the module.
        extra: the extra of unregress that installs it.

    Raises:
        SettingError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SettingError(
            f"This training needs {error.name or name}, which is not installed",
            remedy=f"Install it: pip install 'unregress[{extra}]'",
        ) from error


def seeded(seed: int) -> AbstractContextManager[None]:
    """Seed Python, NumPy and PyTorch within the block, and restore their states afterwards."""
    return seeded_rng(seed, torch.device("cuda" if torch.cuda.is_available() else "cpu"), double=False)


def require_no_augment(data: TrainingData, name: str) -> None:
    """Refuse data with a batched augmentation, which other libraries do not apply.

    Raises:
        SettingError: the data have one.
    """
    if data.augment is not None:
        raise SettingError(
            f"The data have an `augment`, which {name} does not apply",
            expected="augmentation in the dataset or the model",
            remedy="Augment in the dataset's `__getitem__`, with the unchanged samples as `Splits.train_eval`",
        )


def require_settings(name: str, settings: Mapping[str, object], factories: Mapping[str, object]) -> None:
    """Refuse settings of a training function that are no mappings, or no functions.

    Args:
        name: its class.
        settings: the fields with arguments by name.
        factories: the fields with functions; None is accepted.

    Raises:
        SettingError: all problems together.
    """
    shapes = [(each, _named(value), "arguments by name") for each, value in settings.items()]
    calls = [(each, value is None or callable(value), "a function, or None") for each, value in factories.items()]
    given = {**settings, **factories}
    require((f"{name}.{each} is {given[each]!r}", fine, expected) for each, fine, expected in [*shapes, *calls])


def _named(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def made_by(factory: Callable[[], Any] | None) -> list[Any]:
    """New callbacks from a function that returns a list of them, or one; none without a function."""
    if factory is None:
        return []
    made = factory()
    return list(made) if isinstance(made, list | tuple) else [made]


def loader(dataset: Dataset[Any], data: TrainingData, seed: int, **options: Any) -> DataLoader[Any]:
    """A `DataLoader` with the data's collation, whose order follows the seed."""
    generator = Generator().manual_seed(seed)
    return DataLoader(dataset, **{"collate_fn": data.collate, "generator": generator, **options})


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Let loggers report errors only within the block."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `KeyboardInterrupt` if the program is told to stop within the block, also if a library catches that.

    skorch returns a half-trained model on Ctrl-C, and Lightning exits and ignores further ones.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def noting(number: int, frame: FrameType | None) -> None:
        received.append(number)
        handler = handlers[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    own = [number for number, handler in handlers.items() if callable(handler)]
    try:
        for number in own:
            signal.signal(number, noting)
        yield
    except SystemExit as error:
        if received or isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        for number in own:
            signal.signal(number, handlers[number])
    if received:
        raise KeyboardInterrupt


def finished(model: nn.Module) -> nn.Module:
    """A trained model on the CPU, without gradients."""
    model.cpu().zero_grad(set_to_none=True)
    return model
