"""Many clients, leaving clients, and what is left of them afterwards."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter

import httpx
import psutil
import pytest
from test_errors import AUTH, GOOD, LONG, post, wait_until_idle

from bench.load import MIXED

STORY = "Write a very long story about the sea."
STREAMS = {
    "/openai/v1/chat/completions": {**LONG, "stream": True},
    "/openai/v1/responses": {"model": "m", "input": STORY, "max_output_tokens": 4000, "stream": True},
    "/anthropic/v1/messages": {**LONG, "stream": True},
    "/cohere/v2/chat": {**LONG, "stream": True},
    "/google/v1beta/models/m:streamGenerateContent": {"contents": [{"parts": [{"text": STORY}]}], "generationConfig": {"maxOutputTokens": 4000}},
    "/bedrock/model/m/converse-stream": {"messages": [{"role": "user", "content": [{"text": STORY}]}], "inferenceConfig": {"maxTokens": 4000}},
    "/bedrock/model/llama/invoke-with-response-stream": {"prompt": STORY, "max_gen_len": 4000},
    "/ollama/api/chat": {"model": "m", "messages": LONG["messages"], "options": {"num_predict": 4000}},
}  # fmt: skip


@pytest.fixture(scope="module")
def server(keyless_url) -> psutil.Process:
    port = int(keyless_url.rpartition(":")[2])
    return next(
        psutil.Process(c.pid)
        for c in psutil.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN and c.laddr.port == port
    )


@pytest.mark.parametrize("path", STREAMS)
def test_an_abandoned_stream_frees_its_slot(http, keyless_url, path):
    for _ in range(5):  # more than there are slots
        with (
            httpx.Client(base_url=keyless_url, timeout=60, trust_env=False) as client,
            client.stream("POST", path, json=STREAMS[path], headers=AUTH) as reply,
        ):
            assert reply.status_code == 200
            next(reply.iter_raw())
    wait_until_idle(http)  # five answers of 4000 tokens would take minutes
    rows = http.get("/_keyless/requests", params={"limit": 5}).json()["requests"]
    assert {r["status"] for r in rows} == {499}


def test_an_abandoned_embedding_stops(http, keyless_url, server):
    texts = [f"{i} " + "word " * 500 for i in range(1500)]  # a minute and more of work
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{keyless_url}/openai/v1/embeddings", json={"model": "m", "input": texts}, headers=AUTH,
            timeout=httpx.Timeout(60, read=3), trust_env=False,
        )  # fmt: skip
    deadline = time.monotonic() + 20
    while server.cpu_percent(interval=0.5) > 30:
        assert time.monotonic() < deadline, "still at work for a client that has left"


@pytest.mark.parametrize("path", GOOD)
def test_a_half_sent_request_harms_nobody(http, keyless_url, path):
    host, port = keyless_url.removeprefix("http://").split(":")
    for body in (b"", b"{", b'{"model": "m"'):
        with socket.create_connection((host, int(port))) as broken:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nContent-Length: 1000\r\n\r\n"
            broken.sendall(head.encode() + body)
    assert wait_until_idle(http)["status"] == "ok"


def test_two_hundred_clients_at_once_are_all_served(keyless_url):
    async def everyone():
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
        async with httpx.AsyncClient(base_url=keyless_url, timeout=180, limits=limits, trust_env=False) as client:

            async def one(number):
                path, body = MIXED[number % len(MIXED)]
                reply = await client.post(path, json=body, headers=AUTH)
                return path, reply.status_code

            return await asyncio.gather(*(one(n) for n in range(200)))

    answers = asyncio.run(everyone())
    assert Counter(status for _, status in answers) == {200: 200}, [a for a in answers if a[1] != 200]


def test_memory_goes_back_to_where_it_was(http, keyless_url, server):
    """What came and went, good, broken, huge and abandoned, leaves nothing that adds up."""
    long_prompt = json.loads(
        json.dumps(GOOD["/openai/v1/chat/completions"]).replace('"Hi"', json.dumps("x" * 5_000_000))
    )

    def round_of_everything():
        for path, body in MIXED:
            for _ in range(4):
                assert post(http, path, json=body).status_code == 200
        for path in GOOD:
            post(http, path, content=b"{" * 50_000)
        post(http, "/openai/v1/chat/completions", json=long_prompt)
        with (
            httpx.Client(base_url=keyless_url, timeout=60, trust_env=False) as client,
            client.stream("POST", "/openai/v1/chat/completions", json={**LONG, "stream": True}, headers=AUTH) as reply,
        ):
            next(reply.iter_raw())
        wait_until_idle(http)
        http.delete("/_keyless/requests")

    for _ in range(2):
        round_of_everything()
    before = server.memory_info().rss
    for _ in range(3):
        round_of_everything()
    grown = (server.memory_info().rss - before) / 1024**2
    assert grown < 25, f"{grown:.0f} MiB more after 3 rounds"
