"""Exception classes, one for each kind of remedy.

Every error states what was found, what is expected and what to do.  The command line prints them
without a traceback and exits with a non-zero code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class UnregressError(Exception):
    """Base of every error that the library raises on purpose.

    Args:
        found: the problem, as a sentence without its full stop.
        expected: the valid state or value; empty where `found` says it already.
        remedy: what the user can do about it.
    """

    def __init__(self, found: str, *, expected: str = "", remedy: str = "") -> None:
        self.found, self.expected, self.remedy = found, expected, remedy
        # A quoted error message ends with a full stop already.
        parts = [f"{found.removesuffix('.')}."]
        if expected:
            parts.append(f"Expected {expected}.")
        if remedy:
            parts.append(remedy if remedy.endswith("?") else f"{remedy}.")
        super().__init__(" ".join(parts))


class RequestError(UnregressError):
    """The forget request names samples that do not exist, all of them, or none: correct the request."""


class DataError(UnregressError):
    """A dataset is unfit for training or measurement: correct the data."""


class ModelError(UnregressError):
    """Model, task and data are incompatible: correct the model or the task."""


class LayerError(ModelError):
    """A named layer does not exist in the model or has an unsuitable output: choose another layer."""


class SettingError(UnregressError):
    """A hyper-parameter or option has a value outside its range: choose another value."""


class DivergenceError(UnregressError):
    """Training diverged: lower the learning rate, clip gradients, or inspect the data."""


class CheckpointError(UnregressError):
    """A weights file cannot be read or does not fit the model: point to another file."""


class RunFolderError(UnregressError):
    """A file or folder cannot be written there, or would overwrite other files: choose another folder."""


class StaleError(UnregressError):
    """A stored file belongs to another request, dataset or version, or was changed: create it again."""


class TrackingError(UnregressError):
    """A tracking store, such as MLflow's, cannot be written to: choose another store."""


class VerdictError(UnregressError):
    """A model did not pass an audit that it was required to pass: unlearn in another way, or retrain."""


class JobsError(UnregressError):
    """Some of several independent jobs failed: correct the listed reasons, and run the failed jobs again."""


class PreflightError(UnregressError):
    """Several problems found before any work was done, reported together.

    Attributes:
        complaints: the individual errors, in the order in which they were found.
    """

    def __init__(self, complaints: Sequence[UnregressError]) -> None:
        self.complaints = tuple(complaints)
        noun = "problem" if len(self.complaints) == 1 else "problems"
        listed = "\n".join(f"  {n}. {complaint}" for n, complaint in enumerate(self.complaints, 1))
        Exception.__init__(self, f"{len(self.complaints)} {noun} found before starting:\n{listed}")
        self.found, self.expected, self.remedy = str(self), "", ""


def raise_all(complaints: Sequence[UnregressError]) -> None:
    """Raise a single complaint as it is and several as one `PreflightError`; do nothing if there is none."""
    if len(complaints) == 1:
        raise complaints[0]
    if complaints:
        raise PreflightError(complaints)


def require(rules: Iterable[tuple[str, bool, str]], *, remedy: str = "") -> None:
    """Raise a `SettingError` for each rule that is broken, all of them together.

    Args:
        rules: for each rule the problem, whether it is satisfied, and the expected value.
        remedy: the remedy of each error.

    >>> require([("lr is -1", -1 > 0, "a positive number"), ("epochs is 2", 2 > 0, "1 or more")])
    Traceback (most recent call last):
    unregress.errors.SettingError: lr is -1. Expected a positive number.
    """
    raise_all([SettingError(found, expected=wanted, remedy=remedy) for found, valid, wanted in rules if not valid])


def require_fields(name: str, settings: object, rules: Iterable[tuple[str, bool, str]]) -> None:
    """Raise a `SettingError` for each field of a settings object that is out of range, all of them together.

    Args:
        name: the object's name in messages.
        settings: the object.
        rules: for each rule the field's name, whether its value is valid, and the expected value.
    """
    require((f"{name}.{field} is {getattr(settings, field)!r}", valid, wanted) for field, valid, wanted in rules)
