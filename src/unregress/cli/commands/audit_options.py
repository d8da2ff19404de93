"""What `unregress audit` may train by itself, as options say it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from unregress.cli.commands.recorded import recorded_method, recorded_recipe
from unregress.cli.console import say
from unregress.cli.error_messages import nearest
from unregress.data.case import Case
from unregress.datasets.cache import cache_folder
from unregress.errors import SettingError, UnregressError, raise_all
from unregress.methods import Method, Retrain
from unregress.metrics import KLoM, ULiRA
from unregress.retraining.missing_work import missing_golds
from unregress.retraining.model_factory import ModelFactory, StoredModel
from unregress.retraining.model_store import Store
from unregress.retraining.stacked_training import require_stackable
from unregress.retraining.throughput import measure_throughput
from unregress.runs.model_io import weights_digest
from unregress.runs.provenance import digest_of_folder, record_of
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime

FIRST = 1001
"""Added to the runtime's seed for the first gold: people number those that they make themselves from 1."""
_TRAIN = Retrain().recipe


@dataclass(frozen=True, kw_only=True)
class TrainRecipe(Recipe):
    """A recipe with the defaults of `unregress train`, so that the same words mean the same training."""

    epochs: int = _TRAIN.epochs
    lr: float = _TRAIN.lr
    schedule: Any = _TRAIN.schedule


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """Golds that an audit trains by itself, and keeps: an interrupted audit goes on where it was.

    Raises:
        SettingError: a number is out of range.
    """

    recipe: TrainRecipe | None = None
    """How the original was trained; by default what its run folder says.  For a weights file it must be named; settings
    that are not named are then those of `unregress train`."""
    golds: int = 5
    """How many; their seeds are 1001 above the runtime's, and the numbers after it."""
    workers: int = 1
    """How many trainings at a time, each on one CPU thread: on a CPU, its cores; on one GPU, what its memory holds."""
    stack: int = 1
    """How many golds of a small model to train as one: several times as fast, and rounded differently.  Not with a
    plateau schedule, whose rates would differ between models.  With more golds later, a stack that was not full is
    trained again."""
    store: Path | None = None
    """Folder in which trained models are kept; by default `unregress/store` in the user's cache folder."""

    def __post_init__(self) -> None:
        if self.golds < 0 or self.workers < 1 or self.stack < 1:
            raise SettingError(
                f"Retraining has golds={self.golds}, workers={self.workers} and stack={self.stack}",
                expected="golds 0 or more, workers and stack 1 or more",
            )

    @property
    def folder(self) -> Path:
        """Where trained models are kept."""
        return cache_folder() / "store" if self.store is None else self.store

    def recipe_of(self, original: Path) -> Recipe:
        """How the original was trained: as the options say, or else as its run folder does.

        Raises:
            SettingError: neither says it, or the folder's record cannot be read.
        """
        if self.recipe is not None:
            return Recipe(**asdict(self.recipe))
        if (recorded := recorded_recipe(original)) is not None:
            return recorded
        raise SettingError(
            f"How the original was trained is not known: {original} is no run folder of `unregress train`",
            expected="golds trained with the original's recipe, for else the audit measures the recipe",
            remedy="Name it with `--retrain.recipe`, as in `--retrain.recipe.epochs 50 --retrain.recipe.lr 0.01`",
        )

    def seeds(self, runtime: Runtime) -> range:
        """The golds' seeds."""
        return range(runtime.seed + FIRST, runtime.seed + FIRST + self.golds)

    def require_possible(self, case: Case, runtime: Runtime, recipe: Recipe) -> None:
        """Refuse golds that cannot be trained as a stack, before anything is trained.

        Raises:
            SettingError: recipe, runtime or data need separate trainings.
        """
        if min(self.stack, self.golds) > 1:
            require_stackable(case, recipe, runtime)

    def refuse_repeated(self, golds: Sequence[Path], runtime: Runtime, recipe: Recipe) -> None:
        """Refuse seeds that would train a gold again that is given.

        Raises:
            SettingError: by its record, a given gold is of the same recipe and seed as one to be trained.
        """
        for path in golds:
            seed = record_of(path).made.seed if path.is_dir() else None
            if seed is not None and seed in self.seeds(runtime) and recorded_recipe(path) == recipe:
                raise SettingError(
                    f"{path} is given as a gold, and one of the same recipe and seed, {seed}, is to be trained",
                    expected="golds of seeds that differ",
                    remedy="Leave it out, or change `--runtime.seed`",
                )

    def run(self, case: Case, runtime: Runtime, recipe: Recipe) -> list[StoredModel]:
        """Train the golds that the store does not hold; says before what that will take."""
        if not self.golds:
            return []
        seeds = self.seeds(runtime)
        factory = ModelFactory(case=case, recipe=recipe, runtime=runtime, store=Store(root=self.folder, log=say))
        missing = missing_golds(factory, seeds, self.stack)
        if missing.models:
            pace = measure_throughput(case, recipe, runtime, workers=self.workers, stack=min(self.stack, self.golds))
            cost = missing.describe(pace, self.workers)
            say(f"Golds of seeds {seeds[0]} to {seeds[-1]}, beside what {self.folder} holds: {cost}")
        return factory.golds(seeds, workers=self.workers, stack=self.stack)

    def record(self, names: Sequence[str], golds: Sequence[StoredModel], recipe: Recipe, runtime: Runtime) -> str:
        """What an auditor must know of golds that were not given as files, as JSON.

        Args:
            names: the golds' names in the report.
            golds: what `run` handed back.
            recipe: theirs.
            runtime: where they were trained.
        """
        listed = []
        for name, gold, seed in zip(names, golds, self.seeds(runtime), strict=True):
            folder = Store(root=self.folder).folder("gold", gold.key)
            own = {"weights": weights_digest(folder), "folder": folder.name, "digest": digest_of_folder(folder)}
            listed.append({"name": name, "seed": seed, **own})
        record = {"recipe": asdict(recipe), "golds": listed}
        return json.dumps(record, indent=1) + "\n"


@dataclass(frozen=True, kw_only=True)
class Deep:
    """Tests of the methods that made the audited models, with many trainings of their own: U-LiRA and KLoM.

    Raises:
        SettingError: a number is out of range; both of them at once.
    """

    methods: Mapping[str, Method] = field(default_factory=dict)
    """The method of each audited model, by the model's name; by default what their run folders say."""
    halves: int = 16
    """U-LiRA: originals trained on random halves of the training set; an even number, 6 or more."""
    seeds: int = 10
    """KLoM: seeds of originals, and as many golds; 4 or more."""

    def __post_init__(self) -> None:
        # The metrics refuse the same, one after the other and by their own names.
        complaints: list[UnregressError] = []
        if self.halves < 6 or self.halves % 2:
            complaints.append(SettingError(f"`deep.halves` is {self.halves}", expected="an even number, 6 or more"))
        if self.seeds < 4:
            complaints.append(SettingError(f"`deep.seeds` is {self.seeds}", expected="4 or more"))
        raise_all(complaints)

    def examined(self, models: Mapping[str, Path], golds: Collection[str]) -> dict[str, Method]:
        """The methods to examine, by the name of the model that they made.

        Args:
            models: the audited models' files and folders.
            golds: what golds will be called; `Retrain` may be examined under such a name.

        Raises:
            SettingError: no model's method is known, or a method is named for a model that is not there.
        """
        known = [*models, *golds]
        if unknown := [name for name in self.methods if name not in known]:
            raise SettingError(
                f"`deep.methods` names {', '.join(map(repr, unknown))}, which no audited model is called",
                expected=f"names among {', '.join(models)}",
                remedy=nearest(unknown[0], known),
            )
        recorded = {name: method for name, path in models.items() if (method := recorded_method(path)) is not None}
        methods = dict(self.methods) or recorded
        if not methods:
            raise SettingError(
                "Of no audited model is it known which method made it",
                expected="run folders that `unregress forget` wrote, for a deep audit",
                remedy="Name the methods with `--deep.methods`",
            )
        return methods

    def metrics(
        self, methods: Mapping[str, Method], retraining: Retraining, recipe: Recipe, case: Case, runtime: Runtime
    ) -> tuple[ULiRA, KLoM]:
        """The two metrics; says what they will take before they begin.

        Args:
            methods: what `examined` found.
            retraining: how many trainings at a time, and where they are kept.
            recipe: how originals and golds are trained.
            case: the data.
            runtime: where.
        """
        workers, store = retraining.workers, retraining.folder
        metrics = (
            ULiRA(recipe=recipe, methods=methods, workers=workers, store=store, models=self.halves),
            KLoM(recipe=recipe, methods=methods, workers=workers, store=store, models=self.seeds),
        )
        pace = measure_throughput(case, recipe, runtime, workers=workers)
        for metric in metrics:
            plan = metric.plan(case, runtime).describe(pace, workers)
            say(f"{type(metric).__name__}, beside what {store} holds: {plan}")
        return metrics
