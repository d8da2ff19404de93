"""A user's model, data and training in one object, which forgets on request and shows how well."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from numpy.typing import ArrayLike
from torch import nn

from unregress.auditing.judging_table import judging
from unregress.auditing.training import DeepTests, Retraining
from unregress.checks.preflight import preflight
from unregress.checks.training_trial import require_sound
from unregress.data.case import Case
from unregress.data.column_scaler import FEATURES, TARGETS
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.missing_values import Missing
from unregress.data.request import ForgetRequest
from unregress.data.splits import Splits
from unregress.errors import RequestError, SettingError
from unregress.evidence import AuditReport
from unregress.evidence.rule import Rule
from unregress.methods import Method, Unlearned, train
from unregress.methods.unlearned import Candidate, with_trained_on
from unregress.metrics import Metric, default_metrics
from unregress.metrics.memory_kept import MemoryKept
from unregress.project.audits import audit_models
from unregress.project.columns import Columns, Table
from unregress.project.earlier_requests import EarlierRequests
from unregress.project.forgotten import Forgotten, save_original
from unregress.project.model_scalers import scalers_for
from unregress.project.requests import named_request
from unregress.project.settings import read_settings, splits_of
from unregress.retraining.method_choice import BUDGET
from unregress.retraining.method_setup import set_up
from unregress.retraining.table_upkeep import current, up_to_date_tables
from unregress.runs.digests import file_of
from unregress.runs.model_io import read_model, read_start
from unregress.runs.provenance import require_not_forgotten
from unregress.runs.record_matching import TrainingRecords
from unregress.runs.staleness import changed_data
from unregress.runs.table_folder import read_tables
from unregress.tasks.adapters import TensorTask
from unregress.tasks.base import Task
from unregress.tasks.losses import PerSampleLoss
from unregress.tasks.units import Scaler
from unregress.training.from_scratch import Training, require_training
from unregress.training.runtime import Runtime

Model = nn.Module | Unlearned | str | Path
"""A trained model: in memory, a weights file, or a run folder."""


class Project:
    """A user's model, data and training: everything that a request to forget needs.

    Args:
        task: how to build the model, predict a batch, find its targets and compute the loss.
        training: how the original was trained: a `Recipe`, or a function `(data, start, seed) -> model`; golds are
            trained in the same way.
        model: the trained model: an `nn.Module`, a weights file, or a folder that `unregress train`, `unregress forget`
            or `Forgotten.save` wrote.  None if it is still to be trained, by `train`.
        splits: the data, if not given by `data`.
        start: the model's initial weights, if known: an untrained `nn.Module`, or a weights file such as
            `unregress.keep_start` writes.  A run folder of `unregress train` has them.
        runtime: device, precision and seed.
        store: folder in which trained golds are kept; None keeps none.
        table: folder of the model's leave-out tables, see `Project.table`; None keeps them in memory.
        log: receives lines of progress; by default they are printed.
        data: the fields of `Splits`: `train`, `validation`, `test`, `ids`, `subjects`, ...

    Raises:
        SettingError: the data are not named, named twice, or have a field that `Splits` does not have; or the training
            is neither a recipe nor a function.
        DataError: the data do not belong together, see `Splits`.
        CheckpointError: the model cannot be read, or does not fit the task.
        StaleError: the model's folder was changed, or belongs to other data.
    """

    def __init__(
        self,
        *,
        task: Task[Any],
        training: Training,
        model: Model | None = None,
        splits: Splits | None = None,
        start: nn.Module | str | Path | None = None,
        runtime: Runtime = Runtime(),  # noqa: B008 frozen
        store: str | Path | None = None,
        table: str | Path | None = None,
        log: Callable[[str], None] = print,
        **data: Any,
    ) -> None:
        require_training(training)
        self.task, self.training, self.runtime, self.log = task, training, runtime, log
        self.splits = splits_of(splits, data)
        self.store, self.table_folder = (None if each is None else Path(each) for each in (store, table))
        self._tables: tuple[LeaveOutTable, ...] | None = None
        self._absent: Path | None = None
        self._carried_out: list[ForgetRequest] = []
        self._source = Path(model) if isinstance(model, (str, Path)) else None
        self._model = self._read(model) if isinstance(model, (str, Path)) else model
        self._start = self._read_start(start)

    @classmethod
    def open(cls, path: str | Path = "unregress.yaml", *, log: Callable[[str], None] = print) -> Project:
        """Open the project whose settings are in a file, which the commands read too.

        Args:
            path: YAML with `task` and `data` (import paths of functions, or mappings that describe a table's file),
                `training` (settings of a recipe, or the import path of a function), and where they are known `model`,
                `start`, `runtime`, `table` (the folder of leave-out tables) and `retrain.store`.
            log: receives lines of progress.

        Raises:
            SettingError: the file cannot be read, or a setting is missing or wrong.
            CheckpointError, StaleError: the model cannot be used, as for `Project`.
        """
        found = read_settings(Path(path), log)
        absent = found.model if found.model is not None and not found.model.exists() else None
        made = cls(
            task=found.task,
            training=found.training,
            model=found.model if absent is None else None,
            splits=found.splits,
            start=found.start,
            runtime=found.runtime,
            store=found.store,
            table=found.table,
            log=log,
        )
        if absent is not None:
            made._absent = absent
            log(f"Note: there is no model at {absent}, which {path} names")
        return made

    @classmethod
    def from_table(
        cls,
        frame: Table,
        /,
        *,
        build_model: Callable[[], nn.Module],
        training: Training,
        features: Sequence[str],
        target: str | Sequence[str],
        id: str | None = None,
        subject: str | None = None,
        split: str | None = None,
        weights: str | None = None,
        validation: float | Table = 0.1,
        test: float | Table = 0.2,
        standardise: bool | Scaler = True,
        scale_target: bool | Scaler = False,
        units: Mapping[str, str] = MappingProxyType({}),
        seed: int = 0,
        loss: str | PerSampleLoss = "mse",
        **settings: Any,
    ) -> Project:
        """Make a project of a table with a row for each record.

        Args:
            frame: a data frame of pandas, polars or the like.
            build_model: makes a new, untrained model, which takes the features, `(n, len(features))`.
            training: how the original was trained, as in `Project`.
            features: columns of numbers, the inputs in this order.
            target: column of the target, or of several outputs.
            id: column that identifies a record.
            subject: column that identifies the person a record belongs to; no person is then in two splits.
            split: column with `train`, `validation` or `test`; None to draw them.
            weights: column with the records' weights, which a training uses as `Recipe.weights` says.
            validation: share of the records, or people, for validation; or a table of them.
            test: share for the test set, or a table of it.
            standardise: whether features get mean 0 and variance 1 over the training records.  The scaler belongs to
                the model: with a `model` that was saved with its scaler that one is used, whatever rows there are now.
                Of any other model give its fitted scaler here, such as scikit-learn's `StandardScaler`.
            scale_target: the same of the targets; reports and bands of targets stay in the table's units.
            units: unit of a target's column, for reports.
            seed: seed of the draw.
            loss: as in `TensorTask`.
            settings: further arguments of `Project`: `model`, `start`, `runtime`, `table` (a folder), ...

        Raises:
            DataError: columns are missing, not numeric, or have missing values; all of them at once.
        """
        columns = Columns(features=features, target=target, id=id, subject=subject, split=split, weights=weights)
        scalers, note = scalers_for(settings.get("model"), {FEATURES: standardise, TARGETS: scale_target})
        splits = columns.read(
            frame,
            validation=validation,
            test=test,
            standardise=scalers[FEATURES],
            scale_target=scalers[TARGETS],
            seed=seed,
        )
        scaler, outputs = splits.fitted.get(TARGETS), columns.outputs(units)
        task = TensorTask(build_model=build_model, loss=loss, outputs=outputs, scaler=scaler)
        made = cls(task=task, training=training, splits=splits, **settings)
        if note:
            made.log(f"Note: {note}")
        return made

    @property
    def model(self) -> nn.Module | Unlearned:
        """The trained model.

        Raises:
            SettingError: there is none yet.
        """
        if self._model is None:
            raise SettingError(
                "The project has no model" + ("" if self._absent is None else f": {self._absent} does not exist"),
                expected="`Project(model=...)`, or a training by `project.train()`",
            )
        return self._model

    @property
    def start(self) -> nn.Module | None:
        """The model's initial weights; None if unknown."""
        return self._start

    def train(self) -> Unlearned:
        """Train the original, which becomes the project's model; its initial weights are kept.

        Raises:
            PreflightError: data, task and training do not fit together; nothing is trained.
        """
        case = self._case(None)
        for warning in preflight(case, self.runtime, recipe=self.training, allow_overlap=True).warnings:
            self.log(f"Warning: {warning}")
        made = train(case, self.training, self.runtime)
        self._model, self._start, self._source = made, made.start, None
        self._drop_tables()
        return made

    def save(self, folder: str | Path) -> str:
        """Write the original that `train` made to a run folder, as `unregress train` does.

        The folder has the weights, the initial ones too, how the model was trained, and the scalers of a table's
        columns.  `Project(model=folder)` continues with it another day, and the commands take it as a model.

        Args:
            folder: a new folder, or that of the same work.

        Returns:
            The folder's digest, which is to be kept elsewhere as evidence.

        Raises:
            SettingError: the model was not trained by this project.
            RunFolderError: there are other files in the folder, or it cannot be written.
        """
        model = self.model
        made = model.record if isinstance(model, Unlearned) and self._source is None else None
        if not isinstance(model, Unlearned) or made is None or made.kind != "trained":
            raise SettingError(
                "The project's model was not trained by it", expected="a model that `project.train()` made",
                remedy="Results of `forget` have a `save` of their own; a model from a folder is saved already",
            )  # fmt: skip
        return save_original(Path(folder), model, self._case(None), self.runtime)

    @property
    def tables(self) -> tuple[LeaveOutTable, ...]:
        """The model's leave-out tables; none before `table` was called, here or for the same folder."""
        if self._tables is None:
            self._tables = () if self.table_folder is None else read_tables(self.table_folder)
        return self._tables

    def table(
        self,
        *,
        folds: int | None = None,
        partitions: int | None = None,
        workers: int = 1,
        stack: int = 1,
        after: Forgotten | None = None,
    ) -> tuple[LeaveOutTable, ...]:
        """Make the model's leave-out tables, or bring them up to date.

        For each fold of the people, or of the samples where no people are known, a model is trained without it from the
        original's own initial weights, predicts it, and is deleted; the predictions are kept.  With them small requests
        are judged without any gold, and `LeaveOutEdit` has its targets.  Tables that exist, in memory or in the
        folder, are made again only if they belong to another model, a tenth of the samples has gone or come, or copies
        of a sample are in several folds, and those in memory if another number of folds is asked for; the log says so.
        A folder keeps its number of folds, and takes further tables.  The samples of requests that were carried out are
        removed from them, for which nothing is trained.

        Args:
            folds: number of folds; more are nearer to the truth, and cost more.  By default that of the tables that
                exist, and 5 if there are none.
            partitions: number of tables, each with folds of its own: the last one judges, as only one that did not
                teach can, and the others teach `LeaveOutEdit`; three are nearer to the truth than two, and cost more.
                By default as many as exist, and 2 if there are none.
            workers: number of trainings side by side.
            stack: number of fold models of a small network to train in one loop.
            after: the result of a request that is carried out; by default the requests in the model's run folder.

        Raises:
            SettingError: fewer than two folds, or more than people.
            DataError: there are no held-out samples.
            ModelError: a training function ignores data, seed or start, or returns another architecture.
            JobsError: a training failed; a further call continues with the others.
            RunFolderError: there are other files in the folder, or tables of other folds or another training.
        """
        earlier = self._earlier(after)
        gone = earlier.requests()
        case = self._case(gone[0].beside(*gone[1:]) if gone else None)
        sources = {} if self._source is None else {"model": self._source}
        for warning in (
            *require_sound(case, self.training, self.runtime),
            *earlier.undone_nearby(earlier.chain.positions),
            *changed_data(sources, TrainingRecords(self.splits)),
        ):
            self.log(f"Warning: {warning}")
        self._tables = up_to_date_tables(
            case,
            self.training,
            self.runtime,
            self.model,
            start=self.start,
            folder=self.table_folder,
            after=after,
            known=() if self.table_folder is not None else self.tables,
            folds=folds,
            partitions=partitions,
            workers=workers,
            stack=stack,
            log=self.log,
        )
        return self._tables

    def request(
        self,
        *,
        subjects: Iterable[Hashable] | Path | None = None,
        ids: Iterable[Hashable] | Path | None = None,
        column: str | None = None,
        band: tuple[float | None, float | None] | None = None,
        where: ArrayLike | Mapping[str, Any] | None = None,
        times: Mapping[str, Any] | None = None,
        reason: str,
        missing: Missing = "error",
        requested_by: str = "",
        requested_on: str = "",
    ) -> ForgetRequest:
        """Name the samples to forget, in exactly one way.

        Args:
            subjects: the people whose samples are to be forgotten, as in `Splits.subjects`: all of their samples, in
                every split; or the path of a CSV, JSON-lines or Parquet file that lists them.
            ids: ids of training samples, as in `Splits.ids`; or the path of such a file.
            column: the file's column with the people or ids; not needed if it has only one.
            band: lowest and highest target, both included; None for no limit.
            where: a mask over the training samples, `(n,)` bool, or conditions on `Splits.columns`, see
                `data.conditions.matching`.
            times: a stretch of time that windows touch, see `data.conditions.during`.
            reason: a reference to the request, which reports quote.
            missing: whether people and ids that are not in the data, and samples that lack a value which `where` or
                `times` needs, are an error, or are left out and counted (report).
            requested_by: who asked, as reports are to show it: a role or a reference.
            requested_on: day on which it was asked, as 2026-01-31.

        Raises:
            RequestError: no or several ways are used, nothing matches, or a file has no such column.
            DataError: a file cannot be read.
        """
        found = named_request(
            self.splits,
            self.task,
            subjects=subjects,
            ids=ids,
            column=column,
            band=band,
            where=where,
            times=times,
            reason=reason,
            missing=missing,
            requested_by=requested_by,
            requested_on=requested_on,
        )
        for note in found.not_found:
            self.log(f"Note: {note}")
        return found

    def forget(
        self,
        request: ForgetRequest | None = None,
        *,
        method: Method | None = None,
        budget: float = BUDGET,
        after: Forgotten | None = None,
        allow_overlap: bool = False,
        **named: Any,
    ) -> Forgotten:
        """Make the model forget.

        Args:
            request: the samples to forget; or name them as for `Project.request`: `subjects=[13], reason="..."`.
            method: how; by default exact retraining if its estimated time is within the budget, from the original's
                own initial weights where they are known; else `LeaveOutEdit` if there is a leave-out table whose own
                error is small, and else `Blindspot`, or the next method of the paper that the model allows.  The price
                list and the choice are logged and recorded.
                `LeaveOutEdit()` takes all of the project's tables but the last one.
            budget: seconds that exact retraining may take.
            after: the result of an earlier request, whose model forgets this request too; by default the project's
                model, with the requests in its run folder.
            allow_overlap: continue with a warning although samples of one split also occur in another.
            named: as for `Project.request`.

        Returns:
            The model, which `save` writes with its evidence and `Project.audit` measures.

        Raises:
            RequestError: nothing matches the request.
            PreflightError: data, model and method do not fit together.
            StaleError: a leave-out table that is to teach is of another model, or of data that differ too much.
            SettingError: retraining would exceed the budget, and no other method can be derived.
        """
        if request is not None and named:
            raise RequestError(
                f"Both a request and {' and '.join(named)} are given", expected="either", remedy="Leave out the other"
            )
        asked = request or named_request(self.splits, self.task, **named)
        earlier = self._earlier(after)
        case = self._case(asked.beside(*earlier.requests(but=asked.forget)))
        if self._source is not None and after is None:
            require_not_forgotten(self._source, case)
        ready = set_up(
            case,
            method,
            self.runtime,
            training=self.training,
            start=self.start,
            model=after or self._model,
            given=lambda chosen: self._given(after, chosen),
            tables=self.tables,
            budget=budget,
            allow_overlap=allow_overlap,
            log=self.log,
        )
        for warning in earlier.undone(case.requested, self._carried_out):
            self.log(f"Warning: {warning}")
        made = with_trained_on(ready.method.unlearn(ready.given, case, self.runtime), case)
        self._carried_out.append(case.requested)
        source = None if after is not None or ready.method.retrains else self._source
        sources = {} if source is None else {"checkpoint": source}
        warnings = (*ready.warnings, *earlier.unknown, *changed_data(sources, TrainingRecords(self.splits)))
        for line in (
            *(f"Warning: {each}" for each in warnings),
            *(f"Note: {each}" for each in case.requested.not_found),
        ):
            self.log(line)
        shared = {each.name: getattr(made, each.name) for each in fields(Unlearned)}
        shared |= {"notes": (*made.notes, *ready.prices), "start": made.start or self.start}
        return Forgotten(
            **shared,
            case=case,
            before=earlier.records(case.requested),
            runtime=self.runtime,
            source=source,
            warnings=warnings,
        )

    def audit(
        self,
        *models: Forgotten,
        golds: int | Sequence[Unlearned] = 5,
        original: Model | None = None,
        workers: int = 1,
        stack: int = 1,
        coupled: bool = True,
        metrics: Sequence[Metric] | None = None,
        deep: DeepTests | None = None,
        rule: Rule = Rule(),  # noqa: B008 frozen
    ) -> AuditReport:
        """Measure how well models forgot, beside golds: models that are trained without the forgotten samples.

        If there are leave-out tables, one that did not teach any of the models is compared with as well; without golds
        it decides the verdict.

        Args:
            models: results of `forget`, all of the same request.
            golds: number of golds to train by the project's `training`, or golds that exist already; 0 where a
                leave-out table judges.
            original: the model before it forgot; by default the project's model.
            workers: number of trainings side by side.
            stack: number of golds of a small network to train in one loop.
            coupled: whether golds start from the original's own initial weights, where these are known; see
                `Retraining.coupled`.
            metrics: what to measure; by default those of `unregress.metrics.default_metrics`.
            deep: tests of the methods themselves, with many trainings.
            rule: how verdicts are reached.

        Raises:
            SettingError: no model is given, they are about different requests, or the leave-out table of one of
                `metrics` taught a model.
            StaleError: such a table belongs to another model or to other data.
            ModelError: a model's predictions are not finite.
            DataError: samples cannot be read.
            JobsError: a training of a gold failed.
        """
        first = (
            self.model if original is None else self._read(original) if isinstance(original, (str, Path)) else original
        )
        path = self._source if original is None else Path(original) if isinstance(original, (str, Path)) else None
        retraining = Retraining(
            recipe=self.training,
            golds=golds if isinstance(golds, int) else 0,
            workers=workers,
            stack=stack,
            coupled=coupled,
            store=self.store,
        )
        return audit_models(
            models,
            first,
            retraining,
            self.runtime,
            golds=[] if isinstance(golds, int) else golds,
            start=self.start if original is None else None,
            file=None if path is None else file_of(path),
            metrics=[*(default_metrics() if metrics is None else metrics), *self._by_table(models, first)],
            deep=deep,
            rule=rule,
            log=self.log,
        )

    def _by_table(self, models: Sequence[Forgotten], original: nn.Module | Unlearned) -> list[MemoryKept]:
        return judging(self.tables, models[0].case, original, models, self.log) if models else []

    def _drop_tables(self) -> None:
        """Forget the leave-out tables of an earlier training; those in a folder are read, and checked, when needed."""
        kept, _ = current(self._tables or (), self._case(None), self.model, lambda line: None)
        if gone := len(self._tables or ()) - len(kept):
            self.log(f"Warning: {gone} leave-out tables of an earlier training are dropped; `table` makes new ones")
            self._tables = None if self.table_folder is not None else kept

    def _case(self, request: ForgetRequest | None) -> Case:
        return Case(task=self.task, splits=self.splits, request=request)

    def _read(self, path: str | Path) -> nn.Module | Unlearned:
        return read_model(Path(path), self._case(None), self.runtime, forgot=False, told=self.log)

    def _read_start(self, start: nn.Module | str | Path | None) -> nn.Module | None:
        if isinstance(start, (str, Path)):
            return read_start(Path(start), self._case(None), self.runtime)
        if start is None and isinstance(self._model, Unlearned):
            return self._model.start
        return start

    def _earlier(self, after: Forgotten | None) -> EarlierRequests:
        return EarlierRequests.of(self._case(None), self._model, self._source, after)

    def _given(self, after: Forgotten | None, method: Method) -> Candidate:
        if after is not None:
            return after
        if self._model is None and method.retrains:
            with self.runtime.isolated_rng("load"):
                return self.task.build_model().eval()
        return self.model
