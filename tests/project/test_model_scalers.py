"""A table's project goes on after rows were deleted or added: the fitted scalers belong to the model."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from torch import nn

from unregress import FineTune, Project, Recipe, Runtime
from unregress.cli import main
from unregress.data.column_scaler import FEATURES, TARGETS, ColumnScaler
from unregress.errors import SettingError, StaleError
from unregress.methods.unlearned import module_of
from unregress.metrics import Errors
from unregress.project.forgotten import Forgotten
from unregress.runs.checkpoint import save_weights
from unregress.runs.manifest import digest_of_folder
from unregress.runs.scalers import SCALERS
from unregress.tasks.weights import weights_of

GONE = [0, 1, 2, 3, 4]
SHORT = FineTune(recipe=Recipe(epochs=1))


class Lines(list[str]):
    def __call__(self, line: str) -> None:
        self.append(line)


def frame_of(people: int = 80, first: int = 0) -> pd.DataFrame:
    """Four rows for each person; the first ten are in training, and far from the others."""
    rng = np.random.default_rng(first)
    nr = np.repeat(np.arange(first, first + people), 4)
    frame = pd.DataFrame({"rec": np.arange(4 * first, 4 * (first + people)), "nr": nr})
    frame = frame.assign(**{name: rng.normal(3, 2, len(nr)) + 4 * (nr < 10) for name in "abc"})
    frame["kg"] = 70 + 3 * frame.a - frame.b + rng.normal(size=len(nr))
    return frame.assign(part=np.where(nr % 10 == 9, "test", np.where(nr % 10 == 8, "validation", "train")))


def project_of(frame: pd.DataFrame, **changes: Any) -> Project:
    settings = {
        "build_model": lambda: nn.Linear(3, 1), "features": ["a", "b", "c"], "target": "kg", "id": "rec",
        "subject": "nr", "split": "part", "training": Recipe(epochs=3, lr=0.01, batch_size=32), "log": Lines(),
        "runtime": Runtime(accelerator="cpu"),
    }  # fmt: skip
    return Project.from_table(frame, **{**settings, **changes})


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Forgotten, Project]:
    project = project_of(frame_of(), scale_target=True)
    project.train()
    done = project.forget(subjects=GONE, reason="first")
    folder = tmp_path_factory.mktemp("runs") / "w1"
    done.save(folder)
    return folder, done, project


def rows_of(project: Project, nr: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets of a person's training samples."""
    mask = torch.tensor([person == nr for person in project.splits.subjects])
    x, y = project.splits.train[:]
    return x[mask], y[mask]


@pytest.mark.parametrize("rows", ["deleted", "added", "both"])
def test_a_project_goes_on_with_other_rows(saved: tuple[Path, Forgotten, Project], rows: str) -> None:
    folder, _, before = saved
    frame = frame_of()
    if rows != "added":
        frame = frame[~frame.nr.isin(GONE)]
    if rows != "deleted":
        frame = pd.concat([frame, frame_of(20, first=100)])
    project = project_of(frame, scale_target=True, model=folder)
    for now, then in zip(rows_of(project, 20), rows_of(before, 20), strict=True):
        assert len(now) == 4 and torch.equal(now, then)
    assert torch.equal(project.splits.test[:][0][:32], before.splits.test[:][0])
    units = project.task.to_units(project.splits.train[:][1]).numpy()
    np.testing.assert_allclose(units, frame.kg[frame.part == "train"], rtol=1e-6)
    second = project.forget(subjects=[20], reason="second", method=SHORT)
    assert [record.reason for record in second.before] == ["first"] and len(second.case.requested.forget) == 4
    assert len(second.case.requested.excluded) == (20 if rows == "added" else 0)
    second.save(folder.parent / rows)
    third = project_of(frame[frame.nr != 20], scale_target=True, model=folder.parent / rows)
    again = third.forget(subjects=[21], reason="third", method=SHORT)
    assert [record.reason for record in again.before] == ["first", "second"]
    assert third.splits.fitted == before.splits.fitted and not any("Note" in line for line in third.log)


def test_an_audit_says_whose_scaler_is_kept(saved: tuple[Path, Forgotten, Project]) -> None:
    frame = frame_of()
    project = project_of(frame[~frame.nr.isin(GONE)], scale_target=True, model=saved[0])
    done = project.forget(subjects=[20], reason="second", method=SHORT)
    traces = {trace.name: trace for trace in project.audit(done, golds=0, metrics=[Errors()]).traces}
    for name in (FEATURES, TARGETS):
        # 80 people of whom a tenth validates and a tenth tests, with four records each.
        assert "256 records" in traces[name].why and traces[name].remembers


def test_the_file_of_scalers_is_part_of_the_evidence(saved: tuple[Path, Forgotten, Project], tmp_path: Path) -> None:
    folder = tmp_path / "w1"
    saved[1].save(folder)
    content = json.loads((folder / SCALERS).read_text())
    assert content["scalers"][FEATURES]["columns"] == ["a", "b", "c"]
    content["scalers"][FEATURES]["mean"][0] += 1
    (folder / SCALERS).write_text(json.dumps(content))
    with pytest.raises(StaleError, match=SCALERS):
        project_of(frame_of(), scale_target=True, model=folder)


@pytest.mark.parametrize("content", ["{", '{"layout": 2, "scalers": {}}', '{"layout": 1, "scalers": {"x": {"columns": '
    '["a"], "mean": [0], "scale": [0], "records": 3}}}', '{"layout": 1}'])  # fmt: skip
def test_a_file_that_no_run_wrote_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / SCALERS).write_text(content)
    with pytest.raises(StaleError, match=SCALERS):
        project_of(frame_of(), model=tmp_path)


@pytest.mark.parametrize("kind", ["beside", "given", "pickled", "in memory"])
def test_scalers_of_a_weights_file(saved: tuple[Path, Forgotten, Project], kind: str, tmp_path: Path) -> None:
    folder, done, before = saved
    frame = frame_of()
    frame = frame[~frame.nr.isin(GONE)]
    bare = tmp_path / "m.safetensors"
    save_weights(done.model, bare)
    learnt = frame_of()[frame_of().part == "train"]
    given: dict[str, Any] = {
        "beside": {"model": folder / "unlearned.safetensors", "scale_target": True},
        "given": {
            "model": bare,
            "standardise": StandardScaler().fit(np.ascontiguousarray(learnt[["a", "b", "c"]])),
            "scale_target": StandardScaler().fit(learnt[["kg"]].to_numpy()),
        },
        "pickled": {
            "model": bare,
            "standardise": pickle.loads(pickle.dumps(before.splits.fitted[FEATURES])),
            "scale_target": before.splits.fitted[TARGETS],
        },
        "in memory": {"model": done, "scale_target": True},
    }[kind]
    project = project_of(frame, **given)
    assert not any("scalers" in line for line in project.log)
    assert project.splits.fitted == before.splits.fitted
    assert torch.equal(rows_of(project, 20)[0], rows_of(before, 20)[0])


def test_it_is_said_where_the_scalers_are_not_known(saved: tuple[Path, Forgotten, Project]) -> None:
    def noted(**changes: Any) -> bool:
        return any("scalers" in line for line in project_of(frame_of(), **changes).log)

    assert noted(model=nn.Linear(3, 1)) and noted(model=nn.Linear(3, 1), standardise=False, scale_target=True)
    assert not noted() and not noted(model=nn.Linear(3, 1), standardise=False)


def shifted(values: Any) -> Any:
    return values - 1


def test_any_fitted_scaler_may_be_given() -> None:
    scaler = FunctionTransformer(shifted, inverse_func=lambda values: values + 1)
    project = project_of(frame_of(), standardise=scaler, scale_target=StandardScaler(with_mean=False).fit([[2.0], [4]]))
    learnt = frame_of()[frame_of().part == "train"]
    np.testing.assert_allclose(project.splits.train[:][0], learnt[["a", "b", "c"]] - 1, rtol=1e-5)
    np.testing.assert_allclose(project.splits.train[:][1], learnt.kg, rtol=1e-5)  # a deviation of 1
    assert project.splits.fitted[FEATURES] is scaler


def test_a_scaler_is_scikit_learn_s_to_the_bit() -> None:
    values = np.random.default_rng(0).normal(5, 3, (40, 3))
    values[:, 2] = 7
    ours, its = ColumnScaler.fit(["a", "b", "c"], values), StandardScaler().fit(values)
    assert np.array_equal(ours.transform(values), its.transform(values)) and ours.scale[2] == 1
    assert np.array_equal(ours.inverse_transform(values), its.inverse_transform(values))
    assert (ours.n_features_in_, ours.n_samples_seen_) == (3, 40)


OTHER = ColumnScaler(columns=("b", "a", "c"), mean=(0.0,) * 3, scale=(1.0,) * 3, records=9)


@pytest.mark.parametrize(
    "make",
    [lambda: "yes", lambda: OTHER, StandardScaler, MinMaxScaler, lambda: StandardScaler().fit([[1.0], [2.0]])],
)
def test_what_is_no_scaler_of_these_columns_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(SettingError):
        project_of(frame_of(), standardise=make())


def test_an_original_is_saved_and_goes_on_another_day(tmp_path: Path) -> None:
    project = project_of(frame_of(), scale_target=True)
    with pytest.raises(SettingError):
        project.save(tmp_path / "original")
    made = project.train()
    digest = project.save(tmp_path / "original")
    assert project.save(tmp_path / "original") == digest == digest_of_folder(tmp_path / "original")
    assert main(["verify", str(tmp_path / "original")]) == 0
    frame = frame_of()
    later = project_of(frame[~frame.nr.isin([0])], scale_target=True, model=tmp_path / "original")
    assert weights_of(module_of(later.model)) == weights_of(made.model)
    assert later.start is not None and made.start is not None
    assert weights_of(later.start) == weights_of(made.start)
    for one, other in zip(rows_of(project, 5), rows_of(later, 5), strict=True):
        assert torch.equal(one, other)
    done = later.forget(subjects=[1], reason="first")
    assert done.record is not None and done.record.method == "Retrain"
    # What is saved already, or was not trained here, is no original of this project's.
    for model in (tmp_path / "original", made.model, SHORT.unlearn(made, done.case, project.runtime)):
        with pytest.raises(SettingError):
            project_of(frame_of(), scale_target=True, model=model).save(tmp_path / "again")
    assert not (tmp_path / "again").exists()
