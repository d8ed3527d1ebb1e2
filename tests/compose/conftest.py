"""Stacks of docker-compose.yml, and the two images that they run."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.compose.stack import ROOT, ComposeStack

IMAGE = "linkspan"
#: Another image of the same sources, as a next version would be.
LABEL = "org.opencontainers.image.version"


@pytest.fixture(scope="session")
def image() -> str:
    return built("compose-test")


@pytest.fixture(scope="session")
def next_image(image: str) -> str:
    return built("compose-test-next", "--label", f"{LABEL}=next")


def built(tag: str, *options: str) -> str:
    """``make image``; all but the first build take a second or two."""
    command = ["sh", "scripts/image.sh", "--quiet", *options]
    environment = {**os.environ, "IMAGE": IMAGE, "TAG": tag}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return f"{IMAGE}:{tag}"


@contextmanager
def started(image: str, *services: str, env_file: Path | None = None) -> Iterator[ComposeStack]:
    """Up and healthy. What the processes last said is shown where it is not, or where a test failed."""
    stack = ComposeStack(f"linkspan-test-{uuid.uuid4().hex[:8]}", image, env_file)
    try:
        stack.timed("up, until all are healthy", "up", "--detach", "--wait", "--wait-timeout", "280", *services)
        yield stack
    except BaseException:
        print(stack.attempt("ps", "--all").stdout, stack.attempt("logs", "--tail", "15").stdout)
        raise
    finally:
        stack.down()
        print("seconds:", {what: round(took, 1) for what, took in stack.timings.items()})
