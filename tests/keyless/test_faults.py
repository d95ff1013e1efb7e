"""Quotas and faults by key, at every provider, as its own SDK sees them."""

from __future__ import annotations

import email.utils
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import anthropic
import botocore.exceptions
import cohere
import httpx
import ollama
import openai
import pytest
from google.genai import errors as google_errors
from pydantic import BaseModel
from pydantic_ai import Agent, UnexpectedModelBehavior
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

LONG = "word " * 9000
NO_RETRY = {"max_retries": 0}


def _openai(client, text="Hi", tokens=3):
    return client.chat.completions.create(model="m", max_tokens=tokens, messages=[{"role": "user", "content": text}])


def _anthropic(client, text="Hi", tokens=3):
    return client.messages.create(model="m", max_tokens=tokens, messages=[{"role": "user", "content": text}])


def _cohere(client, text="Hi", tokens=3):
    return client.chat(
        model="m", max_tokens=tokens, messages=[{"role": "user", "content": text}], request_options=NO_RETRY
    )


def _google(client, text="Hi", tokens=3):
    return client.models.generate_content(model="m", contents=text, config={"max_output_tokens": tokens})


def _bedrock(client, text="Hi", tokens=3):
    return client.converse(
        modelId="m",
        messages=[{"role": "user", "content": [{"text": text}]}],
        **({"inferenceConfig": {"maxTokens": tokens}} if tokens else {"toolConfig": {"tools": [{"toolSpec": {
            "name": "twice", "inputSchema": {"json": {}}}}] * 2}}),
    )  # fmt: skip


def _ollama(client, text="Hi", tokens=3):
    options = {"num_predict": tokens, "top_p": 1 if tokens else 5}
    return client.chat(model="m", messages=[{"role": "user", "content": text}], options=options)


@dataclass(frozen=True)
class Case:
    """How a provider is called, and for each class of error the SDK's exception and a check of it."""

    call: Callable[..., Any]
    auth: Any
    rate: Any
    overload: Any
    bad: Any
    context: Any
    overloaded: int = 503


def code(name: str, kind: type[Exception] = botocore.exceptions.ClientError):
    return kind, lambda error: error.response["Error"]["Code"] == name


def status(number: int, kind: type[Exception]):
    return kind, lambda error: getattr(error, "status_code", getattr(error, "code", None)) == number


CASES = {
    "openai": Case(
        _openai,
        (openai.AuthenticationError, lambda e: e.code == "invalid_api_key"),
        (openai.RateLimitError, lambda e: e.code == "rate_limit_exceeded"),
        (openai.InternalServerError, lambda e: e.type == "server_error"),
        status(400, openai.BadRequestError),
        (openai.BadRequestError, lambda e: e.code == "context_length_exceeded"),
    ),
    "anthropic": Case(
        _anthropic,
        (anthropic.AuthenticationError, lambda e: e.body["error"]["type"] == "authentication_error"),
        (anthropic.RateLimitError, lambda e: e.body["error"]["type"] == "rate_limit_error"),
        (anthropic.InternalServerError, lambda e: e.body["error"]["type"] == "overloaded_error"),
        status(400, anthropic.BadRequestError),
        (anthropic.BadRequestError, lambda e: "prompt is too long" in e.message),
        overloaded=529,
    ),
    "cohere": Case(
        _cohere,
        status(401, cohere.UnauthorizedError),
        status(429, cohere.TooManyRequestsError),
        status(503, cohere.ServiceUnavailableError),
        status(400, cohere.BadRequestError),
        (cohere.BadRequestError, lambda e: "context length" in str(e.body)),
    ),
    "google": Case(
        _google,
        (google_errors.ClientError, lambda e: e.status == "UNAUTHENTICATED"),
        (google_errors.ClientError, lambda e: e.status == "RESOURCE_EXHAUSTED"),
        (google_errors.ServerError, lambda e: e.status == "UNAVAILABLE"),
        (google_errors.ClientError, lambda e: e.status == "INVALID_ARGUMENT"),
        (google_errors.ClientError, lambda e: "exceeds the maximum number of tokens" in e.message),
    ),
    "bedrock": Case(
        _bedrock,
        code("UnrecognizedClientException"),
        code("ThrottlingException"),
        code("ServiceUnavailableException"),
        code("ValidationException"),
        (botocore.exceptions.ClientError, lambda e: "Input is too long" in str(e)),
    ),
    "ollama": Case(
        _ollama,
        status(401, ollama.ResponseError),
        status(429, ollama.ResponseError),
        status(503, ollama.ResponseError),
        status(400, ollama.ResponseError),
        (ollama.ResponseError, lambda e: "context length" in e.error),
    ),
}


def raises(expected, call) -> Exception:
    kind, check = expected
    with pytest.raises(kind) as caught:
        call()
    assert check(caught.value), repr(caught.value)
    return caught.value


@pytest.fixture(params=CASES)
def provider(request):
    return request.param


def test_every_class_of_error_is_the_sdk_s_own(provider, clients, fresh):
    case, make = CASES[provider], clients[provider]
    error = raises(case.auth, lambda: case.call(make("keyless:nope=1")))
    assert "nope=1" in str(error), "the directive is named"
    raises(case.overload, lambda: case.call(make("keyless:outage")))
    raises(case.bad, lambda: case.call(make("any"), tokens=0 if provider != "google" else -1))
    raises(case.context, lambda: case.call(make("any"), LONG))
    raises(case.context, lambda: case.call(make(fresh("context=100")), "word " * 100))
    limited = make(fresh("rpm=1"))
    case.call(limited)
    raises(case.rate, lambda: case.call(limited))
    raises(case.rate, lambda: case.call(make(fresh("fail=429"))))


def test_shares_are_counted_by_key(provider, clients, fresh):
    case = CASES[provider]
    client = clients[provider](fresh("fail=503@0.5"))
    seen = []
    for _ in range(4):
        try:
            case.call(client)
            seen.append(True)
        except case.overload[0]:
            seen.append(False)
    assert seen == [False, True, False, True]


def test_half_of_the_answer(provider, clients, fresh, http):
    case = CASES[provider]
    case.call(clients[provider](fresh("truncate")), "Tell me about the sea.", 40)
    whole = http.get("/_keyless/requests", params={"limit": 1}).json()["requests"][0]
    assert whole["completion_tokens"] == 20


# --- what the wire shows --------------------------------------------------------------------------

CHAT = "/openai/v1/chat/completions"
HELLO = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
PATHS = {
    "openai": (CHAT, HELLO),
    "anthropic": ("/anthropic/v1/messages", HELLO),
    "cohere": ("/cohere/v2/chat", HELLO),
    "google": ("/google/v1beta/models/m:generateContent", {"contents": [{"parts": [{"text": "Hi"}]}]}),
    "bedrock": ("/bedrock/model/m/converse", {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}),
    "ollama": ("/ollama/api/chat", {**{k: HELLO[k] for k in ("model", "messages")}, "stream": False}),
}


def post(http, key, path=CHAT, body=HELLO):
    return http.post(path, json=body, headers={"authorization": f"Bearer {key}"})


def test_headers_of_a_quota(provider, http, fresh):
    key = fresh("rpm=2,tpm=1000")
    path, body = PATHS[provider]
    first, _, third = (post(http, key, path, body) for _ in range(3))
    assert first.status_code == 200 and third.status_code == 429
    wait = int(third.headers["retry-after-ms"]) / 1000
    assert 0 < wait <= 30 and int(third.headers["retry-after"]) == max(1, -int(-wait // 1))
    if provider == "openai":
        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert [r.headers["x-ratelimit-remaining-requests"] for r in (first, third)] == ["1", "0"]
        assert first.headers["x-ratelimit-limit-tokens"] == "1000"
        assert 900 < int(first.headers["x-ratelimit-remaining-tokens"]) < 1000
        assert first.headers["x-ratelimit-reset-requests"].endswith("s")
    elif provider == "anthropic":
        assert first.headers["anthropic-ratelimit-requests-remaining"] == "1"
        assert 900 < int(first.headers["anthropic-ratelimit-tokens-remaining"]) < 1000
        reset = datetime.fromisoformat(first.headers["anthropic-ratelimit-requests-reset"])
        now = email.utils.parsedate_to_datetime(first.headers["date"])
        assert 20 <= (reset - now).total_seconds() <= 40
    elif provider == "cohere":
        assert first.headers["x-trial-endpoint-call-remaining"] == "1"
    elif provider == "google":
        delay = third.json()["error"]["details"][0]["retryDelay"]
        assert float(delay[:-1]) == pytest.approx(wait, abs=0.002)
    elif provider == "bedrock":
        assert third.headers["x-amzn-errortype"] == "ThrottlingException"


def test_retry_after_is_true(http, fresh):
    key = fresh("rpm=120")
    for _ in range(200):
        reply = post(http, key, "/openai/v1/moderations", {"input": "x"})
        if reply.status_code == 429:
            break
    assert reply.status_code == 429
    time.sleep(int(reply.headers["retry-after-ms"]) / 1000)
    assert post(http, key).status_code == 200


def test_the_sdks_wait_as_they_are_told(keyless_url, fresh):
    """With retries on, a client gets through a quota that a burst overruns."""
    client = openai.OpenAI(base_url=f"{keyless_url}/openai/v1", api_key=fresh("rpm=60"), max_retries=4)
    for _ in range(61):
        client.moderations.create(input="x")


def test_a_quota_is_exact_under_concurrency(keyless_url, http, fresh):
    key, clients = fresh("rpm=30"), 40
    barrier = threading.Barrier(clients)
    with httpx.Client(
        base_url=keyless_url, timeout=120, trust_env=False, limits=httpx.Limits(max_connections=clients)
    ) as many:

        def one(_):
            barrier.wait()
            return [post(many, key, "/openai/v1/moderations", {"input": "x"}).status_code for _ in range(3)]

        began = time.monotonic()
        with ThreadPoolExecutor(clients) as pool:
            codes = [code for codes in pool.map(one, range(clients)) for code in codes]
        took = time.monotonic() - began
    assert set(codes) == {200, 429}
    assert 30 <= codes.count(200) <= 30 + took * 30 / 60 + 1


def test_a_quota_of_tokens(http, fresh):
    key = fresh("tpm=200")
    used, replies = 0, []
    for _ in range(8):
        reply = post(http, key, body={**HELLO, "max_tokens": 20})
        replies.append(reply)
        used += reply.json().get("usage", {}).get("total_tokens", 0)
    codes = [r.status_code for r in replies]
    denied = next(r for r in replies if r.status_code == 429)
    assert codes[0] == 200 and used <= 200 + 10
    assert denied.json()["error"]["type"] == "tokens" and float(denied.headers["retry-after"]) > 0
    too_large = post(http, key, body={**HELLO, "max_tokens": 5000})
    assert too_large.status_code == 429 and "Request too large" in too_large.text
    assert "retry-after" not in too_large.headers, "waiting would not help"


def test_tokens_that_were_not_used_are_given_back(http, fresh):
    key = fresh("tpm=3000")
    for _ in range(3):  # each could use 2,000 and uses a few dozen
        reply = post(http, key, body={**HELLO, "max_tokens": 2000, "stop": ["!"]})
        assert reply.status_code == 200
    embedding = post(http, key, "/openai/v1/embeddings", {"model": "m", "input": "hello " * 20})
    assert int(embedding.headers["x-ratelimit-remaining-tokens"]) > 2500
    bad = post(http, key, body={**HELLO, "tool_choice": {"type": "function", "function": {"name": "nope"}}})
    assert bad.status_code == 400 and int(bad.headers["x-ratelimit-remaining-tokens"]) > 2500


def test_a_stream_that_is_left_pays_for_what_it_got(keyless_url, http, fresh):
    key = fresh("tpm=3000")
    body = {
        **HELLO,
        "messages": [{"role": "user", "content": "Write a long story."}],
        "max_tokens": 2500,
        "stream": True,
    }
    with httpx.stream("POST", f"{keyless_url}{CHAT}", json=body, headers={"authorization": f"Bearer {key}"}) as reply:
        for _, _ in zip(range(20), reply.iter_lines(), strict=False):
            pass
    deadline = time.monotonic() + 20
    left = 0
    while left < 2500 and time.monotonic() < deadline:
        left = int(post(http, key, "/openai/v1/moderations", {"input": "x"}).headers["x-ratelimit-remaining-tokens"])
    assert 2500 <= left < 2990


def test_latency(http, fresh):
    def took(key):
        began = time.monotonic()
        assert post(http, key, "/openai/v1/moderations", {"input": "x"}).status_code == 200
        return time.monotonic() - began

    assert took(fresh("latency=300ms")) >= 0.3
    key = fresh("latency=2s@0.01")
    assert took(key) >= 2 > took(key)


def test_a_client_that_does_not_wait_leaves_nothing_behind(keyless_url, http, fresh):
    with pytest.raises(openai.APITimeoutError):
        openai.OpenAI(
            base_url=f"{keyless_url}/openai/v1", api_key=fresh("latency=60s"), max_retries=0, timeout=0.3
        ).moderations.create(input="x")
    deadline = time.monotonic() + 10
    while (row := http.get("/_keyless/requests", params={"limit": 1}).json()["requests"][0])["status"] is None:
        assert time.monotonic() < deadline
    assert row["status"] == 499 and row["key"].startswith("keyless:latency=60s")


class Ticket(BaseModel):
    team: str
    amount: float


SCHEMA = {"type": "json_schema", "json_schema": {"name": "t", "schema": Ticket.model_json_schema()}}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Weather of a city", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
def test_malformed_json(clients, fresh, stream):
    client = clients["openai"](fresh("malformed@0.5"))
    answers = []
    for _ in range(2):
        reply = client.chat.completions.create(**{**HELLO, "max_tokens": 100}, response_format=SCHEMA, stream=stream)
        answers.append(
            "".join(c.choices[0].delta.content or "" for c in reply) if stream else reply.choices[0].message.content
        )
    with pytest.raises(json.JSONDecodeError):
        json.loads(answers[0])
    with pytest.raises(json.JSONDecodeError):
        json.loads(answers[0].split("```json")[1].rstrip("` \n")), "not mended by taking the fence away"
    Ticket.model_validate_json(answers[1])


def test_malformed_tool_calls_do_not_fit_their_schema(clients, fresh):
    for name, call in {
        "openai": lambda c: json.loads(
            c.chat.completions.create(**{**HELLO, "messages": WEATHER}, tools=[TOOL])
            .choices[0]
            .message.tool_calls[0]
            .function.arguments
        ),
        "anthropic": lambda c: (
            c.messages.create(
                **{**HELLO, "messages": WEATHER},
                tools=[
                    {
                        "name": "get_weather",
                        "description": "Weather of a city",
                        "input_schema": TOOL["function"]["parameters"],
                    }
                ],
            )
            .content[0]
            .input
        ),
    }.items():
        assert "city" not in call(clients[name](fresh("malformed")))


WEATHER = [{"role": "user", "content": "What is the weather in Oslo?"}]


def test_agents_repair_what_is_malformed_once(keyless_url, fresh):
    def agent(key):
        provider = OpenAIProvider(base_url=f"{keyless_url}/openai/v1", api_key=key)
        return Agent(OpenAIChatModel("gpt-4o", provider=provider), output_type=Ticket, retries=1)

    result = agent(fresh("malformed@0.5")).run_sync("Billing: 49.90 EUR were charged twice.")
    assert result.output.amount == 49.90 and result.usage.requests == 2
    with pytest.raises(UnexpectedModelBehavior):
        agent(fresh("malformed")).run_sync("Billing: 49.90 EUR were charged twice.")


@pytest.mark.parametrize("stream", [False, True])
def test_truncated(clients, fresh, stream):
    def answer(key):
        asked = {**HELLO, "messages": [{"role": "user", "content": "Tell me about the sea."}], "max_tokens": 40}
        reply = clients["openai"](key).chat.completions.create(**asked, stream=stream)
        if not stream:
            return reply.choices[0].message.content, reply.choices[0].finish_reason
        chunks = list(reply)
        return "".join(c.choices[0].delta.content or "" for c in chunks), chunks[-1].choices[0].finish_reason

    whole, _ = answer("any")
    half, reason = answer(fresh("truncate"))
    assert reason == "length" and whole.startswith(half) and len(half) == len(whole) // 2


def test_directives_combine(http, fresh):
    key = fresh("rpm=3,fail=503@0.5,truncate")
    codes = [post(http, key).status_code for _ in range(4)]
    assert codes == [503, 200, 503, 429]


def test_vertex_takes_its_key_from_the_service_account(keyless_url, settings, fresh):
    from google import genai
    from google.genai import types
    from google.oauth2 import service_account

    info = {
        "private_key_id": fresh("rpm=1"),
        "private_key": settings.google_private_key,
        "client_email": "lessons@course.iam.gserviceaccount.com",
        "token_uri": f"{keyless_url}/google/token",
    }
    credentials = service_account.Credentials.from_service_account_info(info, scopes=["x"])
    client = genai.Client(
        vertexai=True, project="p", location="l", credentials=credentials, http_options=types.HttpOptions(base_url=f"{keyless_url}/google")
    )  # fmt: skip
    _google(client)
    raises(CASES["google"].rate, lambda: _google(client))


def test_lists_and_batches_cost_no_requests(clients, fresh):
    client = clients["openai"](fresh("rpm=1"))
    for _ in range(3):
        client.models.list()
        client.files.list()
    _openai(client)
    raises(CASES["openai"].rate, lambda: _openai(client))


def test_what_one_key_has_used_up_another_still_has(http, fresh):
    used, other = fresh("rpm=1"), fresh("rpm=1")
    assert [post(http, k).status_code for k in (used, used, other)] == [200, 429, 200]
