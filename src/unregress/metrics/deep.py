"""What the metrics have in common that train many models of their own: how, with what, and what it will take."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from unregress.case import Case
from unregress.errors import SettingError
from unregress.methods.base import Method
from unregress.metrics.base import Metric, Panel
from unregress.recipe import Recipe
from unregress.runtime import Runtime
from unregress.store import Store
from unregress.trainings import Maker, Plan


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
    def plan(self, case: Case) -> Plan:
        """What measuring will take if nothing is in the store yet."""

    def maker(self, case: Case, runtime: Runtime) -> Maker:
        """Makes the models of a case."""
        store = None if self.store is None else Store(root=self.store, say=_unsaid)
        return Maker(case=case, recipe=self.recipe, runtime=runtime, store=store)

    def require_known(self, panel: Panel) -> None:
        """Refuse methods by names that the panel has not.

        Raises:
            SettingError: there is such a name.
        """
        known = [subject.name for subject in panel.subjects if subject.role in ("unlearned", "gold")]
        if unknown := [name for name in self.methods if name not in known]:
            raise SettingError(
                f"{type(self).__name__} has methods for {', '.join(unknown)}, which no audited model is called",
                expected=f"names among {', '.join(known)}",
            )


def _unsaid(text: str) -> None:
    """The progress bar says it."""
