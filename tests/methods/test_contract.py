"""What every method keeps to, on every model and every batch structure.

A method joins when it is offered by `unregress.methods`.
"""

from __future__ import annotations

import random
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from support.contract_subjects import (
    BRIEF,
    FORGET,
    METHODS,
    MODELS,
    RETAIN,
    SAMPLES,
    STRUCTURES,
    Halves,
    Kind,
    same,
    structured,
    trained_on,
    with_recipe,
)
from support.small_cases import CPU, Listed, filled, numbers, weights
from unregress import (
    Blindspot,
    Case,
    Cost,
    FineTune,
    ForgetRequest,
    GaussianAmnesiac,
    LeaveOutEdit,
    Method,
    Retrain,
    Runtime,
    Splits,
    Unlearned,
    train,
)
from unregress.errors import DataError, ModelError, SettingError
from unregress.methods.base import record_of_method
from unregress.tasks.weights import weights_of

every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
every_model = pytest.mark.parametrize("kind", MODELS.values(), ids=MODELS)
MLP, INPUTS, TARGETS = MODELS["mlp"], *MODELS["mlp"].tensors()
ORIGINAL = trained_on(MLP)
REQUEST = ForgetRequest(size=SAMPLES, forget=FORGET, reason="test")
OTHER_SEED = Runtime(accelerator="cpu", seed=1)


def only(names):
    return pytest.mark.parametrize("method", [METHODS[name] for name in names], ids=names)


def everything_about(model: nn.Module):
    """All that a user could find changed: the very tensors, their bytes, gradients, modes, hooks."""
    tensors = [*model.parameters(), *model.buffers()]
    return (
        [(id(t), t.data_ptr(), t.requires_grad, t.dtype, t.stride()) for t in tensors],
        weights(model),
        [None if p.grad is None else (id(p.grad), p.grad.numpy().tobytes()) for p in model.parameters()],
        [(module.training, type(module)) for module in model.modules()],
        [
            (list(module._forward_hooks.values()), list(module._forward_pre_hooks.values()))
            for module in model.modules()
        ],
    )


def random_states():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


def disturb(model: nn.Module, inputs: torch.Tensor) -> nn.Module:
    """Give a model gradients, a mixture of modes, a frozen weight and hooks of its user's."""
    model.train()
    model(inputs).sum().backward()
    *_, last = model.modules()
    last.eval()
    next(model.parameters()).requires_grad_(False)
    model.register_forward_hook(lambda *_: None)
    model.register_forward_pre_hook(lambda *_: None)
    return model


@every_model
@every_method
def test_the_given_model_is_untouched(method, kind):
    model = disturb(trained_on(kind), kind.tensors()[0])
    before, drawn = everything_about(model), random_states()
    result = method.unlearn(model, kind.case(), CPU)
    assert everything_about(model) == before
    assert random_states() == drawn
    assert weights(result.model) != weights(model)
    assert [m.training for m in result.model.modules()] == [m.training for m in model.modules()]
    assert all(parameter.grad is None for parameter in result.model.parameters())


@pytest.mark.slow
@every_model
@every_method
def test_the_seed_decides_every_byte(method, kind):
    model, case = trained_on(kind), kind.case()
    first = method.unlearn(model, case, CPU)
    torch.manual_seed(99)  # what the user drew before must not matter
    assert same(first, method.unlearn(model, case, Runtime(accelerator="cpu")))
    assert weights(method.unlearn(model, case, OTHER_SEED).model) != weights(first.model)


@pytest.mark.slow
@pytest.mark.parametrize("structure", STRUCTURES)
@every_method
def test_batches_of_any_structure_give_the_same_model(method, structure):
    model = trained_on(Kind(Halves))
    expected, found = (
        method.unlearn(model, Case(task=task, splits=Splits(train=data, validation=data), request=REQUEST), CPU)
        for task, data in (structured(name, INPUTS, TARGETS) for name in ("tuple", structure))
    )
    assert same(found, expected)


@pytest.mark.parametrize("structure", ["streaming", "nested"])
@every_method
def test_streaming_leaves_the_global_random_state_alone(method, structure):
    task, data = structured(structure, INPUTS, TARGETS)
    drawn = random_states()
    method.unlearn(trained_on(Kind(Halves)), Case(task=task, splits=Splits(train=data), request=REQUEST), CPU)
    assert random_states() == drawn


@pytest.mark.parametrize("schedule", ["step", "plateau", "one-cycle"])
@every_method
def test_every_schedule_serves_every_method(method, schedule):
    case = MLP.case(validation=TensorDataset(INPUTS[:6], TARGETS[:6]))
    result = with_recipe(method, schedule=schedule).unlearn(ORIGINAL, case, CPU)
    assert all((epoch.validation is not None) == (schedule == "plateau") for epoch in result.history)


@pytest.mark.parametrize("forget", [(7,), tuple(range(1, SAMPLES)), tuple(range(2, SAMPLES))])
@every_method
def test_one_sample_can_be_forgotten_or_retained(method, forget):
    request = ForgetRequest(size=SAMPLES, forget=forget, reason="test")
    result = method.unlearn(ORIGINAL, MLP.case(request=request), CPU)
    assert weights(result.model) != weights(ORIGINAL)
    assert all(torch.isfinite(parameter).all() for parameter in result.model.parameters())


@pytest.mark.parametrize("kind", [MODELS["batchnorm"], MODELS["conv"]], ids=["vectors", "images"])
@every_method
def test_batch_normalisation_with_one_retained_sample_is_explained(method, kind, counted):
    """Vectors cannot be normalised over one sample; images can, over their pixels.

    Whether a method trains on a batch of one sample is seen on a model without batch normalisation.
    """
    request = ForgetRequest(size=SAMPLES, forget=tuple(range(1, SAMPLES)), reason="test")
    method.unlearn(Counting(), Kind(Counting).case(request=request), CPU)
    fewest = min(rows for _, training, rows in Counting.log if training)
    case, model = kind.case(request=request), trained_on(kind)
    before = weights(model)
    if kind is MODELS["conv"] or fewest > 1:
        assert weights(method.unlearn(model, case, CPU).model) != before
    else:
        with pytest.raises(DataError) as caught:
            method.unlearn(model, case, CPU)
        assert "batch of one sample" in caught.value.found and "two samples" in caught.value.expected
    assert weights(model) == before


@every_method
def test_frozen_parameters_stay_frozen(method):
    def partly_frozen():
        model = MLP.build()
        filled(model[0], 0.25).requires_grad_(False)
        return model

    kind = Kind(partly_frozen)
    result = with_recipe(method, weight_decay=0.1).unlearn(trained_on(kind), kind.case(), CPU)
    assert all((parameter == 0.25).all() for parameter in result.model[0].parameters())
    assert [p.requires_grad for p in result.model.parameters()] == [False, False, True, True, True, True]


@every_method
def test_a_wholly_frozen_model_is_refused(method):
    kind = Kind(lambda: MLP.build().requires_grad_(False))
    with pytest.raises(ModelError, match="frozen"):
        method.unlearn(trained_on(kind), kind.case(), CPU)


# --- what is read -------------------------------------------------------------------------------


def with_forget_labels(kind, value):
    inputs, targets = kind.tensors()
    targets = targets.clone()
    targets[list(FORGET)] = value
    return kind.case(train=TensorDataset(inputs, targets))


BLIND = {name: METHODS[name] for name in ("Blindspot", "Blindspot-raw", "UniformAmnesiac")} | {
    "blindspot-alone": Blindspot(helper=BRIEF, recipe=BRIEF, attention_weight=0),
    "blindspot-plateau": with_recipe(METHODS["Blindspot"], schedule="plateau"),
    "gaussian-retain": GaussianAmnesiac(recipe=BRIEF, statistics="retain"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["batchnorm", "quantile", "outputs"])
@pytest.mark.parametrize("method", BLIND.values(), ids=BLIND)
def test_forget_labels_do_not_matter(method, name):
    kind = MODELS[name]
    model = trained_on(kind)
    results = [method.unlearn(model, with_forget_labels(kind, value), CPU) for value in (0.0, 1e30, float("nan"))]
    assert all(same(results[0], other) for other in results[1:])


@pytest.mark.parametrize("statistics", ["all", "forget"])
def test_forget_labels_do_matter_where_they_are_asked_for(statistics):
    """The control of the test before: it would notice."""
    method = GaussianAmnesiac(recipe=BRIEF, statistics=statistics)
    first, second = (method.unlearn(ORIGINAL, with_forget_labels(MLP, value), CPU) for value in (0.0, 1.0))
    assert not same(first, second)


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
@only(["Retrain", "FineTune"])
def test_methods_on_the_retain_set_never_fetch_a_forget_sample(method, schedule):
    train_data = Listed(INPUTS, TARGETS, forbidden=FORGET)
    view = Listed(INPUTS, TARGETS, forbidden=FORGET)
    case = MLP.case(train=train_data, train_eval=view, validation=TensorDataset(INPUTS[:6], TARGETS[:6]))
    result = with_recipe(method, schedule=schedule).unlearn(ORIGINAL, case, CPU)
    assert train_data.read == set(RETAIN)
    assert same(result, with_recipe(method, schedule=schedule).unlearn(
        ORIGINAL, MLP.case(validation=TensorDataset(INPUTS[:6], TARGETS[:6])), CPU))  # fmt: skip


@only(["UniformAmnesiac", "GaussianAmnesiac", "Blindspot"])
def test_the_other_methods_do_fetch_forget_samples(method):
    """The control of the test before."""
    with pytest.raises((AssertionError, ModelError), match="was read"):
        method.unlearn(ORIGINAL, MLP.case(train=Listed(INPUTS, TARGETS, forbidden=FORGET)), CPU)


@every_method
def test_held_out_data_are_not_read_under_a_constant_schedule(method):
    closed = {name: Listed(INPUTS, TARGETS, forbidden=range(SAMPLES)) for name in ("validation", "test")}
    result = method.unlearn(ORIGINAL, MLP.case(**closed), CPU)
    assert same(result, method.unlearn(ORIGINAL, MLP.case(), CPU))


@every_method
def test_a_plateau_watches_only_what_is_retained_and_never_the_test_data(method):
    """Validation samples in the band have NaN inputs: watching one of them would make the loss NaN."""
    threshold = float(TARGETS.quantile(0.7))
    request = ForgetRequest.band(TARGETS, low=threshold, reason="band")
    inputs, targets = numbers(10, 3, seed=4), torch.linspace(-9, 20, 10)
    inside = targets >= threshold
    assert 0 < int(inside.sum()) < 10
    watched = inputs.clone()
    watched[inside] = float("nan")
    case = MLP.case(request=request, validation=TensorDataset(watched, targets),
                    test=Listed(INPUTS, TARGETS, forbidden=range(SAMPLES)))  # fmt: skip
    result = with_recipe(method, schedule="plateau").unlearn(ORIGINAL, case, CPU)
    last = result.helper if result.history[-1].stage == "helper" else result.model
    with torch.no_grad():
        errors = (last(inputs).squeeze(1) - targets).abs()[~inside]
    assert result.history[-1].validation == pytest.approx(float(errors.mean()), rel=1e-5)


# --- what it costs ------------------------------------------------------------------------------


class Counting(nn.Module):
    """Notes how many rows each of its makes and copies saw, and in which mode."""

    made = 0
    log: list[tuple[int, bool, int]]

    def __init__(self) -> None:
        super().__init__()
        self.net, self.number = MLP.build(), Counting.made
        Counting.made += 1

    def forward(self, inputs):
        Counting.log.append((self.number, self.training, len(inputs)))
        return self.net(inputs)


@pytest.fixture
def counted(monkeypatch):
    """Rows by (which model, training mode); models are numbered as they are made, the original being 0."""
    monkeypatch.setattr(Counting, "made", 0)
    monkeypatch.setattr(Counting, "log", [], raising=False)

    def rows(number, *, training):
        return sum(n for which, mode, n in Counting.log if (which, mode) == (number, training))

    return rows


EPOCHS, KEPT, GONE = BRIEF.epochs, len(RETAIN), len(FORGET)
PROBES = 8  # at most: predicting two samples before and after, and finding layers and their channels on two each


@only(["Retrain", "FineTune", "UniformAmnesiac", "GaussianAmnesiac"])
def test_cost_is_what_the_model_saw(method, counted):
    kind = Kind(Counting)
    result = method.unlearn(Counting(), kind.case(), CPU)
    trained, rows = (1, KEPT) if isinstance(method, Retrain) else (0, SAMPLES)
    rows = KEPT if isinstance(method, FineTune) else rows
    assert counted(trained, training=True) == EPOCHS * rows
    assert (result.cost.forward, result.cost.backward) == (EPOCHS * rows, EPOCHS * rows)
    assert 0 <= counted(0, training=False) <= PROBES


@only(["Blindspot", "Blindspot-raw"])
def test_the_helper_is_counted_and_teaches_forget_rows_only(method, counted):
    """Published mistake 12: the helper's forward pass over whole batches, of which only forget rows are used."""
    kind = Kind(Counting)
    result = method.unlearn(Counting(), kind.case(), CPU)
    helper = 1
    assert counted(helper, training=True) == EPOCHS * KEPT
    assert counted(helper, training=False) == EPOCHS * GONE
    assert counted(0, training=True) == EPOCHS * SAMPLES
    assert 0 <= counted(0, training=False) <= PROBES
    assert result.cost.forward == EPOCHS * (KEPT + GONE + SAMPLES)
    assert result.cost.backward == EPOCHS * (KEPT + SAMPLES)
    assert [epoch.stage for epoch in result.history] == ["helper"] * EPOCHS + ["unlearn"] * EPOCHS


def test_watching_a_plateau_is_counted():
    case = MLP.case(validation=TensorDataset(INPUTS[:6], TARGETS[:6]))
    result = with_recipe(METHODS["FineTune"], schedule="plateau").unlearn(ORIGINAL, case, CPU)
    assert result.cost.forward == EPOCHS * (KEPT + 6)
    assert result.cost.backward == EPOCHS * KEPT


# --- what is handed back and refused ------------------------------------------------------------


@every_method
def test_the_record_says_method_and_settings(method):
    result = method.unlearn(ORIGINAL, MLP.case(), CPU)
    parents = (weights_of(ORIGINAL),) if method.uses_original else ()
    assert result.record == replace(record_of_method(method, CPU.seed, parents), start=result.start_digest)
    assert len(result.start_digest) == (64 if isinstance(method, Retrain) else 0)
    assert result.record.method == type(method).__name__
    recipe = "helper" if isinstance(method, LeaveOutEdit) else "recipe"
    assert result.record.settings[recipe] == asdict(getattr(method, recipe))
    assert (result.record.kind == "retrained") == isinstance(method, Retrain)
    assert result.deviations == method.deviations
    assert result.cost.seconds > 0


@pytest.mark.parametrize(
    ("hand_back", "found"),
    [
        (lambda student: student, "something of type Sequential"),
        (lambda student: None, "something of type NoneType"),
        (
            lambda student: Unlearned(model=student.state_dict(), history=(), cost=Cost()),
            "of type OrderedDict and .* Cost",
        ),
        (lambda student: Unlearned(model=student, history=(), cost=3.0), "cost is of type float"),
    ],
    ids=["module", "nothing", "weights", "cost"],
)
def test_a_method_that_hands_back_something_else_is_told_what_is_expected(hand_back, found):
    class Own(Method):
        def run(self, student, case, runtime):
            return hand_back(student)

    with pytest.raises(SettingError, match=rf"`Own.run` returns .*{found}\. Expected an `Unlearned`"):
        Own().unlearn(ORIGINAL, MLP.case(), CPU)


@only(["Retrain", "Blindspot"])
@pytest.mark.parametrize("given", ["the same", "another"])
def test_a_factory_that_makes_nothing_new_is_refused(method, given):
    model = trained_on(MLP)
    shared = model if given == "the same" else trained_on(MLP, seed=1)
    kind = Kind(lambda: shared)
    before = weights(model), weights(shared)
    with pytest.raises(ModelError, match="same model each time"):
        method.unlearn(model, kind.case(), CPU)
    assert (weights(model), weights(shared)) == before


def test_training_an_original_asks_for_a_new_model_too():
    shared = trained_on(MLP)
    before = weights(shared)
    with pytest.raises(ModelError, match="same model each time"):
        train(Kind(lambda: shared).case(), BRIEF, CPU)
    assert weights(shared) == before


@only(["Retrain", "Blindspot"])
def test_a_factory_of_another_architecture_is_refused_before_training(method):
    kind = Kind(lambda: MODELS["batchnorm"].build())
    closed = Listed(INPUTS, TARGETS, forbidden=set(range(SAMPLES)) - set(RETAIN[:2]) - set(FORGET[:2]))
    with pytest.raises(ModelError, match="build_model"):
        method.unlearn(ORIGINAL, kind.case(train=closed), CPU)


@every_method
def test_a_model_that_does_not_fit_the_data_is_refused_before_training(method):
    kind = Kind(MLP.build, inputs=(5,))
    with pytest.raises(ModelError, match="does not predict this task's batches"):
        method.unlearn(ORIGINAL, kind.case(), CPU)


@every_method
def test_the_result_has_the_precision_of_the_given_model(method):
    runtime = Runtime(accelerator="cpu", precision="64-true")
    result = method.unlearn(ORIGINAL, MLP.case(), runtime)
    assert {p.dtype for p in result.model.parameters()} == {torch.float32}
    assert torch.get_default_dtype() == torch.float32
    assert result.model(INPUTS).shape == (SAMPLES, 1)


@every_method
def test_whole_number_targets_serve_as_well(method):
    """Ages are often int64; labels drawn for them must not be cut to whole numbers."""
    inputs, targets = MLP.tensors()
    types = torch.int64, torch.float32
    whole, decimal = (MLP.case(train=TensorDataset(inputs, targets.round().to(number))) for number in types)
    first, second = (method.unlearn(ORIGINAL, case, CPU) for case in (whole, decimal))
    assert weights(first.model) == weights(second.model)
