"""Why a caller is not known."""

from __future__ import annotations

import grpc

from linkspan.control.errors import CallError


def unauthenticated(reason: str, text: str) -> CallError:
    """``reason``: NO_CREDENTIALS, BAD_TOKEN or EXPIRED_TOKEN."""
    return CallError(grpc.StatusCode.UNAUTHENTICATED, text, reason)


NO_CREDENTIALS = "say who you are: metadata authorization: Bearer <token>, or a client certificate"
EXPIRED = "the token has expired; get a new one"
UNKNOWN = "the token is not known here"
