"""Lists in pages, as the query asks for them."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from keyless.neutral import BadRequest


def page(request: Request, rows: list[dict[str, Any]], *, after: str, usual: int, most: int) -> dict[str, Any]:
    """The part of ``rows`` that the query's ``limit`` and ``after`` ask for. Raises ``BadRequest``."""
    limit, last = request.query_params.get("limit", str(usual)), request.query_params.get(after)
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= most):
        raise BadRequest(f"Invalid 'limit': a whole number from 1 to {most}.", param="limit")
    ids = [row["id"] for row in rows]
    rest = rows[ids.index(last) + 1 :] if last in ids else rows
    shown = rest[: int(limit)]
    return {
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(rest) > len(shown),
    }
