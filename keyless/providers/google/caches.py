"""Google's cached contents: the beginning of a prompt that is kept under a name (https://ai.google.dev/api/caching)."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import bodies, calls, context
from keyless.http.adapter import adapter
from keyless.http.prompt_cache import MIN_TOKENS
from keyless.http.stamps import new_id, rfc3339
from keyless.neutral import BadRequest
from keyless.providers.google import files
from keyless.providers.google.codec import Camel, Prompt, to_neutral
from keyless.providers.google.errors import DIALECT

REMEMBERED = 1000
DEFAULT_SECONDS = 3600

Asked = TypeVar("Asked", bound=Prompt)


class CacheRequest(Prompt):
    model: str = Field(min_length=1)
    ttl: str | None = None
    expire_time: str | None = None
    display_name: str | None = None


class Lifetime(Camel):
    ttl: str | None = None
    expire_time: str | None = None


@dataclass(frozen=True)
class CachedContent:
    """A kept beginning of a prompt; ``tokens`` is its size."""

    name: str
    body: CacheRequest
    tokens: int
    created: datetime
    updated: datetime
    expires: datetime


def _caches(request: Request) -> OrderedDict[str, CachedContent]:
    return context.provider_state(request, "google").caches


def _find(request: Request, name: str) -> CachedContent:
    found = _caches(request).get(name.rpartition("/")[2])
    if found is None or found.expires <= datetime.now(UTC):
        raise BadRequest(f"CachedContent not found (or permission denied): {name}", status=404, kind="not_found")
    return found


def _expiry(asked: CacheRequest | Lifetime) -> datetime:
    if asked.expire_time:
        try:
            until = datetime.fromisoformat(asked.expire_time)
            return until.astimezone(UTC) if until.tzinfo else until.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            raise BadRequest("expireTime is no RFC 3339 time.", param="expireTime") from None
    if asked.ttl and not re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?s", asked.ttl):
        raise BadRequest("ttl is a number of seconds such as 300s.", param="ttl")
    return datetime.now(UTC) + timedelta(seconds=float(asked.ttl[:-1]) if asked.ttl else DEFAULT_SECONDS)


def expanded(request: Request, body: Asked) -> tuple[Asked, int]:
    """``body`` with the cached content that it names in front, and how many tokens that is. Raises ``BadRequest``."""
    name = getattr(body, "cached_content", None)
    if not name:
        return body, 0
    kept = _find(request, name)
    if body.system_instruction or body.tools or body.tool_config:
        raise BadRequest(
            "Tool config, tools and system instruction belong into the CachedContent, not into the request that uses it.",
            param="cachedContent",
        )
    beginning = {
        "contents": [*kept.body.contents, *body.contents],
        "system_instruction": kept.body.system_instruction,
        "tools": kept.body.tools,
        "tool_config": kept.body.tool_config,
    }
    return body.model_copy(update=beginning), kept.tokens


def _body(kept: CachedContent) -> dict[str, Any]:
    return {
        "name": kept.name,
        "model": kept.body.model,
        "displayName": kept.body.display_name or "",
        "createTime": rfc3339(kept.created.timestamp()),
        "updateTime": rfc3339(kept.updated.timestamp()),
        "expireTime": rfc3339(kept.expires.timestamp()),
        "usageMetadata": {"totalTokenCount": kept.tokens},
    }


@adapter(DIALECT)
async def create(request: Request) -> Response:
    body = await bodies.read(request, CacheRequest)
    tokens = await calls.count(request, await calls.understood(request, to_neutral, body, files.reader(request)))
    if tokens < MIN_TOKENS:
        raise BadRequest(
            f"The cached content is of {tokens} tokens. The minimum token count to start caching is {MIN_TOKENS}."
        )
    id = new_id("")
    project = request.path_params.get("project")
    place = f"projects/{project}/locations/{request.path_params['location']}/" if project else ""
    now = datetime.now(UTC)
    kept = CachedContent(f"{place}cachedContents/{id}", body, tokens, now, now, _expiry(body))
    _caches(request)[id] = kept
    while len(_caches(request)) > REMEMBERED:
        _caches(request).popitem(last=False)
    return JSONResponse(_body(kept))


@adapter(DIALECT, metered=False)
async def list_caches(request: Request) -> Response:
    now = datetime.now(UTC)
    return JSONResponse({"cachedContents": [_body(c) for c in _caches(request).values() if c.expires > now]})


@adapter(DIALECT, metered=False)
async def get(request: Request) -> Response:
    return JSONResponse(_body(_find(request, request.path_params["id"])))


@adapter(DIALECT, metered=False)
async def update(request: Request) -> Response:
    """Only how long it lives can be changed."""
    kept = _find(request, request.path_params["id"])
    asked = await bodies.read(request, Lifetime)
    kept = replace(kept, expires=_expiry(asked), updated=datetime.now(UTC))
    _caches(request)[request.path_params["id"]] = kept
    return JSONResponse(_body(kept))


@adapter(DIALECT, metered=False)
async def delete(request: Request) -> Response:
    _find(request, request.path_params["id"])
    del _caches(request)[request.path_params["id"]]
    return JSONResponse({})


_PLACES = ("/{version}/projects/{project}/locations/{location}/cachedContents", "/{version}/cachedContents")
routes = [
    *(Route(place, create, methods=["POST"]) for place in _PLACES),
    *(Route(place, list_caches, methods=["GET"]) for place in _PLACES),
    *(Route(f"{place}/{{id}}", get, methods=["GET"]) for place in _PLACES),
    *(Route(f"{place}/{{id}}", update, methods=["PATCH"]) for place in _PLACES),
    *(Route(f"{place}/{{id}}", delete, methods=["DELETE"]) for place in _PLACES),
]
