"""Reads a YAML file that a person writes: plain data, the line of every field, and errors that name both."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from linkspan.kernel.errors import UserMistake

Place = tuple[str | int, ...]

#: More than any file that a person writes; what is larger is a mistake or an attack (aliases that multiply).
MAX_BYTES = 512 * 1024
MAX_VALUES = 50_000
MAX_DEPTH = 50


@dataclass(frozen=True, slots=True)
class LineFault:
    """``field`` as a person reads it: ``flows.plan-uploaded.transform[0].jsonata``; empty for the file as a whole."""

    line: int
    field: str
    error: str


class InvalidFile(UserMistake):
    """A file that a person wrote has mistakes; the text has one line for each: ``file:line: field: error``."""

    def __init__(self, path: Path, faults: list[LineFault]) -> None:
        self.path, self.faults = path, tuple(sorted(faults, key=lambda fault: fault.line))
        super().__init__(
            "\n".join(f"{path}:{f.line}: {f.field + ': ' if f.field else ''}{f.error}" for f in self.faults)
        )


@dataclass(slots=True)
class Document:
    path: Path
    data: Any
    lines: dict[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """Where the field is, or the nearest part around it that the file has."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def fault(self, place: Place, error: str) -> LineFault:
        return LineFault(self.line(place), shown(place), error)


def shown(place: Place) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


def read_lined(path: Path) -> Document:
    """Raises InvalidFile; tags, duplicate keys, keys that are not text and values without end are refused."""
    text = _text(path)
    try:
        _check_depth(path, text)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise InvalidFile(path, [_syntax(error, text)]) from error
    except yaml.YAMLError as error:
        raise InvalidFile(path, [LineFault(1, "", f"not YAML: {error}".replace("\n", " "))]) from error
    except RecursionError as error:
        raise InvalidFile(path, [LineFault(1, "", f"values lie more than {MAX_DEPTH} deep")]) from error
    document = Document(path, None)
    builder = _Builder(document)
    document.data = None if node is None else builder.value(node, ())
    if builder.faults:
        raise InvalidFile(path, builder.faults)
    return document


def _check_depth(path: Path, text: str) -> None:
    """Before anything is composed, which takes the square of the depth."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH + 1:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise InvalidFile(path, [LineFault(line, "", f"values lie more than {MAX_DEPTH} deep")])


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        raise UserMistake(f"{path}: cannot be read: {error.strerror}") from error
    if raw is None:
        raise UserMistake(f"{path}: is larger than {MAX_BYTES // 1024} KiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InvalidFile(path, [LineFault(line, "", "is not UTF-8 text")]) from error


def _syntax(error: yaml.MarkedYAMLError, text: str) -> LineFault:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    said = " ".join(part for part in (error.context, error.problem) if part)
    lines = text.splitlines()
    unquoted = any("${" in lines[n] for n in (line - 1, line - 2) if 0 <= n < len(lines))
    hint = '; a ${NAME} inside { } or [ ] must be quoted: "${NAME}"' if unquoted else ""
    return LineFault(line, "", f"not YAML: {said}{hint}")


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain scalars: ``no`` and ``on`` are text, ``12:30`` is no number, a date is text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own name


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), ["" if c == "\0" else c for c in _first]
    )

_SCALARS: dict[str, Any] = {
    "tag:yaml.org,2002:str": str,
    "tag:yaml.org,2002:bool": lambda text: text.lower() == "true",
    "tag:yaml.org,2002:null": lambda _: None,
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": float,
}


class _Builder:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0
        self.faults: list[LineFault] = []

    def value(self, node: yaml.Node, place: Place) -> Any:
        self._count += 1
        if self._count > MAX_VALUES or len(place) > MAX_DEPTH:
            limit = (
                f"more than {MAX_VALUES} values" if self._count > MAX_VALUES else f"values more than {MAX_DEPTH} deep"
            )
            fault = LineFault(node.start_mark.line + 1, shown(place[:4]), f"{limit}; aliases that repeat themselves?")
            raise InvalidFile(self._document.path, [fault])
        self._document.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            return self._scalar(node, place)
        self._refuse(node, place, f"the tag {node.tag.replace('tag:yaml.org,2002:', '!!')} is not taken here")
        return None

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        try:
            return _SCALARS[node.tag](node.value)
        except ValueError:
            self._refuse(node, place, f"is not {node.tag.rpartition(':')[2]}")
            return None

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str) or key_node.tag == "tag:yaml.org,2002:null":
                self._refuse(key_node, place, "a field's name must be text")
                continue
            if key in made:
                first = self._document.lines[(*place, key)]
                self._refuse(key_node, (*place, key), f"is given twice, first in line {first}")
                continue
            self._document.lines[(*place, key)] = key_node.start_mark.line + 1
            made[key] = self.value(value_node, (*place, key))
        return made

    def _refuse(self, node: yaml.Node, place: Place, error: str) -> None:
        self.faults.append(LineFault(node.start_mark.line + 1, shown(place), error))
