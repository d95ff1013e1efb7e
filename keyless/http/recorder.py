"""Around all providers: which names the server answers to, and what is noted of every request and marked on every reply."""

from __future__ import annotations

import os
from collections.abc import Callable, Container

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyless.http.journal import Journal

LOOPBACK_NAMES = ("127.0.0.1", "localhost")


def allowed_hosts() -> list[str]:
    """Names that the server answers to: loopback's own, and those in ``COURSE_HOSTS``, joined by commas.

    A hostile web page can let a name of its own point to 127.0.0.1 and have the visitor's browser talk to this server (DNS
    rebinding). The browser then sends that name as ``Host``.
    """
    more = (name.strip().lower() for name in os.environ.get("COURSE_HOSTS", "").split(","))
    return [*LOOPBACK_NAMES, *(name for name in more if name)]


class Recorder:
    """Opens an entry for each request to a provider, closes it with the reply, and names in each reply who answered.

    ``failed`` makes the reply to a request that ended in an exception.
    """

    def __init__(
        self,
        app: ASGIApp,
        journal: Journal,
        providers: Container[str],
        answered_by: str,
        failed: Callable[[Request, Exception], Response],
    ) -> None:
        self._app = app
        self._journal = journal
        self._providers = providers
        self._answered_by = answered_by.encode()
        self._failed = failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # What has an entry already comes from a batch, not over HTTP.
        if (
            scope["type"] != "http"
            or "keyless.entry" in scope
            or scope["path"].startswith("/_keyless")
            or scope["path"] == "/health"
        ):
            await self._app(scope, receive, send)
            return
        provider, _, path = scope["path"].lstrip("/").partition("/")
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        name = provider if provider in self._providers else ""
        # The Gemini API takes its key in the address too.
        key = QueryParams(scope["query_string"]).get("key", "")
        entry = self._journal.open(name, scope["method"], f"/{path}", headers, key)
        scope["keyless.entry"] = entry
        status = 0

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-keyless", self._answered_by)]
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                entry.close(status)

        try:
            await self._app(scope, receive, marked)
        except Exception as error:
            response = self._failed(Request(scope), error)
            if status:
                # The reply has begun, and can only break off.
                entry.close(500)
                raise
            await response(scope, receive, marked)
        finally:
            # Not closed yet: the reply broke off, because the client has gone.
            entry.close(499)
