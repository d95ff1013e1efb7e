"""Identifiers and times as APIs write them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime


def new_id(prefix: str) -> str:
    return f"{prefix}{uuid.uuid4().hex[:24]}"


def rfc3339(seconds: float) -> str:
    """A time in seconds since the epoch as APIs write it, such as ``2026-11-21T10:00:00.500000Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
