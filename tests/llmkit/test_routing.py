from __future__ import annotations

import errno
import multiprocessing
import os
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from llmkit import routing
from llmkit.breakers import Breaker
from llmkit.limits import LimitTimeout
from llmkit.routing import AllDown, Chain, is_providers_fault, status_of


def test_the_same_tokens_on_several_models_cheapest_first():
    models = [
        "ollama:llama3.2",
        "anthropic:claude-sonnet-5",
        "openai-chat:gpt-4o-mini",
        "bedrock:amazon.nova-lite-v1:0",
    ]
    found = routing.quotes(models, input_tokens=1_000_000, output_tokens=1_000_000)
    assert [q.model for q in found] == [models[3], models[2], models[1], models[0]]
    assert [q.cost for q in found] == [Decimal("0.3"), Decimal("0.75"), Decimal("12"), None]


@pytest.mark.parametrize(
    "model", ["openai:gpt-5-mini", "openai-responses:gpt-5-mini", "google:gemini-2.5-flash", "google-cloud:gemini-2.5-flash"]
)  # fmt: skip
def test_every_way_to_name_a_provider_has_a_price(model):
    assert routing.quotes([model], input_tokens=10, output_tokens=10)[0].cost > 0


def test_a_model_needs_a_provider():
    with pytest.raises(ValueError, match="anthropic:claude"):
        routing.quotes(["gpt-4o"], input_tokens=1, output_tokens=1)


# --- breakers -------------------------------------------------------------------------------------


@pytest.fixture
def breaker(running_stack):
    """``breaker(…)`` is one that nobody used yet."""
    return lambda **more: Breaker(
        f"test_{os.getpid()}_{time.monotonic_ns()}", **{"failures": 2, "cooldown": 0.5, **more}
    )


def test_a_breaker_opens_after_failures_in_a_row_and_closes_after_one_success(breaker):
    one = breaker()
    assert one.state == "closed" and one.allows()
    one.failed("503")
    one.succeeded()
    one.failed("503")
    assert one.allows(), "not in a row"
    one.failed("529 overloaded")
    assert one.state == "open" and not one.allows() and one.reason == "529 overloaded"
    time.sleep(0.6)  # the cooldown is what is tested
    assert one.state == "half-open" and one.allows()
    assert one.state == "open" and not one.allows(), "one tries, the others wait for it"
    one.succeeded()
    assert one.state == "closed" and one.allows()


def test_a_try_that_fails_opens_it_again_and_one_that_dies_does_not_block_it(breaker):
    one = breaker()
    one.failed(), one.failed()
    time.sleep(0.6)
    assert one.allows()
    one.failed("still down")
    assert not one.allows()
    time.sleep(0.6)
    assert one.allows()  # and is never heard of again
    time.sleep(0.6)
    assert one.allows()


def _ask(name, answers):
    answers.put(Breaker(name, 2, 0.5).allows())


def test_of_many_processes_one_tries(breaker):
    one = breaker()
    one.failed(), one.failed()
    time.sleep(0.6)
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    workers = [fork.Process(target=_ask, args=(one.name, answers)) for _ in range(8)]
    [w.start() for w in workers]
    [w.join(30) for w in workers]
    assert sorted(answers.get(timeout=1) for _ in workers) == [False] * 7 + [True]


# --- chains ---------------------------------------------------------------------------------------


class Refused(Exception):
    def __init__(self, status_code):
        super().__init__(f"HTTP {status_code}")
        self.status_code = status_code


@pytest.fixture
def chain(running_stack):
    """A chain of connections that no other test knows."""
    stamp = f"{os.getpid()}_{time.monotonic_ns()}"
    return Chain([f"first_{stamp}", f"second_{stamp}"], failures=2, cooldown=60)


def test_the_next_one_answers_and_what_is_down_is_soon_not_asked(chain):
    asked = []

    def ask(conn_id):
        asked.append(conn_id)
        if conn_id == chain.conn_ids[0]:
            raise Refused(503)
        return "answer"

    for _ in range(2):
        routed = chain.call(ask)
        assert (routed.answer, routed.conn_id) == ("answer", chain.conn_ids[1])
        assert "HTTP 503" in routed.passed[chain.conn_ids[0]]
    assert chain.health() == {chain.conn_ids[0]: "open", chain.conn_ids[1]: "closed"}
    asked.clear()
    assert "not asked" in chain.call(ask).passed[chain.conn_ids[0]]
    assert asked == [chain.conn_ids[1]]


def test_all_down_says_why_for_each(chain):
    with pytest.raises(AllDown) as caught:
        chain.call(lambda conn_id: (_ for _ in ()).throw(Refused(429)))
    assert str(caught.value).count("HTTP 429") == 2 and all(conn_id in str(caught.value) for conn_id in chain.conn_ids)


def test_a_bad_request_is_the_caller_s_own_fault(chain):
    asked = []

    def ask(conn_id):
        asked.append(conn_id)
        raise Refused(400)

    for _ in range(3):
        with pytest.raises(Refused):
            chain.call(ask)
    assert set(asked) == {chain.conn_ids[0]} and chain.health()[chain.conn_ids[0]] == "closed"


def test_tasks_share_the_health(chain):
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda n: chain.call(_first_is_down(chain.conn_ids[0])), range(16)))
    assert {r.conn_id for r in results} == {chain.conn_ids[1]}
    assert chain.breaker(chain.conn_ids[0]).state == "open"


def _first_is_down(first):
    def ask(conn_id):
        if conn_id == first:
            raise TimeoutError("nobody there")
        return conn_id

    return ask


HELLO = [{"role": "user", "content": "Hello"}]
CHATS = {
    "openai": lambda c: c.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=2),
    "anthropic": lambda c: c.messages.create(model="claude-sonnet-5", messages=HELLO, max_tokens=2),
    "cohere": lambda c: c.chat(model="command-a-03-2025", messages=HELLO, max_tokens=2),
    "google": lambda c: c.models.generate_content(model="gemini-2.5-flash", contents="Hello"),
    "bedrock": lambda c: c.converse(
        modelId="amazon.nova-lite-v1:0", messages=[{"role": "user", "content": [{"text": "Hello"}]}]
    ),
    "ollama": lambda c: c.chat(model="llama3.2", messages=HELLO),
}


@pytest.mark.parametrize("provider", CHATS)
def test_every_sdk_s_errors_are_understood(clients, fresh, provider):
    """What is down is the provider's fault, a request without sense is not."""
    for directives, status, fault in (("fail=503", 503, True), ("fail=429", 429, True), ("fail=400", 400, False)):
        with pytest.raises(Exception) as caught:
            CHATS[provider](clients[provider](fresh(directives)))
        assert status_of(caught.value) == status, caught.value
        assert is_providers_fault(caught.value) is fault, caught.value


def test_nobody_at_the_address_is_the_provider_s_fault():
    import anthropic
    import openai

    for provider, client in (
        ("openai", openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="x", max_retries=0)),
        ("anthropic", anthropic.Anthropic(base_url="http://127.0.0.1:9", api_key="x", max_retries=0)),
    ):
        with pytest.raises(Exception) as caught:
            CHATS[provider](client)
        assert is_providers_fault(caught.value), caught.value


def _network_errors():
    import aiohttp
    import anthropic
    import botocore.exceptions as aws
    import google.auth.exceptions
    import httpx
    import httpx2
    import openai
    import pydantic_ai.exceptions
    import requests

    request, request2 = httpx.Request("GET", "http://x"), httpx2.Request("GET", "http://x")
    return [
        ConnectionRefusedError(111, "refused"),
        ConnectionResetError(104, "reset"),
        TimeoutError("timed out"),
        socket.gaierror(-2, "Name or service not known"),
        ssl.SSLError(1, "handshake"),
        OSError(errno.ENETUNREACH, "Network is unreachable"),
        OSError(errno.EHOSTUNREACH, "No route to host"),
        *(kind("x", request=request) for kind in (httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError)),
        *(kind("x", request=request2) for kind in (httpx2.ConnectError, httpx2.ReadTimeout, httpx2.PoolTimeout)),
        openai.APIConnectionError(request=request2),
        openai.APITimeoutError(request=request2),
        anthropic.APIConnectionError(request=request2),
        anthropic.APITimeoutError(request=request2),
        aws.EndpointConnectionError(endpoint_url="http://x"),
        aws.ReadTimeoutError(endpoint_url="http://x"),
        aws.ConnectTimeoutError(endpoint_url="http://x"),
        aws.ConnectionClosedError(endpoint_url="http://x"),
        aws.ResponseStreamingError(error="x"),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ServerTimeoutError(),
        aiohttp.ClientPayloadError("half"),
        requests.ConnectionError("x"),
        requests.Timeout("x"),
        google.auth.exceptions.TransportError("x"),
        pydantic_ai.exceptions.ModelAPIError("gpt-4o", "Connection error."),
    ]


def test_whatever_a_library_calls_an_error_of_the_network_is_the_provider_s_fault():
    assert [error for error in _network_errors() if not is_providers_fault(error)] == []


def _caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def _own_errors():
    import anthropic
    import httpx2
    import pydantic_ai.exceptions

    request = httpx2.Request("GET", "http://x")
    return [
        FileNotFoundError(2, "No such file"),
        PermissionError(13, "Permission denied"),
        IsADirectoryError(21, "Is a directory"),
        OSError(errno.ENOSPC, "No space left on device"),
        LimitTimeout("no request is free"),
        _caused(anthropic.APIConnectionError(request=request), LimitTimeout("no request is free")),
        _caused(
            pydantic_ai.exceptions.ModelAPIError("claude", "Connection error."),
            _caused(anthropic.APIConnectionError(request=request), LimitTimeout("no request is free")),
        ),
        type("ConnectionError", (Exception,), {})("somebody's own, of that name"),
        KeyError("choices"),
    ]


def test_a_missing_file_or_a_limit_of_one_s_own_is_not_the_provider_s_fault(chain):
    assert [error for error in _own_errors() if is_providers_fault(error)] == []

    def ask(conn_id):
        raise FileNotFoundError("prompt.txt")

    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            chain.call(ask)
    assert set(chain.health().values()) == {"closed"}


def test_the_reason_that_is_kept_has_no_key(chain, caplog):
    def ask(conn_id):
        raise ConnectionError("no answer from https://user:pass@host.example/v1?key=AIzaSecret&alt=sse")

    with pytest.raises(AllDown) as caught:
        chain.call(ask)
    kept = f"{caught.value} {chain.breaker(chain.conn_ids[0]).reason} {caplog.text}"
    assert (
        kept.count("host.example/v1?key=***") >= 3 and "AIza" not in kept and "pass" not in kept.replace("passed", "")
    )
