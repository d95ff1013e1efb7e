"""For each example, what its tool calls and its answer must be."""

from __future__ import annotations

EXPECTED: dict = {}
