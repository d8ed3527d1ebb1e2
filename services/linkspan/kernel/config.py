"""What a process takes from its environment."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from linkspan.kernel.archive.store import ArchiveAt
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.kafka.security import Mechanism, Security
from linkspan.kernel.places import default_data_dir
from linkspan.kernel.secret import secret_of


class Mode(StrEnum):
    PRODUCTION = "production"
    DEVELOPMENT = "development"


def kafka_servers(url: str) -> str:
    """``host:port,…`` of a ``kafka://`` or ``kafka+ssl://`` address; raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("kafka", "kafka+ssl"):
        raise ValueError(
            f"the scheme {parts.scheme or url!r} is not supported: Linkspan keeps its events in Kafka; "
            "use kafka://host:port,… or kafka+ssl://host:port,…"
        )
    if "@" in parts.netloc:
        raise ValueError("an address holds no credentials; give them in LINKSPAN_KAFKA_SASL_…")
    servers = parts.netloc.split(",")
    if not all(_is_server(server) for server in servers):
        raise ValueError("expected kafka://host:port,…")
    return parts.netloc


def _is_server(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdigit() and 0 < int(port) < 65536


def _checked_queue(url: str) -> str:
    kafka_servers(url)
    return url


def _checked_database(url: SecretStr | None) -> SecretStr | None:
    schemes = ("sqlite://", "postgresql://", "postgresql+psycopg://")
    if url is not None and not url.get_secret_value().startswith(schemes):
        raise ValueError("expected sqlite:///<file> or postgresql://user:password@host/name")
    return url


def _only_in_development(said: str | None, info: ValidationInfo) -> str | None:
    if said and info.data.get("integration_mode") is Mode.PRODUCTION:
        raise ValueError("production refuses plain text; unset it, and encrypt every connection (docs/security.md)")
    return said


class Settings(BaseSettings):
    """Names are the environment's, in lower case; a ``LINKSPAN_`` prefix marks those that are ours alone. Secrets may
    stand in the file that ``<NAME>_FILE`` names instead."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    integration_mode: Mode = Mode.DEVELOPMENT
    message_queue_url: Annotated[str, AfterValidator(_checked_queue)] = "kafka://127.0.0.1:9092"
    log_level: Annotated[str, Field(pattern="^(?i:debug|info|warning|error)$")] = "info"
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 500
    linkspan_data: Path = Field(default_factory=default_data_dir)
    linkspan_blobs: str | None = None
    linkspan_archive: str | None = None
    linkspan_keyring: Path | None = None
    linkspan_host: str = "127.0.0.1"
    linkspan_database_url: Annotated[SecretStr | None, AfterValidator(_checked_database)] = None
    linkspan_plain_text: Annotated[Literal["development"] | None, AfterValidator(_only_in_development)] = None
    linkspan_tls_cert: Path | None = None
    linkspan_tls_key: Path | None = None
    linkspan_kafka_sasl_mechanism: Mechanism = "SCRAM-SHA-512"
    linkspan_kafka_sasl_username: str | None = None
    linkspan_kafka_sasl_password: SecretStr | None = None

    @property
    def plain_text(self) -> bool:
        """Whether connections may be in the clear."""
        return self.linkspan_plain_text is not None

    @property
    def kafka_security(self) -> Security:
        """Raises UserMistake for half a pair of credentials."""
        username, password = self.linkspan_kafka_sasl_username, self.linkspan_kafka_sasl_password
        if (username is None) != (password is None):
            raise UserMistake("LINKSPAN_KAFKA_SASL_USERNAME and LINKSPAN_KAFKA_SASL_PASSWORD go together")
        tls = self.message_queue_url.startswith("kafka+ssl://")
        return Security(tls, self.linkspan_kafka_sasl_mechanism, username, password)

    @property
    def kafka(self) -> str:
        """Bootstrap servers, ``host:port,…``."""
        return kafka_servers(self.message_queue_url)

    @property
    def blobs(self) -> str:
        """The blob store's address; a directory below the data directory unless said otherwise."""
        return self.linkspan_blobs or str(self.linkspan_data / "blobs")

    def archive(self, integration: str) -> ArchiveAt:
        """Beside the blobs unless said otherwise."""
        url = self.linkspan_archive or f"{self.blobs.rstrip('/')}/archive"
        return ArchiveAt(url, integration, asked=self.linkspan_archive is not None)

    def database(self, integration: str) -> SecretStr:
        """Address of the ledger's database; a SQLite file in the data directory unless said otherwise."""
        file = f"sqlite:///{self.linkspan_data.absolute()}/ledger-{integration}.db"
        return self.linkspan_database_url or SecretStr(file)


S = TypeVar("S", bound=Settings)


def read_settings(kind: type[S] = Settings) -> S:  # type: ignore[assignment]
    """Raises UserMistake that names the variable; ``kind`` is a process's own settings."""
    secrets: dict[str, Any] = {
        name: secret
        for name, field in kind.model_fields.items()
        if "SecretStr" in str(field.annotation) and (secret := secret_of(os.environ, name.upper())) is not None
    }
    try:
        return kind(**secrets)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]).upper()
        raise UserMistake(f"environment variable {name}: {first['msg'].removeprefix('Value error, ')}") from error
