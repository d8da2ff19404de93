"""Read `--config` files and check that they are UTF-8 YAML mappings without duplicate keys."""

from __future__ import annotations

import codecs
from pathlib import Path

import yaml

from unregress.errors import SettingError, UnregressError
from unregress.errors.wording import printable

_MAX_DEPTH = 50
"""Largest depth of nesting; beyond a limit of its own the parser crashes."""
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_EXPECTED = "option names with values, one a line, as in `output: runs/first`"


def read(path: Path) -> str:
    """The text of a configuration file.  UTF-16 is recognised by its byte order mark.

    Raises:
        SettingError: the file cannot be read, or is not a configuration.
    """
    try:
        content = path.read_bytes()
        encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
        text = content.decode(encoding)
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}", expected="a YAML file") from error
    except UnicodeDecodeError as error:
        raise SettingError(
            f"{path} is not UTF-8 text: byte {error.object[error.start]:#04x} at position {error.start}",
            expected="a YAML file in UTF-8",
            remedy="Save it as UTF-8 in your editor",
        ) from error
    require_mapping(text, str(path))
    return text


def without(text: str, names: frozenset[str]) -> str:
    r"""A configuration without some of its options; the same text if it has none of them.

    >>> without("method: Retrain\nlr: 1e-3", frozenset({"method"}))
    'lr: 1e-3\n'
    """
    try:
        mapping = yaml.compose(text, Loader=yaml.SafeLoader) if names else None
    except yaml.YAMLError:
        return text  # the parser reports the error
    if not isinstance(mapping, yaml.MappingNode):
        return text
    kept = [(key, value) for key, value in mapping.value if key.value not in names]
    if len(kept) == len(mapping.value):
        return text
    mapping.value = kept
    return str(yaml.serialize(mapping, Dumper=yaml.SafeDumper))


def require_mapping(text: str, name: str) -> None:
    """Refuse text that is not a configuration.

    Args:
        text: the content.
        name: the file, for messages.

    Raises:
        SettingError: it is not YAML, not a mapping, nested too deeply, or has a key twice.
    """
    try:
        _walk(text, name)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        raise SettingError(
            f"{name} is not YAML{where}: {error.problem or error.context}", expected=_EXPECTED
        ) from error
    except yaml.YAMLError as error:
        raise SettingError(f"{name} is not YAML: {' '.join(str(error).split())}", expected=_EXPECTED) from error


def _walk(text: str, name: str) -> None:
    """Check YAML event by event, which unlike constructing it needs no recursion."""
    # For each open mapping the keys so far, None for a sequence; and whether the next event is a key.
    keys: list[dict[str, int] | None] = []
    key_next: list[bool] = []
    anchored: list[bool] = []
    first: UnregressError | None = None
    seen = False
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            keys.pop()
            key_next.pop()
            anchored.pop()
        elif isinstance(event, yaml.NodeEvent):
            if isinstance(event, yaml.AliasEvent) and any(anchored):
                # Nested references multiply: a few lines could expand beyond any memory.
                raise SettingError(
                    f"{name} refers in line {line_of(event)} to an earlier part (*{event.anchor}), within a part that "
                    "has a name itself",
                    expected="references (*NAME) only outside of named parts (&NAME)",
                    remedy="Write the part out",
                )
            if not seen and not isinstance(event, yaml.MappingStartEvent):
                raise SettingError(f"{name} holds {_kind(event)}", expected=_EXPECTED)
            seen = True
            line = line_of(event)
            if key_next and (known := keys[-1]) is not None:
                if key_next[-1] and isinstance(event, yaml.ScalarEvent) and event.value != "<<":
                    if event.value in known and first is None:
                        first = SettingError(
                            f"{name} has `{event.value}` twice, in lines {known[event.value]} and {line}",
                            expected="each name once",
                            remedy="Remove one of them: it is unclear which one is meant",
                        )
                    known.setdefault(event.value, line)
                key_next[-1] = not key_next[-1]
            if isinstance(event, yaml.CollectionStartEvent):
                keys.append({} if isinstance(event, yaml.MappingStartEvent) else None)
                key_next.append(True)
                anchored.append(event.anchor is not None)
                if len(keys) > _MAX_DEPTH:
                    raise SettingError(
                        f"{name} is nested more than {_MAX_DEPTH} levels deep in line {line}", expected=_EXPECTED
                    )
    if first is not None:
        raise first
    if not seen:
        raise SettingError(f"{name} is empty", expected=_EXPECTED)


def line_of(event: yaml.NodeEvent) -> int:
    """The line in which a YAML event begins, counted from 1."""
    return 1 + (event.start_mark.line if event.start_mark else 0)


def _kind(event: yaml.NodeEvent) -> str:
    if isinstance(event, yaml.SequenceStartEvent):
        return "a list"
    value = event.value if isinstance(event, yaml.ScalarEvent) else ""
    return f"the text {printable(value[:40])!r}" if value else "nothing"
