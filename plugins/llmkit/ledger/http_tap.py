"""Sees every call to a model that this process makes over HTTP, whichever SDK makes it, and changes none.

It stands below the SDKs, where OpenTelemetry's instrumentations of httpx stand: in the transports of ``httpx`` and
``httpx2`` (openai, anthropic, cohere, google-genai, ollama, pydantic-ai), in ``aiohttp`` (google-genai's async calls) and in
``botocore``'s session (Bedrock). So it also sees each retry that an SDK makes by itself, and calls without an SDK. What
cannot be read is passed on unread: a call never fails because it was seen.

A stream that nobody reads on may end in the garbage collector, which runs in the middle of anything, also while this very
process holds a lock of a logger or a file. What ends there is put into a queue and reported later, by `flush`.
"""

from __future__ import annotations

import atexit
import functools
import gc
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import wrapt

from llmkit.ledger import replies
from llmkit.urls import without_secrets

log = logging.getLogger(__name__)

MOST_BYTES = 64 * 2**20
"""Of a longer reply the usage is not read."""


@dataclass
class Call:
    """One request and what came of it. ``status`` is 0 when no answer came; ``seconds`` go to the answer's last byte.

    ``owner`` is who made it, asked when it began: a stream may end when somebody else is at work.
    """

    url: str
    api: replies.Api
    model: str | None
    owner: Any
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    at: float = field(default_factory=time.time)
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    seconds: float = 0.0
    chunks: list[bytes] | None = field(default_factory=list)
    decode: Callable[[bytes], bytes] = bytes

    @property
    def body(self) -> bytes:
        """The answer, decoded; empty when it was too long or cannot be decoded, such as half of a compressed one."""
        with suppress(Exception):
            return self.decode(b"".join(self.chunks or ()))
        return b""


class _Watch:
    """Collects one call's answer and puts the call into the queue once, when it is complete, given up or failed."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._ended = False
        self._began = time.perf_counter()
        self._size = 0

    @contextmanager
    def failing(self) -> Iterator[None]:
        """An exception that leaves the block is how the call ended."""
        try:
            yield
        except GeneratorExit:
            self.given_up()  # nobody reads on, which is no failure
            raise
        except BaseException as error:
            self.end(error)
            raise

    def answered(self, status: int, headers: Any) -> None:
        self.call.status = status
        self.call.headers = {str(k).lower(): str(v) for k, v in headers.items()}

    def chunk(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > MOST_BYTES:
            self.call.chunks = None
        elif self.call.chunks is not None:
            self.call.chunks.append(bytes(data))

    def end(self, error: BaseException | None = None) -> None:
        self.given_up(error)
        flush()

    def given_up(self, error: BaseException | None = None) -> None:
        """The call is over, which is reported later: all that a finalizer may do."""
        if self._ended:
            return
        self._ended = True
        self.call.seconds = time.perf_counter() - self._began
        if error is not None:
            self.call.error = type(error).__name__
        _calls.append(self.call)


_calls: deque[Call] = deque()
"""What is over and not yet reported. Appending to it takes no lock that a finalizer could wait for."""
_collecting: int | None = None


def _notice(phase: str, info: dict[str, int]) -> None:
    global _collecting
    _collecting = threading.get_ident() if phase == "start" else None


def flush() -> None:
    """Report the calls that are over. In the garbage collector nothing is done: the next call, or the task's end, does it."""
    if _collecting == threading.get_ident():
        return
    while _report is not None and _calls:
        try:
            call = _calls.popleft()
        except IndexError:  # another thread has taken it
            return
        try:
            _report(call)
        except Exception:
            log.warning("a call to %s could not be noted", call.url, exc_info=True)


_report: Callable[[Call], None] | None = None
_owner: Callable[[], Any] = lambda: None  # noqa: E731


def install(report: Callable[[Call], None], owner: Callable[[], Any]) -> None:
    """Have ``report`` called after each call for which ``owner`` gave one when it began; others are not looked at.

    Modules are patched when they are imported.
    """
    global _report, _owner
    first, _report, _owner = _report is None, report, owner
    if not first:
        return
    gc.callbacks.append(_notice)
    atexit.register(flush)
    for name in ("httpx", "httpx2"):
        wrapt.register_post_import_hook(_patch_httpx, name)
    wrapt.register_post_import_hook(_patch_aiohttp, "aiohttp")
    wrapt.register_post_import_hook(_patch_botocore, "botocore.httpsession")


def _watch(method: str, url: str, body: Callable[[], Any]) -> _Watch | None:
    address = "a model"
    try:
        # No query: Google's and others' keys may stand there.
        address = without_secrets(url.split("#")[0].split("?")[0])
        api = replies.api_of(method.upper(), url)
        if api is None or _report is None or (owner := _owner()) is None:
            return None
        content = body()
        model = api.model or replies.asked_model(content if isinstance(content, bytes) else None)
        flush()
        return _Watch(Call(address, api, model, owner))
    except Exception:
        log.warning("a call to %s could not be watched", address, exc_info=True)
        return None


class _Stream:
    """A response's body as httpx hands it out, each piece of which is seen."""

    def __init__(self, inner: Any, watch: _Watch) -> None:
        self._inner, self._watch = inner, watch

    def __del__(self) -> None:
        self._watch.given_up()  # without being closed


def _patch_httpx(module: ModuleType) -> None:
    def watch(request: Any) -> _Watch | None:
        return _watch(request.method, str(request.url), lambda: getattr(request, "_content", None))

    def seen(watched: _Watch, response: Any, stream: type[_Stream]) -> Any:
        watched.answered(response.status_code, response.headers)
        encoding = {"content-encoding": response.headers.get("content-encoding", "identity")}
        watched.call.decode = lambda body: module.Response(200, headers=encoding, content=body).content
        response.stream = stream(response.stream, watched)
        return response

    class Stream(_Stream, module.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            with self._watch.failing():
                for chunk in self._inner:
                    self._watch.chunk(chunk)
                    yield chunk

        def close(self) -> None:
            try:
                self._inner.close()
            finally:
                self._watch.end()

    class AsyncStream(_Stream, module.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            with self._watch.failing():
                async for chunk in self._inner:
                    self._watch.chunk(chunk)
                    yield chunk

        async def aclose(self) -> None:
            try:
                await self._inner.aclose()
            finally:
                self._watch.end()

    def sync(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        watched = watch(args[0] if args else kwargs["request"])
        if watched is None:
            return wrapped(*args, **kwargs)
        with watched.failing():
            response = wrapped(*args, **kwargs)
        return seen(watched, response, Stream)

    async def asynchronous(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        watched = watch(args[0] if args else kwargs["request"])
        if watched is None:
            return await wrapped(*args, **kwargs)
        with watched.failing():
            response = await wrapped(*args, **kwargs)
        return seen(watched, response, AsyncStream)

    wrapt.wrap_function_wrapper(module, "HTTPTransport.handle_request", sync)
    wrapt.wrap_function_wrapper(module, "AsyncHTTPTransport.handle_async_request", asynchronous)


class _Reader(wrapt.ObjectProxy):
    """A response's body, each piece of which is seen when it is read."""

    def __init__(self, wrapped: Any, watch: _Watch) -> None:
        super().__init__(wrapped)
        self._self_watch = watch

    def __del__(self) -> None:
        self._self_watch.given_up()  # without being read to its end

    def _self_seen(self, data: Any) -> Any:
        piece = data[0] if isinstance(data, tuple) else data
        self._self_watch.chunk(piece)
        return data


class _AsyncReader(_Reader):
    """aiohttp's ``StreamReader``."""

    async def _self_read(self, name: str, *args: Any, **kwargs: Any) -> Any:
        with self._self_watch.failing():
            data = self._self_seen(await getattr(self.__wrapped__, name)(*args, **kwargs))
        if self.__wrapped__.at_eof():
            self._self_watch.end()
        return data

    def __getattr__(self, name: str) -> Any:
        if name in ("read", "readany", "readchunk", "readexactly", "readline", "readuntil"):
            return functools.partial(self._self_read, name)
        return getattr(self.__wrapped__, name)

    async def _self_lines(self, name: str, *args: Any) -> AsyncIterator[Any]:
        while data := await self._self_read(name, *args):
            if data == (b"", False):
                return
            yield data

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._self_lines("readline")

    def iter_any(self) -> AsyncIterator[bytes]:
        return self._self_lines("readany")

    def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        return self._self_lines("read", n)

    def iter_chunks(self) -> AsyncIterator[tuple[bytes, bool]]:
        return self._self_lines("readchunk")


def _patch_aiohttp(module: ModuleType) -> None:
    async def request(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        method, url = args[:2] if len(args) > 1 else (args[0], kwargs["str_or_url"])
        watched = _watch(method, str(url), lambda: kwargs.get("data"))
        if watched is None:
            return await wrapped(*args, **kwargs)
        with watched.failing():
            response = await wrapped(*args, **kwargs)
        watched.answered(response.status, response.headers)
        response.content = _AsyncReader(response.content, watched)
        return response

    wrapt.wrap_function_wrapper(module, "ClientSession._request", request)


class _RawReader(_Reader):
    """urllib3's response, as botocore reads it."""

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        with self._self_watch.failing():
            data = self._self_seen(self.__wrapped__.read(*args, **kwargs))
        if not data or not args or args[0] is None:
            self._self_watch.end()
        return data

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        with self._self_watch.failing():
            for data in self.__wrapped__.stream(*args, **kwargs):
                yield self._self_seen(data)
        self._self_watch.end()

    def close(self) -> None:
        self.__wrapped__.close()
        self._self_watch.end()


def _patch_botocore(module: ModuleType) -> None:
    def send(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        request = args[0] if args else kwargs["request"]
        watched = _watch(request.method, request.url, lambda: request.body)
        if watched is None:
            return wrapped(*args, **kwargs)
        with watched.failing():
            response = wrapped(*args, **kwargs)
        watched.answered(response.status_code, response.headers)
        if request.stream_output:
            response.raw = _RawReader(response.raw, watched)
        else:
            watched.chunk(response.content)
            watched.end()
        return response

    wrapt.wrap_function_wrapper(module, "URLLib3Session.send", send)
