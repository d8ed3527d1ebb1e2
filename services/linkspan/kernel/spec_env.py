"""What the environment puts into an integration file: ``${NAME}``, ``${NAME:-text}``, and the variables that win."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.lined_yaml import Document, LineFault, Place
from linkspan.kernel.secret import secret_of, text_of

_VARIABLE = re.compile(r"\$?\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")
_MALFORMED = re.compile(r"(?<!\$)\$\{")

#: Variable's end -> field of the system; ``SYSTEM_A_`` is about the file's first system, ``SYSTEM_B_`` the second.
_OF_SYSTEM: dict[str, Place] = {
    "ENDPOINT": ("url",),
    "CLIENT_ID": ("auth", "oauth2", "client_id"),
    "CLIENT_SECRET": ("auth", "oauth2", "client_secret"),
    "API_KEY": ("auth", "api_key"),
}


#: Fields that may follow a file while the process runs.
_SECRETS = (("client_secret",), ("api_key",))


class Filled:
    """A document with the environment put in. ``origins``: field -> the variable its value came from.

    ``faults`` names variables that are missing; their fields are None in ``data`` and listed in ``missing``.
    """

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self._document, self._environ = document, environ
        self.origins: dict[Place, str] = {}
        self.faults: list[LineFault] = []
        self.missing: set[Place] = set()
        self.data = document.data
        if isinstance(self.data, dict):
            self._override(self.data)
            self.data = self._filled(self.data, ())

    def _override(self, data: dict[str, Any]) -> None:
        systems = data.get("systems")
        if not isinstance(systems, dict):
            return
        for letter, (name, system) in zip("AB", systems.items(), strict=False):
            if not isinstance(system, dict):
                continue
            for end, where in _OF_SYSTEM.items():
                variable = f"SYSTEM_{letter}_{end}"
                if self._said(variable):
                    self._set(system, ("systems", name), where, variable)
        for name, system in systems.items():
            if isinstance(system, dict) and self._environ.get("RETRY_ATTEMPTS"):
                self._set(system, ("systems", name), ("retry", "attempts"), "RETRY_ATTEMPTS")
        self._override_batches(data.get("flows"))

    def _override_batches(self, flows: Any) -> None:
        """Of the flows that deliver in batches; it makes none of the others do so."""
        for name, flow in flows.items() if isinstance(flows, dict) and self._environ.get("BATCH_SIZE") else ():
            deliver = flow.get("deliver") if isinstance(flow, dict) else None
            if isinstance(deliver, dict) and isinstance(deliver.get("batch"), dict):
                self._set(flow, ("flows", name), ("deliver", "batch", "size"), "BATCH_SIZE")

    def _set(self, system: dict[str, Any], base: Place, where: Place, variable: str) -> None:
        if where[:1] == ("auth",) and not self._fits_auth(system, base, where, variable):
            return
        part: Any = system
        for name in where[:-1]:
            part = part.setdefault(name, {})
            if not isinstance(part, dict):
                return  # the model says what is wrong there
        part[where[-1]] = self._value(variable, where)
        self.origins[base + where] = variable

    def _said(self, variable: str) -> bool:
        return bool(self._environ.get(variable) or self._environ.get(f"{variable}_FILE"))

    def _value(self, variable: str, place: Place) -> str | SecretStr | None:
        """Of the variable or its file; a secret's file is read again when it changes. None where it is missing."""
        read = secret_of if place[-1:] in _SECRETS else text_of
        try:
            return read(self._environ, variable)
        except UserMistake as error:
            self.fault(place, str(error))
            return None

    def _fits_auth(self, system: dict[str, Any], base: Place, where: Place, variable: str) -> bool:
        """A variable replaces a credential, it does not turn one kind of credential into the other."""
        auth = system.get("auth")
        kinds = auth.keys() if isinstance(auth, dict) else set()
        if where[1] in kinds or (not kinds and where[1] == "api_key"):
            return True
        has = f"auth.{next(iter(kinds))}" if kinds else "no auth"
        self.faults.append(
            self._document.fault((*base, "auth"), f"{variable} is set, but the system has {has}, not auth.{where[1]}")
        )
        return False

    def _filled(self, value: Any, place: Place) -> Any:
        if place in self.origins:
            return value
        if isinstance(value, dict):
            return {name: self._filled(item, (*place, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item, (*place, index)) for index, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        alone = _VARIABLE.fullmatch(value)
        if alone and not alone[0].startswith("$$") and place[-1:] in _SECRETS and self._said(alone[1]):
            self.origins[place] = alone[1]
            return self._value(alone[1], place)
        return self._text(value, place)

    def _text(self, value: str, place: Place) -> str | None:
        missing: list[str] = []

        def replaced(match: re.Match[str]) -> str:
            if match[0].startswith("$$"):
                return match[0][1:]
            found = self._value(match[1], place)
            said = found.get_secret_value() if isinstance(found, SecretStr) else found or match[2]
            if said is None:
                missing.append(match[1])
            self.origins.setdefault(place, match[1])
            return said or ""

        if place[-1:] != ("jsonata",) and _MALFORMED.search(_VARIABLE.sub("", value)):
            self.fault(place, "expected ${NAME} or ${NAME:-text} (NAME in capitals); write $${ for a plain ${")
            return None
        made = _VARIABLE.sub(replaced, value)
        for name in missing:
            self.fault(place, f"the environment variable {name} is not set, and the file has no ${{{name}:-default}}")
        return None if missing else made.replace("$${", "${")

    def fault(self, place: Place, error: str) -> None:
        """Something is wrong there; it counts as missing."""
        self.missing.add(place)
        self.faults.append(self._document.fault(place, error))
