"""The sentence-pair LSTM: its arithmetic, padding, layers, and that methods can use it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from unregress.data.case import Case
from unregress.data.loading import Batch
from unregress.data.request import ForgetRequest
from unregress.data.splits import Splits
from unregress.errors import LayerError, ModelError, PreflightError, SettingError
from unregress.hooks.activations import activations, execution_order
from unregress.methods import Blindspot, Retrain, train
from unregress.metrics.collect import collect
from unregress.models.sentence_pair import SentencePairLSTM
from unregress.tasks.adapters import TensorTask
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime

WORDS, LENGTH = 30, 7


def small(**options: int) -> SentencePairLSTM:
    return SentencePairLSTM(WORDS, **{"dim": 5, "hidden": 4, "head": 6, **options})


@pytest.fixture
def model() -> SentencePairLSTM:
    torch.manual_seed(0)
    return small().eval()


def sentences(samples: int, seed: int = 1, longest: int = LENGTH) -> Tensor:
    """Word ids of sentences of random lengths from 1 to `longest`; `(samples, LENGTH)`."""
    draws = torch.Generator().manual_seed(seed)
    words = torch.randint(2, WORDS, (samples, LENGTH), generator=draws)
    lengths = torch.randint(1, longest + 1, (samples, 1), generator=draws)
    return words.masked_fill(torch.arange(LENGTH) >= lengths, 0)


def pairs(samples: int) -> tuple[Tensor, Tensor]:
    return sentences(samples, 1), sentences(samples, 2)


def read(model: SentencePairLSTM, sentence: Tensor) -> Tensor:
    """The states of one sentence by the LSTM's equations, word by word; `(words, hidden)`."""
    lstm = model.lstm
    state = memory = torch.zeros(lstm.hidden_size)
    states = []
    for word in sentence[sentence != 0]:
        gates = lstm.weight_ih_l0 @ model.embedding.weight[word] + lstm.bias_ih_l0  # type: ignore[operator]
        gates = gates + lstm.weight_hh_l0 @ state + lstm.bias_hh_l0  # type: ignore[operator]
        enter, forget, cell, leave = gates.chunk(4)
        memory = forget.sigmoid() * memory + enter.sigmoid() * cell.tanh()
        state = leave.sigmoid() * memory.tanh()
        states.append(state)
    return torch.stack(states)


@pytest.mark.parametrize("samples", [1, 2, 3, 9, 40])
def test_predictions_are_those_of_the_equations(model: SentencePairLSTM, samples: int) -> None:
    first, second = pairs(samples)
    expected = []
    with torch.no_grad():
        for a, b in zip(first, second, strict=True):
            u, v = read(model, a)[-1], read(model, b)[-1]
            hidden = model.hidden(torch.cat([u, v, (u - v).abs(), u * v])).relu()
            expected.append(model.output(hidden))
        found = model(first, second)
    assert found.shape == (samples, 1)
    torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.parametrize("more", [1, 50])
def test_padding_changes_nothing(model: SentencePairLSTM, more: int) -> None:
    first, second = pairs(9)
    wider = [nn.functional.pad(ids, (0, more)) for ids in (first, second)]
    weight = model.embedding.weight
    with torch.no_grad():
        before = model(first, second)
        torch.testing.assert_close(model(*wider), before)
        weight[0] = 1e6  # what stands at padding is never read
        torch.testing.assert_close(model(first, second), before)


def test_padding_changes_no_gradient(model: SentencePairLSTM) -> None:
    first, second = pairs(9)
    gradients = []
    for more in (0, 20):
        model.zero_grad()
        model(*(nn.functional.pad(ids, (0, more)) for ids in (first, second))).square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == dict(model.named_parameters()).keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)
    used = torch.cat([first, second]).unique()
    assert gradients[0]["embedding.weight"].abs().sum(1).nonzero().squeeze(1).tolist() == used[used != 0].tolist()


def test_a_samples_prediction_does_not_depend_on_the_others(model: SentencePairLSTM) -> None:
    first, second = pairs(11)
    with torch.no_grad():
        together = model(first, second)
        alone = torch.cat([model(a[None], b[None]) for a, b in zip(first, second, strict=True)])
        backwards = model(first.flip(0), second.flip(0)).flip(0)
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(together, backwards)


def test_recorded_states_are_the_words_and_as_wide_whatever_the_batch(model: SentencePairLSTM) -> None:
    first, second = sentences(6, 1, longest=4), sentences(6, 2, longest=3)
    layers = ("embedding", "lstm", "hidden")
    with torch.no_grad(), activations(model, layers) as recording:
        model(first, second)
        shapes = {name: [tuple(call.shape) for call in calls] for name, calls in recording.items()}
        (states,) = recording["lstm"]
        recording.clear()
        model(first[2:3], second[2:3])
        (alone,) = recording["lstm"]
    assert shapes == {"embedding": [(6, 2 * LENGTH, 5)], "lstm": [(6, 2 * LENGTH, 4)], "hidden": [(6, 6)]}
    torch.testing.assert_close(states[2:3], alone)
    for sample, pair in zip(states, zip(first, second, strict=True), strict=True):
        for half, sentence in zip(sample.split(LENGTH), pair, strict=True):
            expected = torch.zeros(LENGTH, 4)
            with torch.no_grad():
                words = read(model, sentence)
            expected[: len(words)] = words
            torch.testing.assert_close(half, expected)


def test_layers_run_in_the_order_of_their_names(model: SentencePairLSTM) -> None:
    task = TensorTask(small, "mse")
    batch = Batch(torch.arange(3), torch.zeros(3, dtype=torch.bool), [*pairs(3), torch.zeros(3)])
    assert execution_order(model, task, batch) == ["embedding", "lstm", "hidden", "output"]


@pytest.mark.parametrize(
    ("first", "second"),
    [((2, 5), (2, 6)), ((2, 5), (3, 5)), ((5,), (5,)), ((2, 5, 1), (2, 5, 1))],
)
def test_sentences_of_other_shapes_are_refused(
    model: SentencePairLSTM, first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    with pytest.raises(ModelError, match="The sentences have shapes"):
        model(torch.full(first, 2), torch.full(second, 2))


@pytest.mark.parametrize("which", [0, 1])
def test_a_sentence_without_a_word_is_refused(model: SentencePairLSTM, which: int) -> None:
    batch = pairs(3)
    batch[which][1] = 0
    with pytest.raises(ModelError, match="has no word"):
        model(*batch)


def test_given_vectors_are_copied_and_frozen_unless_told_otherwise() -> None:
    vectors = torch.arange(12.0).view(4, 3)
    frozen, learned = SentencePairLSTM(vectors=vectors), SentencePairLSTM(vectors=vectors, frozen=False)
    assert torch.equal(frozen.embedding.weight, vectors)
    assert not frozen.embedding.weight.requires_grad
    assert learned.embedding.weight.requires_grad
    assert frozen.lstm.input_size == 3
    assert len({frozen.embedding.weight.data_ptr(), learned.embedding.weight.data_ptr(), vectors.data_ptr()}) == 3


def test_senseless_settings_are_refused_at_once() -> None:
    with pytest.raises(PreflightError) as refused:
        SentencePairLSTM(hidden=0, head=-1)
    assert len(refused.value.complaints) == 3
    for given in ({"words": 5, "vectors": torch.zeros(5, 2)}, {"words": 1}, {"vectors": torch.zeros(5)}):
        with pytest.raises(SettingError):
            SentencePairLSTM(**given)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["learned", "frozen"])
def case(request: pytest.FixtureRequest) -> Case:
    """The score is 5 where the two sentences begin with the same word, else 1; those with 1 are to be forgotten."""
    vectors = torch.randn(WORDS, 5, generator=torch.Generator().manual_seed(3))
    build = small if request.param == "learned" else (lambda: SentencePairLSTM(vectors=vectors, hidden=4, head=6))
    first, second = sentences(80, 1), sentences(80, 2)
    second[::2] = first[::2]
    score = torch.where((first == second).all(1), 5.0, 1.0)
    data = TensorDataset(first, second, score)
    return Case(
        task=TensorTask(build, "mse"),
        splits=Splits(
            train=data,
            test=data,
        ),
        request=ForgetRequest.where((score == 1).numpy(), reason="unlike"),
    )


LEARN = Recipe(epochs=30, lr=0.02, batch_size=16)


@pytest.mark.slow
def test_it_learns_and_the_gold_does_not_know_what_it_never_saw(case: Case) -> None:
    runtime = Runtime(accelerator="cpu")
    original = train(case, LEARN, runtime)
    gold = Retrain(recipe=LEARN).unlearn(original.model, case, runtime)
    forgotten = list(case.requested.forget)
    errors = []
    for done in (original, gold):
        found = collect(done.model, case.task, case.source("train_eval"), runtime)
        errors.append(np.abs(found.prediction - found.target)[forgotten].mean())
    assert original.history[-1].loss < 1.0  # the best constant has 4
    assert errors[0] < 1.0
    assert errors[1] > 3.0


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["transfer", "raw"])
@pytest.mark.parametrize(
    ("layers", "noted"),
    [
        (("lstm", "hidden"), "lstm (channels on axis -1), hidden"),
        (3, "embedding (channels on axis -1), lstm (channels on axis -1), hidden"),
        (1, "hidden"),
    ],
)
def test_blindspot_compares_its_layers(case: Case, attention: str, layers: int | tuple[str, ...], noted: str) -> None:
    runtime = Runtime(accelerator="cpu")
    original = train(case, Recipe(epochs=2, lr=0.01, batch_size=16), runtime).model
    losses = []
    for weight in (0.0, 50.0):
        method = Blindspot(
            helper=Recipe(epochs=2, lr=0.01, batch_size=16),
            recipe=Recipe(epochs=1, lr=1e-3, batch_size=16),
            attention_weight=weight,
            attention=attention,  # type: ignore[arg-type]
            layers=layers,
        )
        done = method.unlearn(original, case, runtime)
        losses.append(done.history[-1].loss)
    assert done.notes == (f"activations compared at: {noted}",)
    assert losses[1] > losses[0] + 1e-3, "the attention term is not zero"


def test_the_output_alone_has_no_attention_map(case: Case) -> None:
    runtime = Runtime(accelerator="cpu")
    with pytest.raises(LayerError, match="one number per sample"):
        Blindspot(layers=("output",)).unlearn(case.task.build_model(), case, runtime)


def test_membership_features_are_those_of_the_output_layer(case: Case) -> None:
    runtime = Runtime(accelerator="cpu")
    model = case.task.build_model()
    found = collect(model, case.task, case.source("test"), runtime, features=True)
    assert found.activation is not None and found.gradient is not None
    assert found.activation.shape == (80, 6)
    assert found.gradient.shape == (80, 7)
    # The prediction is the output layer of what was collected.
    with torch.no_grad():
        again = model.output(torch.as_tensor(found.activation))  # type: ignore[operator]
    torch.testing.assert_close(again.squeeze(1), torch.as_tensor(found.prediction, dtype=torch.float32))
