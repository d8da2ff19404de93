"""Rows and settings as they are shipped: whole, right, and equal to what the paper printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from jsonargparse import ArgumentError

from unregress.datasets.images.age_images import read_index
from unregress.errors import SettingError
from unregress.experiments import experiment as module
from unregress.experiments.experiment import (
    NOT_IN_THE_PAPER,
    PUBLISHED,
    Experiment,
    Forget,
    Scale,
    Settings,
    Sweep,
    Tuning,
    has_published_settings,
    names,
)
from unregress.experiments.families import FAMILIES
from unregress.methods import Blindspot, FineTune, GaussianAmnesiac, Method, UniformAmnesiac
from unregress.training.recipe import Recipe

ROWS = Path(str(resources.files("unregress.experiments") / "rows"))
SETTINGS = ROWS.parent / "settings"
SCALES: tuple[Scale, ...] = get_args(Scale)
TUNINGS: tuple[Tuning, ...] = get_args(Tuning)
KINDS = sorted({family.kind for family in FAMILIES.values()})
PAPERS = [kind for kind in KINDS if has_published_settings(kind)]
"""The kinds of data for which the paper states settings."""
experiment = cache(module.experiment)
settings = cache(module.settings)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf8"))


def test_every_file_is_a_row_those_in_the_order_first() -> None:
    files = {path.stem for path in ROWS.iterdir()} - {"order"}
    assert len(names()) == len(set(names()))
    assert set(names()) == files
    ordered = read(ROWS / "order.yaml")
    assert names()[: len(ordered)] == ordered
    assert names()[len(ordered) :] == sorted(files - set(ordered))
    assert {name for name in names() if experiment(name).source == NOT_IN_THE_PAPER} == files - set(ordered)
    assert all(path.suffix == ".yaml" for path in ROWS.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_a_row_parses_and_what_it_names_is_there(name: str) -> None:
    row = experiment(name)
    assert row.name == name
    family = FAMILIES[row.family]
    assert row.forget and all(sum(given is not None for given in vars(each).values()) >= 1 for each in row.forget)
    assert set(row.paper) <= set(PUBLISHED)
    for tuning in TUNINGS:
        for scale in SCALES:
            methods = row.chosen(settings(family.kind, tuning, scale), family.layers)
            assert methods and all(isinstance(method, Method) for method in methods.values())
            models = {"original", "retrained", *methods}
            assert {model for numbers in row.paper.values() for model in numbers} <= models
            layers = [method.layers for method in methods.values() if isinstance(method, Blindspot)]
            assert all(list(each) == list(family.layers) for each in layers if not isinstance(each, int))
            assert not any(isinstance(each, int) for each in layers)


def test_twins_stand_after_their_originals_and_inherit_numbers_and_request() -> None:
    twins = {name: experiment(name) for name in names() if experiment(name).twin_of}
    assert len(twins) == 12
    for name, twin in twins.items():
        assert twin.twin_of is not None
        original = experiment(twin.twin_of)
        assert original.twin_of is None and names().index(twin.twin_of) < names().index(name)
        same = ("source", "forget", "methods", "sweep", "paper")
        assert [getattr(twin, field) for field in same] == [getattr(original, field) for field in same]
        assert twin.family != original.family and FAMILIES[twin.family].kind == FAMILIES[original.family].kind
        assert twin.title != original.title


def test_requests_that_follow_one_another_contain_those_before() -> None:
    for name in names():
        forget = experiment(name).forget
        for earlier, later in pairwise(forget):
            assert earlier.low is None and later.low is None
            assert earlier.high is not None and later.high is not None and earlier.high < later.high
    assert [each.high for each in experiment("agedb-sequential").forget] == [10, 20, 30]


FORGET = {
    "agedb-0-30": Forget(high=30),
    "agedb-60-100": Forget(low=60),
    "imdb-wiki-0-30": Forget(high=30),
    "imdb-wiki-60-100": Forget(low=60),
    "stsb-random-1000": Forget(random=1000),
    "stsb-year-2015": Forget(column="year", equal=2015),
    "electricity-low": Forget(high=-0.85),
    "electricity-high": Forget(low=0.85),
    "electricity-low-quartile": Forget(lowest=0.25),
    "electricity-high-quartile": Forget(highest=0.25),
    "agedb-lambda": Forget(high=30),
    "agedb-uniform-gaussian": Forget(high=30),
    "agedb-allcnn-0-30": Forget(high=30),
}
"""What the paper says is forgotten."""


@pytest.mark.parametrize("name", FORGET)
def test_what_is_forgotten(name: str) -> None:
    assert experiment(name).forget == [FORGET[name]]


PAPER = {
    "agedb-0-30": ("table1", "agedb", "0-30"),
    "agedb-60-100": ("table1", "agedb", "60-100"),
    "imdb-wiki-0-30": ("table1", "imdb_wiki", "0-30"),
    "imdb-wiki-60-100": ("table1", "imdb_wiki", "60-100"),
    "stsb-0-2": ("table2", "stsb", "0-2"),
    "stsb-random-1000": ("table2", "stsb", "random_1000"),
    "stsb-year-2015": ("table2", "stsb", "year_2015"),
    "electricity-low": ("table3", "electricity", "<=-0.85"),
    "electricity-low-quartile": ("table3", "electricity", "<=-0.85"),
    "electricity-high": ("table3", "electricity", ">=0.85"),
    "electricity-high-quartile": ("table3", "electricity", ">=0.85"),
}
"""Rows of Tables 1 to 3 by table, dataset and forget set in the transcription."""
MODELS = {
    "orig": "original",
    "retrain": "retrained",
    "finetune": "FineTune",
    "gauss": "GaussianAmnesiac",
    "reg_uniform": "UniformAmnesiac",
    "blindspot": "Blindspot",
}
METRICS = {"loss_Dt_r": "err_Dt_r", "loss_Dt_f": "err_Dt_f"}
"""Table 3 calls the errors losses."""
Numbers = dict[str, dict[str, float]]


@pytest.fixture
def tables(data_root: Path) -> dict[str, Any]:
    """The transcription of the paper's tables, beside the data."""
    path = data_root.parent / "paper_tables.yaml"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return dict(read(path))


def transcribed(printed: Mapping[str, Any], models: list[str]) -> Numbers:
    """One block of a table by metric and model, without the dashes."""
    return {
        METRICS.get(metric, metric): {
            MODELS[model]: number for model, number in zip(models, numbers, strict=True) if number is not None
        }
        for metric, numbers in printed.items()
    }


@pytest.mark.parametrize("name", PAPER)
def test_tables_1_to_3_number_by_number(name: str, tables: dict[str, Any]) -> None:
    table, dataset, forgotten = PAPER[name]
    assert experiment(name).paper == transcribed(tables[table][dataset][forgotten], tables["meta"]["methods"])


def test_no_block_of_tables_1_to_3_is_left_out(tables: dict[str, Any]) -> None:
    blocks = {
        (table, dataset, forgotten)
        for table in ("table1", "table2", "table3")
        for dataset, rows in tables[table].items()
        for forgotten in rows
    }
    assert set(PAPER.values()) == blocks


def test_table_4(tables: dict[str, Any]) -> None:
    printed = tables["table4"]["agedb_0_30_lambda"]
    weights = [weight for weight in printed if weight != "columns"]
    expected: Numbers = {
        metric: {f"λ = {weight}": printed[weight][place] for weight in weights}
        for place, metric in enumerate(printed["columns"])
    }
    row = experiment("agedb-lambda")
    assert row.paper == expected
    assert row.sweep == Sweep(method="Blindspot", field="attention_weight", symbol="λ", values=[0, 50, 100, 250])


def test_section_6_5(tables: dict[str, Any]) -> None:
    printed = {key: value for key, value in tables["section_6_5"].items() if isinstance(value, dict)}
    expected: Numbers = {
        metric: {MODELS[model]: numbers[metric] for model, numbers in printed.items()}
        for metric in ("att_prob", "w_dist")
    }
    row = experiment("agedb-uniform-gaussian")
    assert row.paper == expected
    assert set(row.methods) == {"UniformAmnesiac", "GaussianAmnesiac"}


def test_the_published_notebook(tables: dict[str, Any]) -> None:
    printed = tables["notebook_agedb_allcnn_0_30"]
    expected: Numbers = {
        ours: {MODELS[model]: round(number, 2) for model, number in printed[theirs].items()}
        for ours, theirs in (("err_Dt_r", "test_retain"), ("err_Dt_f", "test_forget"))
    }
    assert experiment("agedb-allcnn-0-30").paper == expected


def test_the_tables_of_tables_leave_out_no_row() -> None:
    own = {name for name in names() if experiment(name).twin_of is None and experiment(name).paper}
    assert own == {*PAPER, "agedb-lambda", "agedb-uniform-gaussian", "agedb-allcnn-0-30"}


def adam(epochs: int, lr: float, **changes: Any) -> tuple[Any, ...]:
    """What the paper states of a training: epochs, rate, optimiser, schedule and its factor."""
    return told(Recipe(epochs=epochs, lr=lr, optimizer="adam", **changes))


def told(recipe: Recipe) -> tuple[Any, ...]:
    factor = recipe.gamma if recipe.schedule in ("plateau", "step") else None
    patience = recipe.patience if recipe.schedule == "step" else None
    return recipe.epochs, recipe.lr, recipe.optimizer, recipe.schedule, factor, patience


# Section 6.3: training, FineTune, Gaussian-Amnesiac, blindspot model, Blindspot.
STATED = {
    "images": (adam(100, 0.01, schedule="plateau"), adam(5, 0.001), adam(1, 0.001), adam(2, 0.01), adam(1, 0.001)),
    "text": (adam(100, 0.01, schedule="plateau"), adam(10, 0.001), adam(10, 0.001), adam(10, 0.01), adam(10, 0.001)),
    "series": (
        adam(10, 0.001, schedule="step", patience=3),
        *(adam(1, 1e-6), adam(1, 1e-6), adam(1, 1e-5), adam(1, 1e-6)),
    ),
}


@pytest.mark.parametrize("kind", PAPERS)
def test_as_published_is_section_6_3(kind: str) -> None:
    found = settings(kind, "as_published", "paper")
    fine, gauss, blind = (found.methods[name] for name in ("FineTune", "GaussianAmnesiac", "Blindspot"))
    assert isinstance(fine, FineTune) and isinstance(gauss, GaussianAmnesiac) and isinstance(blind, Blindspot)
    recipes = (found.training, fine.recipe, gauss.recipe, blind.helper, blind.recipe)
    assert tuple(map(told, recipes)) == STATED[kind]
    assert all((recipe.weight_decay, recipe.clip_norm) == (0.0, None) for recipe in recipes)
    assert blind.attention_weight == 50
    assert found.samples is None


def test_the_uniform_labels_of_section_6_5() -> None:
    uniform = settings("images", "as_published", "paper").methods["UniformAmnesiac"]
    assert uniform == UniformAmnesiac(low=1, high=101, discrete=True, recipe=Recipe(epochs=1, lr=0.001))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tuning", TUNINGS)
def test_scales_change_what_they_say(kind: str, tuning: Tuning) -> None:
    written = read(SETTINGS / (f"{kind}-{tuning}.yaml" if kind in PAPERS else f"{kind}.yaml"))
    assert {"smoke"} <= set(written["scales"]) <= {"reduced", "smoke"}  # a misspelt scale would silently be the paper's
    paper, reduced, smoke = (settings(kind, tuning, scale) for scale in SCALES[::-1])
    shares = [(each.training.epochs, each.samples or 10**9) for each in (paper, reduced, smoke)]
    for more, less in pairwise(shares):
        assert less[0] <= more[0] and less[1] <= more[1]
    assert shares[2] < shares[1] and smoke.samples is not None and smoke.samples <= 1000
    assert paper.methods == reduced.methods == smoke.methods
    assert replace(reduced.relearning, epochs=paper.relearning.epochs) == paper.relearning and paper.samples is None
    assert reduced.relearning.epochs <= paper.relearning.epochs


def test_every_settings_file_is_known() -> None:
    published = {f"{kind}-{tuning}" for kind in PAPERS for tuning in TUNINGS}
    assert {path.stem for path in SETTINGS.iterdir()} == published | (set(KINDS) - set(PAPERS))
    assert PAPERS == ["images", "series", "text"]


def test_a_kind_that_is_not_in_the_paper_has_one_file_for_any_tuning() -> None:
    assert settings("diabetes", "tuned", "paper") == settings("diabetes", "as_published", "paper")
    assert settings("diabetes", "tuned", "paper").training == Recipe(
        epochs=100, lr=0.01, batch_size=32, schedule="one-cycle"
    )


def test_a_named_training_is_replaced_as_a_whole() -> None:
    reduced = settings("images", "as_published", "reduced")
    assert reduced.training == Recipe(epochs=12, lr=0.01, schedule="one-cycle")
    assert settings("images", "as_published", "smoke").relearning == Recipe(epochs=1, lr=0.001)


@pytest.mark.parametrize(
    ("asked", "near"),
    [("agedb-0-3", "agedb-0-30"), ("agedb_0_30", "agedb-0-30"), ("utkface-60-10", "utkface-60-100"), ("qqq", None)],
)
def test_an_unknown_experiment_suggests_the_nearest(asked: str, near: str | None) -> None:
    with pytest.raises(SettingError, match="There is no experiment") as caught:
        experiment(asked)
    assert repr(asked) in str(caught.value)
    assert caught.value.remedy == (f"Did you mean {near!r}?" if near else "")


@pytest.mark.parametrize("name", ["order", "../rows/agedb-0-30", "", "agedb-0-30.yaml", "AGEDB-0-30"])
def test_files_that_are_no_rows_are_no_experiments(name: str) -> None:
    with pytest.raises(SettingError, match="There is no experiment"):
        experiment(name)


BAND = {"forget": [{"high": 30}]}
KEYS = {"name": "x", "title": "x", "source": "x", "family": "agedb"}


@pytest.mark.parametrize(
    "wrong",
    [
        {**KEYS, **BAND, "metods": ["FineTune"]},
        {**KEYS, "forget": [{"hihg": 30}]},
        {**KEYS, "forget": [{"high": "thirty"}]},
        {**KEYS, **BAND, "sweep": {"method": "Blindspot", "field": "x", "symbol": "x", "value": [1]}},
        {**KEYS, **BAND, "paper": {"AIN": {"FineTune": "one"}}},
        {**KEYS},
    ],
    ids=["unknown", "unknown in forget", "no number", "unknown in sweep", "no number in paper", "missing"],
)
def test_a_row_with_a_slip_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((ArgumentError, TypeError, ValueError)):
        module._build(Experiment, wrong)
    assert module._build(Experiment, {**KEYS, **BAND}).forget == [Forget(high=30)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"trainig": {"epochs": 1}},
        {"training": {"epoch": 1}},
        {"methods": {"FineTune": {"class_path": "FineTune", "init_args": {"lr": 1}}}},
        {"methods": {"Finetune": {"class_path": "Finetune"}}},
        {"samples": "many"},
    ],
)
def test_settings_with_a_slip_are_refused(wrong: dict[str, Any]) -> None:
    right = read(SETTINGS / "images-as_published.yaml")
    del right["scales"]
    assert module._build(Settings, right) == settings("images", "as_published", "paper")
    with pytest.raises((ArgumentError, TypeError, ValueError)):
        module._build(Settings, {**right, **wrong})


def test_the_rows_have_no_key_that_the_class_does_not_know() -> None:
    known = {field.name for field in fields(Experiment)}
    for name in names():
        assert set(read(ROWS / f"{name}.yaml")) <= known - {"name"}


def test_a_sweep_makes_one_method_for_each_value() -> None:
    row = experiment("agedb-lambda")
    how = settings("images", "as_published", "paper")
    methods = row.chosen(how, {"resnet.layer?": None})
    assert list(methods) == ["λ = 0", "λ = 50", "λ = 100", "λ = 250"]
    blindspots = [method for method in methods.values() if isinstance(method, Blindspot)]
    assert [method.attention_weight for method in blindspots] == [0, 50, 100, 250]
    # The same key in the store as Table 1's Blindspot, so that it is trained once.
    assert str(methods["λ = 50"]) == str(experiment("agedb-0-30").chosen(how, {"resnet.layer?": None})["Blindspot"])


@pytest.mark.parametrize(("name", "index"), [("agedb", "agedb.csv"), ("utkface", "utkface.csv")])
def test_the_number_of_training_samples(name: str, index: str, data_root: Path) -> None:
    found = read_index(data_root / name / index)["split"]
    assert int((found == "train").sum()) == FAMILIES[name].samples
