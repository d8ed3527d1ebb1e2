"""Are all variables set, and none of them a slip or a development setting?"""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

from linkspan.cli.preflight.finding import Finding
from linkspan.cli.preflight.target import Target
from linkspan.kernel.config import Mode, Settings

_MINE = "LINKSPAN_"
#: Kubernetes sets such variables for each Service of the namespace.
_OF_SERVICES = ("_SERVICE_HOST", "_SERVICE_PORT", "_TCP", "_ADDR", "_PROTO")
#: Read elsewhere than in settings: by the command line, the tests, the image.
_OTHERS = frozenset(
    {
        "LINKSPAN_CONTROL",
        "LINKSPAN_JAEGER",
        "LINKSPAN_API_KEY",
        "LINKSPAN_CA",
        "LINKSPAN_CACHE",
        "LINKSPAN_CLIENT_CERT",
        "LINKSPAN_CLIENT_KEY",
        "LINKSPAN_CONTROL_PORT",
        "LINKSPAN_COMPLETE",
        "LINKSPAN_INGRESS_URL",
        "LINKSPAN_INTEGRATION",
        "LINKSPAN_PORT",
        "LINKSPAN_LOG_FILE",
        "LINKSPAN_MAVEN_REPOSITORY",
        "LINKSPAN_PLANS_CPU_SECONDS",
        "LINKSPAN_PLANS_MEMORY_MB",
        "LINKSPAN_PLANS_SECONDS",
        "LINKSPAN_PROFILE",
        "LINKSPAN_SENDER_TOKEN",
        "LINKSPAN_TOKEN",
    }
)


async def environment(target: Target) -> AsyncIterator[Finding]:
    for line in target.file_faults:
        yield Finding(str(target.file), line, "linkspan check shows the file's mistakes with their lines")
    settings = target.settings
    if settings.integration_mode is not Mode.PRODUCTION:
        yield Finding("INTEGRATION_MODE", f"is {settings.integration_mode}", "set it to production")
    if target.environ.get("LINKSPAN_PLAIN_TEXT"):
        yield Finding("LINKSPAN_PLAIN_TEXT", "is set: connections may be in the clear", "unset it")
    for name, why in _needed(settings, target.environ):
        yield Finding(name, f"is not set: {why}", f"set {name}, or {name}_FILE")
    database = settings.linkspan_database_url
    if database is not None and not database.get_secret_value().startswith("postgresql"):
        yield Finding("LINKSPAN_DATABASE_URL", "is SQLite: replicas cannot share it", "set it to postgresql://…")
    for name, close in slips(target.environ, known_variables()):
        yield Finding(name, "is no variable of Linkspan", f"did you mean {close}?" if close else "remove it")


def _needed(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if not environ.get("MESSAGE_QUEUE_URL"):
        yield "MESSAGE_QUEUE_URL", "Kafka would be looked for on this machine"
    if settings.linkspan_database_url is None:
        yield "LINKSPAN_DATABASE_URL", "each replica would have a ledger of its own"
    if settings.linkspan_blobs is None:
        yield "LINKSPAN_BLOBS", "replicas would not see each other's large content"


def slips(environ: Mapping[str, str], known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Variables that look like ours and are not, each with the nearest that is."""
    names = set(known)
    for name in sorted(environ):
        stem = name.removesuffix("_FILE")
        if not name.startswith(_MINE) or name in names or stem in names or name.endswith(_OF_SERVICES):
            continue
        if environ[name].startswith("tcp://"):
            continue
        yield name, next(iter(difflib.get_close_matches(stem, sorted(names), 1)), "")


def known_variables() -> frozenset[str]:
    from linkspan.control.settings import ControlSettings
    from linkspan.egress.settings import EgressSettings
    from linkspan.ingress.settings import IngressSettings
    from linkspan.insight.settings import InsightSettings
    from linkspan.ledger.settings import LedgerSettings

    kinds = (Settings, ControlSettings, IngressSettings, EgressSettings, LedgerSettings, InsightSettings)
    return frozenset(name.upper() for kind in kinds for name in kind.model_fields) | _OTHERS
