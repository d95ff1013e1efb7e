"""Wrong input gets the provider's own error, never a 500; concurrent and leaving clients do no harm."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

AUTH = {"Authorization": "Bearer any", "x-api-key": "any"}
GOOD = {
    "/openai/v1/chat/completions": {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3},
    "/openai/v1/responses": {"model": "m", "input": "Hi", "max_output_tokens": 3},
    "/openai/v1/embeddings": {"model": "m", "input": "Hi"},
    "/anthropic/v1/messages": {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3},
    "/ollama/api/chat": {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "options": {"num_predict": 3},
        "stream": False,
    },
    "/ollama/api/generate": {"model": "m", "prompt": "Hi", "options": {"num_predict": 3}, "stream": False},
    "/ollama/api/embed": {"model": "m", "input": "Hi"},
}


def is_own_error(path: str, reply: httpx.Response) -> bool:
    """Whether the body has the shape of the provider whose path it is."""
    body = reply.json()
    if path.startswith("/openai"):
        return set(body["error"]) == {"message", "type", "param", "code"} and bool(body["error"]["message"])
    if path.startswith("/anthropic"):
        return (
            body["type"] == "error"
            and bool(body["error"]["message"])
            and body["error"]["type"].endswith(("_error", "too_large"))
        )
    return isinstance(body["error"], str) and bool(body["error"])


def post(http, path, **more):
    return http.post(path, headers={**AUTH, "content-type": "application/json", **more.pop("headers", {})}, **more)


@pytest.mark.parametrize("path", GOOD)
def test_the_good_request_is_good(http, path):
    reply = post(http, path, json=GOOD[path])
    assert reply.status_code == 200 and reply.headers["x-keyless"] == "smollm2-135m"


@pytest.mark.parametrize("path", GOOD)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5000], ids=range(8)
)
def test_bad_json(http, path, body):
    reply = post(http, path, content=body)
    assert reply.status_code == 400 and is_own_error(path, reply), reply.text


@pytest.mark.parametrize("path", GOOD)
def test_each_missing_field_is_named(http, path):
    for name in GOOD[path]:
        if name in ("options", "stream") or (name == "max_tokens" and "openai" in path) or name == "max_output_tokens":
            continue
        reply = post(http, path, json={k: v for k, v in GOOD[path].items() if k != name})
        assert reply.status_code == 400 and is_own_error(path, reply)
        assert name in reply.text


@pytest.mark.parametrize("path", GOOD)
def test_random_wrong_types_are_never_a_500(http, path):
    r = random.Random(path)
    junk = [None, True, -1, 0, 1e400, "x", "", [], {}, [[]], {"a": {}}, [None], 2**70, "\u0000", ["x"] * 5]
    for _ in range(60):
        body = json.loads(json.dumps(GOOD[path]))
        body[
            r.choice(
                [
                    *body,
                    "stop",
                    "tools",
                    "tool_choice",
                    "response_format",
                    "temperature",
                    "format",
                    "stream",
                    "seed",
                    "n",
                    "text",
                ]
            )
        ] = r.choice(junk)
        reply = post(http, path, content=json.dumps(body))
        assert reply.status_code < 500, (body, reply.text)
        if reply.status_code >= 400:
            assert is_own_error(path, reply), (body, reply.text)


@pytest.mark.parametrize("path", [p for p in GOOD if "embed" not in p])
def test_a_10_mb_prompt_is_told_quickly(http, path):
    body = json.loads(json.dumps(GOOD[path]).replace('"Hi"', json.dumps("long prompt " * 900_000)))
    reply = post(http, path, json=body)
    assert reply.status_code in (400, 413) and is_own_error(path, reply)
    assert "token" in reply.text


@pytest.mark.parametrize("path", ["/openai/v1/nope", "/anthropic/v1/nope", "/ollama/api/nope", "/nowhere", "/openai"])
def test_unknown_paths(http, path):
    reply = post(http, path, json={})
    assert reply.status_code == 404 and "keyless serves" in reply.text
    assert is_own_error(path if path.count("/") > 1 else "/openai", reply)


@pytest.mark.parametrize("path", GOOD)
def test_wrong_method(http, path):
    reply = http.get(path, headers=AUTH)
    assert reply.status_code == 405 and is_own_error(path, reply)


@pytest.mark.parametrize("path", [p for p in GOOD if not p.startswith("/ollama")])
def test_no_key(http, path):
    reply = http.post(path, json=GOOD[path])
    assert reply.status_code == 401 and is_own_error(path, reply)
    assert "keyless" in reply.text


def health(http):
    return http.get("/health").json()


def wait_until_idle(http, limit=10.0):
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        state = health(http)
        if state["busy"] == state["waiting"] == 0:
            return state
    raise AssertionError(f"still busy after {limit} s: {health(http)}")


LONG = {
    "model": "m",
    "messages": [{"role": "user", "content": "Write a very long story about the sea."}],
    "max_tokens": 4000,
}


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_slot(http, keyless_url, stream):
    for _ in range(6):  # more than there are slots
        with httpx.Client(base_url=keyless_url, timeout=0.4, trust_env=False) as client:
            try:
                with client.stream(
                    "POST", "/openai/v1/chat/completions", json={**LONG, "stream": stream}, headers=AUTH
                ) as reply:
                    for _ in reply.iter_raw():
                        break
            except httpx.TimeoutException:
                pass
    wait_until_idle(http)  # six answers of 4000 tokens would take minutes
    rows = http.get("/_keyless/requests", params={"limit": 6}).json()["requests"]
    assert {r["status"] for r in rows} == {499}


def test_a_half_sent_request_harms_nobody(http, keyless_url):
    host, port = keyless_url.removeprefix("http://").split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port))) as broken:
            broken.sendall(b"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    assert wait_until_idle(http)["status"] == "ok"


def test_short_requests_are_not_starved_by_long_ones(http, keyless_url):
    done = threading.Event()

    def long_request():
        with (
            httpx.Client(base_url=keyless_url, timeout=120, trust_env=False) as client,
            client.stream(
                "POST", "/openai/v1/chat/completions", json={**LONG, "max_tokens": 1500, "stream": True}, headers=AUTH
            ) as reply,
        ):
            for _ in reply.iter_raw():
                if done.is_set():
                    return

    threads = [threading.Thread(target=long_request) for _ in range(3)]
    [t.start() for t in threads]
    try:
        deadline = time.monotonic() + 10
        while health(http)["busy"] < 3 and time.monotonic() < deadline:
            pass
        for _ in range(3):
            assert (
                post(http, "/openai/v1/chat/completions", json=GOOD["/openai/v1/chat/completions"]).status_code == 200
            )
        assert health(http)["busy"] == 3, "the short ones were answered while the long ones ran"
    finally:
        done.set()
        [t.join() for t in threads]
    wait_until_idle(http)


def test_twenty_clients_at_once_are_all_served(keyless_url):
    answers = []

    def one(i):
        reply = httpx.post(
            f"{keyless_url}/openai/v1/chat/completions",
            json={**GOOD["/openai/v1/chat/completions"], "max_tokens": 5},
            headers=AUTH,
            timeout=60,
            trust_env=False,
        )
        answers.append(reply.status_code)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(20)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert answers == [200] * 20


def test_the_journal(http):
    http.delete("/_keyless/requests")
    post(http, "/openai/v1/embeddings", json=GOOD["/openai/v1/embeddings"])
    post(http, "/anthropic/v1/messages", json=GOOD["/anthropic/v1/messages"])
    rows = http.get("/_keyless/requests").json()["requests"]
    assert [(r["provider"], r["path"], r["status"]) for r in rows] == [
        ("openai", "/v1/embeddings", 200),
        ("anthropic", "/v1/messages", 200),
    ]
    assert http.get("/_keyless/requests", params={"after": rows[0]["id"]}).json()["requests"] == rows[1:]
    assert http.get("/_keyless/requests", params={"after": "x"}).status_code == 400


def test_a_taken_port_is_one_sentence(settings, keyless_url):
    command = [sys.executable, "-m", "keyless", "--port", str(settings.keyless_port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "taken" in done.stderr and "--port" in done.stderr
