"""How we show Kafka who we are, and how the connection is encrypted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import SecretStr

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@dataclass(frozen=True, slots=True)
class Security:
    """``username`` None: nobody is told who we are, but by the certificate of ``LINKSPAN_CLIENT_CERT``."""

    tls: bool = False
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None

    def options(self) -> dict[str, Any]:
        """For a client of aiokafka. Raises UserMistake where a certificate cannot be used."""
        from linkspan.kernel.tls.trusted import client_context

        made: dict[str, Any] = {"ssl_context": client_context()} if self.tls else {}
        if self.username is not None and self.password is not None:
            made |= {
                "security_protocol": "SASL_SSL" if self.tls else "SASL_PLAINTEXT",
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password.get_secret_value(),
            }
        elif self.tls:
            made["security_protocol"] = "SSL"
        return made


#: In the clear, as nobody.
OPEN = Security()
