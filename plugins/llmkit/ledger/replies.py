"""What HTTP says about a call to a model: which API was called, and what its reply tells of model and usage.

A call is known by the path of its URL, not by its host, so that proxies, gateways and servers of one's own are known too.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Api:
    """One provider's way to ask for one ``kind`` of thing: chat, embedding, rerank, image or batch.

    ``provider`` and ``flavor`` are genai-prices' names, ``model`` what the URL names.
    """

    provider: str
    kind: str
    flavor: str = "default"
    model: str | None = None


_APIS: list[tuple[str, re.Pattern[str], Api]] = [
    (method, re.compile(pattern + r"$"), Api(*api))
    for method, pattern, *api in [
        ("POST", r"/chat/completions", "openai", "chat", "chat"),
        ("POST", r"/responses", "openai", "chat", "responses"),
        ("POST", r"/images/(?:generations|edits|variations)", "openai", "image", "images"),
        ("POST", r"/v1/messages", "anthropic", "chat"),
        ("POST", r"/v[12]/chat", "cohere", "chat"),
        ("POST", r"/v[12]/embed", "cohere", "embedding", "embeddings"),
        ("POST", r"/v[12]/rerank", "cohere", "rerank"),
        ("POST", r"/api/(?:chat|generate)", "ollama", "chat"),
        ("POST", r"/api/(?:embed|embeddings)", "ollama", "embedding"),
        ("POST", r"/embeddings", "openai", "embedding", "embeddings"),
        ("POST", r"/models/(?P<model>[^/]+):(?:generateContent|streamGenerateContent)", "google", "chat"),
        ("POST", r"/models/(?P<model>[^/]+):(?:predict|embedContent|batchEmbedContents)", "google", "embedding"),
        ("POST", r"/model/(?P<model>[^/]+)/(?:converse|converse-stream)", "aws", "chat"),
        ("POST", r"/model/(?P<model>.*anthropic\.[^/]+)/(?:invoke|invoke-with-response-stream)", "aws", "chat", "anthropic"),
        ("POST", r"/model/(?P<model>[^/]*embed[^/]*)/invoke", "aws", "embedding"),
        ("POST", r"/model/(?P<model>[^/]+)/(?:invoke|invoke-with-response-stream)", "aws", "chat"),
        # What a batch cost is known when its results are fetched.
        ("GET", r"/messages/batches/[^/]+/results", "anthropic", "batch"),
        ("GET", r"/files/[^/]+/content", "openai", "batch", "chat"),
    ]
]  # fmt: skip


def api_of(method: str, url: str) -> Api | None:
    """The API that a request calls, ``None`` when it asks no model for anything."""
    path = urlsplit(url).path
    for verb, pattern, api in _APIS:
        if verb == method and (match := pattern.search(path)):
            model = match.groupdict().get("model")
            return Api(api.provider, api.kind, api.flavor, unquote(model)) if model else api
    return None


def asked_model(body: bytes | None) -> str | None:
    """The model that a request's JSON body names."""
    try:
        asked = json.loads(body or b"{}")
    except ValueError:
        return None
    name = asked.get("model") if isinstance(asked, dict) else None
    return name if isinstance(name, str) else None


def facts(body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    """What a reply tells of its model and usage, whole or streamed, in the provider's own words; ``{}`` when nothing.

    ``headers`` have lower-case names.
    """
    told: dict[str, Any] = {}
    for event in _events(body, headers.get("content-type", "")):
        # A stream wraps what a whole reply holds: in `response` (OpenAI), `message` (Anthropic), `delta` (Cohere).
        for part in (event.get("response"), event.get("message"), event.get("delta"), event):
            if isinstance(part, dict):
                _take(part, told)
    if count := headers.get("x-amzn-bedrock-input-token-count"):
        output = headers.get("x-amzn-bedrock-output-token-count", "0")
        told.setdefault("usage", {"inputTokens": int(count), "outputTokens": int(output)})
    return told


def batch_facts(body: bytes) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Of each answered request in a batch's results its ``custom_id``, status and facts; nothing for any other file."""
    for row in _lines(body.splitlines()):
        if "custom_id" not in row:
            return
        answer = row.get("response") or {}
        result = row.get("result") or {}
        reply = answer.get("body") or result.get("message")
        if isinstance(reply, dict) and ("usage" in reply):
            told: dict[str, Any] = {}
            _take(reply, told)
            yield str(row["custom_id"]), int(answer.get("status_code") or 200), told


def _take(part: dict[str, Any], told: dict[str, Any]) -> None:
    for name in ("model", "modelVersion"):
        if isinstance(part.get(name), str):
            told[name] = part[name]
    for name in ("usage", "usageMetadata", "meta"):
        if isinstance(part.get(name), dict):
            # Later events of a stream add to what earlier ones said.
            told.setdefault(name, {}).update({k: v for k, v in part[name].items() if v is not None})
    if metrics := part.get("amazon-bedrock-invocationMetrics"):
        counts = {"inputTokens": metrics["inputTokenCount"], "outputTokens": metrics["outputTokenCount"]}
        told.setdefault("usage", counts)  # Claude has told it already, in its own words
    if "prompt_eval_count" in part:  # Ollama
        told["usage"] = {"input": part["prompt_eval_count"], "output": part.get("eval_count", 0)}
    if isinstance(predictions := part.get("predictions"), list):  # Vertex AI's embeddings
        counts = [p["embeddings"]["statistics"]["token_count"] for p in predictions if "embeddings" in p]
        told["usage"] = {"input": sum(counts), "output": 0}


def _events(body: bytes, content_type: str) -> Iterator[dict[str, Any]]:
    if "event-stream" in content_type and "amazon" not in content_type:
        yield from _lines(line[5:] for line in body.splitlines() if line.startswith(b"data:"))
    elif "amazon.eventstream" in content_type:
        for payload in _aws_messages(body):
            for event in _lines([payload]):
                # invoke-with-response-stream carries the model's own events.
                yield from _lines([base64.b64decode(event["bytes"])]) if "bytes" in event else [event]
    elif "ndjson" in content_type:
        yield from _lines(body.splitlines())
    else:
        yield from _lines([body])


def _lines(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        # Vertex AI streams a list where `alt=sse` is not asked for.
        for item in row if isinstance(row, list) else [row]:
            if isinstance(item, dict):
                yield item


def _aws_messages(body: bytes) -> Iterator[bytes]:
    """The payloads of AWS' event stream, as far as they are whole."""
    from botocore.eventstream import EventStreamBuffer

    buffer = EventStreamBuffer()
    buffer.add_data(body)
    for event in buffer:
        yield event.payload
