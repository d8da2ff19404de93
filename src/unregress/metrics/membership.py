"""Membership inference attack for regression (paper Section 5, "Privacy Attacks")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from unregress.data.request import Index
from unregress.errors import SettingError
from unregress.evidence import MetricInfo, Part, Unit
from unregress.evidence.nan_means import LARGE
from unregress.metrics.base import Metric, MetricResult, Panel, Subject, measured, value_measurements, without_value
from unregress.metrics.predictions import Predictions

Family = Literal["loss", "gradient", "activation"]
FAMILIES: tuple[Family, ...] = ("loss", "gradient", "activation")
METRICS = ("attack", "attack-accuracy")
HELD_OUT: tuple[Part, ...] = ("test-retain", "test-forget")
LARGEST_KERNEL = 5000
"""Largest number of training samples whose kernel matrix is kept in memory, 200 MB."""
BLOCK = 256
"""Rows of a kernel matrix that are computed at a time."""
THREADS = 4
"""Largest number of models that are attacked at a time."""
FEWEST = 10
"""Smallest number of samples per class to train an attacker on."""


def attack_features(seen: Predictions, families: Sequence[Family]) -> NDArray[np.float64]:
    """The attack's inputs, one row per sample: the chosen families side by side, `(n, width)`.

    Raises:
        SettingError: gradients or activations are needed and were not collected.
    """
    columns = []
    for family in families:
        values = {"loss": seen.loss, "gradient": seen.gradient, "activation": seen.activation}[family]
        if values is None:
            raise SettingError(
                f"The attack needs {family}s, which were not collected with the predictions",
                remedy="Collect with `features=True`",
            )
        columns.append(values.reshape(len(seen), -1).astype(np.float64))
    return np.hstack(columns)


def attack(
    members: NDArray[np.float64], others: NDArray[np.float64], queried: NDArray[np.float64], *, seed: int
) -> tuple[float, float]:
    """Train an RBF support vector classifier to tell members from others, and apply it to some samples.

    Features are scaled to zero mean and unit variance.  Three tenths of members and others are held
    out of training and give the attack's accuracy.

    Args:
        members: features of samples that were trained on, class 1; `(n, width)`.
        others: features of samples that were not, class 0; as many, so that chance is one half.
        queried: features of the samples to classify.
        seed: of the split.

    Returns:
        The share of queried samples that are called members, and the balanced accuracy on the held-out
        members and others.
    """
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    features = np.vstack([members, others])
    labels = np.repeat([1, 0], [len(members), len(others)])
    x, x_held, y, y_held = train_test_split(features, labels, test_size=0.3, stratify=labels, random_state=seed)
    # Rescaled so that even the largest and the smallest numbers can be squared.
    sizes = np.abs(x).max(axis=0)
    units = np.where((sizes == 0) | ((sizes > 1 / LARGE) & (sizes < LARGE)), 1.0, sizes)
    scaler = StandardScaler().fit(x / units)

    def scaled(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(over="ignore"):
            return np.asarray(np.clip(scaler.transform(rows / units), -LARGE, LARGE))

    classifier = Classifier(scaled(x), y)
    accuracy = float(balanced_accuracy_score(y_held, classifier.predict(scaled(x_held))))
    return float(np.mean(classifier.predict(scaled(queried)))), accuracy


class Classifier:
    """A support vector classifier with an RBF kernel, as `sklearn.svm.SVC()`, whose kernel is a matrix product.

    libsvm computes one squared distance after the other, which takes several times as long.

    Args:
        features: one row per sample, standardised, `(n, width)`.
        labels: 0 or 1 per sample.
    """

    def __init__(self, features: NDArray[np.float64], labels: NDArray[Any]) -> None:
        from sklearn.svm import SVC

        spread = features.shape[1] * float(features.var())
        self._gamma = 1 / spread if spread else 1.0
        if len(features) > LARGEST_KERNEL:
            machine = SVC(kernel="rbf", gamma=self._gamma).fit(features, labels)
        else:
            machine = SVC(kernel="precomputed").fit(self._own_kernel(features), labels)
        self._support = features[machine.support_]
        self._weights, self._offset = machine.dual_coef_[0], machine.intercept_[0]

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each row is of class 1."""
        found = [block @ self._weights + self._offset >= 0 for block in self._kernel(features, self._support)]
        return np.concatenate(found)

    def _own_kernel(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """The kernel of all rows with each other: a product with its own transpose takes half of the arithmetic."""
        rows = features * sqrt(2 * self._gamma)
        kernel = np.asarray(rows @ rows.T)
        sizes = kernel.diagonal() / 2
        for start in range(0, len(kernel), BLOCK):
            _exponential(kernel[start : start + BLOCK], sizes[start : start + BLOCK], sizes)
        return kernel

    def _kernel(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
        """exp(-gamma |a - b|²) of all rows of both sides, in blocks of rows that fit into a cache."""
        crossed, sizes = (2 * self._gamma * second).T.copy(), self._gamma * np.einsum("ij,ij->i", second, second)
        for block in np.split(first, range(BLOCK, len(first), BLOCK)):
            yield _exponential(block @ crossed, self._gamma * np.einsum("ij,ij->i", block, block), sizes)


def _exponential(
    products: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The kernel in place of its rows' products 2 gamma a·b, by gamma |a|² and gamma |b|²."""
    products -= second
    products -= first[:, None]
    # By rounding, the squared distance of equal rows may be negative.
    return np.exp(np.minimum(products, 0, out=products), out=products)


@dataclass(frozen=True, kw_only=True)
class Membership(Metric):
    """The paper's attack: an RBF-SVC trained on D_r (class 1) against test data (class 0), applied to D_f.

    The published code feeds it the loss alone, draws members from the forget set too, and scores it on
    its own training data; `features=("loss",)` is the loss-only attack without those mistakes.
    It tells retained from test samples.  Where forgotten ones are of another kind than both, as in a band of targets,
    it partly measures that: `unregress.metrics.attack_auc` compares with held-out samples of their kind.

    Raises:
        SettingError: no or an unknown feature family, or fewer than 10 samples per class.
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric="attack",
            title="Membership attack: share called members",
            meaning="The share of the forgotten samples that a trained attacker takes for training data.  It is "
            "trained on at most 2,000 retained and as many test samples, and asked about as many forgotten ones (or "
            "the number in the report's settings).",
            ideal="A retrained model's own value: it never saw the samples, so whatever the attacker says of "
            "it is not memory.  Lower than that is not better.",
            unit=Unit.SHARE,
            source="paper Section 5, att_prob",
        ),
        MetricInfo(
            metric="attack-accuracy",
            title="Membership attack: held-out accuracy",
            meaning="How often the attacker is right about retained and test samples it was not trained on. "
            "At 0.5 it guesses, and the share above means nothing.",
            ideal="No target: it tells how far to trust the attack.",
            unit=Unit.SHARE,
            source="repairs paper Section 5, whose code scores the attacker on its own training data",
        ),
    )

    features: Sequence[Family] = FAMILIES
    """Inputs of the attacker: `loss`, `gradient` and `activation` of the final linear layer."""
    samples: int = 2000
    """At most so many samples per class, and so many to ask about; the published code used 2,000 per class."""

    def __post_init__(self) -> None:
        unknown = [family for family in self.features if family not in FAMILIES]
        if unknown or not self.features or self.samples < FEWEST:
            raise SettingError(
                f"Membership has features={tuple(self.features)} and samples={self.samples}",
                expected=f"one or more of {', '.join(FAMILIES)}, and {FEWEST} samples or more",
            )

    @property
    def needs_features(self) -> bool:
        """Whether the attack reads more than the loss."""
        return tuple(self.features) != ("loss",)

    def for_predictions(self) -> Membership | None:
        """The attack by the loss alone, if the loss is among the attacker's inputs."""
        return replace(self, features=("loss",)) if "loss" in self.features else None

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """The share of D_f called members, and the attack's held-out accuracy, per model."""
        unreadable = [subject.name for subject in panel.subjects if not self._has_features(subject)]
        yield from without_value(
            METRICS, "train-forget", unreadable, "the attack reads the final layer, and this model has none"
        )
        if panel.original.name in unreadable:
            return
        broken = [s.name for s in panel.subjects if s.name not in unreadable and not self._finite(s)]
        note = "activations or gradients of the final layer are NaN or infinite"
        yield from without_value(METRICS, "train-forget", broken, note)
        unreadable += broken
        from threadpoolctl import threadpool_limits

        rng = np.random.default_rng(panel.runtime.generator("membership").initial_seed())
        test = [part for part in HELD_OUT if part in panel.parts]
        sizes = {part: len(self._of(panel.original, part)) for part in panel.parts}
        retained, held_out = sizes["train-retain"], sum(sizes[part] for part in test)
        count = min(retained, held_out, self.samples)
        if count < FEWEST:
            note = f"only {count} samples per class to train an attacker on"
            unmeasured = [subject.name for subject in panel.subjects if subject.name not in unreadable]
            yield from without_value(METRICS, "train-forget", unmeasured, note)
            return
        members = np.sort(rng.choice(retained, count, replace=False))
        others = np.sort(rng.choice(held_out, count, replace=False))
        seed = int(rng.integers(2**31))
        asked = min(sizes["train-forget"], self.samples)
        queried = np.sort(rng.choice(sizes["train-forget"], asked, replace=False))

        def attacked(subject: Subject) -> tuple[float, float]:
            inside, outside = self._seen(subject, ["train-retain"], members), self._seen(subject, test, others)
            return attack(inside, outside, self._seen(subject, ["train-forget"], queried), seed=seed)

        readable = [subject for subject in panel.subjects if subject.name not in unreadable]
        # Products of matrices and libsvm run without Python's lock; each thread holds one model's kernel, and computes
        # it by itself.
        threads = min(torch.get_num_threads(), THREADS)
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
            found = dict(zip([subject.name for subject in readable], pool.map(attacked, readable), strict=True))
        shares, accuracies = ({name: pair[place] for name, pair in found.items()} for place in (0, 1))
        whole = len(panel.original.parts["train-forget"])
        note = f"attacker made of {count} retained and {count} test samples, three tenths of them held out" + (
            "" if asked == whole else f"; asked about {asked} of the {whole} forgotten samples"
        )
        yield from value_measurements(panel, "attack", "train-forget", shares, note=note)
        for name, accuracy in accuracies.items():
            yield measured(metric="attack-accuracy", split="train-forget", model=name, value=accuracy)

    def _has_features(self, subject: Subject) -> bool:
        """Whether the model has all features that the attack reads: a constant has no final layer."""
        seen = subject.parts["train-forget"]
        return all(getattr(seen, family) is not None for family in self.features)

    def _finite(self, subject: Subject) -> bool:
        """Whether all features that the attack reads are finite."""
        wanted = (getattr(seen, family) for seen in subject.parts.values() for family in self.features)
        return all(bool(np.isfinite(values).all()) for values in wanted)

    def _of(self, subject: Subject, part: Part) -> Predictions:
        """The samples of a part whose features were kept: all of them unless there are very many."""
        seen = subject.parts[part]
        return seen.with_features() if self.needs_features else seen

    def _seen(self, subject: Subject, parts: Sequence[Part], rows: Index) -> NDArray[np.float64]:
        """The features of some rows of one part or several, which are counted through."""
        found, done = [], 0
        for part in parts:
            seen = self._of(subject, part)
            own = rows[(rows >= done) & (rows < done + len(seen))] - done
            found.append(attack_features(seen.at(seen.index[own]), self.features))
            done += len(seen)
        return np.vstack(found)
