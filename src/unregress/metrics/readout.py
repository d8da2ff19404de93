"""Memory in hidden layers: what a linear function of their inputs tells of the forgotten samples' true values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite, log, nan
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unregress.data.loading import Source
from unregress.data.request import Index
from unregress.errors import SettingError
from unregress.evidence import MetricInfo, Part, Unit
from unregress.evidence.nan_means import mean, scale_of
from unregress.hooks.layer_inputs import layer_inputs
from unregress.metrics.base import Metric, MetricResult, Panel, value_measurements, without_value
from unregress.metrics.predictions import Values
from unregress.training.fresh_model import call_build_model

READOUT = "readout"
"""Key of the measurement."""
PARTS: tuple[Part, ...] = ("train-retain", "train-forget", "test-retain")
"""The samples to fit on, the forgotten ones, and new ones."""
ASKED: tuple[Part, ...] = ("train-forget", "test-retain")
"""The samples that the readout is asked about."""
DIGITS = 6
"""Digits by which readouts of the same numbers agree."""
FARTHEST = 4.0
"""Largest size of a standardised feature.  One that is nearly constant among retained samples can be thousands of
standard deviations away for others, and would decide their answers alone."""
SMALLEST = 1e-6
"""Smallest error, in standard deviations of the targets: less is rounding."""


def read_out(features: Mapping[Part, Values], targets: Mapping[Part, Values]) -> float:
    """Error of a linear readout on the forgotten samples relative to new ones, as a logarithm: low is memory.

    Targets are fitted to features of retained samples, standardised and limited, by ridge regression.  The penalty is
    the number of features, by which the readout's variance is about the targets' a priori, whatever the layer's width.

    Args:
        features: a layer's inputs by part, `(n, width)`.
        targets: in units of their standard deviation, `(n, outputs)`; NaN is unknown.

    Returns:
        The logarithm; NaN if no output is known for samples of every part.

    >>> features = {part: np.eye(3) for part in PARTS}
    >>> targets = {part: np.eye(3)[:, :1] for part in PARTS}
    >>> read_out(features, targets)
    0.0
    """
    from sklearn.linear_model import Ridge

    fitted, center = features["train-retain"], features["train-retain"].mean(0)
    spread = fitted.std(0)
    # A feature that varies by rounding alone is constant.
    spread = np.where(spread > SMALLEST * np.abs(fitted).max(axis=0), spread, np.inf)
    scaled = {part: np.clip((values - center) / spread, -FARTHEST, FARTHEST) for part, values in features.items()}
    target = targets["train-retain"]
    known = np.isfinite(target)
    # Outputs that are known for the same samples are fitted together.
    alike = [range(target.shape[1])] if known.all() else [range(k, k + 1) for k in range(target.shape[1])]
    errors = []
    for outputs in alike:
        rows = known[:, outputs.start]
        if not rows.any():
            continue
        own, values = scaled["train-retain"][rows], target[rows][:, outputs]
        ridge = Ridge(alpha=own.shape[1], fit_intercept=False).fit(own, values - values.mean(0))
        answers = {part: scaled[part] @ ridge.coef_.reshape(-1, own.shape[1]).T + values.mean(0) for part in ASKED}
        errors.append([mean(np.abs(answers[part] - targets[part][:, outputs])) for part in ASKED])
    # An output that is unknown for all samples of a part has no error there.
    known_errors = [each for each in errors if np.isfinite(each).all()]
    if not known_errors:
        return nan
    forgotten, new = (max(SMALLEST, error) for error in np.mean(known_errors, axis=0).tolist())
    return log(forgotten / new)


@dataclass(frozen=True, kw_only=True)
class Readout(Metric):
    """Memory of the forgotten samples in hidden layers, which predictions may not show.

    A linear function of what a layer is given is fitted to the retained samples' targets, and asked about the forgotten
    samples and about new ones.  In a model that was trained on the forgotten samples the layer's inputs often tell
    their targets as well as they tell retained ones', although later layers hide it: a last layer that was changed, or
    a switch that answers these samples by another network.  The value is the lowest over all linear and convolution
    layers but those that are given the data themselves.  Golds are treated alike.

    It takes no training: one pass over at most `samples` samples of each part.

    Raises:
        SettingError: fewer than two samples are to be read.
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric=READOUT,
            title="Readout of hidden layers",
            meaning="How well the forgotten samples' true values can be read out of a hidden layer by a linear "
            "function that was fitted to kept samples: the logarithm of its error on them, relative to its error on "
            "new samples; the lowest of all linear and convolution layers but those that are given the data.",
            ideal="A retrained model's own value.  A lower one says that the layers know the samples, though "
            "predictions may not show it.",
            unit=Unit.SHARE,
            source="linear probes of Alain and Bengio (2016); this library",
        ),
    )

    samples: int = 2000
    """Largest number of samples of each part; of more as many are drawn."""

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise SettingError(f"Readout has {self.samples} samples", expected="two or more")

    @property
    def needs_model(self) -> bool:
        """Whether the metric needs the models themselves: it reads their hidden layers."""
        return True

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """The lowest readout of every model, with rank tests among the golds."""
        models = {subject.name: subject.model for subject in panel.subjects if subject.model is not None}
        absent = [part for part in PARTS if part not in panel.original.parts]
        rows = {} if absent else {part: self._drawn(panel, part) for part in PARTS}
        if absent or not all(len(each) for each in rows.values()):
            yield from without_value([READOUT], "train-forget", models, "there are no new samples to compare with")
            return
        targets = _targets(panel, rows)
        with panel.runtime.isolated_rng(READOUT):
            untrained = call_build_model(panel.required_case)
        known = _by_layer(_features(panel, untrained, rows), targets)
        read = {name: _by_layer(_features(panel, model, rows), targets) for name, model in models.items()}
        found = _lowest(read, known.values())
        values = {name: value for name, (value, _) in found.items()}
        for result in value_measurements(panel, READOUT, "train-forget", values):
            yield replace(result, note=f"at layer {found[result.model][1]}")
        yield from without_value(
            [READOUT], "train-forget", [name for name in models if name not in found], "no hidden layer could be read"
        )

    def _drawn(self, panel: Panel, part: Part) -> Index:
        """Places of the samples to read among those of a part."""
        count = len(panel.original.parts[part])
        draws = panel.runtime.generator(f"{READOUT}/{part}")
        return np.sort(torch.randperm(count, generator=draws)[: self.samples].numpy())


def _by_layer(
    features: Mapping[Part, Mapping[str, NDArray[np.float32]]], targets: Mapping[Part, Values]
) -> dict[str, float]:
    """The readout of each layer that could be read for all parts."""
    values = {
        layer: read_out({part: each[layer].astype(np.float64) for part, each in features.items()}, targets)
        for layer in features["train-retain"]
        if all(layer in each and np.isfinite(each[layer]).all() for each in features.values())
    }
    return {layer: value for layer, value in values.items() if isfinite(value)}


def _lowest(read: Mapping[str, Mapping[str, float]], untrained: Collection[float]) -> dict[str, tuple[float, str]]:
    """The lowest readout of each model over its hidden layers, and the layer's name.

    What an untrained model shows alike is read from the data themselves, such as by a first layer, and says nothing of
    what a model has learnt.

    Args:
        read: readouts by layer, by the model's name.
        untrained: readouts of an untrained model.
    """
    from_data = {round(value, DIGITS) for value in untrained}
    learnt = {
        name: {layer: value for layer, value in values.items() if round(value, DIGITS) not in from_data}
        for name, values in read.items()
    }
    lowest = {name: min(values, key=lambda layer: values[layer]) for name, values in learnt.items() if values}
    return {name: (learnt[name][layer], layer) for name, layer in lowest.items()}


def _targets(panel: Panel, rows: Mapping[Part, Index]) -> dict[Part, Values]:
    """Targets by part, each output in units of its standard deviation over the retained samples, `(n, outputs)`."""
    own = {part: panel.original.parts[part].target[each] for part, each in rows.items()}
    unit = scale_of(*own.values())  # squares of very large numbers would overflow
    flat = {part: each.reshape(len(each), -1) / unit for part, each in own.items()}
    retained = flat["train-retain"]
    spread = np.sqrt(mean((retained - mean(retained, axis=0)) ** 2, axis=0))
    spread = np.where(spread > 0, spread, 1.0)
    return {part: each / spread for part, each in flat.items()}


def _features(panel: Panel, model: nn.Module, rows: Mapping[Part, Index]) -> dict[Part, dict[str, NDArray[np.float32]]]:
    """Inputs of a model's layers by part."""
    case, runtime = panel.required_case, panel.runtime
    full = runtime.without_mixed_precision
    sources: dict[bool, Source] = {True: case.source("train_eval"), False: case.source("test")}
    with full.isolated_rng(READOUT):
        copy = full.set_up(full.private_copy(model)).eval()
        found: dict[Part, dict[str, Tensor]] = {
            part: layer_inputs(
                copy,
                case.task,
                sources[part.startswith("train")],
                torch.from_numpy(panel.original.parts[part].index[each]),
                full,
            )
            for part, each in rows.items()
        }
    return {part: {name: value.numpy() for name, value in each.items()} for part, each in found.items()}
