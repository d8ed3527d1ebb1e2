"""What somebody is told who is not known."""

from __future__ import annotations

NO_CREDENTIALS = "say who you are: metadata authorization: Bearer <token>, or a client certificate"
EXPIRED = "the token has expired; get a new one"
UNKNOWN = "the token is not known here"
