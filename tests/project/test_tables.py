"""Leave-out tables of a project: made once, used by requests and audits, brought up to date after each request."""

from __future__ import annotations

from dataclasses import replace
from math import isnan
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import Subset, TensorDataset

from support import tables_project
from support.own_training import by_rmsprop
from unregress import (
    Case,
    FineTune,
    ForgetRequest,
    LeaveOutEdit,
    Project,
    Recipe,
    Retrain,
    Runtime,
    Splits,
    TensorTask,
    Unlearned,
    audit,
    train,
)
from unregress.auditing.judging_table import judging
from unregress.errors import RunFolderError, SettingError, StaleError
from unregress.evidence import ModelRecord
from unregress.hooks import gram_passes
from unregress.hooks.raw_predictions import predict_rows
from unregress.metrics import Errors, Revival
from unregress.metrics.memory_kept import MemoryKept
from unregress.retraining.method_choice import choose_method, table_error
from unregress.retraining.table_upkeep import current
from unregress.runs.table_folder import read_tables, write_tables

pytestmark = pytest.mark.slow

CPU = Runtime(accelerator="cpu")


class Lines(list[str]):
    def __call__(self, line: str) -> None:
        self.append(line)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables") / "table"


@pytest.fixture(scope="module")
def project(folder: Path) -> Project:
    made = Project(
        task=tables_project.task(),
        training=Recipe(epochs=80, lr=1e-2, batch_size=20, schedule="one-cycle"),
        splits=tables_project.data(),
        runtime=CPU,
        table=folder,
        log=Lines(),
    )
    made.train()
    assert made.tables == ()
    made.table(folds=5)
    return made


def test_tables_are_kept_and_read_again(project: Project, folder: Path) -> None:
    first, second = project.tables
    assert (first.partition, second.partition) == (0, 1) and (first.folds != second.folds).any()
    assert [table.summary for table in read_tables(folder)] == [first.summary, second.summary]
    said = len(project.log)
    project.table(folds=5)  # nothing is missing, and nothing is trained
    assert project.log[said:] == [] and project.tables[0].summary == first.summary
    # What an interrupted call keeps is removed in the end.
    assert not folder.with_name("table.unfinished").exists()


def test_a_folder_takes_another_table_and_gives_it_up(project: Project, folder: Path) -> None:
    two = project.tables
    try:
        said = len(project.log)
        three = project.table(folds=5, partitions=3)
        assert [table.summary for table in three[:2]] == [table.summary for table in two] and three[2].partition == 2
        assert len(read_tables(folder)) == 3
        assert not any("made again" in line for line in project.log[said:])
    finally:
        project.table(folds=5, partitions=2)
    assert project.log[-1] == "Table 2 is dropped: 2 tables are asked for" and len(read_tables(folder)) == 2
    for number in (0, -1):
        with pytest.raises(SettingError, match=f"partitions is {number}"):
            project.table(folds=5, partitions=number)
    assert len(project.tables) == 2


def test_a_folder_of_other_settings_is_refused_before_anything_is_trained(project: Project) -> None:
    said = len(project.log)
    with pytest.raises(RunFolderError, match="another run"):
        project.table(folds=3)
    assert not [line for line in project.log[said:] if "to train" in line]


def test_the_edit_is_taught_by_one_table_and_judged_by_the_other(project: Project) -> None:
    edited = project.forget(subjects=range(6), reason="test", method=LeaveOutEdit())
    assert edited.record.settings["table"] == project.tables[0].summary
    exact = project.forget(subjects=range(6), reason="test")
    assert exact.record.method == "Retrain"
    report = project.audit(edited, exact, golds=0, metrics=[Errors()])
    outcome = {each.model: each.outcome for each in report.verdicts}
    assert outcome["original"] == "FAIL" and outcome["LeaveOutEdit"] != "FAIL" and outcome["Retrain"] != "FAIL"
    assert report.value("memory-kept", "train-forget", "original") > 0.8
    assert abs(report.value("memory-kept", "train-forget", "LeaveOutEdit")) < 0.25
    assert report.value("table-coupling", "test-retain", "original") == project.tables[1].coupling
    figure = next(each for each in report.figures if each.key == "memory-percentiles")
    assert [curve.model for curve in figure.curves] == ["original", "LeaveOutEdit", "Retrain"]
    assert np.mean(figure.curves[0].y) > 0.85 and len(figure.curves[0].y) == 12


def test_of_three_tables_two_teach_and_the_last_judges(project: Project) -> None:
    third = replace(project.tables[1], partition=2)
    three = Project(
        task=project.task, splits=project.splits, training=project.training, model=project.model, runtime=CPU
    )
    three._tables = (*project.tables, third)
    edited = three.forget(subjects=range(6), reason="test", method=LeaveOutEdit())
    assert edited.record.settings["table"] == [table.summary for table in project.tables]
    (metric,) = judging(three.tables, edited.case, three.model, [edited], print)
    assert metric.table is third
    # Two that teach are off by less than one, beside the same judge: their mean distance by 1/√3 in place of 1/√2.
    # The tables saw 4/5 of the five other forgotten people, and lack five others of a fold: 4/5 as much variance, which
    # a mean of two tables does not halve: √(1 + 2 · 4/5) times as much.
    targets = [three.task.point(table.targets(edited.case)).double() for table in three.tables]
    x, rows = three.splits.train[:][0], list(edited.case.requested.forget)
    own = three.model.model.eval()(x[rows]).detach().double().reshape(targets[0].shape)
    memory = (own - sum(targets[:2]) / 2).abs()
    expected = (targets[2] - sum(targets[:2]) / 2).abs().mean() / 3**0.5 / memory.mean() * 2.6**0.5
    assert table_error(edited.case, three.model.model, three.tables, CPU) == pytest.approx(float(expected), rel=1e-4)


def test_a_training_function_makes_tables_beside_validation_data() -> None:
    """The estimate trains without any request, of which held-out samples of the kind would be left out."""
    whole = tables_project.data()
    held_out = {
        part: Subset(whole.test, rows) for part, rows in (("validation", range(100)), ("test", range(100, 300)))
    }
    people = {f"{part}_subjects": [whole.test_subjects[row] for row in each.indices] for part, each in held_out.items()}
    project = Project(
        task=tables_project.task(),
        training=by_rmsprop,
        splits=replace(whole, **held_out, **people),
        runtime=CPU,
        log=Lines(),
    )
    project.train()
    first, _ = project.table(folds=3)
    assert first.number_of_folds == 3 and len(first.keys) == 60
    # None of its folds can teach an edit, and no method is derived from a function: all prices are told.
    with pytest.raises(SettingError, match="Retrain: about") as raised:
        project.forget(subjects=[0], reason="test", budget=0.0)
    assert "more folds" in raised.value.remedy


def test_people_of_more_samples_than_were_never_seen_are_not_judged() -> None:
    """Ten people of the test data have a sample each, and the forgotten one thirty."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(110, 3, generator=generator), torch.randn(110, generator=generator)
    people = [0] * 30 + list(range(1, 41))
    splits = Splits(
        train=TensorDataset(x[:70], y[:70]),
        test=TensorDataset(x[70:], y[70:]),
        subjects=people,
        test_subjects=list(range(100, 140)),
    )
    project = Project(task=TensorTask(build_model=lambda: nn.Linear(3, 1)), training=Recipe(epochs=2, lr=1e-2),
                      splits=splits, runtime=CPU, log=Lines())  # fmt: skip
    project.train()
    project.table(folds=3)
    report = project.audit(project.forget(subjects=[0], reason="test"), golds=0, metrics=[Errors()])
    note = report.measure("memory-kept", "train-forget", "original").note
    assert "30 forgotten ask for 60, and there are 40" in note and report.verdict().outcome == "INCONCLUSIVE"


def test_a_table_that_says_the_same_as_the_one_that_taught_does_not_judge(project: Project) -> None:
    """With a fold for each person any two partitions leave out the same people."""
    done = project.forget(subjects=range(6), reason="test", method=LeaveOutEdit(table=project.tables[0], anchors=18))
    twin = replace(project.tables[0], partition=1)
    said = Lines()
    (metric,) = judging((project.tables[0], twin), done.case, project.model, [done], said)
    assert "the same predictions of forgotten samples as one that taught" in metric.refused and len(said) == 1
    (other,) = judging(project.tables, done.case, project.model, [done], said)
    assert other.table is project.tables[1] and not other.refused


def test_few_samples_are_measured_and_not_judged(project: Project) -> None:
    done = project.forget(subjects=[3], reason="test")
    verdict = project.audit(done, golds=0, metrics=[Errors()]).verdict()
    assert verdict.outcome == "INCONCLUSIVE" and verdict.obstacle in ("samples", "original", "golds")


def test_a_part_of_a_person_is_not_judged(project: Project) -> None:
    """The table left out whole people; a model that saw a person's other sample leans by that alone."""
    request = ForgetRequest(size=60, forget=tuple(range(0, 20, 2)), reason="one of two samples each")
    done, said = project.forget(request), len(project.log)
    report = project.audit(done, golds=0, metrics=[Errors()])
    # Nothing is promised before that is not kept, and the verdict says why.
    assert not any("the leave-out table judges" in line for line in project.log[said:])
    assert any("every verdict is INCONCLUSIVE" in line for line in project.log[said:])
    found = report.measure("memory-kept", "train-forget", "original")
    assert found.value is None and "part of a person" in found.note
    assert report.verdict().outcome == "INCONCLUSIVE" and found.note in report.verdict().reason


def test_the_price_list_and_what_is_taken(project: Project) -> None:
    said = len(project.log)
    dear = project.forget(subjects=range(10), reason="test", budget=0.0)
    listed = [line.split(":")[0] for line in project.log[said:]]
    assert listed[:2] == ["Retrain", "LeaveOutEdit"] and listed[-1] == "Chosen"
    error = table_error(dear.case, project.model.model, project.tables, CPU)
    assert 0 < error < 0.5 and dear.record.method == "LeaveOutEdit"
    edit = LeaveOutEdit(table=project.tables[0])
    assert dear.cost.passes < edit.passes(project.model.model, dear.case, CPU)
    # Where each fold is a person, two tables leave out the same, and their difference says nothing.
    alone = [replace(table, number_of_folds=30) for table in project.tables]
    assert isnan(table_error(dear.case, project.model.model, alone, CPU))
    case = Case(task=project.task, splits=project.splits, request=project.request(subjects=[3], reason="test"))
    assert 0 < table_error(case, project.model.model, alone, CPU) < 1
    listed = choose_method(
        dear.case, project.training, project.start, CPU, 0.0, model=project.model.model, tables=alone
    ).lines
    assert any("LeaveOutEdit" in line and "leaves an unknown part" in line for line in listed)
    same = [alone[0], replace(alone[0], partition=1)]
    assert isnan(table_error(dear.case, project.model.model, same, CPU))
    # So it is with a single table, whose coupling stands in.
    assert isnan(table_error(dear.case, project.model.model, alone[:1], CPU))
    # Where there is nothing to remove, that is said, and not that an error is unknown.
    own = predict_rows(project.model.model, dear.case, "train_eval", np.arange(60), CPU)
    still = [replace(table, predictions=own.reshape(table.predictions.shape)) for table in project.tables]
    choice = choose_method(
        dear.case, project.training, project.start, CPU, 0.0, model=project.model.model, tables=still
    )
    assert "there is no memory to remove" in choice.why
    broken = project.tables[1].predictions.clone()
    broken[:] = float("inf")
    failed = [project.tables[0], replace(project.tables[1], predictions=broken)]
    assert isnan(table_error(dear.case, project.model.model, failed, CPU))
    (first, _), coupling = project.tables, project.tables[0].coupling or 0.0
    found = table_error(dear.case, project.model.model, [first], CPU)
    assert found == pytest.approx(coupling * (1 + 9 * (4 / 5) / 5) ** 0.5)
    assert listed[-1].startswith("Chosen: Blindspot") and "do not tell their error" in listed[-1]


def test_the_method_that_is_taken_is_one_that_the_model_allows() -> None:
    """A linear model has no hidden layers for Blindspot's attention."""
    task = TensorTask(tables_project.linear, loss="mse")
    case = Case(
        task=task,
        splits=tables_project.data(),
        request=ForgetRequest.subjects(tables_project.data(), [1], reason="test"),
    )
    chosen = choose_method(case, Recipe(epochs=10), None, CPU, 0.0, model=task.build_model())
    assert "Blindspot" not in " ".join(chosen.lines)
    assert not list(chosen.method.objections(task.build_model(), case, CPU))


def test_the_price_counts_each_pass_over_the_samples_that_memory_demands(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(task=project.task, splits=project.splits, request=project.request(subjects=range(10), reason="test"))
    asked = project.model.model, case, CPU
    edit = LeaveOutEdit(table=project.tables[0])
    once = edit.passes(*asked)
    monkeypatch.setattr(gram_passes, "HELD", 1)
    again = edit.passes(*asked)
    # Each layer is then read apart: 20 forgotten and 40 held samples, forwards and backwards.  Nothing is held, so that
    # each of three changes and three trials takes a pass of its own in place of half of a backward pass.
    layers = sum(isinstance(layer, nn.Linear) for layer in project.model.model.modules())
    assert layers > 1 and again - once == (layers - 1) * 60 * 2 + (3 + 3) * (60 * 2 - 60 / 2)
    chosen = choose_method(case, project.training, project.start, CPU, model=asked[0], tables=project.tables)
    (listed,) = (line for line in chosen.lines if line.startswith("LeaveOutEdit"))
    assert f"{again:,} sample passes" in listed


def test_a_method_that_cannot_be_asked_is_not_in_the_price_list() -> None:
    """Exact retraining is taken, whatever other methods make of the model."""

    class Stubborn(nn.Linear):
        def register_forward_hook(self, *arguments: object, **named: object) -> object:
            raise RuntimeError("not supported")

    def build_model() -> nn.Module:
        return nn.Sequential(Stubborn(20, 8), nn.ReLU(), Stubborn(8, 8), nn.ReLU(), Stubborn(8, 1))

    task = TensorTask(build_model, loss="mse")
    request = ForgetRequest.subjects(tables_project.data(), [1], reason="test")
    case = Case(task=task, splits=tables_project.data(), request=request)
    chosen = choose_method(case, Recipe(epochs=1), None, CPU, model=build_model())
    assert type(chosen.method).__name__ == "Retrain" and "Blindspot" not in " ".join(chosen.lines)


def test_why_tables_are_not_used_is_the_reason_of_the_choice(project: Project) -> None:
    """A third of the people is gone, so that the predictions of the others are too old."""
    gone = Case(task=project.task, splits=project.splits, request=project.request(subjects=range(10), reason="test"))
    said = Lines()
    later = replace(gone, request=gone.requested.beside(ForgetRequest(size=60, forget=range(40, 60), reason="first")))
    usable, refused = current(project.tables, later, project.model, said)
    assert usable == () and "of the samples that the leave-out table was made with have gone" in refused
    assert len(said) == 1  # both tables, for the same reason
    model = project.model.model
    chosen = choose_method(later, project.training, project.start, CPU, 0.01, model=model, refused=refused)
    assert chosen.why.startswith("Chosen: Blindspot, since exact retraining exceeds the budget of 0.01 s and 33%")


def test_a_closed_request_is_removed_from_the_tables(project: Project, folder: Path, tmp_path: Path) -> None:
    done = project.forget(subjects=[0, 1], reason="test")
    before = project.tables
    try:
        after = project.table(folds=5, after=done)
        assert [len(table.keys) for table in after] == [56, 56] == [len(table.keys) for table in read_tables(folder)]
        gone = {project.splits.row_hashes("train_eval")[row] for row in done.case.requested.forget}
        assert not gone & set(after[0].keys) and after[0].summary == before[0].summary
        # A request about samples that are gone from it is not judged by it, in words.
        said = len(project.log)
        verdict = project.audit(done, golds=0, metrics=[Errors()]).verdict()
        assert verdict.outcome == "INCONCLUSIVE" and "4 of 4 samples are not in" in verdict.reason
        assert any("4 of 4 samples are not in the leave-out table" in line for line in project.log[said:])
    finally:
        project._tables = before


def test_an_earlier_request_is_rechecked_as_long_as_the_table_has_its_samples(project: Project) -> None:
    first = project.forget(subjects=[6, 7, 8], reason="first", method=LeaveOutEdit())
    second = project.forget(subjects=[3, 4, 5], reason="second", method=LeaveOutEdit(), after=first)
    before = project.tables
    try:
        (again,) = project.audit(second, golds=0, metrics=[Errors()]).earlier
        assert (again.reason, again.samples, again.note) == ("first", 6, "")
        assert "No model was retrained" not in again.verdicts[0].reason
        project.table(folds=5, after=first)
        (closed,) = project.audit(second, golds=0, metrics=[Errors()]).earlier
        assert closed.verdicts[0].obstacle == "golds" and "6 of 6 samples are not in" in closed.note
        # Golds tell, whatever the table has.
        (closed,) = project.audit(second, golds=2, metrics=[Errors()]).earlier
        assert [each.model for each in closed.verdicts] == ["LeaveOutEdit"] and closed.note == ""
    finally:
        project._tables = before


def test_an_earlier_request_is_rechecked_where_the_table_cannot_judge_this_one(project: Project) -> None:
    first = project.forget(subjects=[6, 7, 8], reason="first", method=LeaveOutEdit())
    second = project.forget(subjects=range(10, 20), reason="larger than a fold", method=LeaveOutEdit(), after=first)
    report = project.audit(second, golds=0, metrics=[Errors()])
    assert report.measure("memory-kept", "train-forget", "original").value is None
    (again,) = report.earlier
    assert again.note == "" and "would be noticed only with probability" in again.verdicts[0].reason


def test_a_table_of_another_model_is_refused_in_words(project: Project) -> None:
    other = Project(
        task=project.task, training=project.training, splits=project.splits, runtime=Runtime(accelerator="cpu", seed=9)
    )
    other.log = Lines()
    other.train()
    other._tables = project.tables
    done = other.forget(subjects=range(10), reason="test", budget=0.0)
    assert done.record.method == "Blindspot"
    assert any("another version of the model" in line for line in other.log)


def test_tables_of_an_earlier_training_are_used_by_nothing(project: Project, tmp_path: Path) -> None:
    """The same seed gives the same initial weights, and another recipe another model."""
    longer = replace(project.training, epochs=100, lr=2e-2)
    other = Project(task=project.task, training=project.training, splits=project.splits, runtime=CPU, log=Lines())
    other.train()
    other._tables = project.tables
    other.train()  # the same training: the same model, whose tables they are
    assert other.tables == project.tables
    edited = other.forget(subjects=range(10), reason="test", method=LeaveOutEdit())
    other.training = longer
    other.train()
    assert other.tables == () and other.log[-1].startswith("Warning: 2 leave-out tables of an earlier training")
    with pytest.raises(StaleError, match="trained otherwise"):
        other.forget(subjects=range(10), reason="test", method=LeaveOutEdit(table=project.tables[0]))
    # A folder is read again, and its tables are refused wherever they would be used.
    folder = tmp_path / "table"
    write_tables(CPU.process_group, folder, project.tables, "")
    kept = Project(task=project.task, training=longer, splits=project.splits, runtime=CPU, table=folder, log=Lines())
    kept.train()
    with pytest.raises(StaleError, match="trained otherwise"):
        kept.forget(subjects=range(10), reason="test", method=LeaveOutEdit())
    chosen = kept.forget(subjects=range(10), reason="test", budget=0.0)
    assert chosen.record.method == "Blindspot" and any("trained otherwise" in line for line in kept.log)
    for models in ([chosen], [edited, chosen], [edited]):
        report = kept.audit(*models, golds=0, metrics=[Errors()])
        assert all(each.value is None for each in report.measures if each.metric == "memory-kept")


def test_a_table_that_taught_an_earlier_request_does_not_recheck_it(project: Project) -> None:
    """The record of a model names the tables that taught the models that it was made from."""
    first = project.forget(subjects=range(2), reason="first", method=LeaveOutEdit())
    second = project.forget(
        subjects=range(3, 6), reason="second", method=FineTune(recipe=Recipe(epochs=1)), after=first
    )
    assert second.record.taught_by == (project.tables[0].summary,) == first.record.taught_by
    (metric,) = judging(project.tables[::-1], second.case, project.model, [second], print)
    assert metric.table is project.tables[1]
    # Of a model without record nobody knows, and the last table judges, which seldom teaches.
    said = Lines()
    (metric,) = judging(project.tables, first.case, project.model, [first.model], said)
    assert metric.table is project.tables[1] and not metric.refused
    report = audit(first.case, {"original": project.model, "bare": first.model}, CPU, metrics=[Errors(), metric])
    assert any("'bare'" in line and "which leave-out tables taught" in line for line in report.caveats)
    # Nor may it judge where a user names it.
    table = project.tables[0]
    for metric in (MemoryKept(table), Revival(table=table)):
        with pytest.raises(SettingError) as refused:
            audit(second.case, {"original": project.model, "second": second}, CPU, metrics=[Errors(), metric])
        assert type(metric).__name__ in refused.value.found and "taught" in refused.value.found


def test_a_table_that_a_user_names_is_of_the_audited_models(project: Project) -> None:
    other = train(Case(task=project.task, splits=project.splits), project.training, replace(CPU, seed=5))
    case = project.forget(subjects=range(6), reason="test", method=LeaveOutEdit()).case
    own = {"original": project.model, "other": project.model}
    report = audit(case, own, CPU, metrics=[Errors(), MemoryKept(project.tables[1])])
    assert report.value("memory-kept", "train-forget", "other") > 0.8
    for metric in (MemoryKept(project.tables[1]), Revival(table=project.tables[1])):
        with pytest.raises(StaleError, match="another version of the model"):
            audit(case, {**own, "original": other}, CPU, metrics=[Errors(), metric])


def test_wrappers_and_unknown_ancestors_are_no_other_model(project: Project) -> None:
    done = project.forget(subjects=range(6), reason="test", method=LeaveOutEdit())
    metrics, found = [Errors(), MemoryKept(project.tables[1])], []
    for original in (project.model, nn.DataParallel(project.model.model), AveragedModel(project.model.model)):
        report = audit(done.case, {"original": original, "edit": done}, CPU, metrics=metrics)
        found.append(report.value("memory-kept", "train-forget", "original"))
    assert found[0] == pytest.approx(found[1]) == pytest.approx(found[2]) and found[0] > 0.5
    mine = Unlearned(model=done.model, history=(), cost=done.cost, record=ModelRecord(method="Mine"))
    report = audit(done.case, {"original": project.model, "mine": mine}, CPU, metrics=metrics)
    assert abs(report.value("memory-kept", "train-forget", "mine")) < 0.25


def test_beside_golds_revival_does_not_use_its_table(project: Project) -> None:
    done = project.forget(subjects=range(3), reason="test", method=LeaveOutEdit())
    retrained = [
        Retrain(recipe=project.training).unlearn(project.model, done.case, replace(CPU, seed=seed)) for seed in (1, 2)
    ]
    metrics = [Errors(), Revival(table=project.tables[0])]  # which taught the edit
    report = audit(done.case, {"original": project.model, "edit": done}, CPU, golds=retrained, metrics=metrics)
    found = report.measure("revival", "train-forget", "edit")
    assert found.value is not None and "leave-out" not in found.note


def test_a_twin_of_the_table_that_taught_rechecks_nothing(project: Project) -> None:
    """Also where the new request is about a person whom no table knows."""
    first = project.forget(subjects=range(2), reason="first", method=LeaveOutEdit(table=project.tables[0]))
    second = project.forget(subjects=[7], reason="second", method=FineTune(recipe=Recipe(epochs=1)), after=first)
    newcomer = Case(task=project.task, splits=project.splits, request=project.request(subjects=[7], reason="second"))
    without = project.tables[0].retained(newcomer)
    (metric,) = judging([without, replace(without, partition=1)], second.case, project.model, [second], print)
    assert "the same predictions of forgotten samples as one that taught" in metric.refused


def test_a_request_larger_than_a_fold_is_not_judged_by_a_table(project: Project) -> None:
    edited = project.forget(subjects=range(10), reason="test", method=LeaveOutEdit())
    report = project.audit(edited, golds=0, metrics=[Errors()])
    found = report.measure("memory-kept", "train-forget", "original")
    assert found.value is None and "forgets 20 samples" in found.note and "about 12 at a time" in found.note
    assert {each.outcome for each in report.verdicts} == {"INCONCLUSIVE"}
    # Nothing is said of a table that judges nothing.
    bare = audit(
        edited.case, {"original": project.model, "bare": edited.model}, CPU,
        metrics=[Errors(), MemoryKept(project.tables[1])],
    )  # fmt: skip
    assert not any("which leave-out tables taught" in line for line in bare.caveats)
    # Nor where a user names it.
    table = project.tables[1]
    report = audit(
        edited.case, {"original": project.model}, CPU, metrics=[Errors(), MemoryKept(table), Revival(table=table)]
    )
    for name in ("memory-kept", "revival"):
        found = report.measure(name, "train-forget", "original")
        assert found.value is None and "about 12 at a time" in found.note


def test_a_table_of_other_folds_did_not_teach(project: Project) -> None:
    """Records of earlier versions do not name the number of folds, so that any may have."""
    edited = project.forget(subjects=range(3), reason="test", method=LeaveOutEdit())
    six = replace(project.tables[0], number_of_folds=6)
    (metric,) = judging([six], edited.case, project.model, [edited], print)
    assert not metric.refused
    settings = dict(edited.record.settings, table={**edited.record.settings["table"]})
    del settings["table"]["folds"]
    earlier = replace(edited, record=replace(edited.record, settings=settings))
    (metric,) = judging([six], edited.case, project.model, [earlier], print)
    assert "agrees with it by construction" in metric.refused


def test_tables_of_another_seed_than_the_model_s_are_warned_of_where_they_are_made(tmp_path: Path) -> None:
    made = Project(
        task=tables_project.task(), training=Recipe(epochs=2), splits=tables_project.data(), runtime=CPU, log=Lines()
    )
    made.train()
    runtime = Runtime(accelerator="cpu", seed=7)
    other = Project(
        task=made.task, training=made.training, splits=made.splits, model=made.model, runtime=runtime,
        table=tmp_path / "table", log=Lines(),
    )  # fmt: skip
    (table,) = other.table(folds=2, partitions=1)
    assert table.seed == 7 and any("trained with seed 0, and its tables with 7" in line for line in other.log)
    # Nothing is trained once a request is closed, whatever the seed of the model that it made.
    done = other.forget(subjects=[3], reason="test", method=FineTune(recipe=Recipe(epochs=1)))
    said = len(other.log)
    (closed,) = other.table(after=done)
    assert len(closed.keys) == 58 and not any("seed" in line for line in other.log[said:])
    # So it is with a model that was retrained exactly; of one whose seed is not known nothing is said.
    exact = replace(made.forget(subjects=[3], reason="test"), start=made.start)
    for seed in (0, None):
        model = replace(exact, record=replace(exact.record, seed=seed))
        again = Project(
            task=made.task, training=made.training, splits=made.splits, model=model, runtime=runtime, log=Lines()
        )
        again.table(folds=2, partitions=1)
        assert any("was trained with seed" in line for line in again.log) == (seed is not None)


def test_the_table_that_taught_does_not_judge(project: Project) -> None:
    edited = project.forget(subjects=range(6), reason="test", method=LeaveOutEdit())
    both = project.tables
    try:
        project._tables = both[:1]
        said = len(project.log)
        report = project.audit(edited, golds=0, metrics=[Errors()])
        assert {each.value for each in report.measures if each.metric == "memory-kept"} == {None}
        assert "agrees with it by construction" in report.verdict().reason
        assert any("agrees with it by construction" in line for line in project.log[said:])
        # Where another table did not teach, its own reason counts.
        project._tables = (both[0], replace(both[1], unseen=both[1].unseen[:9], unseen_keys=both[1].unseen_keys[:9]))
        report = project.audit(edited, golds=0, metrics=[Errors()])
        assert "too few never-seen" in report.verdict().reason and "construction" not in report.verdict().reason
    finally:
        project._tables = both
