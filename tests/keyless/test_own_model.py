"""A model of the reader's own behind all APIs, tested with SmolLM2's own file, which keyless then knows nothing special about."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from jsonschema import Draft202012Validator
from sdk_clients import clients_of

from keyless.mind.download import find_model
from keyless.mind.engine import Engine, Sampling, smollm2
from keyless.mind.own import OwnModel, _asks_for_a_label, _closed, _turns
from keyless.mind.weights import UnusableModel, read_model
from keyless.neutral import Done, Message, Request, Shown, Started, Tool, ToolCall, Usage
from stack.ports import free_port

REPO = Path(__file__).resolve().parents[2]
FILE = smollm2().path.resolve()
NAME = "smollm2-135m-instruct.q4_1"
CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"]}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "born": {"type": "string", "format": "date"}},
    "required": ["name", "born"],
}
ASK = "Ana Costa was born on 3 May 1990 in Lisbon."
WEATHER = "What is the weather in Paris?"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A keyless of its own with the model's file, as ``python -m keyless --model`` starts it."""
    url, state = f"http://127.0.0.1:{(port := free_port())}", tmp_path_factory.mktemp("state")
    command = [sys.executable, "-m", "keyless", "--port", str(port), "--model", str(FILE), "--threads", "1"]
    server = subprocess.Popen(command, cwd=REPO, env={**os.environ, "COURSE_STATE": str(state)})
    for _ in range(600):
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                break
        time.sleep(0.1)
    yield url
    server.terminate()
    server.wait(timeout=30)


@pytest.fixture(scope="module")
def client(own):
    return clients_of(own)


def test_it_says_who_answered(own):
    about = httpx.get(f"{own}/health", trust_env=False).json()
    assert (about["model"], about["file"], about["context_tokens"]) == (NAME, str(FILE), 8192)
    reply = httpx.get(f"{own}/openai/v1/models", headers={"authorization": "Bearer k"}, trust_env=False)
    assert reply.headers["x-keyless"] == NAME


def test_openai(client):
    openai = client["openai"]("k")
    ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Name a fruit."}], "max_tokens": 8}
    whole = openai.chat.completions.create(**ask)
    assert whole.choices[0].finish_reason == "length" and whole.usage.completion_tokens == 8
    streamed = "".join(c.choices[0].delta.content or "" for c in openai.chat.completions.create(**ask, stream=True))
    assert streamed == whole.choices[0].message.content
    form = {"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON, "strict": True}}
    ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": ASK}], "response_format": form}
    filled = openai.chat.completions.create(**ask)
    assert Draft202012Validator(PERSON).is_valid(json.loads(filled.choices[0].message.content))
    cut = openai.chat.completions.create(**ask, max_tokens=4)
    assert cut.choices[0].finish_reason == "length" and cut.usage.completion_tokens == 4
    tools = [{"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": CITY}}]
    called = openai.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": WEATHER}], tools=tools, tool_choice="required"
    )
    assert called.choices[0].finish_reason == "tool_calls"
    call = called.choices[0].message.tool_calls[0].function
    assert call.name == "get_weather" and Draft202012Validator(CITY).is_valid(json.loads(call.arguments))


def test_anthropic(client):
    tools = [{"name": "get_weather", "description": "Weather", "input_schema": CITY}]
    ask = {"model": "claude-sonnet-5", "max_tokens": 80, "messages": [{"role": "user", "content": WEATHER}]}
    called = client["anthropic"]("k").messages.create(**ask, tools=tools, tool_choice={"type": "any"})
    assert called.stop_reason == "tool_use" and called.content[-1].name == "get_weather"
    with client["anthropic"]("k").messages.stream(**{**ask, "max_tokens": 6}) as stream:
        assert "".join(stream.text_stream) and stream.get_final_message().stop_reason == "max_tokens"


def test_cohere_google_bedrock_and_ollama(client):
    user = [{"role": "user", "content": ASK}]
    form = {"type": "json_object", "json_schema": PERSON}
    texts = [client["cohere"]("k").chat(model="command-a", messages=user, response_format=form).message.content[0].text]
    config = {"response_mime_type": "application/json", "response_json_schema": PERSON}
    google = client["google"]("k")
    texts.append(google.models.generate_content(model="gemini-2.5-flash", contents=ASK, config=config).text)
    texts.append(client["ollama"]("").chat(model="m", messages=user, format=PERSON)["message"]["content"])
    assert all(Draft202012Validator(PERSON).is_valid(json.loads(text)) for text in texts), texts
    tool = {"toolSpec": {"name": "get_weather", "description": "Weather", "inputSchema": {"json": CITY}}}
    reply = client["bedrock"]("k").converse(
        modelId="anthropic.claude-3-haiku",
        messages=[{"role": "user", "content": [{"text": WEATHER}]}],
        toolConfig={"tools": [tool], "toolChoice": {"any": {}}},
    )
    assert reply["stopReason"] == "tool_use"
    assert any(p.get("toolUse", {}).get("name") == "get_weather" for p in reply["output"]["message"]["content"])


@pytest.mark.parametrize(
    "field",
    [
        {"type": "string", "pattern": "^(?=a)b$"},
        {"type": "string", "pattern": "^(a{1,1000}){1,1000}$"},
        {"type": "integer", "minimum": 5, "maximum": 1},
        {"$ref": "#"},
        {"type": "objekt"},
    ],
)
def test_a_schema_that_the_grammar_cannot_take_is_refused(own, field):
    schema = {"type": "object", "properties": {"a": field, "b": {"type": "string"}}, "required": ["a", "b"]}
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 20,
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    }
    reply = httpx.post(
        f"{own}/openai/v1/chat/completions",
        json=body,
        headers={"authorization": "Bearer k"},
        timeout=60,
        trust_env=False,
    )
    error = reply.json()["error"]
    assert reply.status_code == 400 and error["param"] == "response_format" and "Invalid schema" in error["message"]


def test_parameters_of_a_tool_that_are_no_schema_are_refused(own):
    deep = {"type": "string"}
    for _ in range(400):
        deep = {"type": "object", "properties": {"a": deep}}
    for parameters in (deep, {"type": "object", "properties": [1]}, {"$ref": "#/none"}):
        tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
        body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": tools}
        reply = httpx.post(
            f"{own}/openai/v1/chat/completions",
            json={**body, "tool_choice": "required", "max_tokens": 20},
            headers={"authorization": "Bearer k"},
            timeout=60,
            trust_env=False,
        )
        assert reply.status_code == 400 and reply.json()["error"]["param"] == "tools", reply.text


@pytest.mark.parametrize("api", ["chat", "stream", "responses", "anthropic", "cohere", "google", "bedrock", "ollama"])
def test_every_provider_refuses_such_a_schema_in_its_own_words(own, api):
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 5, "maximum": 1}}, "required": ["a"]}
    user = [{"role": "user", "content": "Hi"}]
    chat = {"model": "m", "messages": user, "max_tokens": 20}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    path, body = {
        "chat": ("/openai/v1/chat/completions", {**chat, "response_format": form}),
        "stream": ("/openai/v1/chat/completions", {**chat, "response_format": form, "stream": True}),
        "responses": (
            "/openai/v1/responses",
            {"model": "m", "input": "Hi", "text": {"format": {"type": "json_schema", "name": "x", "schema": schema}}},
        ),
        "anthropic": (
            "/anthropic/v1/messages",
            {**chat, "output_config": {"format": {"type": "json_schema", "schema": schema}}},
        ),
        "cohere": (
            "/cohere/v2/chat",
            {**chat, "response_format": {"type": "json_object", "json_schema": schema}},
        ),
        "google": (
            "/google/v1beta/models/gemini-2.5-flash:generateContent",
            {
                "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
                "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": schema},
            },
        ),
        "bedrock": (
            "/bedrock/model/anthropic.claude-3-haiku/converse",
            {
                "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
                "outputConfig": {
                    "textFormat": {
                        "type": "json_schema",
                        "structure": {"jsonSchema": {"name": "x", "schema": json.dumps(schema)}},
                    }
                },
            },
        ),
        "ollama": ("/ollama/api/chat", {"model": "m", "messages": user, "format": schema}),
    }[api]
    keys = {"authorization": "Bearer k", "x-api-key": "k", "x-goog-api-key": "k"}
    reply = httpx.post(f"{own}{path}", json=body, headers=keys, timeout=60, trust_env=False)
    assert reply.status_code == 400 and "Invalid schema" in reply.text, reply.text
    told = reply.json()
    assert {
        "chat": lambda: told["error"]["type"] == "invalid_request_error",
        "stream": lambda: told["error"]["type"] == "invalid_request_error",
        "responses": lambda: told["error"]["type"] == "invalid_request_error",
        "anthropic": lambda: told["type"] == "error" and told["error"]["type"] == "invalid_request_error",
        "cohere": lambda: "Invalid schema" in told["message"],
        "google": lambda: told["error"]["status"] == "INVALID_ARGUMENT",
        "bedrock": lambda: reply.headers["x-amzn-errortype"] == "ValidationException",
        "ollama": lambda: "Invalid schema" in told["error"],
    }[api](), told


# --- without a server -------------------------------------------------------------------------------------------


def test_labels_alone_are_told_from_fields():
    ask = (Message("user", "I love it."),)
    label = {"enum": ["good", "bad"]}
    one = {"type": "object", "properties": {"mood": label}}
    named = {"type": "object", "properties": {"mood": {"$ref": "#/$defs/M"}}, "$defs": {"M": label}}
    two = {"type": "object", "properties": {"mood": label, "name": {"type": "string"}}}
    assert [_asks_for_a_label(Request(ask, schema=s)) for s in (one, named, two, label, {})] == [
        True,
        True,
        False,
        True,
        False,
    ]
    assert _asks_for_a_label(Request((Message("user", "I love it. Answer only yes or no."),)))
    assert not _asks_for_a_label(Request(ask, (Tool("t"),), schema=one))
    shown = (Shown("The image is white.", "Answer only yes or no."),)
    assert not _asks_for_a_label(Request((Message("user", "What is written here?", pictures=shown),)))
    # What is no schema at all is for the validator to refuse.
    for broken in ({"properties": [1]}, {"$ref": "#/$defs/M", "$defs": [1]}, {"properties": {"mood": 1}}):
        assert not _asks_for_a_label(Request(ask, schema=broken))


class Written:
    """An engine whose model answers any grammar with the same JSON."""

    busy = waiting = 0

    def __init__(self, parameters):
        self.model = replace(smollm2(), parameters=parameters)
        self.asked = 0

    async def count_prompt(self, messages, extra="", tools=None):
        return 7

    async def tokenize(self, text, **more):
        return [*range(len(text.split()))]

    async def complete(self, prompt, sampling, until=None):
        self.asked += 1
        return 'JSON:\n{"mood": "bad"}', Done("stop", Usage(7, 5))


@pytest.mark.parametrize(("parameters", "asked", "mood"), [(10**9, 0, "good"), (10**9 + 1, 1, "bad")])
def test_labels_are_left_to_minilm_where_the_model_is_small(embedder, parameters, asked, mood):
    engine = Written(parameters)
    schema = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}
    said = (Message("user", "Is the mood of this text good or bad? I love it, what a wonderful day!"),)
    reply = asyncio.run(OwnModel(engine, embedder).reply(Request(said, schema=schema, stop=("oo", "ba"))))
    assert json.loads(reply.text) == {"mood": mood}, "no stop string breaks JSON off"
    assert engine.asked == asked


def test_objects_are_closed_where_schemas_stand_and_nowhere_else():
    schema = {
        "type": "object",
        "properties": {"properties": {"type": "object", "properties": {}}, "e": {"enum": [{"properties": {}}]}},
    }
    closed = _closed(schema)
    assert closed["additionalProperties"] is False and "additionalProperties" not in closed["properties"]
    assert closed["properties"]["properties"]["additionalProperties"] is False
    assert closed["properties"]["e"] == schema["properties"]["e"]


def test_calls_and_results_go_to_the_template_in_its_own_form():
    call = ToolCall("a", "get_weather", {"city": "Paris"})
    turns = _turns((Message("user", "Hi"), Message("assistant", "", (call,)), Message("tool", "18", tool_call_id="a")))
    function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    assert turns[1]["tool_calls"] == [{"id": "a", "type": "function", "function": function}]
    assert turns[2] == {"role": "tool", "content": "18", "tool_call_id": "a", "name": "get_weather"}


class Calling:
    """An engine whose model writes something and then calls two tools by its template."""

    busy = waiting = 0
    model = replace(smollm2(), parameters=7_000_000_000, knows_tools=True)
    asked = None

    async def stream(self, messages, sampling, tools=None):
        self.asked = (messages, sampling, tools)
        yield Started(7)
        yield ToolCall("1", "a", {})
        yield ToolCall("2", "b", {"x": 1})
        yield Done("tool_calls", Usage(7, 3))


def test_parallel_calls_by_the_template(embedder):
    engine = Calling()
    reply = asyncio.run(OwnModel(engine, embedder).reply(Request((Message("user", "Hi"),), (Tool("a"), Tool("b")))))
    assert [c.name for c in reply.tool_calls] == ["a", "b"] and reply.finish_reason == "tool_calls"
    _, sampling, tools = engine.asked
    assert [t["function"]["name"] for t in tools["tools"]] == ["a", "b"] and tools["parallel_tool_calls"] is True
    assert sampling.repeat_penalty == 1.0, "no penalty for a model that needs none"


def streamed(chunks):
    """The events of an engine to which llama.cpp sends ``chunks``."""

    class Server:
        def handle_chat_completions(self, payload, on_chunk):
            for chunk in chunks:
                on_chunk(json.dumps(chunk).encode())

    async def events():
        engine = Engine.__new__(Engine)
        engine.model, engine._server, engine._slots = smollm2(), Server(), asyncio.Semaphore(1)
        engine.busy, engine.waiting, engine._calls = 0, 0, itertools.count(1)
        return [e async for e in engine.stream([{"role": "user", "content": "Hi"}], Sampling(), {"tools": []})]

    return asyncio.run(events())


@pytest.mark.parametrize(("ended", "calls"), [("tool_calls", 2), ("length", 0)])
def test_calls_come_whole_or_not_at_all(ended, calls):
    def part(index, **function):
        return {"choices": [{"delta": {"tool_calls": [{"index": index, "function": function}]}}]}

    chunks = [
        {"choices": [{"delta": {"content": None}}], "timings": {"cache_n": 0, "prompt_n": 7}},
        part(0, name="a", arguments='{"x"'),
        part(0, arguments=": 1}"),
        part(1, name="b", arguments="{}"),
        {"choices": [{"delta": {}, "finish_reason": ended}]},
        {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 9}},
    ]
    events = streamed(chunks)
    assert events[0] == Started(7) and events[-1] == Done(ended, Usage(7, 9))
    found = [(e.name, e.arguments) for e in events if isinstance(e, ToolCall)]
    assert found == [("a", {"x": 1}), ("b", {})][:calls]


# --- files ------------------------------------------------------------------------------------------------------


def test_files_that_are_none(tmp_path):
    bad = tmp_path / "bad.gguf"
    for content in (b"", b"PK\x03\x04" * 50, FILE.read_bytes()[:50_000], b"GGUF\x03\0\0\0" + b"\xff" * 64):
        bad.write_bytes(content)
        with pytest.raises(UnusableModel, match="no whole file"):
            read_model(bad)
    with pytest.raises(UnusableModel, match="cannot be read"):
        read_model(tmp_path / "none.gguf")


def test_what_llama_cpp_cannot_load_ends_keyless(tmp_path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(FILE.read_bytes()[:-1])
    command = [sys.executable, "-m", "keyless", "--port", str(free_port()), "--model", str(cut)]
    done = subprocess.run(
        command, cwd=REPO, env={**os.environ, "COURSE_STATE": str(tmp_path)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3 and f"llama.cpp cannot load {cut}" in done.stderr


def test_too_little_memory_is_said_and_some_shortens_the_context(monkeypatch):
    memory = lambda free: monkeypatch.setattr("psutil.virtual_memory", lambda: type("M", (), {"available": free}))  # noqa: E731
    memory(200 * 2**20)
    with pytest.raises(UnusableModel, match="GiB of memory"):
        read_model(FILE)
    memory(900 * 2**20)
    assert read_model(FILE).context_tokens == 4096


def test_a_changed_file_is_noticed(tmp_path):
    said: list[str] = []
    copy = tmp_path / "m.gguf"
    copy.write_bytes(FILE.read_bytes())
    find_model(str(copy), tmp_path / "models", said.append)
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() in said[-1]
    with copy.open("ab") as file:
        file.write(b"x")
    find_model(str(copy), tmp_path / "models", said.append)
    assert "has changed" in said[-1]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "models").write_text("a file, no folder")
    with pytest.raises(UnusableModel, match="cannot be remembered in"):
        find_model(str(FILE), tmp_path / "models", print)


class Hub(BaseHTTPRequestHandler):
    """Plays the hub: one file, in ranges too; the first download breaks off in the middle."""

    content = FILE.read_bytes()
    ranges: list[str] = []  # noqa: RUF012
    asked: list[tuple[str, str]] = []  # noqa: RUF012
    breaks = True

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.asked.append((self.path, self.headers.get("user-agent", "")))
        if not self.path.startswith("/owner/repo/resolve/main/m.gguf"):
            self.send_response(404)
            self.send_header("x-error-code", "EntryNotFound" if "/owner/repo/" in self.path else "RepoNotFound")
            self.send_header("content-length", "0")
            self.end_headers()
            return
        said = self.headers.get("range")
        start = int(said.removeprefix("bytes=").split("-")[0]) if said else 0
        body = self.content[start:]
        self.send_response(206 if said else 200)
        self.send_header("etag", '"abc"')
        self.send_header("x-repo-commit", "a" * 40)
        self.send_header("accept-ranges", "bytes")
        self.send_header("content-length", str(len(body)))
        if said:
            self.send_header("content-range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        self.end_headers()
        if self.command == "GET":
            type(self).ranges.append(said or "")
            with suppress(OSError):
                self.wfile.write(body[: len(body) // 2] if self.breaks else body)
            self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def loaded(named, folder, endpoint):
    """``find_model`` in a process of its own, because huggingface_hub reads its address when it is imported."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom keyless.mind.download import find_model\n"
        "from keyless.mind.weights import UnusableModel\n"
        "try:\n    print(find_model(sys.argv[1], Path(sys.argv[2]), print).path)\n"
        "except UnusableModel as error:\n    print('REFUSED', error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, named, str(folder)],
        cwd=REPO,
        env={
            **os.environ,
            "HF_ENDPOINT": endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1",
            "AI_AGENT": "somebody",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not done.returncode, done.stderr
    return done.stdout


def test_a_model_of_the_hub_is_loaded_once_and_known_by_its_hash(hub, tmp_path):
    Hub.breaks = False
    Hub.asked.clear()
    said = loaded("hf:owner/repo/m.gguf", tmp_path, hub)
    assert {path for path, _ in Hub.asked} == {"/", "/owner/repo/resolve/main/m.gguf"}
    assert not any("somebody" in caller for _, caller in Hub.asked), "telemetry is off"
    digest = hashlib.sha256(Hub.content).hexdigest()
    assert "Loading m.gguf" in said and digest in said
    assert json.loads((tmp_path / "sha256.json").read_text())[str(tmp_path / "owner/repo/m.gguf")]["sha256"] == digest
    again = loaded("hf:owner/repo/m.gguf", tmp_path, "http://127.0.0.1:9")
    assert "Loading" not in again and digest in again
    with (tmp_path / "owner/repo/m.gguf").open("ab") as file:
        file.write(b"x")
    assert "is not what was loaded" in loaded("hf:owner/repo/m.gguf", tmp_path, hub)


def test_a_download_that_broke_off_goes_on(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(Hub, "breaks", True)
    Hub.ranges.clear()
    loaded("hf:owner/repo/m.gguf", tmp_path, hub)
    Hub.breaks = False
    assert hashlib.sha256(Hub.content).hexdigest() in loaded("hf:owner/repo/m.gguf", tmp_path, hub)
    assert any(r.startswith("bytes=") and not r.startswith("bytes=0-") for r in Hub.ranges), "it began anew"


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("hf:owner/repo/x.gguf", "has no file x.gguf"),
        ("hf:owner/other/m.gguf", "no repository owner/other"),
        ("hf:owner/m.gguf", "names no file"),
        ("hf:../../etc/m.gguf", "names no file"),
    ],
)
def test_what_the_hub_has_not(hub, tmp_path, named, words):
    assert words in loaded(named, tmp_path, hub)


def test_no_network(tmp_path):
    said = loaded("hf:owner/repo/m.gguf", tmp_path, "http://127.0.0.1:9")
    assert "cannot be reached (" in said and "refused" in said


def test_a_home_that_is_none(tmp_path):
    with pytest.raises(UnusableModel, match="cannot be read"):
        find_model("~nobody-of-this-name/m.gguf", tmp_path, print)
