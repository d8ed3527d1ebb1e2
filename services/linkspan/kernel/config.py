"""What a process takes from its environment."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.places import default_data_dir


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


def _checked_database(url: str | None) -> str | None:
    if url is not None and not url.startswith(("sqlite://", "postgresql://", "postgresql+psycopg://")):
        raise ValueError("expected sqlite:///<file> or postgresql://user:password@host/name")
    return url


class Settings(BaseSettings):
    """Names are the environment's, in lower case; a ``LINKSPAN_`` prefix marks those that are ours alone."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    integration_mode: Mode = Mode.DEVELOPMENT
    message_queue_url: Annotated[str, AfterValidator(_checked_queue)] = "kafka://127.0.0.1:9092"
    log_level: Annotated[str, Field(pattern="^(?i:debug|info|warning|error)$")] = "info"
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 500
    linkspan_data: Path = Field(default_factory=default_data_dir)
    linkspan_blobs: str | None = None
    linkspan_host: str = "127.0.0.1"
    linkspan_database_url: Annotated[str | None, AfterValidator(_checked_database)] = None

    @property
    def kafka(self) -> str:
        """Bootstrap servers, ``host:port,…``."""
        return kafka_servers(self.message_queue_url)

    @property
    def blobs(self) -> str:
        """The blob store's address; a directory below the data directory unless said otherwise."""
        return self.linkspan_blobs or str(self.linkspan_data / "blobs")

    def database(self, integration: str) -> str:
        """Address of the ledger's database; a SQLite file in the data directory unless said otherwise."""
        return self.linkspan_database_url or f"sqlite:///{self.linkspan_data.absolute()}/ledger-{integration}.db"


S = TypeVar("S", bound=Settings)


def read_settings(kind: type[S] = Settings) -> S:  # type: ignore[assignment]
    """Raises UserMistake that names the variable; ``kind`` is a process's own settings."""
    try:
        return kind()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]).upper()
        raise UserMistake(f"environment variable {name}: {first['msg'].removeprefix('Value error, ')}") from error
