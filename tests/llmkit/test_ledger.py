"""What the ledger keeps of calls by every client, and what it does when its database or its disk is gone."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import logging
import os
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import boto3
import httpx
import openai
import pytest

from llmkit import ledger, prices
from llmkit.ledger import http_tap, replies, table, tasks, usage

REPO = Path(__file__).resolve().parents[2]
ASKED = [{"role": "user", "content": "Hi"}]
CHAT = {"model": "gpt-4o", "messages": ASKED, "max_tokens": 3}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
CLAUDE = {"model": "claude-sonnet-5", "messages": ASKED, "max_tokens": 3}
COMMAND = {"model": "command-a-03-2025", "messages": ASKED, "max_tokens": 3}
GEMINI = {"model": "gemini-2.5-flash", "contents": "Hi", "config": {"max_output_tokens": 3}}
NOVA = {"modelId": "amazon.nova-lite-v1:0", "messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
OF_TITAN = {"modelId": "amazon.titan-text-express-v1", "body": json.dumps({"inputText": "Hi"})}
OF_CLAUDE = {
    "modelId": "anthropic.claude-3-haiku-20240307-v1:0",
    "body": json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5, "messages": ASKED}),
}


def drain(stream) -> None:
    for _ in stream:
        pass


async def adrain(stream) -> None:
    async for _ in await stream:
        pass


def anthropic_stream(client) -> None:
    with client.messages.stream(**CLAUDE) as stream:
        drain(stream.text_stream)


async def gemini_stream(client) -> None:
    async for _ in await client.aio.models.generate_content_stream(**GEMINI):
        pass


CALLS = {
    "openai chat": ("openai", lambda c: c.chat.completions.create(**CHAT)),
    "openai stream": ("openai", lambda c: drain(c.chat.completions.create(**CHAT, **USAGE))),
    "openai raw": ("openai", lambda c: c.chat.completions.with_raw_response.create(**CHAT)),
    "openai responses": ("openai", lambda c: c.responses.create(model="gpt-5-mini", input="Hi", max_output_tokens=16)),
    "openai responses stream": ("openai", lambda c: drain(c.responses.create(model="gpt-5-mini", input="Hi", stream=True))),
    "openai embeddings": ("openai", lambda c: c.embeddings.create(model="text-embedding-3-small", input=["a", "b"])),
    "openai image": ("openai", lambda c: c.images.generate(model="gpt-image-1", prompt="A lamp", size="1024x1024")),
    "openai async": ("openai async", lambda c: asyncio.run(c.chat.completions.create(**CHAT))),
    "openai async stream": ("openai async", lambda c: asyncio.run(adrain(c.chat.completions.create(**CHAT, **USAGE)))),
    "anthropic": ("anthropic", lambda c: c.messages.create(**CLAUDE)),
    "anthropic stream": ("anthropic", anthropic_stream),
    "anthropic raw stream": ("anthropic", lambda c: drain(c.messages.create(**CLAUDE, stream=True))),
    "cohere chat": ("cohere", lambda c: c.chat(**COMMAND)),
    "cohere stream": ("cohere", lambda c: drain(c.chat_stream(**COMMAND))),
    "cohere embed": ("cohere", lambda c: c.embed(model="embed-v4.0", texts=["a"], input_type="search_query", embedding_types=["float"])),
    "cohere rerank": ("cohere", lambda c: c.rerank(model="rerank-v3.5", query="a", documents=["a", "b"])),
    "gemini": ("google", lambda c: c.models.generate_content(**GEMINI)),
    "gemini stream": ("google", lambda c: drain(c.models.generate_content_stream(**GEMINI))),
    "gemini embed": ("google", lambda c: c.models.embed_content(model="gemini-embedding-001", contents="Hi")),
    "gemini async": ("google", lambda c: asyncio.run(c.aio.models.generate_content(**GEMINI))),
    "gemini async stream": ("google", lambda c: asyncio.run(gemini_stream(c))),
    "vertex": ("vertex", lambda c: c.models.generate_content(**GEMINI)),
    "vertex embed": ("vertex", lambda c: c.models.embed_content(model="text-embedding-005", contents="Hi")),
    "bedrock converse": ("bedrock", lambda c: c.converse(**NOVA)),
    "bedrock converse stream": ("bedrock", lambda c: drain(c.converse_stream(**NOVA)["stream"])),
    "bedrock titan": ("bedrock", lambda c: c.invoke_model(**OF_TITAN)["body"].read()),
    "bedrock titan stream": ("bedrock", lambda c: drain(c.invoke_model_with_response_stream(**OF_TITAN)["body"])),
    "bedrock claude": ("bedrock", lambda c: c.invoke_model(**OF_CLAUDE)["body"].read()),
    "bedrock claude stream": ("bedrock", lambda c: drain(c.invoke_model_with_response_stream(**OF_CLAUDE)["body"])),
    "bedrock titan embed": ("bedrock", lambda c: c.invoke_model(modelId="amazon.titan-embed-text-v2:0", body='{"inputText": "Hi"}')["body"].read()),
    "ollama chat": ("ollama", lambda c: c.chat(model="llama3.2", messages=ASKED)),
    "ollama stream": ("ollama", lambda c: drain(c.chat(model="llama3.2", messages=ASKED, stream=True))),
    "ollama embed": ("ollama", lambda c: c.embed(model="nomic-embed-text", input="a")),
}  # fmt: skip
UNTOLD = {"cohere rerank", "gemini embed"}
"""Their replies do not say how many tokens were used."""
UNPRICED = {"cohere rerank", "gemini embed", "vertex embed", "ollama chat", "ollama stream", "ollama embed"}


@pytest.fixture(scope="module", autouse=True)
def nothing_left_over():
    """A stream that an earlier test left open is noted when it is collected: now, and not in one of the spools below."""
    gc.collect()
    http_tap.flush()


@pytest.fixture
def spool(tmp_path, monkeypatch):
    """A task runs, and its rows go to a folder of the test; a function gives them as the table would have them."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    ledger.started(SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=2, try_number=3))

    def rows():
        http_tap.flush()
        file = tmp_path / "ledger" / "calls.jsonl"
        names = [
            "id",
            "at",
            "provider",
            "kind",
            "host",
            "model",
            "input",
            "output",
            "cached",
            "cost",
            "seconds",
            "status",
            "error",
            "batch",
        ]
        found = file.read_text().splitlines() if file.exists() else []
        return [SimpleNamespace(**dict(zip(names, table._priced(json.loads(r)), strict=False))) for r in found]

    yield rows
    tasks._current = None


@pytest.fixture
def asked(http):
    """What keyless received from a model's client since the test began."""
    last = http.get("/_keyless/requests", params={"limit": 1}).json()["requests"]
    after = last[-1]["id"] if last else 0
    names = {"bedrock": "aws"}

    def rows():
        found = http.get("/_keyless/requests", params={"after": after, "limit": 1000}).json()["requests"]
        return [{**r, "provider": names.get(r["provider"], r["provider"])} for r in found if "/token" not in r["path"]]

    return rows


@pytest.mark.parametrize("name", CALLS)
def test_every_client_s_call_is_one_row(name, clients, vertex_client, keyless_url, spool, asked):
    kind, call = CALLS[name]
    if kind == "openai async":
        client = openai.AsyncOpenAI(base_url=f"{keyless_url}/openai/v1", api_key="keyless-needs-no-key")
    else:
        client = vertex_client if kind == "vertex" else clients[kind]("keyless-needs-no-key")
    call(client)
    (row,), (request,) = spool(), asked()
    assert (row.provider, row.model, row.status) == (request["provider"], request["model"], 200)
    told = (None, None) if name in UNTOLD else (request["prompt_tokens"], request["completion_tokens"])
    assert (row.input, row.output) == told
    assert (row.cost is None) == (name in UNPRICED)
    assert row.cost is None or 0 < row.cost < 1
    assert row.seconds > 0 and row.error is None


def test_each_retry_of_the_sdk_is_a_row(keyless_url, fresh, spool, asked):
    client = openai.OpenAI(base_url=f"{keyless_url}/openai/v1", api_key=fresh("fail=503@0.5"), max_retries=2)
    client.chat.completions.create(**CHAT)
    assert [r.status for r in spool()] == [r["status"] for r in asked()] == [503, 200]
    failed, answered = spool()
    assert failed.cost is None and failed.model == "gpt-4o" and answered.cost > 0


def test_refused_keys_and_servers_that_are_not_there(clients, keyless_url, spool):
    with pytest.raises(openai.AuthenticationError):
        clients["openai"]("keyless:wrong-key").chat.completions.create(**CHAT)
    with pytest.raises(openai.APIConnectionError):
        openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="k", max_retries=0).chat.completions.create(**CHAT)
    client = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url="http://127.0.0.1:9", aws_access_key_id="k", aws_secret_access_key="k")  # fmt: skip
    client.meta.config.retries = {"max_attempts": 0}
    with pytest.raises(Exception, match="Could not connect"):
        client.converse(**NOVA)
    refused, unreachable, *aws = spool()
    assert (refused.status, refused.error) == (401, None)
    assert (unreachable.status, unreachable.error) == (0, "ConnectError") and unreachable.model == "gpt-4o"
    assert {(r.status, r.error, r.provider) for r in aws} == {(0, "EndpointConnectionError", "aws")}


def test_an_abandoned_stream_is_a_row(clients, spool):
    stream = clients["openai"]("keyless-needs-no-key").chat.completions.create(**{**CHAT, "max_tokens": 60}, **USAGE)
    next(iter(stream))
    stream.close()
    (row,) = spool()
    assert (row.model, row.status, row.input, row.cost) == ("gpt-4o", 200, None, None)


def test_a_stream_that_is_dropped_without_being_closed_is_a_row(keyless_url, spool):
    with httpx.Client(trust_env=False) as client:
        headers = {"Authorization": "Bearer keyless-needs-no-key"}
        request = client.build_request(
            "POST", f"{keyless_url}/openai/v1/chat/completions", json={**CHAT, **USAGE}, headers=headers
        )
        response = client.send(request, stream=True)
        next(response.iter_raw())
        del response
        gc.collect()
        assert [(r.model, r.status) for r in spool()] == [("gpt-4o", 200)]


def test_a_stream_that_outlives_its_task_is_still_its_own(clients, spool, tmp_path):
    stream = clients["openai"]("keyless-needs-no-key").chat.completions.create(**CHAT, **USAGE)
    tasks._current = None
    ledger.started(SimpleNamespace(dag_id="d", task_id="another", run_id="r", map_index=-1, try_number=1))
    stream.close()
    row = json.loads((tmp_path / "ledger" / "calls.jsonl").read_text())
    assert row["task_id"] == "t"


def test_half_of_a_compressed_answer_is_a_row_without_tokens(spool):
    whole = gzip.compress(b'{"model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}' * 20)
    watch = http_tap._watch("POST", "http://127.0.0.1/v1/chat/completions", lambda: b'{"model": "asked"}')
    watch.call.decode = gzip.decompress
    watch.answered(200, {"Content-Encoding": "gzip"})
    watch.chunk(whole[:30])
    watch.end()
    assert [(r.model, r.status, r.input) for r in spool()] == [("asked", 200, None)]


def test_a_slow_answer_that_is_not_waited_for(clients, fresh, spool):
    client = clients["openai"](fresh("latency=5s")).with_options(timeout=0.2)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(**CHAT)
    assert [(r.status, r.error) for r in spool()] == [(0, "ReadTimeout")]


def test_cached_tokens_cost_less(clients, fresh, spool):
    system = [{"type": "text", "text": "You answer questions. " * 400, "cache_control": {"type": "ephemeral"}}]
    tool = {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}}
    client = clients["anthropic"](fresh("latency=0s@0.1"))
    for _ in range(2):
        client.messages.create(
            **CLAUDE, system=system, tools=[tool], tool_choice={"type": "tool", "name": "f"}
        )  # decided without the language model, which would read for seconds
    first, second = spool()
    assert first.cached == 0 and second.cached > 1000 and first.input == second.input
    assert second.cost < first.cost / 4


def test_batches_are_paid_when_their_results_come_at_half_the_price(clients, spool):
    client = clients["anthropic"]("keyless-needs-no-key")
    requests = [{"custom_id": f"r{i}", "params": CLAUDE} for i in range(2)]
    batch = client.messages.batches.create(requests=requests)
    while client.messages.batches.retrieve(batch.id).processing_status != "ended":
        pass
    for _ in range(2):
        drain(client.messages.batches.results(batch.id))
    rows = spool()
    assert [r.batch for r in rows] == [batch.id] * 4 and len({r.id for r in rows}) == 2
    client.messages.create(**CLAUDE)
    assert rows[0].cost == spool()[-1].cost / 2


def test_openai_s_batches(clients, spool):
    client = clients["openai"]("keyless-needs-no-key")
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}
    file = client.files.create(file=("lines.jsonl", json.dumps(line).encode()), purpose="batch")
    client.files.content(file.id)  # the questions are no results
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    while batch.status not in ("completed", "failed"):
        batch = client.batches.retrieve(batch.id)
    client.files.content(batch.output_file_id)
    (row,) = spool()
    assert (row.model, row.output, row.status, row.batch) == ("gpt-4o", 3, 200, batch.output_file_id)


def test_calls_outside_a_task_are_nobody_s(clients, spool):
    tasks._current = None
    clients["openai"]("keyless-needs-no-key").chat.completions.create(**CHAT)
    assert spool() == []


def test_calls_of_a_trigger_are_its_task_s(clients, spool, tmp_path):
    import structlog.contextvars as contextvars

    tasks._current = None
    known = {"trigger_id": 1, "dag_id": "d", "task_id": "waits", "run_id": "r", "map_index": -1, "try_number": 2}
    with contextvars.bound_contextvars(**known):
        clients["openai"]("keyless-needs-no-key").chat.completions.create(**CHAT)
    row = json.loads((tmp_path / "ledger" / "calls.jsonl").read_text())
    assert (row["task_id"], row["try_number"]) == ("waits", 2)


def test_other_requests_are_not_rows(clients, keyless_url, spool):
    client = clients["openai"]("keyless-needs-no-key")
    client.models.list()
    clients["anthropic"]("k").messages.count_tokens(model="claude-sonnet-5", messages=ASKED)
    httpx.get(f"{keyless_url}/health", trust_env=False)
    assert spool() == []


def test_rows_reach_the_table_once(running_stack, clients, spool, tmp_path):
    clients["openai"]("keyless-needs-no-key").chat.completions.create(**CHAT)
    saved = (tmp_path / "ledger" / "calls.jsonl").read_text()
    assert ledger.deliver() == 1
    assert list((tmp_path / "ledger").glob("*.jsonl")) == []
    (tmp_path / "ledger" / "again.jsonl").write_text(saved)
    assert ledger.deliver() == 0
    with ledger.connect() as connection:
        row = connection.execute(
            "SELECT dag_id, task_id, run_id, map_index, try_number, provider, model, cost_usd FROM llm_calls WHERE id = %s",
            [json.loads(saved)["id"]],
        ).fetchone()
    assert row[:7] == ("d", "t", "r", 2, 3, "openai", "gpt-4o") and row[7] > 0
    (total,) = ledger.spending("dag_id", "model", dag_id="d", run_id="r")
    assert total.group == ("d", "gpt-4o") and total.calls == 1 and total.unpriced == total.failed == 0
    assert total.cost_usd == row[7]
    with pytest.raises(ValueError, match="no group"):
        ledger.spending("password")


def test_a_row_that_cannot_be_stored_keeps_no_other_out(running_stack, clients, spool, tmp_path, caplog):
    client, folder = clients["openai"]("keyless-needs-no-key"), tmp_path / "ledger"
    client.chat.completions.create(**CHAT)
    line = (folder / "calls.jsonl").read_text()
    row = json.loads(line)
    bad = [json.dumps({**row, "id": "no uuid"}), json.dumps({"id": row["id"]}), "no JSON"]
    (folder / "a.jsonl").write_text("\n".join([*bad, line]))
    (folder / "calls.jsonl").unlink()
    assert ledger.deliver(at_once=True) == 1, "the good one, beside three bad ones in one file"
    assert (folder / "a.broken").read_text().splitlines() == bad and not list(folder.glob("*.jsonl"))
    assert caplog.text.count("cannot store a line") == 3


def test_a_call_goes_on_without_the_database(running_stack, clients, spool, tmp_path, monkeypatch, caplog):
    good = table.CONN_ID
    monkeypatch.setattr(table, "CONN_ID", "gone")
    monkeypatch.setenv("AIRFLOW_CONN_GONE", "postgres://postgres:@127.0.0.1:9/llm")
    client = clients["openai"]("keyless-needs-no-key")
    with caplog.at_level(logging.WARNING, "llmkit.ledger"):
        for _ in range(3):
            assert client.chat.completions.create(**CHAT).choices
            ledger.deliver()
    assert [r.message for r in caplog.records if "does not answer" in r.message and str(tmp_path) in r.message], (
        caplog.text
    )
    assert len(caplog.records) == 1, "one warning, not one a call"
    monkeypatch.setattr(table, "CONN_ID", good)
    assert ledger.deliver() == 0, "not tried again at once"
    assert ledger.deliver(at_once=True) == 3


def test_a_call_goes_on_without_a_disk(clients, spool, tmp_path, caplog):
    (tmp_path / "ledger").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING, "llmkit.ledger"):
        assert clients["openai"]("keyless-needs-no-key").chat.completions.create(**CHAT).choices
        ledger.ended()
    assert "missing in the ledger" in caplog.text


def test_a_reply_that_cannot_be_read_is_passed_on(clients, spool, monkeypatch):
    def broken(body, headers):
        raise KeyError("surprise")

    monkeypatch.setattr(replies, "facts", broken)
    assert clients["openai"]("keyless-needs-no-key").chat.completions.create(**CHAT).choices
    assert [(row.model, row.status, row.input) for row in spool()] == [("gpt-4o", 200, None)]
    monkeypatch.setattr(replies, "api_of", broken)
    assert clients["openai"]("keyless-needs-no-key").chat.completions.create(**CHAT).choices


def test_a_very_long_reply_is_not_kept_in_memory(clients, spool, monkeypatch):
    monkeypatch.setattr(http_tap, "MOST_BYTES", 100)
    assert clients["openai"]("keyless-needs-no-key").chat.completions.create(**CHAT).choices
    (row,) = spool()
    assert (row.status, row.model, row.input) == (200, "gpt-4o", None)


def test_prices():
    assert prices.cost("openai", "gpt-4o-mini", input_tokens=1_000_000, output_tokens=1_000_000) == Decimal("0.75")
    assert prices.cost("openai", "no-such-model", input_tokens=5) is None
    assert prices.cost("nobody", "gpt-4o", input_tokens=5) is None
    told = {"usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}}
    own = usage.of_reply(told, "openai", "chat", "http://127.0.0.1:8000/v1/chat/completions", "my-model")
    assert (own.input_tokens, own.output_tokens, own.cost) == (5, 1, None), "tokens are known without a price"
    real = usage.of_reply(told, "openai", "chat", "https://api.mistral.ai/v1/chat/completions", "mistral-small-latest")  # fmt: skip
    assert real.provider == "mistral" and real.cost > 0


COLLECTED = """
import gc, http.server, json, os, sys, threading
import httpx
from types import SimpleNamespace
from llmkit import ledger

class Streams(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"data: {}\\n\\n" * 3)

    def log_message(self, *args):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Streams)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
ledger.started(SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1, try_number=1))
gc.disable()
client = httpx.Client(trust_env=False)

def half_read(how):
    response = client.send(client.build_request("POST", url, json={"model": how}), stream=True)
    pieces = iter(response.iter_raw())

    def read():  # as the SDKs do
        try:
            yield from pieces
        finally:
            response.close()

    reading = iter(response.stream) if how == "dropped" else read()
    next(reading)
    cycle = [reading, response]
    cycle.append(cycle)

dumps, collected = json.dumps, []

def collecting(*args, **kwargs):
    if not collected:
        collected.append(gc.collect())
    return dumps(*args, **kwargs)

{make}
json.dumps = collecting
client.post(url, json={"model": "whole"})
ledger.deliver()
json.dumps = dumps
spool = os.environ["AIRFLOW_HOME"] + "/ledger"
rows = [json.loads(line)["model"] for name in os.listdir(spool) if name.endswith(".jsonl") for line in open(f"{spool}/{name}")]
print(sorted(rows), bool(collected))
"""


@pytest.mark.parametrize("how", ["dropped", "closed"])
def test_a_stream_that_is_collected_while_a_row_is_written_holds_nothing_up(how, tmp_path):
    script = COLLECTED.replace("{make}", f"half_read({how!r})")
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(REPO / "plugins"), "AIRFLOW_CONN_LLM_DB": "postgres://x@127.0.0.1:9/x"}  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.stdout.strip().splitlines()[-1] == f"{sorted([how, 'whole'])} True", done.stderr


def test_the_collector_neither_writes_nor_logs(spool, tmp_path):
    """Whatever lock the collector interrupts the holder of, such as a log's, nothing that it finalizes asks for it."""
    (tmp_path / "ledger").mkdir()
    cycle = [http_tap._Stream(None, http_tap._watch("POST", "http://127.0.0.1/v1/chat/completions", lambda: b"{}"))]
    cycle.append(cycle)
    watch = http_tap._watch("POST", "http://127.0.0.1/v1/messages", lambda: b"{}")
    closing = [threading.Event()]
    closing.append(closing)
    weakref.finalize(closing[0], watch.end)
    del cycle, closing
    gc.collect()
    assert list((tmp_path / "ledger").iterdir()) == []
    assert sorted(row.provider for row in spool()) == ["anthropic", "openai"]


def test_a_call_of_each_process_is_kept_while_others_set_the_file_aside(tmp_path):
    """No lock is taken: a line is written again when its file was set aside meanwhile, and read once by its id."""
    writer = "import sys; from llmkit.ledger import spool; [spool._append([{'id': f'{sys.argv[1]}-{n}'}]) for n in range(300)]"
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(REPO / "plugins")}
    writers = [subprocess.Popen([sys.executable, "-c", writer, str(n)], env=env) for n in range(2)]
    folder, found, aside = tmp_path / "ledger", set(), 0
    while any(w.poll() is None for w in writers) or (folder / "calls.jsonl").exists():
        with suppress(FileNotFoundError):
            (folder / "calls.jsonl").rename(folder / "aside.jsonl")
            found |= {json.loads(line)["id"] for line in (folder / "aside.jsonl").read_text().splitlines()}
            (folder / "aside.jsonl").unlink()
            aside += 1
    assert [w.returncode for w in writers] == [0, 0] and aside > 1
    assert found == {f"{w}-{n}" for w in range(2) for n in range(300)}


def test_no_key_in_an_address_is_kept(spool, tmp_path, caplog, monkeypatch):
    address = "https://user:pass@gemini.example/v1beta/models/gemini-2.5-flash:generateContent?key=AIzaSecret&alt=sse"
    http_tap._watch("POST", address, lambda: b"{}").end()
    assert [row.host for row in spool()] == ["gemini.example"]
    http_tap._watch("POST", address, lambda: 1 / 0)
    kept = (tmp_path / "ledger" / "calls.jsonl").read_text() + caplog.text
    assert "could not be watched" in caplog.text and not any(secret in kept for secret in ("AIza", "pass@", "user"))
