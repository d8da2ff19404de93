"""Checks of a forget request: its positions and reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from unregress.errors import RequestError
from unregress.errors.wording import some
from unregress.files.typed_json import is_day

if TYPE_CHECKING:
    from unregress.data.request import ForgetRequest


def complaints_about(request: ForgetRequest) -> Iterator[RequestError]:
    """Complain about a request's samples, reason and date, and about the other requests on the same model."""
    yield from _about_others(request)
    # An earlier request may have held-out samples left while its training samples are gone.
    if not (request.forget or request.validation or request.test):
        yield RequestError("The request forgets nothing", remedy="Name at least one training sample")
    if outside := [i for i in request.forget if not 0 <= i < request.size]:
        yield RequestError(
            f"Forget positions out of range: {some(outside)}",
            expected=f"positions from 0 to {request.size - 1}, the training set having {request.size} samples",
        )
    if repeated := repeated_in(request.forget):
        yield RequestError(f"Forget positions repeated: {some(repeated)}", remedy="Name each sample once")
    yield from _about_texts(request)


def _about_texts(request: ForgetRequest) -> Iterator[RequestError]:
    """Complain about what is said of a request: why, by whom and on which day."""
    said: dict[str, Any] = {name: getattr(request, name) for name in ("reason", "requested_by", "requested_on")}
    for name, given in said.items():
        if not isinstance(given, str):
            yield RequestError(f"`{name}` is {given!r}, of type {type(given).__name__}", expected="text")
        elif name == "reason" and not given.strip():
            yield RequestError("The request has no reason", remedy="Say what it is for: the evidence quotes it")
        elif name == "requested_on" and given and not is_day(given):
            yield RequestError(f"The request was made on {given[:40]!r}", expected="a day, such as 2026-01-31")


def _about_others(request: ForgetRequest) -> Iterator[RequestError]:
    """Complain about the other requests on the same model."""
    if sizes := sorted({other.size for other in request.others} - {request.size}):
        yield RequestError(
            f"Another request is about {sizes[0]} training samples and this one about {request.size}",
            expected="requests about the same training set",
        )
    elif again := sorted(set(request.forget) & set(request.excluded.tolist())):
        yield RequestError(
            f"Samples that another request forgets too: {some(again)}",
            expected="requests without a sample in common",
            remedy="Combine them with `beside`, which leaves out what is already forgotten",
        )


def require_list(name: str, given: object) -> None:
    """Refuse a single value where a list is expected; a text is a sequence of its letters: "12" would forget 1 and 2.

    Raises:
        RequestError: it is a text, or no list at all.
    """
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        found = (
            f"the text {given!r}" if isinstance(given, (str, bytes)) else f"{given!r}, of type {type(given).__name__}"
        )
        raise RequestError(
            f"`{name}` is {found}",
            expected="a list of ids or people",
            remedy="For a single one pass a list of one",
        )


def repeated_in(values: Iterable[Hashable]) -> list[Hashable]:
    """The values that occur more than once."""
    return [value for value, count in Counter(values).items() if count > 1]
