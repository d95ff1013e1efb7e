"""What the server received: kept in memory, served by ``GET /_keyless/requests``."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from keyless.neutral import Request

KEPT = 20_000
KEPT_BODY_BYTES = 64 * 1024 * 1024
"""Of what clients send, when it is kept at all. The oldest bodies go first; a larger one is not kept."""


@dataclass
class Entry:
    """One request. ``key`` is the API key's name as the client sent it; tokens are ``None`` where none were counted.

    ``body`` and ``asked``, what the model was asked in the form that all providers share, are kept only where the journal
    keeps bodies.
    """

    id: int
    provider: str
    method: str
    path: str
    model: str | None = None
    key: str | None = None
    stream: bool = False
    status: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    ms: float | None = None
    headers: dict[str, str] = field(default_factory=dict)
    received_at: float = field(default_factory=time.time)
    body: bytes | None = field(default=None, repr=False)
    asked: Request | dict[str, Any] | None = field(default=None, repr=False)
    _began: float = field(default_factory=time.perf_counter, repr=False)

    def close(self, status: int) -> None:
        """The reply has been sent, or the client has gone (status 499)."""
        if self.status is None:
            self.status = status
            self.ms = round((time.perf_counter() - self._began) * 1000, 2)


_KEY_HEADERS = ("x-api-key", "x-goog-api-key", "api-key")
_HIDDEN = {"authorization", "proxy-authorization", "cookie", "x-amz-security-token", *_KEY_HEADERS}
_SCHEMES = ("bearer", "basic", "aws4-hmac-sha256")
_AWS_CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256\s+Credential=(.+?)/\d{8}/")


def api_key(headers: dict[str, str]) -> str:
    """The key that a request carries, in whichever header its SDK sends it; ``""`` when there is none.

    Of a request signed for AWS it is the access key id.
    """
    authorization = headers.get("authorization", "")
    if authorization[:7].lower() == "bearer ":
        return authorization[7:].strip()
    if match := _AWS_CREDENTIAL.match(authorization):
        return match[1]
    return next((headers[name].strip() for name in _KEY_HEADERS if name in headers), "")


def _shown(key: str) -> str | None:
    """keyless' own keys whole; of any other key, which may be a real one sent here by mistake, only its beginning."""
    if not key:
        return None
    return key if key == "keyless" or key.startswith("keyless:") else f"{key[:4]}…"


def _masked(name: str, header: str) -> str:
    """What kind of credential a header carries, and its beginning."""
    if name == "cookie":
        return "…"
    scheme, _, secret = header.partition(" ")
    if scheme.lower() in _SCHEMES and secret:
        return f"{scheme} {secret[:4]}…"
    return f"{header[:4]}…"


def _shown_headers(headers: dict[str, str]) -> dict[str, str]:
    shown = {k: _masked(k, v) if k in _HIDDEN else v for k, v in headers.items()}
    if "referer" in shown:
        # An address may have a key in its query.
        shown["referer"] = shown["referer"].partition("?")[0]
    return shown


class Journal:
    """The last ``KEPT`` requests, oldest first. Keys, and the headers that carry them, are cut to their first characters.

    Where bodies are kept, they are together at most ``kept_body_bytes``; what the model was asked comes on top, about as
    much again.
    """

    def __init__(self, *, keep_bodies: bool = False, kept_body_bytes: int = KEPT_BODY_BYTES, kept: int = KEPT) -> None:
        self._ids = itertools.count(1)
        self._entries: deque[Entry] = deque()
        self._kept = kept
        self._room = kept_body_bytes if keep_bodies else 0
        self._with_body: dict[int, Entry] = {}
        self._used = 0

    def open(self, provider: str, method: str, path: str, headers: dict[str, str], key: str = "") -> Entry:
        """Begin an entry. ``key`` is an API key that did not come in a header."""
        name = _shown(api_key(headers) or key)
        entry = Entry(next(self._ids), provider, method, path, key=name, headers=_shown_headers(headers))
        self._entries.append(entry)
        if len(self._entries) > self._kept:
            self._forget(self._entries.popleft())
        return entry

    def note_body(self, entry: Entry, body: bytes) -> None:
        """Keep what a client sent, and let go of the oldest bodies for it; nothing where no bodies are kept."""
        if not 0 < len(body) <= self._room:
            return
        entry.body = body
        self._with_body[entry.id] = entry
        self._used += len(body)
        while self._used > self._room:
            self._forget(next(iter(self._with_body.values())))

    def note_asked(self, entry: Entry, asked: Request | dict[str, Any]) -> None:
        """Keep what the model is asked, beside the body that it was read from."""
        if entry.body is not None:
            entry.asked = asked

    def rows(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Entries with an id above ``after``, at most ``limit`` of the newest."""
        return [_row(e) for e in [e for e in self._entries if e.id > after][-limit:]]

    def clear(self) -> None:
        for entry in list(self._with_body.values()):
            self._forget(entry)
        self._entries.clear()

    def _forget(self, entry: Entry) -> None:
        if self._with_body.pop(entry.id, None) is not None:
            self._used -= len(entry.body or b"")
        entry.body = entry.asked = None


def _row(entry: Entry) -> dict[str, Any]:
    apart = ("body", "asked")
    row = {k: v for k, v in vars(entry).items() if not k.startswith("_") and k not in apart}
    if entry.body is not None:
        said = {"body": _readable(entry.body), "asked": _plain(entry.asked)}
        # Python reads NaN and the like, which no JSON has: they become their names.
        row |= json.loads(json.dumps(said), parse_constant=str)
    return row


def _readable(body: bytes) -> Any:
    """JSON as data, a text as a text, and of anything else its size."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        pass
    try:
        return body.decode()
    except UnicodeDecodeError:
        return {"bytes": len(body)}


def _plain(asked: Request | dict[str, Any] | None) -> dict[str, Any] | None:
    """A neutral request as JSON: ``system`` apart from the other ``messages``, then ``tools`` and the settings."""
    if not isinstance(asked, Request):
        return asked
    said = asdict(asked)
    messages = said.pop("messages")
    system = "\n".join(m["text"] for m in messages if m["role"] == "system")
    return {"system": system, "messages": [m for m in messages if m["role"] != "system"], **said}
