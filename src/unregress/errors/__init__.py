"""Errors by remedy: one class per thing a user can do about it.

Every error says what was found, what is expected and what to do.  The command line prints them
without a traceback and exits with a non-zero code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class UnregressError(Exception):
    """Base of every error that the library raises on purpose.

    Args:
        found: what was found, as a sentence without its full stop.
        expected: what is expected instead; empty where `found` says it already.
        remedy: what to do about it.
    """

    def __init__(self, found: str, *, expected: str = "", remedy: str = "") -> None:
        self.found, self.expected, self.remedy = found, expected, remedy
        # Where it quotes another error, that one's full stop is enough.
        parts = [f"{found.removesuffix('.')}."]
        if expected:
            parts.append(f"Expected {expected}.")
        if remedy:
            parts.append(remedy if remedy.endswith("?") else f"{remedy}.")
        super().__init__(" ".join(parts))


class RequestError(UnregressError):
    """The forget request names samples that do not exist, all of them, or none: correct the request."""


class DataError(UnregressError):
    """A dataset holds something that cannot be trained or measured on: correct the data."""


class ModelError(UnregressError):
    """Model, task and data do not fit each other: correct the model or the task."""


class LayerError(ModelError):
    """A layer was named that the model lacks or that cannot serve: choose another layer."""


class SettingError(UnregressError):
    """A hyper-parameter or option has a value outside its range: choose another value."""


class DivergenceError(UnregressError):
    """Training left the finite numbers or ran away: lower the learning rate, clip, or look at the data."""


class CheckpointError(UnregressError):
    """A weights file cannot be read or does not fit the model: point to another file."""


class RunFolderError(UnregressError):
    """The output folder holds something else: choose another folder."""


class StaleError(UnregressError):
    """An artefact belongs to another request, dataset or version: create it again."""


class VerdictError(UnregressError):
    """A model did not pass where it was required to: unlearn in another way, or retrain."""


class JobsError(UnregressError):
    """Some of many independent jobs failed, each for the reason listed: correct it, and run the failed ones again."""


class PreflightError(UnregressError):
    """Several complaints found before any work was done, all at once.

    Attributes:
        complaints: the single errors, in the order in which they were found.
    """

    def __init__(self, complaints: Sequence[UnregressError]) -> None:
        self.complaints = tuple(complaints)
        noun = "problem" if len(self.complaints) == 1 else "problems"
        listed = "\n".join(f"  {n}. {complaint}" for n, complaint in enumerate(self.complaints, 1))
        Exception.__init__(self, f"{len(self.complaints)} {noun} found before starting:\n{listed}")
        self.found, self.expected, self.remedy = str(self), "", ""


def raise_all(complaints: Sequence[UnregressError]) -> None:
    """Raise nothing for no complaint, the complaint itself for one, and `PreflightError` for more."""
    if len(complaints) == 1:
        raise complaints[0]
    if complaints:
        raise PreflightError(complaints)


def require(rules: Iterable[tuple[str, bool, str]], *, remedy: str = "") -> None:
    """Raise a `SettingError` for each rule that is broken, all of them at once.

    Args:
        rules: what was found, whether it is valid, and what is expected.
        remedy: what to do about any of them.

    >>> require([("lr is -1", -1 > 0, "a positive number"), ("epochs is 2", 2 > 0, "1 or more")])
    Traceback (most recent call last):
    unregress.errors.SettingError: lr is -1. Expected a positive number.
    """
    raise_all([SettingError(found, expected=wanted, remedy=remedy) for found, valid, wanted in rules if not valid])


def require_fields(name: str, settings: object, rules: Iterable[tuple[str, bool, str]]) -> None:
    """Raise a `SettingError` for each field of a settings object that is out of range, all of them at once.

    Args:
        name: what to call the object in messages.
        settings: whose fields.
        rules: a field's name, whether its value is valid, and what is expected.
    """
    require((f"{name}.{field} is {getattr(settings, field)!r}", valid, wanted) for field, valid, wanted in rules)
