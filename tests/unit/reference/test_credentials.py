"""What the reference systems show to ingress."""

from pathlib import Path

import pytest

from linkspan.kernel.errors import UserMistake
from linkspan.reference.credentials import sender_credential


def test_a_key_or_token_is_sent_and_a_replaced_file_counts_at_once(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("one\n")
    key = sender_credential({"LINKSPAN_API_KEY": "", "LINKSPAN_API_KEY_FILE": str(file)})
    token = sender_credential({"LINKSPAN_SENDER_TOKEN_FILE": str(file)})
    assert (key(), token()) == ({"X-API-Key": "one"}, {"Authorization": "Bearer one"})
    file.write_text("another\n")
    assert (key(), token()) == ({"X-API-Key": "another"}, {"Authorization": "Bearer another"})
    assert sender_credential({"LINKSPAN_API_KEY": "k"})() == {"X-API-Key": "k"}
    assert sender_credential({})() == {}


def test_what_cannot_be_meant_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match="LINKSPAN_API_KEY or LINKSPAN_SENDER_TOKEN, not both"):
        sender_credential({"LINKSPAN_API_KEY": "k", "LINKSPAN_SENDER_TOKEN": "t"})
    with pytest.raises(UserMistake, match="cannot be read"):
        sender_credential({"LINKSPAN_API_KEY_FILE": str(tmp_path / "nothing")})
    with pytest.raises(UserMistake, match="alone on a line"):
        sender_credential({"LINKSPAN_API_KEY": "a\r\nb"})
