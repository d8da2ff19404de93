"""What the metrics have in common that train many models of their own: how, with what, and what it will take."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unregress.data.case import Case
from unregress.errors import SettingError, UnregressError, raise_all
from unregress.evidence import Measurement
from unregress.methods.base import Method
from unregress.metrics.base import Metric, MetricResult, Panel
from unregress.retraining.model_factory import ModelFactory, silent
from unregress.retraining.model_store import Store
from unregress.retraining.workload import Workload
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class DeepMetric(Metric):
    """A metric that trains originals and unlearns them, to examine a method rather than one model that it made.

    Raises:
        SettingError: no method is named, or there is no worker.
    """

    recipe: Recipe
    """How the original was trained."""
    methods: Mapping[str, Method]
    """The methods to examine, by the audited model's name."""
    workers: int = field(default=1, repr=False)
    """Trainings at a time, each on one CPU thread: on a CPU, its cores; on one GPU, what its memory holds."""
    store: Path | None = field(default=None, repr=False)
    """Folder for what is trained, so that an interrupted audit goes on where it was."""

    def __post_init__(self) -> None:
        if not self.methods or self.workers < 1:
            raise SettingError(
                f"{type(self).__name__} has methods for {list(self.methods)} and workers={self.workers}",
                expected="a method by the name of each model to examine, and one worker or more",
            )

    @abstractmethod
    def plan(self, case: Case, runtime: Runtime) -> Workload:
        """What measuring will take, less what the store holds.

        Args:
            case: the request and the data.
            runtime: of the audit; its seed decides the trainings'.
        """

    @abstractmethod
    def examine(self, panel: Panel) -> Iterator[MetricResult]:
        """Train, and then the findings about every method."""

    @abstractmethod
    def parts(self, panel: Panel) -> Sequence[str]:
        """The parts of the data that findings are about."""

    def objections(self, case: Case, names: Collection[str]) -> list[UnregressError]:
        """Methods by names that no audited model has."""
        if unknown := [name for name in self.methods if name not in names]:
            return [
                SettingError(
                    f"{type(self).__name__} has methods for {', '.join(unknown)}, which no audited model is called",
                    expected=f"names among {', '.join(names)}",
                )
            ]
        return []

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """The findings, or rows without a value that say why there are none.

        A training that fails after hours must not take the rest of the audit with it.  What went well is in the store,
        so that measuring again costs only what is missing.

        Raises:
            SettingError: there is a method for a model that the panel has not.
            DataError: the data are too few.
        """
        names = [subject.name for subject in panel.subjects if subject.role in ("unlearned", "gold")]
        raise_all(self.objections(panel.case, names))
        try:
            yield from self.examine(panel)
        except UnregressError as error:
            note = "not measured: " + " ".join(map(str.strip, str(error).splitlines()[:2]))
            for part in self.parts(panel):
                for name in self.methods:
                    yield Measurement(metric=self.about[0].metric, split=part, model=name, value=None, note=note)

    def factory(self, case: Case, runtime: Runtime) -> ModelFactory:
        """Makes the models of a case."""
        store = None if self.store is None else Store(root=self.store, log=silent)
        return ModelFactory(case=case, recipe=self.recipe, runtime=runtime, store=store)


def stream(runtime: Runtime, name: str) -> np.random.Generator:
    """A generator for one named test.

    Each test of each method starts its stream anew: what is drawn for one does not depend on which others there are.
    """
    return np.random.default_rng(runtime.generator(name).initial_seed())
