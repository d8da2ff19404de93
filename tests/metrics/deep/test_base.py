"""Metrics that train: what they will take, that they go on where they were, and that workers change nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

from support.memorised_noise import CPU, METHODS, RECIPE, case_of_heart, net, panel_of
from unregress.auditing.pipeline import audit
from unregress.errors import SettingError
from unregress.methods import FineTune
from unregress.metrics import Errors
from unregress.metrics.base import Subject
from unregress.metrics.deep.klom import KLoM
from unregress.metrics.deep.ulira import ULiRA
from unregress.retraining.workload import plan_of
from unregress.tasks.adapters import TensorTask
from unregress.training.recipe import Recipe

pytestmark = pytest.mark.slow

SHORT = Recipe(epochs=2, lr=0.01, batch_size=30)
TUNE = {"FineTune": FineTune(recipe=SHORT)}


def metric(which: str, *, workers: int = 1, store: Path | None = None, methods=TUNE, **more: object) -> KLoM | ULiRA:
    kind = {"klom": lambda **f: KLoM(models=4, **f), "ulira": lambda **f: ULiRA(models=6, share=0.4, **f)}[which]
    return kind(recipe=SHORT, methods=methods, workers=workers, store=store, **more)


def entries(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.parametrize(("which", "models"), [("klom", 4 + 4 + 4), ("ulira", 6 + 6)])
def test_nothing_is_trained_twice(which: str, models: int, tmp_path: Path) -> None:
    first = list(metric(which, store=tmp_path).measure(panel_of()))
    made = entries(tmp_path)
    assert len(made) == models == metric(which).plan(case_of_heart(), CPU).models
    assert metric(which, store=tmp_path).plan(case_of_heart(), CPU).models == 0
    assert list(metric(which, store=tmp_path).measure(panel_of())) == first
    assert entries(tmp_path) == made
    # Interrupted: what is missing is made, and nothing else.
    gone = sorted(made)[0]
    for file in (tmp_path / gone).iterdir():
        file.unlink()
    (tmp_path / gone).rmdir()
    assert metric(which, store=tmp_path).plan(case_of_heart(), CPU).models == 1
    assert list(metric(which, store=tmp_path).measure(panel_of())) == first
    again = entries(tmp_path)
    assert again.keys() == made.keys() and {n for n in made if again[n] != made[n]} == {gone}
    # A method with other settings starts from the same originals.
    other = {"FineTune": FineTune(recipe=replace(SHORT, lr=0.02))}
    list(metric(which, store=tmp_path, methods=other).measure(panel_of()))
    assert len(entries(tmp_path)) == models + (4 if which == "klom" else 6)


def test_all_that_decides_a_model_of_ones_own_is_in_its_key(tmp_path: Path) -> None:
    """Another loss of the same name, other data, another width: none of it finds the others' models."""

    def losses(power: int) -> TensorTask:
        def loss(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return (prediction - target).abs() ** power

        return TensorTask(build_model=net, loss=loss)

    case = case_of_heart()
    tensors = case.splits.train.tensors  # type: ignore[attr-defined]
    cases = [
        case_of_heart(task=losses(1)),
        case_of_heart(task=losses(2)),
        case_of_heart(train=torch.utils.data.TensorDataset(tensors[0], tensors[1] + 1)),
        case_of_heart(task=TensorTask(build_model=lambda: nn.Linear(8, 1), loss="mse")),
    ]
    for count, each in enumerate(cases, 1):
        list(metric("ulira", store=tmp_path).measure(panel_of(each)))
        assert len(entries(tmp_path)) == 12 * count
    assert str(losses(1)) == str(losses(2))


@pytest.mark.parametrize("which", ["klom", "ulira"])
def test_workers_change_nothing(which: Literal["klom", "ulira"], tmp_path: Path) -> None:
    """Not the findings, and not the weights; nor does what the runtime has done before."""
    task = TensorTask(build_model=lambda: nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.2), nn.Linear(16, 1)), loss="l1")
    runtime = replace(CPU)
    assert runtime.device.type == "cpu"
    panel = panel_of(case_of_heart(task=task), runtime)
    results, weights = [], []
    for workers in (1, 2):
        store = tmp_path / str(workers)
        results.append(list(metric(which, workers=workers, store=store).measure(panel)))
        files = sorted(store.glob("*/weights.safetensors"))
        weights.append({str(file.relative_to(store)): file.read_bytes() for file in files})
    assert results[0] == results[1] and weights[0] == weights[1] and len(weights[0]) == 12


def test_all_descend_from_the_audited_original_if_so_asked(tmp_path: Path) -> None:
    panel = panel_of()
    found = list(metric("klom", store=tmp_path, same_original=True).measure(panel))
    kinds = sorted(name.split("-")[0] for name in entries(tmp_path))
    assert kinds == ["FineTune"] * 4 + ["gold"] * 4
    assert {measure.model for measure in found} == {"FineTune", "retrained"}
    assert metric("klom", same_original=True).plan(panel.case, CPU).models == 8
    # Descendants of another original are others.
    subjects = tuple(
        Subject(name=s.name, role=s.role, model=net(), parts=s.parts) if s.role == "original" else s
        for s in panel.subjects
    )
    list(metric("klom", store=tmp_path, same_original=True).measure(replace(panel, subjects=subjects)))
    assert len(entries(tmp_path)) == 12


def test_models_that_no_seed_changes_have_no_divergence() -> None:
    def still() -> nn.Module:
        model = nn.Linear(8, 1)
        nn.init.zeros_(model.weight)
        nn.init.zeros_(model.bias)
        return model.requires_grad_(True)

    case = case_of_heart(task=TensorTask(build_model=still, loss=lambda prediction, target: 0 * prediction))
    found = list(metric("klom").measure(panel_of(case)))
    assert found and all(measure.value is None and "every seed" in measure.note for measure in found)


def test_without_golds_in_the_panel_there_is_no_row_for_them() -> None:
    panel = panel_of()
    bare = replace(panel, subjects=tuple(s for s in panel.subjects if s.role != "gold"))
    assert {measure.model for measure in metric("klom").measure(bare)} == {"original", "FineTune"}


@pytest.mark.parametrize(("which", "first"), [("klom", "4 of 8 jobs failed"), ("ulira", "6 of 6 jobs failed")])
def test_a_training_that_fails_is_named_and_the_rest_of_the_audit_stays(which: str, first: str, tmp_path: Path) -> None:
    """The report is written, with rows that say why they are empty; what went well is kept."""
    wild = {"FineTune": FineTune(recipe=replace(SHORT, lr=1e30, optimizer="sgd"))}
    case = case_of_heart()
    models = {name: net() for name in ("original", "FineTune")}
    report = audit(case, models, CPU, metrics=[metric(which, store=tmp_path, methods=wild), Errors()])
    failed = [measure for measure in report.measures if measure.metric == which]
    parts = {"klom": {"train-retain", "train-forget", "test-retain"}, "ulira": {"random"}}[which]
    assert {(m.model, m.value) for m in failed} == {("FineTune", None)} and {m.split for m in failed} == parts
    assert all(m.note.startswith(f"not measured: {first}; the others are done: ") for m in failed)
    assert all("the learning rate" in m.note for m in failed)
    assert report.value("mae", "train-forget", "FineTune") is not None
    assert len(entries(tmp_path)) == {"klom": 8, "ulira": 6}[which]


@pytest.mark.parametrize("which", ["klom", "ulira"])
def test_a_method_of_nobody_is_refused_before_anything_is_done(which: str, tmp_path: Path) -> None:
    nobody = metric(which, store=tmp_path / "store", methods={"nobody": TUNE["FineTune"]})
    found = nobody.objections(case_of_heart(), ["FineTune", "retrained"])
    assert [str(each) for each in found] == [
        f"{type(nobody).__name__} has methods for nobody, but no audited model has that name. "
        "Expected names among FineTune, retrained."
    ]
    with pytest.raises(SettingError, match="nobody"):
        audit(case_of_heart(), {"original": net(), "FineTune": net()}, CPU, metrics=[nobody])
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("which", ["klom", "ulira"])
def test_a_method_s_numbers_do_not_depend_on_the_others(which: str, tmp_path: Path) -> None:
    """Nor on their order, nor on which parts of the data there are."""
    other = {"again": FineTune(recipe=replace(SHORT, lr=0.02))}
    panel = panel_of()
    fewer = replace(
        panel,
        subjects=tuple(
            replace(s, parts={part: seen for part, seen in s.parts.items() if part != "train-retain"})
            for s in panel.subjects
        ),
    )
    found = []
    for methods, seen in ((TUNE, panel), ({**other, **TUNE}, panel), ({**TUNE, **other}, panel), (TUNE, fewer)):
        kind = metric(which, store=tmp_path, methods=methods)
        # More pairs of models than can be changed about in 20 ways: some are drawn.
        kind = replace(kind, models=10 if which == "ulira" else 4)
        found.append([m for m in kind.measure(seen) if m.model == "FineTune" and m.split in ("random", "train-forget")])
    assert found[0] == found[1] == found[2] == found[3] and found[0][0].p is not None


def test_plans_by_hand() -> None:
    """60 samples, 12 forgotten; trainings of 150 epochs there and back, fine-tuning of 1; 30 held out.

    KLoM: 6 × (original 60 + gold 48 + again 60, 150 epochs each, and 60 for 1 epoch), times 2; all 4 models of a seed
    predict 90 samples.
    U-LiRA: 8 × (original and again 30, 150 epochs each, and 30 for 1 epoch), times 2; all 3 models of a half predict
    the 6 samples to be forgotten.
    """
    case = case_of_heart()
    klom = KLoM(recipe=RECIPE, methods=METHODS, models=6).plan(case, CPU)
    assert (klom.models, klom.passes) == (24, 2 * 6 * ((60 + 48 + 60) * 150 + 60) + 6 * 4 * 90)
    ulira = ULiRA(recipe=RECIPE, methods=METHODS, models=8).plan(case, CPU)
    assert (ulira.models, ulira.passes) == (24, 2 * 8 * ((30 + 30) * 150 + 30) + 8 * 3 * 6)


def test_a_plan_counts_what_a_method_does() -> None:
    case = case_of_heart()
    for method in (FineTune(recipe=SHORT), METHODS["again"]):
        done = method.unlearn(net(), case, CPU)
        assert plan_of(method, len(case.requested.retain)).passes == done.cost.passes
