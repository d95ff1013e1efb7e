"""What the server received: kept in memory, served by ``GET /_keyless/requests``."""

from __future__ import annotations

import itertools
import re
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

KEPT = 20_000


@dataclass
class Entry:
    """One request. ``key`` is the API key's name as the client sent it; tokens are ``None`` where none were counted."""

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
    _began: float = field(default_factory=time.perf_counter, repr=False)

    def close(self, status: int) -> None:
        """The reply has been sent, or the client has gone (status 499)."""
        if self.status is None:
            self.status = status
            self.ms = round((time.perf_counter() - self._began) * 1000, 2)


_KEY_HEADERS = ("x-api-key", "x-goog-api-key", "api-key")
_HIDDEN = {"authorization", "cookie", "x-amz-security-token", *_KEY_HEADERS}
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


class Journal:
    """The last ``KEPT`` requests, oldest first. Keys and the headers that carry them are cut to their first characters."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._entries: deque[Entry] = deque(maxlen=KEPT)

    def open(self, provider: str, method: str, path: str, headers: dict[str, str]) -> Entry:
        shown = {k: v for k, v in headers.items() if k not in _HIDDEN}
        entry = Entry(next(self._ids), provider, method, path, key=_shown(api_key(headers)), headers=shown)
        self._entries.append(entry)
        return entry

    def rows(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Entries with an id above ``after``, at most ``limit`` of the newest."""
        rows = [e for e in self._entries if e.id > after][-limit:]
        return [{k: v for k, v in asdict(e).items() if not k.startswith("_")} for e in rows]

    def clear(self) -> None:
        self._entries.clear()
