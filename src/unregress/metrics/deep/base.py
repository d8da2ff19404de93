"""Base class of the metrics that train many models of their own: recipe, methods, workers, store and workload."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unregress.data.case import Case
from unregress.errors import SettingError, UnregressError, raise_all
from unregress.evidence import Part
from unregress.methods.base import Method
from unregress.metrics.base import Metric, MetricResult, Panel, without_value
from unregress.retraining.model_factory import ModelFactory, silent
from unregress.retraining.model_store import Store
from unregress.retraining.workload import Workload
from unregress.training.from_scratch import Training
from unregress.training.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class DeepMetric(Metric):
    """A metric that trains and unlearns many models, to test a method rather than a single model.

    Raises:
        SettingError: no method is named, or there is no worker.
    """

    recipe: Training
    """How the original was trained: a recipe, or a function `(data, start, seed) -> model`."""
    methods: Mapping[str, Method]
    """The methods to examine, by the audited model's name."""
    workers: int = field(default=1, repr=False)
    """Trainings at a time, each on one CPU thread: on a CPU, its cores; on one GPU, what its memory holds."""
    store: Path | None = field(default=None, repr=False)
    """Folder in which trained models are kept, so that an interrupted audit continues; None keeps none."""

    def __post_init__(self) -> None:
        if not self.methods or self.workers < 1:
            raise SettingError(
                f"{type(self).__name__} has methods for {list(self.methods)} and workers={self.workers}",
                expected="a method by the name of each model to examine, and one worker or more",
            )

    @abstractmethod
    def plan(self, case: Case, runtime: Runtime) -> Workload:
        """The workload of the measurement, without the models that the store holds.

        Args:
            case: the request and the data.
            runtime: of the audit; its seed decides the trainings'.
        """

    @abstractmethod
    def examine(self, panel: Panel) -> Iterator[MetricResult]:
        """Train, and yield the measurements of every method."""

    @abstractmethod
    def parts(self, panel: Panel) -> Sequence[Part]:
        """The parts of the data that are measured."""

    def objections(self, case: Case, names: Collection[str]) -> list[UnregressError]:
        """Check that every method is named after an audited model."""
        if unknown := [name for name in self.methods if name not in names]:
            return [
                SettingError(
                    f"{type(self).__name__} has methods for {', '.join(unknown)}, but no audited model has that name",
                    expected=f"names among {', '.join(names)}",
                )
            ]
        return []

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """Yield the measurements, or rows without a value whose note says why a training failed.

        A training that fails after hours must not discard the rest of the audit.  Finished models are in the store, so
        that measuring again costs only the missing ones.

        Raises:
            SettingError: a method is named for a model that is not in the panel.
            DataError: the data are too few.
        """
        names = [subject.name for subject in panel.subjects if subject.role in ("unlearned", "gold")]
        raise_all(self.objections(panel.case, names))
        try:
            yield from self.examine(panel)
        except UnregressError as error:
            note = "not measured: " + " ".join(map(str.strip, str(error).splitlines()[:2]))
            for part in self.parts(panel):
                yield from without_value([self.about[0].metric], part, self.methods, note)

    def factory(self, case: Case, runtime: Runtime) -> ModelFactory:
        """The factory of a case's models."""
        store = None if self.store is None else Store(root=self.store, log=silent)
        return ModelFactory(case=case, recipe=self.recipe, runtime=runtime, store=store)


def stream(runtime: Runtime, name: str) -> np.random.Generator:
    """A new random generator for one named test, so that its draws do not depend on which other tests there are."""
    return np.random.default_rng(runtime.generator(name).initial_seed())
