"""All models of an audit side by side: what each predicts about the same samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from unregress.auditing.baselines import constant, spreads
from unregress.auditing.golds import Candidate, module_of
from unregress.data.case import Case
from unregress.data.loading import chunked
from unregress.data.request import ForgetRequest, Index
from unregress.data.splits import Split
from unregress.errors import ModelError
from unregress.evidence import Role
from unregress.hooks.final_layer import final_linear
from unregress.metrics import Panel, Subject
from unregress.metrics.predictions import Predictions, collect
from unregress.training.runtime import Runtime

Candidates = Sequence[tuple[str, Role, Candidate]]
"""Models with their names and roles, an original among them."""
FEATURED = 5000
"""Samples of each part whose features are kept, drawn once for all models: of a model of images they are a hundred
times as large as all else that an audit holds."""
EVALUATED: tuple[Split, ...] = ("train_eval", "test")


def assemble(case: Case, candidates: Candidates, runtime: Runtime, *, features: bool) -> tuple[Panel, list[str]]:
    """Ask every model about all training and test samples.

    Args:
        case: the data, and what was to be forgotten.
        candidates: whom to ask; a constant predictor is added.
        runtime: where.
        features: whether some metric looks into the final linear layer.  Where a model has none, nobody's is looked
            into.

    Returns:
        The panel, and what a reader of its numbers must know.
    """
    caveats = []
    if features and (closed := _closed(case, candidates, runtime)):
        features = False
        caveats.append(
            "What looks into the final linear layer was left out: the representation check, and the paper's attack "
            f"unless it is `Membership(features=('loss',))`. {closed}"
        )
    kept = {split: _featured(case, split, runtime) if features else np.zeros(0, np.int64) for split in EVALUATED}
    subjects = []
    for name, role, candidate in runtime.track(candidates, "predicting", len(candidates)):
        model = module_of(candidate)
        seen = {
            split: collect(model, case.task, case.source(split), runtime, rows=case.rows(split), features=kept[split])
            for split in EVALUATED
        }
        subjects.append(Subject(name=name, role=role, model=model, parts=dict(_parts(case, seen))))
    original = next(subject for subject in subjects if subject.role == "original")
    subjects.append(constant(case, original, runtime))
    units = spreads(original)
    if units.size > 1:
        subjects = [replace(s, parts={name: part.in_units(units) for name, part in s.parts.items()}) for s in subjects]
        listed = ", ".join(f"{unit:.3g}" for unit in units.ravel()[:10])
        caveats.append(
            f"Errors and distances of predictions are means over {units.size} outputs, each in units of its spread, "
            f"which is how far its retained targets are from their median on average: {listed}"
            f"{', …' if units.size > 10 else ''}."
        )
    caveats += _unknown(subjects[0])
    group: Index = np.zeros(0, dtype=np.int64)
    if (retained := case.retained_validation()) is not None:
        group = np.setdiff1d(np.arange(len(case.source("validation"))), retained.numpy())
    return Panel(
        case=case, runtime=runtime, subjects=tuple(subjects), validation_forget_like=group, units=units
    ), caveats


def held_out_answers(panel: Panel) -> dict[str, Predictions]:
    """What every model answers about all test samples, by its name: the same whatever request is looked at."""
    case, runtime = panel.case, panel.runtime
    return {
        subject.name: collect(subject.model, case.task, case.source("test"), runtime)
        for subject in panel.subjects
        if subject.model is not None
    }


def panel_of(panel: Panel, other: ForgetRequest, tests: Mapping[str, Predictions]) -> Panel:
    """The same models asked about another request's samples: what was retained is the same.

    Args:
        panel: about a request that was made beside the other one.
        other: one of `panel.case.requested.others`.
        tests: what `held_out_answers` found.

    Raises:
        DataError: some of the other request's samples cannot be measured any more.
        ModelError: likewise, as where their inputs were overwritten.
    """
    own, runtime = panel.case.requested, panel.runtime
    rest = [each for each in own.others if each is not other]
    request = other.beside(*rest, replace(own, others=()))
    case = replace(panel.case, request=request, validation_forget_like=None, test_forget_like=None)
    rows = np.asarray(request.forget, np.int64)
    subjects = []
    for subject in panel.subjects:
        if subject.model is None:
            continue
        seen = {"train-forget": collect(subject.model, case.task, case.source("train_eval"), runtime, rows=rows)}
        seen |= dict(_parts(case, {"test": tests[subject.name]}))
        parts = {name: found.in_units(panel.units) if panel.units.size > 1 else found for name, found in seen.items()}
        subjects.append(replace(subject, parts={"train-retain": subject.parts["train-retain"], **parts}))
    original = next(subject for subject in subjects if subject.role == "original")
    subjects.append(constant(case, original, runtime))
    return replace(panel, case=case, subjects=tuple(subjects), validation_forget_like=np.zeros(0, dtype=np.int64))


def _unknown(like: Subject) -> list[str]:
    """A sentence if some targets are not known."""
    parts = like.parts.values()
    unknown = sum(int((~part.known).sum()) for part in parts if part.known is not None)
    if not unknown:
        return []
    share = unknown / sum(part.target.size for part in parts)
    return [
        f"{share:.1%} of the samples' outputs are not known (NaN).  Errors and distances are over the known ones, each "
        "of which counts alike."
    ]


def _closed(case: Case, candidates: Candidates, runtime: Runtime) -> str | None:
    """A sentence if some model has no final linear layer to look into."""
    for name, _, candidate in candidates:
        twin = runtime.set_up(runtime.private_copy(module_of(candidate))).eval()
        (batch,) = runtime.load(case.source("train_eval"), chunked(torch.from_numpy(case.requested.retain[:2]), 2))
        try:
            final_linear(twin, case.task, batch)
        except ModelError as error:
            return f"Model {name!r}: {error.found}."
    return None


def _featured(case: Case, split: Split, runtime: Runtime) -> Index:
    """Positions whose features are kept: all of a part, or `FEATURED` of it."""
    rng = np.random.default_rng(runtime.generator(f"features/{split}").initial_seed())
    parts = [np.flatnonzero(mask) for mask in (case.forget_like(split), case.retained(split))]
    return np.sort(np.concatenate([rng.choice(part, min(len(part), FEATURED), replace=False) for part in parts]))


def _parts(case: Case, seen: Mapping[Split, Predictions]) -> Iterator[tuple[str, Predictions]]:
    """Predictions per non-empty part: retained and forgotten, of training and test data."""
    for split, predictions in seen.items():
        name = "test" if split == "test" else "train"
        for label, mask in (("retain", case.retained(split)), ("forget", case.forget_like(split))):
            if mask.any():
                yield f"{name}-{label}", predictions.at(np.flatnonzero(mask))
