"""Wrong input gets the provider's own error, never a 500; concurrent and leaving clients do no harm."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyless import providers
from keyless.http.provider import discovered
from keyless.http.recorder import allowed_hosts

AUTH = {"Authorization": "Bearer any", "x-api-key": "any"}
HI = [{"role": "user", "content": "Hi"}]
PARTS = [{"role": "user", "content": [{"text": "Hi"}]}]
CONTENTS = [{"role": "user", "parts": [{"text": "Hi"}]}]
KEPT = [{"parts": [{"text": "Hi" + " and so on" * 400}]}]
VERTEX = "/google/v1beta1/projects/p/locations/l/publishers/google/models"
DECISION = {"model": "m", "state": "Hi", "questions": {"a": {"type": "noul", "instructions": "Is it so?"}}}
GOOD = {
    "/openai/v1/chat/completions": {"model": "m", "messages": HI, "max_tokens": 3},
    "/openai/v1/responses": {"model": "m", "input": "Hi", "max_output_tokens": 3},
    "/openai/v1/embeddings": {"model": "m", "input": "Hi"},
    "/openai/v1/moderations": {"input": "Hi"},
    "/openai/v1/images/generations": {"prompt": "Hi", "size": "64x64"},
    "/anthropic/v1/messages": {"model": "m", "messages": HI, "max_tokens": 3},
    "/anthropic/v1/messages/count_tokens": {"model": "m", "messages": HI},
    "/cohere/v2/chat": {"model": "m", "messages": HI, "max_tokens": 3},
    "/cohere/v2/embed": {"model": "m", "texts": ["Hi"], "input_type": "search_query"},
    "/cohere/v2/rerank": {"model": "m", "query": "Hi", "documents": ["Hi"]},
    "/cohere/v1/tokenize": {"model": "m", "text": "Hi"},
    "/cohere/v1/detokenize": {"model": "m", "tokens": [1]},
    "/google/v1beta/models/m:generateContent": {"contents": CONTENTS, "generationConfig": {"maxOutputTokens": 3}},
    f"{VERTEX}/m:generateContent": {"contents": CONTENTS, "generationConfig": {"maxOutputTokens": 3}},
    f"{VERTEX}/m:streamGenerateContent": {"contents": CONTENTS, "generationConfig": {"maxOutputTokens": 3}},
    f"{VERTEX}/m:countTokens": {"contents": CONTENTS},
    f"{VERTEX}/m:predict": {"instances": [{"content": "Hi"}]},
    "/google/v1beta/models/m:embedContent": {"content": CONTENTS[0]},
    "/google/v1beta/models/m:batchEmbedContents": {"requests": [{"content": CONTENTS[0]}]},
    "/bedrock/model/m/converse": {"messages": PARTS, "inferenceConfig": {"maxTokens": 3}},
    "/bedrock/model/m/converse-stream": {"messages": PARTS, "inferenceConfig": {"maxTokens": 3}},
    "/bedrock/model/m/count-tokens": {"input": {"converse": {"messages": PARTS}}},
    "/bedrock/model/claude/invoke": {"anthropic_version": "bedrock-2023-05-31", "messages": HI, "max_tokens": 3},
    "/bedrock/model/titan/invoke": {"inputText": "Hi", "textGenerationConfig": {"maxTokenCount": 3}},
    "/bedrock/model/nova/invoke": {"messages": PARTS, "inferenceConfig": {"maxTokens": 3}},
    "/bedrock/model/llama/invoke-with-response-stream": {"prompt": "Hi", "max_gen_len": 3},
    "/bedrock/model/titan-embed/invoke": {"inputText": "Hi"},
    "/ollama/v1/chat/completions": {"model": "m", "messages": HI, "max_tokens": 3},
    "/ollama/v1/systemone": DECISION,
    "/systemone/v1/systemone": DECISION,
    "/ollama/api/chat": {"model": "m", "messages": HI, "options": {"num_predict": 3}, "stream": False},
    "/ollama/api/generate": {"model": "m", "prompt": "Hi", "options": {"num_predict": 3}, "stream": False},
    "/ollama/api/embed": {"model": "m", "input": "Hi"},
    "/anthropic/v1/messages/batches": {
        "requests": [{"custom_id": "a", "params": {"model": "m", "messages": HI, "max_tokens": 1}}]
    },
    "/google/v1beta/models/m:batchGenerateContent": {
        "batch": {
            "inputConfig": {
                "requests": {
                    "requests": [{"request": {"contents": CONTENTS, "generationConfig": {"maxOutputTokens": 1}}}]
                }
            }
        }
    },
    "/google/v1beta/models/m:asyncBatchEmbedContent": {
        "batch": {"inputConfig": {"requests": {"requests": [{"request": {"content": CONTENTS[0]}}]}}}
    },
    "/google/v1beta/cachedContents": {"model": "m", "contents": KEPT},
    "/google/v1beta1/projects/p/locations/l/cachedContents": {"model": "m", "contents": KEPT},
}
OPTIONAL = {
    "max_tokens": ("openai", "cohere", "ollama"),
    "generationConfig": (),
    "inferenceConfig": (),
    "textGenerationConfig": (),
}
"""Fields of the good requests that may be left out; of ``max_tokens`` the providers where it may."""
NO_CONTEXT = (
    "atch",
    "asyncBatch",
    "cachedContents",
    "embed",
    "predict",
    "rerank",
    "tokenize",
    "moderations",
    "images",
)
NEARLY = {
    "/openai/v1/batches": {"input_file_id": "file-none", "endpoint": "/v1/responses", "completion_window": "24h"},
    f"{VERTEX}/m:nope": {},
    "/google/upload/v1beta/files": {"file": {"displayName": "Hi"}},
    "/google/upload/v1beta/files/none": {},
    "/google/v1beta/batches/none:cancel": {},
    "/anthropic/v1/messages/batches/none/cancel": {},
    "/openai/v1/batches/none/cancel": {},
}
"""Routes whose good request needs something else first: with what would be right if that were there."""
FORMS = ("/openai/v1/files", "/openai/v1/images/edits")
"""Routes that take a multipart form."""
BODIES = [*GOOD, "/openai/v1/batches", *FORMS]
EXAMPLES = int(os.environ.get("FUZZ", "5"))
"""Broken requests for each route; ``FUZZ=2000 make test`` looks longer."""


def is_own_error(path: str, reply: httpx.Response) -> bool:
    """Whether the body has the shape of the provider whose path it is."""
    body = reply.json()
    match "openai" if path.startswith("/ollama/v1/") else path.split("/")[1]:
        case "systemone":
            return set(body["error"]) == {"message", "type", "param"} and bool(body["error"]["message"])
        case "openai":
            return set(body["error"]) == {"message", "type", "param", "code"} and bool(body["error"]["message"])
        case "anthropic":
            kind = body["error"]["type"]
            return body["type"] == "error" and bool(body["error"]["message"]) and kind.endswith(("_error", "too_large"))
        case "cohere":
            return bool(body["message"]) and bool(body["id"])
        case "google":
            return body["error"]["code"] == reply.status_code and bool(body["error"]["status"])
        case "bedrock":
            return bool(body["message"]) and reply.headers["x-amzn-errortype"].endswith("Exception")
    return isinstance(body["error"], str) and bool(body["error"])


def post(http, path, **more):
    return http.post(path, headers={**AUTH, "content-type": "application/json", **more.pop("headers", {})}, **more)


@pytest.mark.parametrize("path", GOOD)
def test_the_good_request_is_good(http, path):
    reply = post(http, path, json=GOOD[path])
    assert reply.status_code == 200 and reply.headers["x-keyless"] == "smollm2-135m"


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5000], ids=range(8)
)
def test_bad_json(http, path, body):
    reply = post(http, path, content=body)
    assert reply.status_code == 400 and is_own_error(path, reply), reply.text


@pytest.mark.parametrize("path", GOOD)
def test_each_missing_field_is_named(http, path):
    for name in GOOD[path]:
        if name in ("options", "stream", "size", "max_output_tokens", "max_gen_len"):
            continue
        if name in OPTIONAL and (not OPTIONAL[name] or path.split("/")[1] in OPTIONAL[name]):
            continue
        reply = post(http, path, json={k: v for k, v in GOOD[path].items() if k != name})
        assert reply.status_code == 400 and is_own_error(path, reply), (name, reply.text)
        assert name in reply.text


LIMITS = {
    "max_tokens",
    "max_output_tokens",
    "maxOutputTokens",
    "maxTokens",
    "maxTokenCount",
    "max_gen_len",
    "num_predict",
}
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(
        ["Hi", "data:image/png;base64,AAAA", "user", "assistant", "tool", "json_schema", "auto", "\ud83d"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        "stop", "tools", "tool_choice", "response_format", "temperature", "format", "seed", "n", "text", "system", "documents",
        "truncate", "embedding_types", "top_n", "tool_calls", "toolConfig", "systemInstruction", "generationConfig", "content",
        "parts", "functionCall", "image", "images", "source", "toolResult", "cachePoint", "cache_control", "cachedContent",
        "responseSchema", "outputConfig", "previous_response_id", "input_type", "normalize", "role", "images", "output_dimension",
    ]
)  # fmt: skip


def places(value, at=()):
    """Every place in a body that may be changed without asking for a long answer."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        if name not in LIMITS:
            yield from places(inner, (*at, name))


def changed(body, at, junk):
    if not at:
        return junk
    copy = dict(body) if isinstance(body, dict) else list(body)
    copy[at[0]] = changed(body[at[0]], at[1:], junk)
    return copy


@st.composite
def broken(draw, good):
    """A good body with one or two things in it put wrong, or one thing more."""
    body = good
    for _ in range(draw(st.integers(1, 2))):
        everywhere = [at for at in places(body) if at]
        holders = [at for at in places(body) if isinstance(inside(body, at), dict)]
        if holders and draw(st.booleans()):
            at = draw(st.sampled_from(holders))
            body = changed(body, at, {**inside(body, at), draw(NAMES): draw(JUNK)})
        elif everywhere:
            body = changed(body, draw(st.sampled_from(everywhere)), draw(JUNK))
    return body


def inside(body, at):
    for name in at:
        body = body[name]
    return body


@pytest.mark.parametrize("path", [*GOOD, *NEARLY])
def test_broken_requests_are_never_a_500(http, path):
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
    )
    @given(broken({**GOOD, **NEARLY}[path]))
    def every(body):
        reply = post(http, path, content=json.dumps(body))
        assert reply.status_code < 500, (body, reply.text)
        if reply.status_code >= 400:
            assert is_own_error(path, reply), (body, reply.text)

    every()


@pytest.mark.parametrize("path", GOOD)
def test_half_a_character_is_replaced(http, path):
    body = json.dumps(GOOD[path]).replace("Hi", "Hi \\ud83d there")
    assert post(http, path, content=body).status_code == 200


@pytest.mark.parametrize(
    "path", ["/openai/v1/models/%ED%A0%BD", "/google/v1beta/models/%ff", "/openai/v1/files/%00", "/%ff/x"]
)
def test_broken_addresses(http, path):
    assert http.get(path, headers=AUTH).status_code in (200, 400, 404)


ROUTES = {provider.name: provider.routes for provider in discovered(providers)}


def routes(*methods):
    """Every route of the server for one of these methods, by its pattern."""
    for provider, own in ROUTES.items():
        for route in own:
            if set(methods) & set(route.methods or ()):
                yield f"/{provider}{route.path}", route


def test_every_route_that_takes_a_body_is_fuzzed():
    fuzzed = set()
    for path in (*GOOD, *NEARLY, *FORMS):
        provider, own = path.split("/")[1], path[path.index("/", 1) :]
        fuzzed.add(next(r.endpoint for r in ROUTES[provider] if "POST" in r.methods and r.path_regex.match(own)))
    # The token endpoint takes a form of another kind, and has its own tests.
    left = {pattern for pattern, route in routes("POST") if route.endpoint not in fuzzed} - {"/google/token"}
    assert not left


@pytest.mark.parametrize("pattern", [p for p, _ in routes("GET", "DELETE", "PATCH")])
@pytest.mark.parametrize(
    "query", ["", "?limit=x&after=%00&after_id=%ff&purpose=&endpoint=x", "?limit=-1", "?limit=99999999"]
)
def test_lists_and_things_that_are_not_there(http, pattern, query):
    for junk in ("none", "%00", "%ff", "..%2f..", "a" * 3000):
        path = re.sub(r"\{[^}]+\}", junk, pattern)
        for method in ("GET", "DELETE", "PATCH"):
            reply = http.request(method, path + query, headers=AUTH, content=b"{" if method == "PATCH" else None)
            assert reply.status_code < 500, (method, path, reply.text)


@pytest.mark.parametrize("path", FORMS)
def test_broken_forms_are_never_a_500(http, path):
    good = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n--b\r\n'
        b'Content-Disposition: form-data; name="prompt"\r\n\r\nx\r\n--b--\r\n'
    )
    kind = "multipart/form-data; boundary=b"

    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(st.integers(0, len(good)), st.binary(max_size=6), st.integers(0, 6))
    def every(at, junk, cut):
        reply = post(http, path, content=good[:at] + junk + good[at + cut :], headers={"content-type": kind})
        assert reply.status_code < 500, reply.text
        assert reply.status_code == 200 or is_own_error(path, reply)

    every()
    for other in ("text/plain", "multipart/form-data", "application/json", "multipart/form-data; boundary="):
        reply = post(http, path, content=good, headers={"content-type": other})
        assert reply.status_code == 400 and is_own_error(path, reply)


@pytest.mark.parametrize("path", GOOD)
@pytest.mark.parametrize("kind", ["text/plain", "text/plain;application/json", "application/x-www-form-urlencoded", ""])
def test_json_is_declared_as_json_where_the_provider_insists(http, path, kind):
    """A web page can send a text to any address without asking first, but nothing that is declared as JSON."""
    reply = post(http, path, content=json.dumps(GOOD[path]), headers={"content-type": kind})
    if path.startswith(("/bedrock/", "/ollama/")):
        assert reply.status_code == 200
    else:
        assert reply.status_code == (400 if path.startswith("/openai/") else 415), reply.text
        assert "Content-Type: application/json" in reply.text


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"])
def test_json_may_be_declared_in_other_ways(http, kind):
    path = "/openai/v1/embeddings"
    assert post(http, path, content=json.dumps(GOOD[path]), headers={"content-type": kind}).status_code == 200


FORGED = ["evil.example", "evil.example:11400", "127.0.0.1.evil.example", "localhost.evil.example", ""]


@pytest.mark.parametrize("host", FORGED)
@pytest.mark.parametrize("path", ["/health", "/_keyless/requests", "/openai/v1/models", "/ollama/api/tags", "/none"])
def test_names_that_are_not_ours_are_refused(http, host, path):
    """A page whose own name was made to point to loopback sends that name as Host."""
    reply = http.get(path, headers={**AUTH, "host": host})
    assert reply.status_code == 400 and "host" in reply.text.lower()


@pytest.mark.parametrize("host", ["localhost", "localhost:11400", "127.0.0.1:1"])
def test_loopback_s_own_names_are_answered(http, host):
    assert http.get("/health", headers={"host": host}).status_code == 200


def test_a_name_from_the_setting_is_answered(monkeypatch):
    monkeypatch.setenv("COURSE_HOSTS", " keyless , course.example")
    assert allowed_hosts() == ["127.0.0.1", "localhost", "keyless", "course.example"]
    monkeypatch.delenv("COURSE_HOSTS")
    assert allowed_hosts() == ["127.0.0.1", "localhost"]


def test_no_other_origin_is_let_in(http):
    asked = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    for reply in (http.options("/openai/v1/chat/completions", headers=asked), http.get("/health", headers=asked)):
        assert not [name for name in reply.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", [p for p in GOOD if not any(n in p for n in NO_CONTEXT)])
def test_a_10_mb_prompt_is_told_quickly(http, path):
    body = json.loads(json.dumps(GOOD[path]).replace('"Hi"', json.dumps("long prompt " * 900_000)))
    reply = post(http, path, json=body)
    assert reply.status_code in (400, 413) and is_own_error(path, reply)
    assert "token" in reply.text


@pytest.mark.parametrize("path", [p for p in GOOD if "embed" in p or "predict" in p])
def test_a_10_mb_text_to_embed(http, path):
    reply = post(
        http, path, json=json.loads(json.dumps(GOOD[path]).replace('"Hi"', json.dumps("long text " * 1_000_000)))
    )
    # Cohere cuts what is too long, as it is asked to by default; the others refuse.
    assert reply.status_code == (200 if "cohere" in path else 400)


@pytest.mark.parametrize("path", BODIES)
def test_a_body_over_the_limit(http, path):
    reply = post(http, path, content=b'{"a": "' + b"x" * 33 * 1024 * 1024)
    assert reply.status_code == 413 and is_own_error(path, reply)


@pytest.mark.parametrize(
    "path",
    [*(f"/{p}/v1/nope" for p in ("openai", "anthropic", "cohere", "google", "bedrock", "ollama")), "/nowhere", "/openai",
     "/google/v1beta/models/m:nope", "/bedrock/model/m/nope"],
)  # fmt: skip
def test_unknown_paths(http, path):
    reply = post(http, path, json={})
    assert reply.status_code == 404 and "keyless serves" in reply.text
    assert is_own_error(path if path.count("/") > 1 else "/openai", reply)


@pytest.mark.parametrize("path", GOOD)
def test_wrong_method(http, path):
    reply = http.put(path, headers=AUTH)
    assert reply.status_code == 405 and is_own_error(path, reply)


@pytest.mark.parametrize("path", [p for p in GOOD if not p.startswith(("/ollama", "/systemone"))])
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
