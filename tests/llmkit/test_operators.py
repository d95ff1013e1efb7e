"""The operators against scripted servers (llmock) and keyless."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace

import anthropic
import cohere
import openai
import pytest
from llmock.scenarios import Fail, Match, Reply

OPERATORS = {
    "openai": "OpenAIChatOperator",
    "anthropic": "AnthropicMessageOperator",
    "cohere": "CohereGenerateOperator",
}
MODELS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-5", "cohere": "command-a-03-2025"}
CUT_OFF = {"openai": "length", "anthropic": "max_tokens", "cohere": "MAX_TOKENS"}
REFUSED = {"openai": "content_filter", "anthropic": "refusal", "cohere": "COMPLETE"}
LIMITED = {
    "openai": openai.RateLimitError,
    "anthropic": anthropic.RateLimitError,
    "cohere": cohere.TooManyRequestsError,
}


class Instance(dict):
    """Stands for the task instance: keeps what is pushed."""

    try_number = 2

    def xcom_push(self, key, value):
        self[key] = value


@pytest.fixture
def operators(running_stack):
    """The module; Airflow, which it imports, reads its settings when it is imported, so it may not be before they are there."""
    from llmkit import operators

    return operators


@pytest.fixture(params=OPERATORS)
def provider(request):
    return request.param


@pytest.fixture
def connect(monkeypatch):
    """Makes the connection ``scripted``."""
    return lambda kind, host: monkeypatch.setenv(
        "AIRFLOW_CONN_SCRIPTED", json.dumps({"conn_type": kind, "host": host, "password": "any"})
    )


@pytest.fixture
def run(operators, llmock, connect, provider):
    """Runs the provider's operator against llmock, without the SDK's own retries; returns its text and what it pushed."""
    connect(provider, llmock.base_url(provider))

    def run(**arguments):
        operator = getattr(operators, OPERATORS[provider])(
            **{"task_id": "ask", "prompt": "Hi", "conn_id": "scripted", "model": MODELS[provider], **arguments}
        )
        if provider == "cohere":
            operator.settings = {**(operator.settings or {}), "request_options": {"max_retries": 0}}
        else:
            operator.hook.conn.max_retries = 0
        ti = Instance()
        try:
            return operator.execute({"ti": ti}), ti
        except Exception as error:
            error.pushed = ti
            raise

    return run


def test_text_usage_and_finish_reason(run, llmock, provider):
    llmock.add(Reply(text="A warm light."))
    text, pushed = run(
        system="Be brief.", max_tokens="20", **({} if provider == "anthropic" else {"temperature": "0.5"})
    )
    assert text == "A warm light."
    assert pushed["usage"]["try_number"] == 2
    assert pushed["model"] == MODELS[provider] and pushed["response_id"]
    assert pushed["finish_reason"] in ("stop", "end_turn", "COMPLETE")
    (request,) = llmock.requests
    body = request.body
    numbers = (20, None if provider == "anthropic" else 0.5)
    assert (body["max_tokens"], body.get("temperature")) == numbers, "a template's texts become numbers"
    assert "Be brief." in str(body.get("system") or body["messages"][0])
    assert body["messages"][-1]["content"] == "Hi"


def test_a_conversation_is_sent_as_it_is(run, llmock):
    llmock.add(Reply(text="Yes."))
    talk = [
        {"role": "user", "content": "A lamp?"},
        {"role": "assistant", "content": "Which?"},
        {"role": "user", "content": "Fjord."},
    ]
    run(prompt=talk)
    assert llmock.requests[0].body["messages"] == talk


def test_a_cut_off_completion_is_returned_with_a_warning(run, llmock, provider, capsys):
    llmock.add(Reply(text="A warm li", finish_reason="length" if provider == "cohere" else CUT_OFF[provider]))
    text, pushed = run(max_tokens=3)
    assert text == "A warm li" and pushed["finish_reason"] == CUT_OFF[provider]
    assert f"cut the completion off (finish reason {CUT_OFF[provider]})" in capsys.readouterr().out


def test_an_empty_completion_is_an_error_that_was_paid(run, operators, llmock, provider):
    llmock.add(Reply(text="", finish_reason=REFUSED[provider]))
    with pytest.raises(operators.EmptyCompletion, match=REFUSED[provider]) as caught:
        run()
    assert caught.value.pushed["usage"] and caught.value.pushed["finish_reason"] == REFUSED[provider]


def test_a_busy_server_s_429_is_the_sdk_s_own_error(run, llmock, provider):
    llmock.add(Fail(429, retry_after=7, times=None))
    with pytest.raises(LIMITED[provider]) as caught:
        run()
    error = caught.value
    headers = error.headers if provider == "cohere" else error.response.headers
    assert float({k.lower(): v for k, v in headers.items()}["retry-after"]) == 7


def test_an_overloaded_server_is_the_sdk_s_own_error(run, llmock, provider):
    llmock.add(Fail(529 if provider == "anthropic" else 503, times=None))
    kinds = {"openai": openai.InternalServerError, "anthropic": anthropic.InternalServerError, "cohere": cohere.ServiceUnavailableError}  # fmt: skip
    with pytest.raises(kinds[provider]):
        run()


def test_an_empty_prompt_is_not_sent(run, llmock):
    with pytest.raises(ValueError, match="nothing was sent"):
        run(prompt="")
    assert llmock.requests == []


def test_the_sdk_waits_as_it_is_told_and_asks_again(operators, llmock, connect):
    connect("openai", llmock.base_url())
    llmock.add(Fail(429, retry_after=0.2), Reply(text="Hello.", match=Match(provider="openai")))
    assert (
        operators.OpenAIChatOperator(task_id="ask", prompt="Hi", conn_id="scripted").execute({"ti": Instance()})
        == "Hello."
    )
    assert [r.status for r in llmock.requests] == [429, 200]
    llmock.assert_resilient()


def test_no_choice_at_all(operators):
    """Content filters of some gateways answer 200 with an empty list."""
    reply = SimpleNamespace(choices=[], usage=None, model="gpt-4o", id="x")
    operator = operators.OpenAIChatOperator(task_id="ask", prompt="Hi")
    create = SimpleNamespace(completions=SimpleNamespace(create=lambda **_: reply))
    operator.__dict__["hook"] = SimpleNamespace(conn=SimpleNamespace(chat=create))
    with pytest.raises(operators.EmptyCompletion, match="no choice came back"):
        operator.execute({"ti": Instance()})


@pytest.mark.parametrize("name", [*OPERATORS.values(), "OpenAIImageOperator"])
def test_prompt_model_and_connection_are_templates(operators, name):
    fields = set(getattr(operators, name).template_fields)
    assert {"prompt", "model", "conn_id"} <= fields
    assert "system" in fields or name == "OpenAIImageOperator"


def test_an_image_is_saved(operators, keyless_url, connect, tmp_path):
    connect("openai", f"{keyless_url}/openai/v1")
    path = tmp_path / "made" / "lamp.png"
    operator = operators.OpenAIImageOperator(task_id="draw", prompt="A lamp", path=f"file://{path}", conn_id="scripted")
    ti = Instance()
    for _ in range(2):
        assert operator.execute({"ti": ti}) == f"file://{path}"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert ti["usage"]["output_tokens"] > 0 and ti["model"] == "gpt-image-2.5-flare"


def test_an_image_that_comes_as_an_address(operators, tmp_path, httpserver_like):
    operator = operators.OpenAIImageOperator(task_id="draw", prompt="A lamp", path=f"file://{tmp_path / 'lamp.png'}")
    reply = SimpleNamespace(data=[SimpleNamespace(b64_json=None, url=httpserver_like)], usage=None)
    operator.__dict__["hook"] = SimpleNamespace(
        conn=SimpleNamespace(images=SimpleNamespace(generate=lambda **_: reply))
    )
    operator.execute({"ti": Instance()})
    assert (tmp_path / "lamp.png").read_bytes() == base64.b64decode("aGVsbG8=")
    reply.data = []
    with pytest.raises(operators.EmptyCompletion, match="drew nothing"):
        operator.execute({"ti": Instance()})


@pytest.fixture
def httpserver_like(monkeypatch):
    """An address whose content is known, without a server."""
    import httpx

    found = httpx.Response(200, content=b"hello", request=httpx.Request("GET", "http://127.0.0.1/lamp.png"))
    monkeypatch.setattr(httpx, "get", lambda url, **_: found)
    return "http://127.0.0.1/lamp.png"
