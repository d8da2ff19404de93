"""The result of a project's forget request: the new model, and how to save it with its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from unregress.data.case import Case
from unregress.evidence import ModelFile
from unregress.files.writing import sha256_of
from unregress.methods.unlearned import Unlearned
from unregress.runs.checkpoint import save_weights
from unregress.runs.digests import contents
from unregress.runs.manifest import digest_of_folder
from unregress.runs.model_io import ORIGINAL, UNLEARNED, run_folder, write_model
from unregress.runs.request_record import RequestRecord, write_request
from unregress.training.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class Forgotten(Unlearned):
    """A model that has forgotten a request, with the data and the requests before it."""

    case: Case = field(repr=False)
    """The request and the data."""
    before: tuple[RequestRecord, ...] = field(default=(), repr=False)
    """The requests that the model had forgotten before."""
    runtime: Runtime = field(default_factory=Runtime, repr=False)
    source: Path | None = None
    """File or run folder of the model that it was made from; None for a model in memory."""
    warnings: tuple[str, ...] = ()
    """Findings of the checks before the work."""

    @property
    def file(self) -> ModelFile:
        """Name and digest of the weights file that `save` writes: the same weights give the same bytes."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / UNLEARNED
            save_weights(self.model, path)
            return ModelFile(name=UNLEARNED, sha256=sha256_of(path))

    def save(self, folder: str | Path) -> str:
        """Write the model and the evidence of how it was made to a run folder, as `unregress forget` does.

        The folder has the weights (unlearned.safetensors), request.json, history.json, config.yaml and manifest.json,
        and of a table scalers.json; `unregress verify` checks it, and `Project(model=folder)` and the commands take it
        as a model.

        Args:
            folder: a new folder, or that of the same work.

        Returns:
            The folder's digest, which is to be kept elsewhere as evidence.

        Raises:
            RunFolderError: there are other files in the folder, or it cannot be written.
        """
        weights = {} if self.source is None else {"checkpoint": self.source}
        settings = {
            "request": {"reason": self.case.requested.reason, "samples": len(self.case.requested.forget)},
            "method": None if self.record is None else self.record.as_config(),
            "seed": self.runtime.seed,
        }
        config = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        config += contents(self.case, weights)
        with run_folder(self.runtime.process_group, Path(folder), config, weights) as place:
            write_request(place, self.case, self.before)
            asked = self.case.requested
            write_model(place, UNLEARNED, self, self.case, asked, (*self.warnings, *asked.not_found), continued=True)
        return digest_of_folder(Path(folder))


def save_original(folder: Path, made: Unlearned, case: Case, runtime: Runtime) -> str:
    """Write an original that was trained here to a run folder, as `unregress train` does; see `Project.save`.

    Args:
        folder: a new folder, or that of the same work.
        made: the original.
        case: the task and the data.
        runtime: where it was trained.

    Returns:
        The folder's digest.

    Raises:
        RunFolderError: there are other files in the folder, or it cannot be written.
    """
    settings = {"training": None if made.record is None else made.record.as_config(), "seed": runtime.seed}
    config = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True) + contents(case, {})
    with run_folder(runtime.process_group, folder, config) as place:
        write_model(place, ORIGINAL, made, case, None, (), continued=True)
    return digest_of_folder(folder)


def named(models: Sequence[Forgotten]) -> dict[str, Forgotten]:
    """Models by the names that a report gives them: their methods', numbered where a method occurs again."""
    found: dict[str, Forgotten] = {}
    for model in models:
        method = "unlearned" if model.record is None else model.record.method
        number = sum(name.partition(" #")[0] == method for name in found) + 1
        found[method if number == 1 else f"{method} #{number}"] = model
    return found
