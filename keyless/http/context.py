"""What an endpoint finds in its request: the server's parts, the caller's key, and the entry in the journal."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from keyless.http.batches import Batches
from keyless.http.journal import Entry, Journal, api_key
from keyless.http.keys import Key
from keyless.http.provider import Dialect
from keyless.http.store import Store
from keyless.mind.face import Face
from keyless.neutral import Request as NeutralRequest
from keyless.neutral import Usage


def files(request: Request) -> Store:
    return request.app.state.files


def journal(request: Request) -> Journal:
    return request.app.state.journal


def answerer(request: Request) -> Face:
    return request.app.state.answerer


def batches(request: Request) -> Batches:
    return request.app.state.batches


def provider_state(request: Request, provider: str) -> Any:
    """What the provider of that name keeps between requests: what its ``state`` made when the server started."""
    return request.app.state.providers[provider]


def entry(request: Request) -> Entry:
    return request.scope["keyless.entry"]


def key_of(request: Request) -> Key:
    return request.scope["keyless.key"]


def key_headers(request: Request) -> dict[str, str]:
    """Headers that carry the API key, for requests made in the client's name."""
    return {"authorization": f"Bearer {account(request)}"}


def account(request: Request) -> str:
    """Whose request this is: the API key."""
    return api_key({k.lower(): v for k, v in request.headers.items()}) or request.query_params.get("key", "")


def note_usage(request: Request, usage: Usage) -> None:
    entry(request).prompt_tokens, entry(request).completion_tokens = usage.prompt_tokens, usage.completion_tokens


def note_asked(request: Request, asked: NeutralRequest | dict[str, Any]) -> None:
    """For the journal: what the model is asked, in the form that is the same for every provider."""
    journal(request).note_asked(entry(request), asked)


def dialect(request: Request) -> Dialect:
    """The dialect that this endpoint answers in."""
    return request.scope["keyless.dialect"]


def is_in_batch(request: Request) -> bool:
    """Whether this request is one of a batch, which nobody sent by HTTP."""
    return "keyless.batch" in request.scope
