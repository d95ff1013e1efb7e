"""The official ollama client: chat, generate, embed, list."""

from __future__ import annotations

import json

import pytest

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "nights": {"type": "integer"}},
    "required": ["city", "nights"],
}


def test_chat_whole_and_streamed(ollama_client):
    messages = [{"role": "user", "content": "Name a fruit."}]
    whole = ollama_client.chat(model="smollm2", messages=messages, options={"num_predict": 20})
    assert whole.message.content and whole.done and whole.eval_count <= 20 and whole.prompt_eval_count > 0
    parts = list(ollama_client.chat(model="smollm2", messages=messages, options={"num_predict": 20}, stream=True))
    assert "".join(p.message.content or "" for p in parts) == whole.message.content
    assert parts[-1].done and parts[-1].eval_count == whole.eval_count


def test_generate(ollama_client):
    reply = ollama_client.generate(
        model="smollm2", system="Be brief.", prompt="Name a fruit.", options={"num_predict": 8}
    )
    assert reply.response and reply.done_reason in ("stop", "length")


def test_format_is_a_schema_or_json(ollama_client):
    reply = ollama_client.chat(
        model="m", messages=[{"role": "user", "content": "Three nights in Rome: nights: 3"}], format=SCHEMA
    )
    assert json.loads(reply.message.content) == {"city": "Rome", "nights": 3}
    free = ollama_client.generate(model="m", prompt="name: Ana", format="json")
    assert isinstance(json.loads(free.response), dict)


def test_tools(ollama_client):
    tool = {"type": "function", "function": {"name": "get_weather", "description": "Get the weather for a city", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}  # fmt: skip
    reply = ollama_client.chat(
        model="m", messages=[{"role": "user", "content": "What is the weather in Rome?"}], tools=[tool]
    )
    assert reply.message.tool_calls[0].function.arguments == {"city": "Rome"}


def test_embed_and_list(ollama_client):
    reply = ollama_client.embed(model="all-minilm", input=["a", "b"])
    assert len(reply.embeddings) == 2 and len(reply.embeddings[0]) == 384
    assert {m.model for m in ollama_client.list().models} == {"smollm2:135m", "all-minilm:latest"}


def test_errors(ollama_client):
    import ollama

    with pytest.raises(ollama.ResponseError, match="maximum context length"):
        ollama_client.generate(model="m", prompt="word " * 9000)


def test_async(keyless_url):
    import asyncio

    import ollama

    async def main():
        client = ollama.AsyncClient(host=f"{keyless_url}/ollama")
        return await asyncio.gather(
            *(client.generate(model="m", prompt="Hi", options={"num_predict": 5}) for _ in range(3))
        )

    assert len({reply.response for reply in asyncio.run(main())}) == 1
