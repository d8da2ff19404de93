"""What is trained, from what it starts, what is found again, and that the same seeds give the same bytes."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from support.face_images import (
    FAMILY,
    RUNTIME,
    SETTINGS,
    SHORT,
    TRAIN,
    faces,
    files,
    named,
    run,
    table,
    write_faces,
    young,
)
from unregress.data.case import Case
from unregress.errors import DataError, DivergenceError, JobsError, RequestError, SettingError
from unregress.evidence import AuditReport
from unregress.experiments.experiment import Forget, Sweep
from unregress.experiments.families.base import Loaded
from unregress.experiments.runner import Outcome
from unregress.experiments.summary import comma_separated, summarise
from unregress.methods import FineTune, Method, Unlearned
from unregress.tasks.weights import weights_of
from unregress.training.runtime import Runtime

pytestmark = pytest.mark.slow

First = tuple[Path, Outcome, list[str]]
METHODS = ("FineTune", "GaussianAmnesiac", "Blindspot")


def configs(store: Path, kind: str) -> list[dict[str, Any]]:
    """What the entries of a kind were made from."""
    return [json.loads(path.read_text()) for path in sorted(store.glob(f"{kind}-*/config.yaml"))]


def entry(store: Path, kind: str) -> Path:
    (found,) = store.glob(f"{kind}-*")
    return found


def key(path: Path) -> str:
    """What `from` and an audit's models say of an entry begins with this."""
    return path.name.rsplit("-", 1)[1]


def forgotten(outcome: Outcome) -> list[int]:
    return [reports[0].samples["train-forget"] for reports in outcome.stages]


# What is made


def test_a_first_run_makes_each_model_once(first: First) -> None:
    store, outcome, made = first
    assert Counter(made) == Counter(["original", "gold", "gold", *METHODS, "audit"])
    assert sorted(path.name.rsplit("-", 1)[0] for path in store.iterdir()) == sorted(made)
    ((report,),) = outcome.stages
    assert [(model.name, model.role) for model in report.models] == [
        ("original", "original"),
        *((name, "unlearned") for name in METHODS),
        ("retrained", "gold"),
        ("retrained #2", "gold"),
        ("Blindspot's helper", "reference"),
        ("constant", "reference"),
    ]
    assert {about.metric for about in report.about} >= {"mae", "rmse", "w1", "paired", "attack", "ain"}
    assert all(model.cost is not None for model in report.models if model.role != "reference")


def test_seeds_and_starts_are_in_the_keys(first: First) -> None:
    store, _, _ = first
    assert [each["seed"] for each in configs(store, "original")] == [0]
    assert sorted(each["seed"] for each in configs(store, "gold")) == [1, 2]
    assert configs(store, "original")[0]["request"] is None
    for name in METHODS:
        (config,) = configs(store, name)
        assert config["from"].startswith(key(entry(store, "original"))) and config["seed"] == 0
        assert config["request"] == configs(store, "gold")[0]["request"]


def test_a_second_run_makes_nothing_and_says_the_same(loaded: Loaded, first: First, store: Path) -> None:
    outcome, made = run(loaded, store)
    assert made == [] and outcome == first[1]


@pytest.mark.parametrize("kind", ["original", *METHODS, "audit"])
def test_only_what_is_missing_is_made_again_and_is_the_same(
    kind: str, loaded: Loaded, first: First, store: Path
) -> None:
    gone = entry(store, kind)
    before = files(gone)
    shutil.rmtree(gone)
    outcome, made = run(loaded, store)
    assert made == [kind]
    after = files(gone)
    assert after.keys() == before.keys()
    assert all(after[name] == before[name] for name in before if name.endswith(("config.yaml", "safetensors")))
    assert table_of(outcome) == table_of(first[1])


@dataclass(frozen=True, kw_only=True)
class Failing(Method):
    """A method that is interrupted in the middle of its work."""

    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_where_it_was(loaded: Loaded, tmp_path: Path) -> None:
    methods = {"FineTune": SETTINGS.methods["FineTune"], "Failing": Failing()}
    with pytest.raises(KeyboardInterrupt):
        run(loaded, tmp_path / "store", settings=replace(SETTINGS, methods=methods))
    kept = sorted(path.name for path in (tmp_path / "store").iterdir())
    assert [name.rsplit("-", 1)[0] for name in kept] == ["FineTune", "gold", "gold", "original"]
    before = files(tmp_path)
    _, made = run(loaded, tmp_path / "store")
    assert Counter(made) == Counter(["GaussianAmnesiac", "Blindspot", "audit"])
    assert {name: content for name, content in files(tmp_path).items() if name in before} == before


# Side by side


@pytest.fixture
def one_thread() -> Iterator[None]:
    """A single worker rounds as several do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def weights(store: Path) -> dict[str, bytes]:
    """By the entry's folder and file, so that equal ones have equal keys."""
    return {name: content for name, content in files(store).items() if name.endswith(("safetensors", "config.yaml"))}


@pytest.mark.slow
def test_workers_change_neither_keys_nor_models_nor_audits(loaded: Loaded, tmp_path: Path, one_thread: None) -> None:
    row = young(name="several", highs=(20, 30))
    one, _ = run(loaded, tmp_path / "one", row, seeds=2)
    two, said = run(loaded, tmp_path / "two", row, seeds=2, workers=2)
    assert weights(tmp_path / "one") == weights(tmp_path / "two")
    assert table_of(one) == table_of(two)
    assert said[:4] == [
        "ready: original 0",
        "ready: original 1",
        "ready: gold 1 of request 1",
        "ready: gold 2 of request 1",
    ]
    again, made = run(loaded, tmp_path / "two", row, seeds=2)
    assert made == [] and table_of(again) == table_of(two)


@dataclass(frozen=True, kw_only=True)
class Diverging(Method):
    """A method that fails."""

    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        raise DivergenceError("The loss is not a number")


@pytest.mark.slow
def test_of_several_workers_one_failure_loses_nothing(loaded: Loaded, tmp_path: Path) -> None:
    methods = {"Diverging": Diverging(), "FineTune": SETTINGS.methods["FineTune"]}
    with pytest.raises(JobsError, match=r"1 of 2 jobs failed.*\n.*Diverging of original 0: The loss is not a number"):
        run(loaded, tmp_path / "store", settings=replace(SETTINGS, methods=methods), workers=2)
    kept = [path.name.rsplit("-", 1)[0] for path in sorted((tmp_path / "store").iterdir())]
    assert kept == ["FineTune", "gold", "gold", "original"]
    _, made = run(loaded, tmp_path / "store")
    assert Counter(made) == Counter(["GaussianAmnesiac", "Blindspot", "audit"])


def test_no_worker_is_refused(loaded: Loaded, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="workers is 0"):
        run(loaded, tmp_path, workers=0)
    assert not list(tmp_path.iterdir())


# What is made anew


def test_another_seed_shares_what_has_the_same_seed(loaded: Loaded, store: Path) -> None:
    _, made = run(loaded, store, seeds=2)
    assert Counter(made) == Counter(["original", *METHODS, "audit"])
    assert sorted(each["seed"] for each in configs(store, "original")) == [0, 1]
    _, made = run(loaded, store, seeds=2, golds=3)
    assert Counter(made) == Counter(["gold", "audit", "audit"])


def test_seeds_count_from_the_runtime_s(loaded: Loaded, store: Path) -> None:
    # Original and gold of seed 1 are the same models whether seed 1 is the first or the second.
    run(loaded, store, seeds=2, golds=3)
    outcome, made = run(loaded, store, runtime=replace(RUNTIME, seed=1), seeds=1, golds=2)
    assert "original" not in made and "gold" not in made
    assert not set(METHODS) & set(made)
    assert outcome.stages[0][0].settings["seed"] == 1


def test_repetitions_share_originals_and_golds_and_are_measured_apart(loaded: Loaded, store: Path) -> None:
    once, _ = run(loaded, store, seeds=2)
    twice, made = run(loaded, store, seeds=2, repetitions=2)
    assert twice.stages == once.stages and once.repeated == ()
    assert Counter(made) == Counter(2 * [*METHODS, "audit"])
    ((first, second),) = twice.repeated
    place = "mae", "train-forget"
    for seed, reports in enumerate((first, second)):
        assert [each.value(*place, "original") for each in reports] == [
            once.stages[0][seed].value(*place, "original")
        ] * 2
        own = [each.value(*place, "Blindspot") for each in reports]
        assert own[0] == once.stages[0][seed].value(*place, "Blindspot") != own[1]


@pytest.mark.parametrize("golds", [1, 3])
def test_every_audit_compares_with_all_golds(golds: int, loaded: Loaded, store: Path) -> None:
    outcome, _ = run(loaded, store, seeds=2, golds=golds)
    assert [len(report.golds) for report in outcome.stages[0]] == [golds, golds]
    audits = [each["golds"] for each in configs(store, "audit") if len(each["golds"]) == golds]
    assert len(audits) == 2 and audits[0] == audits[1]


def test_another_setting_of_a_method_makes_that_method_anew(loaded: Loaded, store: Path) -> None:
    methods = {**SETTINGS.methods, "FineTune": FineTune(recipe=replace(SHORT, lr=0.02))}
    _, made = run(loaded, store, settings=replace(SETTINGS, methods=methods))
    assert made == ["FineTune", "audit"]


def test_another_training_makes_everything_anew(loaded: Loaded, store: Path) -> None:
    _, made = run(loaded, store, settings=replace(SETTINGS, training=SHORT))
    assert Counter(made) == Counter(["original", "gold", "gold", *METHODS, "audit"])


def test_another_relearning_makes_the_audit_anew(loaded: Loaded, store: Path) -> None:
    _, made = run(loaded, store, settings=replace(SETTINGS, relearning=replace(SHORT, lr=0.1)))
    assert made == ["audit"]


def test_another_request_keeps_the_original(loaded: Loaded, store: Path) -> None:
    original = entry(store, "original")
    _, made = run(loaded, store, young(highs=(25,)))
    assert Counter(made) == Counter(["gold", "gold", *METHODS, "audit"])
    assert original.is_dir()


def test_another_experiment_on_the_same_request_shares_the_models(loaded: Loaded, store: Path) -> None:
    _, made = run(loaded, store, young(name="other", title="Another row", methods=["Blindspot"]))
    assert made == ["audit"]


def test_changed_data_make_everything_anew(store: Path, tmp_path: Path) -> None:
    changed = faces(write_faces(tmp_path / "changed", swapped=True), tmp_path)
    _, made = run(changed, store)
    assert Counter(made) == Counter(["original", "gold", "gold", *METHODS, "audit"])


def test_another_architecture_makes_everything_anew(folder: Path, store: Path, tmp_path: Path) -> None:
    _, made = run(faces(folder, tmp_path, width=7), store)
    assert Counter(made) == Counter(["original", "gold", "gold", *METHODS, "audit"])


def test_another_loss_makes_everything_anew(folder: Path, store: Path, tmp_path: Path) -> None:
    _, made = run(faces(folder, tmp_path, loss="mse"), store)
    assert Counter(made) == Counter(["original", "gold", "gold", *METHODS, "audit"])


def test_another_augmentation_makes_everything_anew(loaded: Loaded, store: Path) -> None:
    plain = replace(loaded, splits=replace(loaded.splits, augment=None))
    _, made = run(plain, store)
    assert Counter(made) == Counter(["original", "gold", "gold", *METHODS, "audit"])


def test_the_size_of_evaluation_batches_is_no_part_of_the_key(loaded: Loaded, store: Path) -> None:
    _, made = run(loaded, store, runtime=replace(RUNTIME, evaluation_batch_size=16))
    assert made == []


def test_another_precision_makes_everything_anew(loaded: Loaded, store: Path) -> None:
    _, made = run(loaded, store, runtime=replace(RUNTIME, precision="64-true"))
    assert Counter(made) == Counter(["original", "gold", "gold", *METHODS, "audit"])


GAP = (
    [float(age) for age in (*range(10, 31), *range(40, 70))] * 2,
    [*map(float, range(10, 70))],
    [*map(float, range(10, 70))],
)
"""Training targets with a gap from 30 to 40, that held-out targets do not have."""


def test_a_request_that_names_the_same_samples_but_another_group_is_measured_anew(tmp_path: Path) -> None:
    loaded = table(GAP)
    family = replace(FAMILY, samples=len(GAP[0]))
    narrow, _ = run(loaded, tmp_path, young(highs=(30,)), family=family)
    wide, _ = run(loaded, tmp_path, young(highs=(39,)), family=family)
    assert forgotten(narrow) == forgotten(wide) == [42]
    assert narrow.stages[0][0].samples["test-forget"] == 21
    assert wide.stages[0][0].samples["test-forget"] == 30


def test_a_request_with_another_validation_group_retrains(tmp_path: Path) -> None:
    # The plateau schedule of a gold does not watch validation samples of the forgotten kind.
    loaded = table(GAP)
    family = replace(FAMILY, samples=len(GAP[0]))
    run(loaded, tmp_path, young(highs=(30,)), family=family)
    _, made = run(loaded, tmp_path, young(highs=(39,)), family=family)
    assert made.count("gold") == 2


# Several requests


def test_requests_are_cumulative(several: First) -> None:
    _, outcome, made = several
    assert Counter(made) == Counter(
        ["original", *["gold"] * 6, *[name for name in METHODS for _ in range(3)], *["audit"] * 3]
    )
    counts = forgotten(outcome)
    assert counts == sorted(counts) and len(set(counts)) == 3
    assert [reports[0].target_band for reports in outcome.stages] == [(None, 10.0), (None, 20.0), (None, 30.0)]
    assert [reports[0].reason for reports in outcome.stages] == [
        f"Small faces, the young: request {n}" for n in (1, 2, 3)
    ]


def test_each_method_goes_on_from_its_own_last_model(several: First) -> None:
    store, outcome, _ = several
    requests = [reports[0].request_digest for reports in outcome.stages]
    original = key(entry(store, "original"))
    for name in METHODS:
        made = {json.loads((path / "config.yaml").read_text())["request"]: path for path in store.glob(f"{name}-*")}
        assert set(made) == set(requests)
        starts = [json.loads((made[request] / "config.yaml").read_text())["from"] for request in requests]
        before = [original, *(key(made[request]) for request in requests[:2])]
        assert all(start.startswith(last) for start, last in zip(starts, before, strict=True))


def test_the_golds_of_each_stage_are_retrained_without_all_of_it(several: First) -> None:
    store, outcome, _ = several
    requests = [reports[0].request_digest for reports in outcome.stages]
    golds = Counter(each["request"] for each in configs(store, "gold"))
    assert golds == Counter({request: 2 for request in requests})
    audits = {each["request"]: each for each in configs(store, "audit")}
    for path in store.glob("gold-*"):
        config = json.loads((path / "config.yaml").read_text())
        audit = audits[config["request"]]
        assert audit["golds"][config["seed"] - 1].startswith(key(path))
        assert "from" not in config


def test_the_last_of_several_requests_shares_golds_but_not_methods(
    loaded: Loaded, several: First, tmp_path: Path
) -> None:
    shutil.copytree(several[0], tmp_path / "store")
    _, made = run(loaded, tmp_path / "store")
    assert Counter(made) == Counter([*METHODS, "audit"])


# What is forgotten


def test_a_sweep_makes_a_model_for_each_value(loaded: Loaded, store: Path) -> None:
    sweep = Sweep(method="Blindspot", field="attention_weight", symbol="λ", values=[0.0, 50.0, 100.0])
    outcome, made = run(loaded, store, young(sweep=sweep))
    # λ = 50 is the Blindspot of the settings.
    assert Counter(made) == Counter(["Blindspot", "Blindspot", "audit"])
    names = [model.name for model in outcome.stages[0][0].models if model.role == "unlearned"]
    assert names == ["λ = 0", "λ = 50", "λ = 100"]
    weights = {each["method"]["init_args"]["attention_weight"] for each in configs(store, "Blindspot")}
    assert weights == {0.0, 50.0, 100.0}


FEW = replace(SETTINGS, methods={"FineTune": SETTINGS.methods["FineTune"]})


@pytest.mark.parametrize(("samples", "expected"), [(None, 21), (1000, 21), (42, 10), (8, 2)])
def test_a_random_request_takes_the_same_share_of_a_part(
    samples: int | None, expected: int, loaded: Loaded, tmp_path: Path
) -> None:
    # 21 of 84; of 42, 10.5, which Python rounds to the even 10.
    row = young(forget=[Forget(random=21)])
    outcome, _ = run(loaded, tmp_path, row, settings=replace(FEW, samples=samples), golds=1)
    report = outcome.stages[0][0]
    assert forgotten(outcome) == [expected]
    size = min(TRAIN, samples or TRAIN)
    assert report.samples["train-retain"] + report.samples["train-forget"] == size
    assert "test-forget" not in report.samples and report.target_band is None


def test_a_random_request_names_that_many_of_data_of_another_size(loaded: Loaded, tmp_path: Path) -> None:
    # A user's copy of the data may have more or fewer rows than the published one.
    row, other = young(forget=[Forget(random=21)]), replace(FAMILY, samples=2 * TRAIN)
    outcome, _ = run(loaded, tmp_path, row, settings=FEW, family=other, golds=1)
    assert forgotten(outcome) == [21]


def test_an_attribute_s_request_has_its_held_out_groups(loaded: Loaded, tmp_path: Path) -> None:
    years = np.array([2014, 2015, 2016] * 28)
    dated = named(loaded.splits, loaded.task, year=years)  # type: ignore[arg-type] # a TensorTask
    outcome, _ = run(dated, tmp_path, young(forget=[Forget(column="year", equal=2015)]), settings=FEW, golds=1)
    report = outcome.stages[0][0]
    assert report.samples == {"train-retain": 56, "train-forget": 28, "test-retain": 20, "test-forget": 10}
    assert report.value("mae", "test-forget", "FineTune") is not None
    # The anamnesis index watches validation samples of that year.
    assert report.measure("ain", "validation-forget", "FineTune").model == "FineTune"


HUNDRED = [float(age) for age in range(1, 101)]


@pytest.mark.parametrize(
    ("forget", "band", "count"),
    [
        (Forget(lowest=0.25), (None, 25.0), 25),
        (Forget(highest=0.25), (76.0, None), 25),
        (Forget(lowest=0.1), (None, 10.0), 10),
        (Forget(low=20, high=29), (20.0, 29.0), 10),
    ],
)
def test_shares_and_bands(forget: Forget, band: tuple[float | None, float | None], count: int, tmp_path: Path) -> None:
    loaded = table((HUNDRED, HUNDRED, HUNDRED))
    outcome, _ = run(
        loaded, tmp_path, young(forget=[forget]), settings=FEW, golds=1, family=replace(FAMILY, samples=100)
    )
    report = outcome.stages[0][0]
    assert (report.samples["train-forget"], report.target_band) == (count, band)
    assert report.samples["test-forget"] == count


def test_a_part_of_the_data_keeps_order_and_names(loaded: Loaded, tmp_path: Path) -> None:
    outcome, _ = run(loaded, tmp_path, settings=replace(FEW, samples=40), golds=1)
    report = outcome.stages[0][0]
    assert sum(report.samples[part] for part in ("train-retain", "train-forget")) == 40
    assert sum(report.samples[part] for part in ("test-retain", "test-forget")) == 30


def test_a_part_of_the_data_takes_the_evaluation_view_along(loaded: Loaded, tmp_path: Path) -> None:
    viewed = replace(loaded, splits=replace(loaded.splits, train_eval=loaded.splits.train))
    outcome, _ = run(viewed, tmp_path / "viewed", settings=replace(FEW, samples=40), golds=1)
    plain, _ = run(loaded, tmp_path / "plain", settings=replace(FEW, samples=40), golds=1)
    assert outcome.stages[0][0].data_digest == plain.stages[0][0].data_digest
    assert table_of(outcome) == table_of(plain)


def test_a_request_for_what_is_not_there_is_refused(loaded: Loaded, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="No target lies in the band"):
        run(loaded, tmp_path, young(highs=(1,)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("seeds", "golds"), [(0, 1), (1, 0), (-1, 2)])
def test_no_seeds_and_no_golds_are_refused(seeds: int, golds: int, loaded: Loaded, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=f"seeds is {seeds} and golds {golds}"):
        run(loaded, tmp_path, seeds=seeds, golds=golds)
    assert not list(tmp_path.iterdir())


def test_data_that_cannot_be_trained_on_are_refused_before_any_training(tmp_path: Path) -> None:
    broken = table((HUNDRED, HUNDRED, HUNDRED))
    targets = torch.tensor(HUNDRED)
    targets[3] = torch.inf
    inputs = broken.splits.validation.tensors[0]  # type: ignore[union-attr] # a TensorDataset
    splits = replace(broken.splits, validation=TensorDataset(inputs, targets))
    with pytest.raises(DataError, match=r"infinit|NaN"):
        run(replace(broken, splits=splits), tmp_path)
    assert not list(tmp_path.iterdir())


def test_samples_in_two_splits_are_said_in_the_notes(loaded: Loaded, tmp_path: Path) -> None:
    shared = replace(loaded, splits=replace(loaded.splits, test=loaded.splits.validation), notes=("A note.",))
    outcome, _ = run(shared, tmp_path, settings=FEW, golds=1)
    assert outcome.notes[0] == "A note."
    assert any("validation" in note and "test" in note for note in outcome.notes[1:])


# The same seeds, the same bytes


def table_of(outcome: Outcome) -> str:
    return comma_separated(summarise(young(), FAMILY, outcome.stages))


def without_seconds(report: AuditReport) -> AuditReport:
    costs = [model.cost for model in report.models]
    models = (replace(m, cost=cost and replace(cost, seconds=0)) for m, cost in zip(report.models, costs, strict=True))
    return replace(report, models=tuple(models))


def test_the_same_seeds_give_the_same_bytes_in_another_store(first: First, loaded: Loaded, tmp_path: Path) -> None:
    store, outcome, _ = first
    torch.randn(3)  # the global state at the start says nothing
    again, _ = run(loaded, tmp_path, settings=SETTINGS)
    one, two = files(store), files(tmp_path)
    assert one.keys() == two.keys()
    assert all(two[name] == one[name] for name in one if name.endswith((".safetensors", "config.yaml")))
    assert table_of(again) == table_of(outcome)
    assert without_seconds(again.stages[0][0]) == without_seconds(outcome.stages[0][0])


def test_a_run_leaves_the_global_random_state_alone(loaded: Loaded, tmp_path: Path) -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]
    run(loaded, tmp_path, settings=FEW, golds=1)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]


def test_the_models_differ_by_seed_method_and_request(several: First) -> None:
    weights = [path.read_bytes() for path in several[0].glob("*/weights.safetensors")]
    assert len(weights) == 16 and len(set(weights)) == 16


class Named(nn.Linear):
    """Shows a function, as some libraries' modules do, whose address differs from process to process."""

    def extra_repr(self) -> str:
        return f"activation=<function relu at {hex(id(self))}>"


def test_addresses_are_no_part_of_a_model_s_identity() -> None:
    torch.manual_seed(0)
    first = Named(2, 1)
    second = Named(2, 1)
    second.load_state_dict(first.state_dict())
    assert str(first) != str(second) and weights_of(first) == weights_of(second)
    second.weight.data[0, 0] += 1
    assert weights_of(first) != weights_of(second)
