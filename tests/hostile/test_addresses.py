"""What a message says cannot choose whom we ask: paths, blobs and redirects."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from linkspan.kernel.blobs import BlobMissing, BlobStore
from linkspan.kernel.errors import Rejected, Unavailable
from linkspan.kernel.http.client import RestReader
from linkspan.kernel.http.paths import PathTemplate
from linkspan.kernel.spec import System
from tests.hostile.budget import budget

CLIMBING = [
    "../../admin",
    "//evil.example/x",
    "http://evil.example/",
    "@evil.example",
    "..",
    ".",
    "%2e%2e%2fadmin",
    "x?admin=1",
    "x#fragment",
    "x\r\nHost: evil.example",
    "x\x00y",
    "x;y=1",
    "\\..\\admin",
    "\u2024\u2024/",
]
BASE = "http://system.example:8080/base"


@pytest.mark.parametrize("value", CLIMBING)
def test_a_value_in_a_path_stays_in_its_segment_on_its_host(value: str) -> None:
    stays_in_its_segment(value)


@budget(200)
@given(st.text(max_size=40))
def test_any_text_in_a_path_stays_in_its_segment_on_its_host(value: str) -> None:
    stays_in_its_segment(value)


def stays_in_its_segment(value: str) -> None:
    try:
        path = PathTemplate("/v1/plans/{planId}/view").fill({"planId": value})
    except Rejected as refused:
        assert "planId" in refused.reason  # noqa: PT017 - the other end is a path
        return
    made = URL(BASE + path, encoded=True)
    assert (made.host, made.port, made.scheme) == ("system.example", 8080, "http")
    assert made.raw_parts[:4] == ("/", "base", "v1", "plans")
    assert made.raw_parts[5:] == ("view",)
    assert not made.query_string
    assert not made.fragment
    assert path.isascii()
    assert path.isprintable()


@pytest.mark.parametrize(
    "address",
    [
        "../secret",
        "a/../../secret",
        "/etc/passwd",
        "file:///etc/passwd",
        "http://127.0.0.1:1/x",
        "s3://other/x",
        "ab/..%2f..%2fsecret",
        "ab\\..\\secret",
        "",
        ".",
        None,
        7,
    ],
)
async def test_a_blob_address_that_is_none_of_ours_reads_nothing(tmp_path: Path, address: Any) -> None:
    """At once: a lane must not wait for a store that is said to be away."""
    (tmp_path / "secret").write_bytes(b"hush")
    store = BlobStore(str(tmp_path / "blobs"))
    digest = "d6ae9c4c7d4fe0d8bd1b4a4b3b4ec2f3cb1a9c1bcd5f1f2e6ed1fb5b3d2d3d8f"
    with pytest.raises(BlobMissing, match="none of a blob store of ours"):
        await store.get({"address": address, "digest": digest, "size": 4, "mediaType": None})


async def test_a_blob_is_what_its_digest_says_or_missing(tmp_path: Path) -> None:
    store = BlobStore(str(tmp_path))
    reference = await store.put(b"a plan")
    assert await store.get(reference) == b"a plan"
    (tmp_path / reference["address"]).write_bytes(b"another")
    with pytest.raises(BlobMissing, match="not what its digest says"):
        await store.get(reference)


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        port = writer.get_extra_info("sockname")[1]
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/admin\r\n".encode())
        writer.write(b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        reader = RestReader(System.model_validate({"kind": "rest", "url": url, "auth": {"api_key": "hush"}}))
        with pytest.raises(Unavailable, match="it answers with a redirect"):
            await reader.get("/v1/plans/1", 1000)
        await reader.close()
    assert len(asked) == 1
    assert b"/admin" not in asked[0]
