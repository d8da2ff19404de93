"""Cache key of a model: data, request, initial weights, settings, source code and observed behaviour."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Iterable, Mapping
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
from unregress.evidence.long_values import shortened
from unregress.methods.base import Method, record_of_method
from unregress.parallel.jobs import one_thread
from unregress.retraining.model_store import CacheKey, without_docstrings
from unregress.tasks.weights import weights_of
from unregress.training.fresh_model import fresh_model
from unregress.training.from_scratch import parts_of
from unregress.training.precision import Precision
from unregress.training.runtime import Runtime


def task_fingerprint(case: Case, runtime: Runtime) -> CacheKey:
    """Compute the part of a model's key that depends on a user-defined task, its data and the request if there is one.

    Experiments list the modules that determine their models.  The code of a user's task is identified by names, by the
    source of the classes and functions in the case, and by its behaviour: the fresh model, and the results of
    collation, augmentation, model and loss on 64 samples, gradients included.  A change that affects none of these is
    not noticed, for example in a function called by those functions, for samples that are not among the 64.  For such
    changes a task has a `version` (`Task.version`), which is part of the key.  It supplements the observations and does
    not replace them, so that forgetting to raise it rarely returns a model of other code.

    Args:
        case: task and data, and the request if there is one.
        runtime: its precision is part of the key.
    """
    fresh = fresh_of(case, runtime)
    functions = [*vars(case.task).values(), case.splits.augment, case.splits.collate]
    return {
        **case_fingerprint(case, runtime, fresh),
        "source": source_of([case.task, *fresh.modules(), *functions]),
        "behaviour": _behaviour(case, fresh, runtime),
        "attributes": _attributes(fresh),
        "version": str(case.task.version),
    }


def case_fingerprint(case: Case, runtime: Runtime, fresh: nn.Module) -> CacheKey:
    """Compute the part of a model's key that does not depend on the task's code: names, data, request, fresh model."""
    held_out = None if case.splits.validation is None else case.splits.content_digest("validation")
    return {
        "task": without_addresses(str(case.task)),
        "fresh": weights_of(fresh),
        "augment": without_addresses(str(case.splits.augment)),
        "collate": getattr(case.splits.collate, "__qualname__", without_addresses(str(case.splits.collate))),
        "precision": runtime.precision,
        "data": {"train": case.splits.data_digest, "validation": held_out},
        "weights": _weights_digest(case),
        "request": None if case.request is None else case.request.digest,
        # A plateau schedule or early stopping watches the validation samples that are not forget-like.
        "forget_like": forget_like_digest(case, "validation"),
    }


def _attributes(fresh: nn.Module) -> str:
    """SHA-256 of the numbers among a model's attributes, and of a LightningModule's hyper-parameters.

    A model that makes its own optimiser keeps the learning rate there.
    """
    found = []
    for name, module in fresh.named_modules():
        hparams = getattr(module, "hparams", None)
        values = {**vars(module), **(hparams if isinstance(hparams, Mapping) else {})}
        numbers = {each: value for each, value in values.items() if isinstance(value, bool | int | float)}
        found += [f"{name}.{each}={value!r}" for each, value in sorted(numbers.items(), key=lambda pair: str(pair[0]))]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def _weights_digest(case: Case) -> str | None:
    """SHA-256 of the samples' weights; None if there are none."""
    weights = case.splits.weight_array
    return None if weights is None else hashlib.sha256(weights.tobytes()).hexdigest()


def forget_like_digest(case: Case, split: Split) -> str | None:
    """SHA-256 of the mask of forget-like samples in a split; None without such a split, or a request."""
    if case.request is None or getattr(case.splits, split) is None:
        return None
    return hashlib.sha256(case.forget_like(split).tobytes()).hexdigest()


def fresh_of(case: Case, runtime: Runtime) -> nn.Module:
    """Build the task's untrained model under seed 0, whatever the runtime's, to identify the architecture."""
    with replace(runtime, seed=0).isolated_rng("fresh"):
        return fresh_model(case).eval()


def method_fingerprint(method: Method) -> CacheKey:
    """Compute a method's part of the key: name and settings; of a user's class also its `str` and its source."""
    record = record_of_method(method)
    if not record.module:
        functions = [part for each in vars(method).values() if _trains(each) for part in parts_of(each)]
        return {**record.as_config(), **({"training source": source_of(functions)} if functions else {})}
    # Settings of a user's own types may be visible in `str` only.
    shown = shortened(without_addresses(str(method)))
    return {**record.as_config(), "shown": shown, "source": source_of([method])}


def _trains(value: object) -> bool:
    """Whether a setting of a method is a training function."""
    return callable(value) and not isinstance(value, type | nn.Module)


def source_of(things: Iterable[Any]) -> str:
    """SHA-256 of the source of functions and of objects' classes, without comments; empty if none is available.

    Code of Python, PyTorch and this library is left out, as is code typed at a prompt.
    """
    found: dict[str, str] = {}
    for thing in things:
        while isinstance(thing, (functools.partial, MethodType)):
            thing = thing.func if isinstance(thing, functools.partial) else thing.__func__
        if isinstance(thing, FunctionType):
            definitions: list[Any] = [thing]
        else:
            definitions = list((thing if isinstance(thing, type) else type(thing)).__mro__)
        for each in definitions:
            name = f"{each.__module__}.{each.__qualname__}"
            # Code that is run from a text, as by `exec`, may be in no module.
            if name not in found and not _is_known_code(each.__module__ or ""):
                found[name] = _source(each)
    text = "".join(f"{name}\0{source}\0" for name, source in sorted(found.items()) if source)
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def _is_known_code(module: str) -> bool:
    """Whether a module's source can be left out: it belongs to a library or is in the key already."""
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
        return without_docstrings(source)
    except SyntaxError:
        # The source of a lambda may be part of a statement.
        return source


def _behaviour(case: Case, fresh: nn.Module, runtime: Runtime, samples: int = 64) -> str:
    """SHA-256 of some training batches, and of a fresh model's predictions, losses and gradients on them.

    The samples are spread evenly over the training set, which may be sorted: a loss may treat extreme targets
    differently.
    """
    precision: Precision = "64-true" if runtime.precision == "64-true" else "32-true"
    probe = replace(runtime, accelerator="cpu", devices=1, precision=precision, seed=0, workers=0, progress=False)
    members = torch.from_numpy(case.rows("train"))
    rows = members[torch.linspace(0, len(members) - 1, samples).round().long().unique()]
    chunks = chunked(rows, samples)
    found: list[str] = []
    # Sums are reproducible to the bit on one CPU thread only.
    with one_thread(), probe.isolated_rng("behaviour"):
        model = probe.set_up(probe.private_copy(fresh)).eval()
        for batch in probe.load(case.source("train"), chunks, augmentation=probe.generator("behaviour")):
            with torch.no_grad():
                prediction = case.task.predict(model, batch.data)
                loss = case.task.training_loss(prediction, case.task.target(batch.data), batch.data)
            seen = [*columns(batch.data, len(batch.index)), prediction, loss]
            found += [digest_of(row_hashes(seen, len(batch.index))), _step(case, model, batch, probe)]
    return " ".join(found)


def _step(case: Case, model: nn.Module, batch: Batch, probe: Runtime) -> str:
    """SHA-256 of losses and gradients in training mode, under the present seed; the error's name if it fails."""
    model.train()
    try:
        prediction = case.task.predict(model, batch.data)
        losses = case.task.training_loss(prediction, case.task.target(batch.data), batch.data)
        probe.backward(losses.mean())
    except Exception as error:
        # A model that cannot be trained is reported by its training, not here.
        return type(error).__name__
    total = hashlib.sha256(losses.detach().numpy().tobytes())
    for name, parameter in model.named_parameters():
        gradient = b"none" if parameter.grad is None else parameter.grad.to_dense().numpy().tobytes()
        total.update(f"{name} {parameter.requires_grad} ".encode() + gradient)
    return total.hexdigest()
