"""The training options of `unregress audit`, and their completion from run folders."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from unregress.auditing.assemble import gold_names
from unregress.auditing.training import DeepTests, Retraining, TrainedGold
from unregress.cli.commands.recorded import recorded_method, recorded_recipe
from unregress.cli.error_messages import nearest
from unregress.datasets.cache import cache_folder
from unregress.errors import SettingError
from unregress.evidence.model_record import differences
from unregress.methods.retrain import PUBLISHED
from unregress.runs.digests import weights_digest
from unregress.runs.provenance import digest_of_folder, record_of
from unregress.training.from_scratch import Training, TrainingFunction, training_name, training_record
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class TrainRecipe(Recipe):
    """A recipe with the defaults of `unregress train`, so that the same options mean the same training."""

    epochs: int = PUBLISHED.epochs
    lr: float = PUBLISHED.lr
    schedule: Any = PUBLISHED.schedule


@dataclass(frozen=True, kw_only=True)
class RetrainOptions(Retraining):
    """Golds that an audit trains and keeps: an interrupted audit continues with finished golds."""

    recipe: TrainRecipe | None = None
    """The recipe by which the original was trained; by default the one in its run folder.  Required for a weights file;
    settings that are not named are then those of `unregress train`."""
    start: nn.Module | None = field(default=None, init=False, repr=False)
    store: Path | None = None
    """Folder in which trained models are kept; by default `unregress/store` in the user's cache folder."""

    def resolve(self, original: Path, training: TrainingFunction | None) -> Retraining:
        """Complete the options: the recipe from the original's run folder, and the store's default.

        Args:
            original: file or folder of the original.
            training: the function that trained the original, if the options name one.

        Raises:
            SettingError: the recipe is neither named nor recorded, or the folder's record cannot be read.
        """
        if training is not None and self.recipe is not None:
            raise SettingError("Both `retrain.recipe` and `training` say how golds are trained", expected="one of them")
        named = None if self.recipe is None else Recipe(**asdict(self.recipe))
        recipe: Training | None = training or named or recorded_recipe(original)
        if recipe is None:
            raise SettingError(
                f"How the original was trained is not known: {original} is not a run folder of `unregress train`",
                expected="golds trained with the original's recipe, or else the audit measures that difference",
                remedy="Name it with `--retrain.recipe`, as in `--retrain.recipe.epochs 50 --retrain.recipe.lr 0.01`",
            )
        store = cache_folder() / "store" if self.store is None else self.store
        return Retraining(
            recipe=recipe,
            golds=self.golds,
            workers=self.workers,
            stack=self.stack,
            coupled=self.coupled,
            store=store,
        )


def resolve(
    retrain: RetrainOptions | None,
    deep: DeepTests | None,
    models: Mapping[str, Path],
    original: str,
    golds: Sequence[Path],
    runtime: Runtime,
    training: TrainingFunction | None = None,
) -> tuple[Retraining | None, DeepTests | None]:
    """Complete the training options from the run folders of models and golds.

    Args:
        retrain: how to train golds.
        deep: the deep tests, which train originals even without `retrain`.
        models: files and folders by name.
        original: the original's name.  If there is no such model nothing is trained, and `AuditJob.check` refuses it.
        golds: files and folders of the given golds.
        runtime: its seed decides the seeds of golds.
        training: the function that trained the original, if the options name one.

    Raises:
        SettingError: a recipe or method is neither named nor recorded, or a given gold would be trained again.
    """
    options = RetrainOptions(golds=0) if retrain is None and deep is not None else retrain
    if options is None or original not in models:
        return None, None
    retraining = options.resolve(models[original], training)
    _refuse_repeated_seeds(golds, retraining, runtime)
    if deep is not None:
        judged = {name: path for name, path in models.items() if name != original}
        deep = _with_recorded_methods(deep, judged, gold_names(len(golds) + retraining.golds))
    return retraining, deep


def _refuse_repeated_seeds(golds: Sequence[Path], retraining: Retraining, runtime: Runtime) -> None:
    """Refuse seeds with which a given gold would be trained again.

    Raises:
        SettingError: by its record, a given gold has the recipe and the seed of one to be trained.
    """
    for path in golds:
        seed = record_of(path).made.seed if path.is_dir() else None
        if seed is not None and seed in retraining.seeds(runtime) and _trained_alike(path, retraining):
            raise SettingError(
                f"{path} is given as a gold, and a gold of the same recipe and seed, {seed}, is to be trained",
                expected="golds of seeds that differ",
                remedy="Leave it out, or change `--runtime.seed`",
            )


def _trained_alike(path: Path, retraining: Retraining) -> bool:
    """Whether a gold's record says that it was trained as further golds will be."""
    recorded = record_of(path).made.recipe
    return recorded is not None and recorded == training_record(retraining.require_recipe())


def _with_recorded_methods(deep: DeepTests, models: Mapping[str, Path], golds: Collection[str]) -> DeepTests:
    """Complete the deep tests' methods: those that the options name, or else those of the models' run folders.

    Args:
        deep: the options for deep tests.
        models: the judged models' files and folders, by name.
        golds: the golds' names in the report; `Retrain` may be tested under such a name.

    Raises:
        SettingError: no model's method is known, or a method is named for a model that does not exist.
    """
    known = [*models, *golds]
    if unknown := [name for name in deep.methods if name not in known]:
        raise SettingError(
            f"`deep.methods` names {', '.join(map(repr, unknown))}, but no audited model has that name",
            expected=f"names among {', '.join(models)}",
            remedy=nearest(unknown[0], known),
        )
    recorded = {name: method for name, path in models.items() if (method := recorded_method(path)) is not None}
    if not (methods := dict(deep.methods) or recorded):
        raise SettingError(
            "No audited model's method is known",
            expected="run folders that `unregress forget` wrote, for a deep audit",
            remedy="Name the methods with `--deep.methods`",
        )
    return replace(deep, methods=methods)


def announcements(options: Retraining | None, recipe: Training, original: Path) -> list[str]:
    """Lines to print before golds are trained: the recipe and its source."""
    named = not isinstance(recipe, Recipe) or (options is not None and options.recipe is not None)
    shown = recipe if isinstance(recipe, Recipe) else f"the function {training_name(recipe)}"
    lines = [f"Golds are trained {'as the options say' if named else f'as {original} says'}: {shown}"]
    recorded = record_of(original).made.recipe if original.is_dir() else None
    if recorded is not None and list(differences(recorded, training_record(recipe))):
        lines.append(f"Warning: {original} records another recipe for the original: {recorded}")
    return lines


def gold_record(recipe: Training, golds: Sequence[TrainedGold]) -> str:
    """The content of `golds.json`: recipe, seeds, digests and folders of the golds that the audit trained.

    Args:
        recipe: the golds' recipe.
        golds: the golds that the audit trained; those in the store are listed.
    """
    listed = []
    for gold in golds:
        if gold.folder is not None:
            own = {"weights": weights_digest(gold.folder), "folder": gold.folder.name}
            listed.append({"name": gold.name, "seed": gold.seed, **own, "digest": digest_of_folder(gold.folder)})
    return json.dumps({"recipe": training_record(recipe), "golds": listed}, indent=1) + "\n"
