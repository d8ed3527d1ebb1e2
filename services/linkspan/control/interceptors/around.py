"""One way to wrap a call, whatever comes and goes: one message, or a stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from linkspan.control.errors import BadRequest
from linkspan.kernel.errors import Fault

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


class Around(aio.ServerInterceptor, ABC):
    """``around`` is entered before a call is answered and left after."""

    @abstractmethod
    def around(self, method: str, context: Any) -> AbstractAsyncContextManager[None]:
        """``method``: /package.Service/Method."""

    async def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method: str = handler_call_details.method
        return _like(handler, lambda answer: self._one(method, answer), lambda answer: self._many(method, answer))

    def _one(self, method: str, answer: Any) -> Any:
        async def wrapped(request: Any, context: Any) -> Any:
            async with self.around(method, context):
                return await answer(_readable(request), context)

        return wrapped

    def _many(self, method: str, answer: Any) -> Any:
        async def wrapped(request: Any, context: Any) -> AsyncIterator[Any]:
            async with self.around(method, context), aclosing(answer(_readable(request), context)) as messages:
                async for message in messages:
                    yield message

        return wrapped


class _Unreadable:
    """In place of a request whose bytes are none. gRPC would answer UNKNOWN, with a traceback in the log."""


def _readable(request: Any) -> Any:
    """Raises BadRequest; callers that are not allowed to ask were told so before."""
    if isinstance(request, _Unreadable):
        raise BadRequest(Fault("", "the bytes are no message of this method"))
    return request


def _reading(deserializer: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    if deserializer is None:
        return None

    def read(content: bytes) -> Any:
        try:
            return deserializer(content)
        except DecodeError:
            return _Unreadable()

    return read


def _like(handler: Any, one: Callable[[Any], Any], many: Callable[[Any], Any]) -> Any:
    coded = {
        "request_deserializer": _reading(handler.request_deserializer),
        "response_serializer": handler.response_serializer,
    }
    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(many(handler.stream_stream), **coded)
    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler(one(handler.stream_unary), **coded)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(many(handler.unary_stream), **coded)
    return grpc.unary_unary_rpc_method_handler(one(handler.unary_unary), **coded)
