"""Cohere's API by its official client."""

from __future__ import annotations

import asyncio
import json

import cohere
import numpy as np
import pytest
from shapes import valid
from test_openai_images import data_url

from keyless.mind import pictures

MODEL = "command-a-03-2025"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def ask(client, text="Name a fruit.", **more):
    return client.chat(model=MODEL, messages=[{"role": "user", "content": text}], **{"max_tokens": 20, **more})


def test_chat(cohere_client):
    reply = ask(cohere_client)
    valid(reply)
    assert reply.message.content[0].text and reply.finish_reason in ("COMPLETE", "MAX_TOKENS")
    assert reply.usage.tokens.output_tokens <= 20
    assert ask(cohere_client, max_tokens=2).finish_reason == "MAX_TOKENS"
    word = reply.message.content[0].text.split()[2]
    assert ask(cohere_client, stop_sequences=[word]).finish_reason == "STOP_SEQUENCE"


def test_stream_is_the_whole(cohere_client):
    whole = ask(cohere_client)
    events = list(
        cohere_client.chat_stream(model=MODEL, messages=[{"role": "user", "content": "Name a fruit."}], max_tokens=20)
    )
    for event in events:
        valid(event)
    kinds = [e.type for e in events]
    assert kinds[:2] == ["message-start", "content-start"] and kinds[-2:] == ["content-end", "message-end"]
    text = "".join(e.delta.message.content.text for e in events if e.type == "content-delta")
    assert text == whole.message.content[0].text and events[-1].delta.usage == whole.usage


def test_tools_and_their_results(cohere_client):
    question = {"role": "user", "content": "What is the weather in Oslo?"}
    asked = cohere_client.chat(model=MODEL, messages=[question], tools=[WEATHER])
    valid(asked)
    (call,) = asked.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Oslo"})
    assert asked.finish_reason == "TOOL_CALL" and asked.message.tool_plan
    answer = cohere_client.chat(
        model=MODEL,
        tools=[WEATHER],
        messages=[
            question,
            asked.message,
            {
                "role": "tool",
                "tool_call_id": call.id,
                "content": [{"type": "document", "document": {"data": {"celsius": -3}}}],
            },
        ],
    )
    assert "3" in answer.message.content[0].text
    streamed = list(cohere_client.chat_stream(model=MODEL, messages=[question], tools=[WEATHER]))
    for event in streamed:
        valid(event)
    arguments = "".join(e.delta.message.tool_calls.function.arguments for e in streamed if e.type == "tool-call-delta")
    assert json.loads(arguments) == {"city": "Oslo"}
    assert ask(cohere_client, "Hello", tools=[WEATHER], tool_choice="REQUIRED").message.tool_calls
    assert not ask(
        cohere_client, "What is the weather in Oslo?", tools=[WEATHER], tool_choice="NONE"
    ).message.tool_calls


def test_json_and_documents_and_pictures(cohere_client):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "guests": {"type": "integer"}},
        "required": ["city", "guests"],
    }
    form = {"type": "json_object", "schema": schema}
    reply = ask(cohere_client, "A table in Vienna for 4 guests.", response_format=form, max_tokens=100)
    assert json.loads(reply.message.content[0].text) == {"city": "Vienna", "guests": 4}
    known = ask(
        cohere_client,
        "When does the shop open?",
        documents=[{"data": {"title": "Hours", "snippet": "The shop opens at 09:30."}}],
        max_tokens=100,
    )
    assert "09:30" in known.message.content[0].text
    picture = pictures.draw("navy", (64, 32))
    content = [{"type": "text", "text": "Describe it."}, {"type": "image_url", "image_url": {"url": data_url(picture)}}]
    seen = cohere_client.chat(model=MODEL, messages=[{"role": "user", "content": content}])
    assert "64 pixels wide" in seen.message.content[0].text


def test_embed_types(cohere_client):
    kinds = ["float", "int8", "uint8", "binary", "ubinary"]
    reply = cohere_client.embed(
        model="embed-v4.0",
        texts=["the invoice is wrong", "my bill is not right", "a walk in the woods"],
        input_type="search_document",
        embedding_types=kinds,
        output_dimension=384,
    )
    valid(reply)
    vectors = {
        kind: np.array(getattr(reply.embeddings, "float_" if kind == "float" else kind), dtype=float) for kind in kinds
    }
    assert {kind: v.shape for kind, v in vectors.items()} == {
        "float": (3, 384), "int8": (3, 384), "uint8": (3, 384), "binary": (3, 48), "ubinary": (3, 48)
    }  # fmt: skip
    assert vectors["int8"].min() >= -128 and vectors["int8"].max() <= 127 and vectors["uint8"].min() >= 0
    exact = vectors["float"]
    for kind in ("int8", "uint8"):
        whole = vectors[kind] - (128 if kind == "uint8" else 0)
        alike = [whole[0] @ v / np.linalg.norm(whole[0]) / np.linalg.norm(v) for v in whole[1:]]
        assert np.allclose(alike, exact[1:] @ exact[0], atol=0.02), "similarities survive 8 bits"
    bits = np.unpackbits(vectors["ubinary"].astype(np.uint8), axis=1)
    assert (bits == (exact > 0)).all() and (vectors["binary"] == vectors["ubinary"] - 128).all()
    assert reply.meta.billed_units.input_tokens > 10


@pytest.mark.parametrize("kind", ["search_document", "search_query", "classification", "clustering"])
def test_input_types(cohere_client, kind):
    reply = cohere_client.embed(
        model="embed-multilingual-v3.0", texts=["hello"], input_type=kind, embedding_types=["float"]
    )
    assert len(reply.embeddings.float_[0]) == 1024


def test_images_are_embedded_by_what_they_show(cohere_client):
    picture = pictures.draw('"Summer Sale"', (64, 64))
    reply = cohere_client.embed(
        model="embed-v4.0", images=[data_url(picture)], input_type="image", embedding_types=["float"]
    )
    texts = cohere_client.embed(
        model="embed-v4.0", texts=["a sale in summer", "tax law"], input_type="search_query", embedding_types=["float"]
    )
    near, far = np.array(texts.embeddings.float_) @ np.array(reply.embeddings.float_[0])
    assert near > far and reply.meta.billed_units.images == 1


def test_truncate(cohere_client):
    long = "word " * 2000 + "the end is about cats"
    more = {"model": "embed-v4.0", "input_type": "search_document", "embedding_types": ["float"]}
    with pytest.raises(cohere.BadRequestError, match="512"):
        cohere_client.embed(texts=[long], truncate="NONE", **more)
    start, end, cats = (
        np.array(cohere_client.embed(texts=[text], truncate=how, **more).embeddings.float_[0])
        for text, how in ((long, "END"), (long, "START"), ("the end is about cats", "END"))
    )
    assert cats @ end > cats @ start


def test_rerank(cohere_client):
    documents = ["The sky is blue.", "An invoice has to be paid within 30 days.", "Bananas are yellow."]
    reply = cohere_client.rerank(model="rerank-v3.5", query="When must I pay my bill?", documents=documents, top_n=2)
    valid(reply)
    assert reply.results[0].index == 1 and len(reply.results) == 2
    scores = [r.relevance_score for r in reply.results]
    assert 1 >= scores[0] >= scores[1] >= 0 and reply.meta.billed_units.search_units == 1


def test_tokens_and_models(cohere_client):
    reply = cohere_client.tokenize(text="Hello, wörld 🎉", model=MODEL, offline=False)
    valid(reply)
    assert "".join(reply.token_strings).encode("latin-1", "replace")[:6] == b"Hello,"
    assert cohere_client.detokenize(tokens=reply.tokens, model=MODEL, offline=False).text == "Hello, wörld 🎉"
    assert cohere_client.detokenize(tokens=[49_151], model=MODEL, offline=False).text is not None
    with pytest.raises(cohere.BadRequestError, match="49151"):
        cohere_client.detokenize(tokens=[49_152], model=MODEL, offline=False)
    models = cohere_client.models.list(endpoint="rerank")
    valid(models)
    assert [m.name for m in models.models] == ["rerank-v3.5"]
    assert cohere_client.models.get("command-r-plus-08-2024").context_length == 8192


def test_async(keyless_url):
    async def main():
        client = cohere.AsyncClientV2(base_url=f"{keyless_url}/cohere", api_key="any")
        return await asyncio.gather(
            *(client.chat(model=MODEL, messages=[{"role": "user", "content": "Hi"}], max_tokens=5) for _ in range(4))
        )

    assert len({r.message.content[0].text for r in asyncio.run(main())}) == 1


def test_bad_requests(cohere_client):
    with pytest.raises(cohere.BadRequestError, match="input_type"):
        cohere_client.embed(model="m", texts=["x"], input_type="nope")
    with pytest.raises(cohere.BadRequestError, match="texts"):
        cohere_client.embed(model="m", input_type="search_query")
    with pytest.raises(cohere.BadRequestError, match="together"):
        ask(cohere_client, tools=[WEATHER], response_format={"type": "json_object"})
