"""A request that is read straight from its bytes is what a parser of HTTP sees in them; others are left to it."""

from typing import Any

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from linkspan.ingress.accept.usual import LONGEST_HEAD, usual

LONGEST = 100
LINE = b"POST /v1/messages HTTP/1.1\r\n"
HEAD = LINE + b"Host: x\r\nContent-Type: application/json\r\n"


class Parsed:
    """What uvicorn's parser reports of one request."""

    def __init__(self, data: bytes) -> None:
        self.url = self.body = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = 0
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


_KNOWN = [b"x-request-id", b"X-Correlation-ID", b"traceparent", b"Content-Length", b"content-encoding", b"Expect"]
_OTHERS = [
    b"Connection",
    b"Transfer-Encoding",
    b"Prefer",
    b"Upgrade",
    b"Cookie",
    b"a b",
    b"x:",
    b"",
    b" x",
    b"\xc3\xa4",
]
_PLAIN = [b"x", b"a b", b"5", b"+5", b"05", b"keep-alive", b"Keep-Alive", b"close", b"chunked", b"100-continue"]
_ODD = [b"", b" ", b" a", b"a ", b"a\tb", b"a  b", b"a\rb", b"a\nb", b"a\x00b", b"\xc3\xa4", b"a\r\n b", b"x, close"]
_NAMES, _VALUES = st.sampled_from([*_KNOWN, *_OTHERS]), st.sampled_from([*_PLAIN, *_ODD])
_FIELD = st.builds(lambda name, gap, value: name + b":" + gap + value, _NAMES, st.sampled_from([b"", b" "]), _VALUES)
_LINES = st.sampled_from([LINE, LINE, LINE, LINE.replace(b"1.1", b"1.0"), LINE.replace(b"POST", b"PUT")])
_MEDIA = st.sampled_from([b"application/json", b"application/json; charset=utf-8", b"Application/JSON", b"text/plain"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    fields = draw(st.lists(_FIELD, max_size=3))
    fields.append(b"content-type:" + draw(st.sampled_from([b"", b" ", b"  "])) + draw(_MEDIA))
    fields.append(b"Content-Length: %d" % draw(st.sampled_from([0, 1, 5, 5, 5, 100, 101])))
    return draw(_LINES) + b"\r\n".join(draw(st.permutations(fields))) + b"\r\n\r\n" + draw(st.binary(max_size=12))


@example(HEAD + b"content-length: 2\r\n\r\n{}")
@given(requests())
def test_what_is_read_from_the_bytes_is_what_the_parser_reads(data: bytes) -> None:
    found = usual(data, LONGEST)
    if found is None:
        return
    whole = data[: found.end] + b"." * (found.end - len(data))
    parsed = Parsed(whole)
    assert parsed.complete == 1
    assert (parsed.parser.get_method(), parsed.url) == (b"POST", b"/v1/messages")
    assert parsed.parser.get_http_version() == "1.1"
    assert parsed.parser.should_keep_alive()
    assert not parsed.parser.should_upgrade()
    assert dict(parsed.fields) == found.fields
    assert len(parsed.fields) == len(found.fields)
    assert parsed.body == whole[found.start :]


@pytest.mark.parametrize(
    "more",
    [b"", b"X-Request-ID: mine\r\n", b"traceparent: 00-x\r\nAccept: a/b, c/d\r\n", b"Connection: keep-alive\r\n"],
)
def test_what_clients_send_is_usual(more: bytes) -> None:
    found = usual(HEAD + more + b"Content-Length: 5\r\n\r\n12345POST", LONGEST)
    assert found is not None
    assert found.end - found.start == 5


@pytest.mark.parametrize(
    "more",
    [
        b"",
        b"Content-Length: 101\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nConnection: close\r\n",
        b"Content-Length: 5\r\nExpect: 100-continue\r\n",
        b"Content-Length: 5\r\nPrefer: wait=5\r\n",
        b"Content-Length: 5\r\nContent-Encoding: gzip\r\n",
        b"Content-Length: 5\r\nConnection: upgrade\r\nUpgrade: h2c\r\n",
        b"Content-Length : 5\r\n",
        b"Content-Length: 5\n",
        b"Content-Length: 5\r\n folded\r\n",
        b"Content-Length: 5\r\nX: " + b"x" * LONGEST_HEAD + b"\r\n",
    ],
)
def test_what_is_not_usual_is_left_to_the_parser(more: bytes) -> None:
    assert usual(HEAD + more + b"\r\n12345", LONGEST) is None


@given(st.integers(0, 200))
def test_a_part_of_a_head_is_never_a_request(length: int) -> None:
    whole = HEAD + b"Content-Length: 5\r\n\r\n"
    found: Any = usual(whole[:length], LONGEST)
    assert (found is not None) == (length >= len(whole))
