"""What tells one provider's API from another's where they all do the same: names, error bodies, quota headers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keyless.keys import Key
from keyless.neutral import BadRequest


def _no_headers(_: object) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Provider:
    """One provider. ``name`` is its path prefix; ``overloaded`` the status that it sends when it has no room or is down."""

    name: str
    error_body: Callable[[BadRequest], dict[str, Any]]
    error_headers: Callable[[BadRequest], dict[str, str]] = _no_headers
    quota_headers: Callable[[Key], dict[str, str]] = _no_headers
    overloaded: int = 503
    needs_key: bool = True
