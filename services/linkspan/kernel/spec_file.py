"""Reads an ``integration.yaml``: the file, what the environment puts into it, and all its mistakes with their lines."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from linkspan.kernel.config import Mode
from linkspan.kernel.errors import Fault
from linkspan.kernel.lined_yaml import Document, InvalidFile, LineFault, Place, read_lined, shown
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas
from linkspan.kernel.secret import remember
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_env import Filled
from linkspan.kernel.spec_secrets import open_secrets
from linkspan.kernel.tls.plain import plain_text


class InvalidIntegration(InvalidFile):
    """An integration file has mistakes; ``faults`` has all of them: line, field, error."""


@dataclass(frozen=True, slots=True)
class IntegrationFile:
    """An integration and where in its file each field stands."""

    integration: Integration
    document: Document

    def invalid(self, faults: Iterable[Fault]) -> InvalidIntegration:
        """The faults, found by whoever looked closer, with their lines."""
        return InvalidIntegration(self.document.path, [_located(self.document, fault) for fault in faults])


def load_integration(path: Path, environ: Mapping[str, str]) -> Integration:
    """Raises InvalidIntegration with every mistake; with ``INTEGRATION_MODE=production`` plain text is one."""
    return read_integration(path, environ).integration


def read_integration(path: Path, environ: Mapping[str, str]) -> IntegrationFile:
    """As ``load_integration``, with the lines kept for further checks."""
    try:
        document = read_lined(path)
    except InvalidFile as error:
        raise InvalidIntegration(error.path, list(error.faults)) from error
    if not isinstance(document.data, dict):
        raise InvalidIntegration(path, [LineFault(1, "", "expected integration:, systems: and flows:")])
    filled = Filled(document, environ)
    open_secrets(filled, environ)
    _place_schemas(filled, document)
    found = IntegrationFile(_validated(filled, document), document)
    remember_secrets(found.integration)
    if environ.get("INTEGRATION_MODE") == Mode.PRODUCTION:
        faults = list(plain_text(found.integration))
        if faults:
            raise found.invalid(faults)
    return found


def remember_secrets(integration: Integration) -> None:
    """What the systems are shown is hidden from now on wherever somebody repeats it."""
    for auth in (system.auth for system in integration.systems.values() if system.auth):
        secret = auth.api_key or (auth.oauth2.client_secret if auth.oauth2 else None)
        if secret is not None:
            remember(secret.get_secret_value())


def catalog_for(integration: Integration) -> SchemaCatalog:
    """Linkspan's own schemas and the integration's."""
    roots = [packaged_schemas()]
    if integration.schemas and integration.schemas.resolve() != roots[0].resolve():
        roots.append(integration.schemas)
    return SchemaCatalog(*roots)


def _place_schemas(filled: Filled, document: Document) -> None:
    folder = filled.data.get("schemas")
    if not isinstance(folder, str):
        return
    resolved = document.path.parent / folder
    filled.data["schemas"] = str(resolved)
    if not resolved.is_dir():
        filled.missing.add(("schemas",))
        filled.faults.append(document.fault(("schemas",), f"there is no folder {resolved}"))


def _validated(filled: Filled, document: Document) -> Integration:
    faults = list(filled.faults)
    try:
        integration = Integration.model_validate(filled.data)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            faults += [
                _with_origin(filled, document, place, text)
                for place, text in _details(detail)
                if not any(place[: len(missing)] == missing[: len(place)] for missing in filled.missing)
            ]
    if faults:
        raise InvalidIntegration(document.path, faults)
    return integration


def _with_origin(filled: Filled, document: Document, place: Place, text: str) -> LineFault:
    variable = filled.origins.get(place)
    return document.fault(place, f"{text} (the value is from {variable})" if variable else text)


def _located(document: Document, fault: Fault) -> LineFault:
    """``fault.field`` as this module writes it; its place is the longest of the file's that it begins with."""
    places = [place for place in document.lines if _begins(fault.field, shown(place))]
    return LineFault(document.lines[max(places, key=len, default=())], fault.field, fault.error)


def _begins(field: str, place: str) -> bool:
    return not place or field == place or (field.startswith(place) and field[len(place)] in ".[")


def _details(detail: ErrorDetails) -> Iterable[tuple[Place, str]]:
    place = tuple(part for part in detail["loc"] if part != "[key]")
    if detail["type"] == "faults":
        for fault in detail["ctx"]["faults"]:
            yield (*place, *_parts(fault.field)), fault.error
    else:
        yield place, _text(detail, place)


def _parts(field: str) -> Iterable[str | int]:
    """``flows.f.transform[0].step`` as a place."""
    for part in field.split("."):
        name, _, index = part.partition("[")
        yield name
        if index:
            yield int(index.removesuffix("]"))


def _text(detail: ErrorDetails, place: Place) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _unknown(place)
    if kind == "string_pattern_mismatch":
        return _TYPE_NAME if place[-1] == "type" else _NAME
    if kind == "literal_error":
        return f"expected {detail['ctx']['expected']}"
    if kind == "too_short" and place == ("systems",):
        return "an integration has two systems, and may have further ones for replays"
    return _TEXTS.get(kind) or _reworded(detail["msg"])


_NAME = "a name is at most 63 lower case letters, digits and hyphens, and begins with a letter"
_TYPE_NAME = "a type is named like PlanUploaded: letters and digits, beginning with a capital"
_TEXTS = {
    "missing": "required field missing",
    "string_type": "expected text; put a number, true or false in quotes",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_parsing": "expected a number",
    "model_type": "expected fields (name: value)",
    "model_attributes_type": "expected fields (name: value)",
    "dict_type": "expected fields (name: value)",
    "tuple_type": "expected a list",
}


def _reworded(text: str) -> str:
    """pydantic's sentence as the rest of a line that begins with the field."""
    text = text.removeprefix("Value error, ")
    wanted = text.removeprefix("Input should be ")
    if wanted == text:
        return text[:1].lower() + text[1:]
    return f"must be {wanted}" if wanted.startswith(("greater", "less")) else f"expected {wanted}"


def _unknown(place: Place) -> str:
    known = sorted(_fields(Integration, place[:-1]))
    close = difflib.get_close_matches(str(place[-1]), known, 1)
    return f"unknown field{f'; did you mean {close[0]}?' if close else ';'} There are: {', '.join(known)}"


def _fields(model: type[BaseModel], place: Place) -> list[str]:
    """Names of the fields that the part at ``place`` may have."""
    schema = model.model_json_schema(by_alias=True)
    node: Any = schema
    for part in place:
        node = _resolved(node, schema)
        properties = node.get("properties", {})
        named = next(iter(node.get("patternProperties", {}).values()), None)
        node = properties.get(part) or named or node.get("additionalProperties") or node.get("items") or {}
    return list(_resolved(node, schema).get("properties", {}))


def _resolved(node: Any, schema: Any) -> Any:
    for option in [node, *node.get("anyOf", ())]:
        if "$ref" in option:
            return schema["$defs"][option["$ref"].rpartition("/")[2]]
        if option.get("type") == "array":
            return option
    return node
