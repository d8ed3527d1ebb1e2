"""Which dead letters a call means."""

from __future__ import annotations

import re
from collections.abc import Iterable

from linkspan.control.errors import BadRequest, NotFound
from linkspan.control.v1.letters_pb2 import LetterFilter
from linkspan.control.views.times import micros_of
from linkspan.kernel.errors import Fault
from linkspan.readmodel.letters import Letter

_NAME = re.compile(r"(\d{1,9}):(\d{1,18})\Z")


def place(name: str, field: str = "name") -> tuple[int, int]:
    """Partition and event offset; raises BadRequest."""
    found = _NAME.match(name)
    if found is None:
        raise BadRequest(Fault(field, f"{name!r} is no dead letter's name; expected PARTITION:OFFSET, such as 3:1042"))
    return int(found[1]), int(found[2])


def check(wanted: LetterFilter) -> None:
    """Raises BadRequest."""
    if wanted.names and not wanted.flow:
        raise BadRequest(Fault("filter.flow", "is missing; names of letters are those of one flow"))
    for name in wanted.names:
        place(name, "filter.names")
    if wanted.HasField("since") and wanted.HasField("until") and micros_of(wanted.since) >= micros_of(wanted.until):
        raise BadRequest(Fault("filter.until", "is not after since"))


def chosen(letters: Iterable[Letter], wanted: LetterFilter) -> list[Letter]:
    """In their order. Raises NotFound for a name that no letter has."""
    names = set(wanted.names)
    found = [letter for letter in letters if _fits(letter, wanted) and (not names or letter.name in names)]
    missing = names - {letter.name for letter in found}
    if missing:
        raise NotFound("NO_SUCH_LETTER", f"{wanted.flow} has no such dead letter now: {', '.join(sorted(missing))}")
    return found


def _fits(letter: Letter, wanted: LetterFilter) -> bool:
    return (
        wanted.failure in ("", letter.failure)
        and wanted.fingerprint in ("", letter.fingerprint)
        and wanted.key in ("", letter.key)
        and wanted.message_id in ("", letter.message_id)
        and (not wanted.HasField("since") or letter.at >= micros_of(wanted.since))
        and (not wanted.HasField("until") or letter.at < micros_of(wanted.until))
    )
