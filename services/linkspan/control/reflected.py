"""What reflection knows: the descriptors of this process."""

from __future__ import annotations

from typing import Any, cast

from google.protobuf import descriptor_pool


class _Descriptors:
    """The default pool, which finds a method by its whole name, too: clients such as ghz ask for the method that they
    call, and the pool itself finds none (grpc/grpc#34743)."""

    def __init__(self) -> None:
        self._pool: Any = descriptor_pool.Default()

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802 - as reflection calls it
        """Raises KeyError."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


def descriptors() -> descriptor_pool.DescriptorPool:
    return cast("descriptor_pool.DescriptorPool", _Descriptors())
