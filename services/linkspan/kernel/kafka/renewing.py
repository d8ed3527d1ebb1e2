"""A password for Kafka that may change while a client lives."""

from __future__ import annotations

from aiokafka.client import AIOKafkaClient
from pydantic import SecretStr


class _Renewing(AIOKafkaClient):  # type: ignore[misc]
    """Asks for the password at each connection; aiokafka keeps the one that it was made with."""

    renewed: SecretStr

    @property
    def _sasl_plain_password(self) -> str:
        return self.renewed.get_secret_value()

    @_sasl_plain_password.setter
    def _sasl_plain_password(self, _value: str) -> None:
        pass


def renew(client: AIOKafkaClient, password: SecretStr | None) -> None:
    """Its next connections take the password that is in force then."""
    if password is not None:
        client.__class__ = _Renewing
        client.renewed = password
