"""The attributes of spans: each name once, with its meaning; ``docs/traces.md`` has the same list.

What does not begin with ``linkspan.`` is of OpenTelemetry's semantic conventions (messaging, HTTP, errors), in the
version of the package ``opentelemetry-semantic-conventions``; a test compares the names with it.
"""

from __future__ import annotations

from urllib.parse import urlsplit

#: Meaning by name.
MEANINGS: dict[str, str] = {}


def _named(name: str, meaning: str) -> str:
    MEANINGS[name] = meaning
    return name


CORRELATION_ID = _named(
    "linkspan.correlation_id", "Correlation id of the message, on every span; a list where a request carries many."
)
STEP = _named("linkspan.step", "What of the message's way the span is, a verb of architecture.md: `accept`, `append` …")
FLOW = _named("linkspan.flow", "Name of the flow.")
ATTEMPT = _named("linkspan.attempt", "Which attempt of this process at delivering the message it is, from 1.")
OUTCOME = _named("linkspan.outcome", "What became of a message that is given up: `dead_lettered` or `expired`.")
REPLAY = _named("linkspan.replay", "Id of the replay plan for which a message is delivered again.")
REDRIVE = _named("linkspan.redrive", "True for the delivery of a dead letter that somebody redrove.")
LINK = _named(
    "linkspan.link", "On a link: what the other span is to this one, `batch`, `message`, `original` or `replay`."
)

SYSTEM = _named("messaging.system", "`kafka`; for what other systems send and get, the kind: `websocket` or `rest`.")
OPERATION = _named("messaging.operation.name", "The same verb as `linkspan.step`, on messaging spans.")
OPERATION_TYPE = _named("messaging.operation.type", "`create`, `send`, `receive`, `process` or `settle`.")
DESTINATION = _named("messaging.destination.name", "The topic; outside Kafka the name of the other system.")
PARTITION = _named("messaging.destination.partition.id", "The partition of the topic, as text.")
OFFSET = _named("messaging.kafka.offset", "Offset of the event in its partition.")
GROUP = _named("messaging.consumer.group.name", "The Kafka group that consumes.")
MESSAGE_ID = _named("messaging.message.id", "Id of the message.")
BODY_SIZE = _named("messaging.message.body.size", "Bytes of the message.")
BATCH_COUNT = _named("messaging.batch.message_count", "Messages of one request; absent where it has one by its nature.")

METHOD = _named("http.request.method", "Method of the request.")
ROUTE = _named("http.route", "Of a server: the path with names for what changes.")
PATH_TEMPLATE = _named("url.template", "Of a client: the path with names for what changes.")
PATH = _named("url.path", "Of a server: the path as it was asked for.")
SCHEME = _named("url.scheme", "Of a server: `http` or `https`.")
URL = _named("url.full", "Of a client: the address asked, without credentials and query.")
STATUS = _named("http.response.status_code", "Status of the answer; absent where none came.")
RESEND = _named("http.request.resend_count", "How many attempts came before this one; absent on the first.")
SERVER = _named("server.address", "Host that is asked.")
PORT = _named("server.port", "Its port.")

ERROR = _named(
    "error.type",
    "Why a span failed: the failure class of a delivery (`unavailable`, `transient`, `rejected`, `poison`, `expired`, "
    "`conflict`), the status of an answer that is ours (`503`), else the name of the exception.",
)


def server_facts(url: str) -> dict[str, str | int]:
    """Host and port of an ``http``, ``https``, ``ws`` or ``wss`` address, with the scheme's own port."""
    address = urlsplit(url)
    port = address.port or (443 if address.scheme in {"https", "wss"} else 80)
    return {SERVER: address.hostname or "", PORT: port}
