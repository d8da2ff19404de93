"""Key of a model trained on a user-defined task: data, fresh weights, source code, observed behaviour, version."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import replace
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from unregress.data.case import Case
from unregress.data.hashing import columns, digest_of, row_hashes
from unregress.data.loading import Batch, chunked
from unregress.data.splits import Split
from unregress.errors.wording import without_addresses
from unregress.methods.base import Method, record_of_method
from unregress.parallel.jobs import one_thread
from unregress.retraining.model_store import CacheKey, plain
from unregress.tasks.weights import weights_of
from unregress.training.fresh_model import fresh_model
from unregress.training.precision import Precision
from unregress.training.runtime import Runtime


def task_fingerprint(case: Case, runtime: Runtime) -> CacheKey:
    """The part of a model's key that a user-defined task, its data and the request decide.

    Experiments know which modules decide their models.  Of a user's code the key holds names, the source of the classes
    and functions that the case holds, and its behaviour: the fresh model, and what collation, augmentation, model and
    loss make of 64 samples, gradients included.  A change that shows in none of them, as in a function that only those
    functions call for samples of a kind that is not among the 64, is not noticed.  For such changes the task has a
    `version` (`Task.version`), which is part of the key.  It stands beside the observations and not in their place:
    an author who forgets to raise it must not be served a model of other code.

    Args:
        case: task, data and request.
        runtime: its precision and evaluation.
    """
    fresh = fresh_of(case, runtime)
    functions = [*vars(case.task).values(), case.splits.augment, case.splits.collate]
    return {
        **case_fingerprint(case, runtime, fresh),
        "source": source_of([case.task, *fresh.modules(), *functions]),
        "behaviour": _behaviour(case, fresh, runtime),
        "version": str(case.task.version),
    }


def case_fingerprint(case: Case, runtime: Runtime, fresh: nn.Module) -> CacheKey:
    """What decides the models of any case, whoever wrote its task: names, data, request, and the fresh model."""
    held_out = None if case.splits.validation is None else case.splits.content_digest("validation")
    return {
        "task": without_addresses(str(case.task)),
        "fresh": weights_of(fresh),
        "augment": without_addresses(str(case.splits.augment)),
        "collate": getattr(case.splits.collate, "__qualname__", without_addresses(str(case.splits.collate))),
        "precision": runtime.precision,
        "data": {"train": case.splits.data_digest, "validation": held_out},
        "request": case.requested.digest,
        # A plateau schedule watches the validation samples that are not of the forgotten kind.
        "alike": kind_of(case, "validation"),
    }


def kind_of(case: Case, split: Split) -> str | None:
    """SHA-256 of which samples of a held-out split are of the forgotten kind; None where there is no such split."""
    if getattr(case.splits, split) is None:
        return None
    return hashlib.sha256(case.forget_like(split).tobytes()).hexdigest()


def fresh_of(case: Case, runtime: Runtime) -> nn.Module:
    """The task's untrained model under seed 0, whatever the runtime's: it stands for the architecture."""
    with replace(runtime, seed=0).isolated_rng("fresh"):
        return fresh_model(case).eval()


def method_fingerprint(method: Method) -> CacheKey:
    """A method's name and settings; for a user's class also its text form and the source of its classes."""
    record = record_of_method(method)
    if not record.module:
        return record.as_config()
    # What a user's settings are may show in their text alone.
    shown = without_addresses(str(method))
    return {**record.as_config(), "shown": shown, "source": source_of([method])}


def source_of(things: Iterable[Any]) -> str:
    """SHA-256 of the source of some objects' classes, and of functions, less comments; empty if there is none to see.

    Those of Python, PyTorch and this library are left out; so is what was typed at a prompt.
    """
    found: dict[str, str] = {}
    for thing in things:
        while isinstance(thing, (functools.partial, MethodType)):
            thing = thing.func if isinstance(thing, functools.partial) else thing.__func__
        if isinstance(thing, FunctionType):
            of: list[Any] = [thing]
        else:
            of = list((thing if isinstance(thing, type) else type(thing)).__mro__)
        for each in of:
            name = f"{each.__module__}.{each.__qualname__}"
            if name not in found and not _ours(each.__module__):
                found[name] = _source(each)
    seen = "".join(f"{name}\0{source}\0" for name, source in sorted(found.items()) if source)
    return hashlib.sha256(seen.encode()).hexdigest() if seen else ""


def _ours(module: str) -> bool:
    """Whether a module's code needs no looking at: its version is known, or the key holds its source already."""
    root = module.partition(".")[0]
    if module.startswith("unregress.models."):
        return False
    return root in ("torch", "unregress", "numpy") or (root in sys.stdlib_module_names and module != "__main__")


def _source(thing: Any) -> str:
    try:
        source = textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):
        return ""
    try:
        return plain(source)
    except SyntaxError:
        # A lambda in the middle of a statement.
        return source


def _behaviour(case: Case, fresh: nn.Module, runtime: Runtime, samples: int = 64) -> str:
    """SHA-256 of some samples as a training sees them, and of predictions, losses and gradients of a fresh model.

    Spread evenly over the training set, which may be sorted: a loss may treat the ends of the targets differently.
    """
    precision: Precision = "64-true" if runtime.precision == "64-true" else "32-true"
    probe = replace(runtime, accelerator="cpu", devices=1, precision=precision, seed=0, workers=0, progress=False)
    members = torch.from_numpy(case.rows("train"))
    rows = members[torch.linspace(0, len(members) - 1, samples).round().long().unique()]
    chunks = chunked(rows, samples)
    found: list[str] = []
    # Bytes of the same sums only on one thread, and on the CPU.
    with one_thread(), probe.isolated_rng("behaviour"):
        model = probe.set_up(probe.private_copy(fresh)).eval()
        for batch in probe.load(case.source("train"), chunks, augmentation=probe.generator("behaviour")):
            with torch.no_grad():
                prediction = case.task.predict(model, batch.data)
                loss = case.task.checked_loss(prediction, case.task.target(batch.data))
            seen = [*columns(batch.data, len(batch.index)), prediction, loss]
            found += [digest_of(row_hashes(seen, len(batch.index))), _step(case, model, batch, probe)]
    return " ".join(found)


def _step(case: Case, model: nn.Module, batch: Batch, probe: Runtime) -> str:
    """SHA-256 of losses and gradients in training mode, under the seed that is set."""
    model.train()
    try:
        losses = case.task.checked_loss(case.task.predict(model, batch.data), case.task.target(batch.data))
        probe.backward(losses.mean())
    except Exception as error:
        # Some models cannot be trained in this mode, or at all: a training will say so in better words.
        return type(error).__name__
    total = hashlib.sha256(losses.detach().numpy().tobytes())
    for name, parameter in model.named_parameters():
        slope = b"none" if parameter.grad is None else parameter.grad.to_dense().numpy().tobytes()
        total.update(f"{name} {parameter.requires_grad} ".encode() + slope)
    return total.hexdigest()
