"""Vertex AI and the Gemini API by Google's client."""

# No `from __future__ import annotations`: Google's client reads the types of functions as they stand.

import asyncio
import datetime as dt
import json
import time

import jwt
import pytest
from google.genai import errors, types
from pydantic import BaseModel

from keyless.mind import pictures
from keyless.providers.google import PROVIDER
from keyless.providers.google.codec import as_json_schema
from keyless.providers.google.generate import ACTIONS

MODEL = "gemini-2.5-flash"


class Table(BaseModel):
    """A reservation."""

    city: str
    guests: int


@pytest.fixture(params=["gemini_client", "vertex_client"])
def client(request):
    return request.getfixturevalue(request.param)


def ask(client, text="Name a fruit.", **config):
    return client.models.generate_content(model=MODEL, contents=text, config={"max_output_tokens": 20, **config})


def test_text(client):
    reply = ask(client)
    usage = reply.usage_metadata
    assert reply.text and reply.candidates[0].finish_reason.name in ("STOP", "MAX_TOKENS")
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count
    assert usage.candidates_token_count <= 20 and reply.model_version == MODEL and reply.response_id
    assert ask(client, max_output_tokens=2).candidates[0].finish_reason.name == "MAX_TOKENS"
    word = reply.text.split()[2]
    assert word not in ask(client, stop_sequences=[word]).text
    several = ask(client, candidate_count=2, temperature=1.0)
    assert len(several.candidates) == 2


@pytest.mark.parametrize(
    "path", ["/google/v1beta/models", "/google/v1/projects/p/locations/l/publishers/google/models"]
)
def test_nothing_in_a_reply_is_unknown(http, path):
    body = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 3}}
    raw = http.post(f"{path}/{MODEL}:generateContent", json=body, headers={"x-goog-api-key": "any"}).json()
    types.GenerateContentResponse.model_validate(raw)  # forbids what it does not know
    unstreamed = http.post(f"{path}/{MODEL}:streamGenerateContent", json=body, headers={"x-goog-api-key": "any"}).json()
    for chunk in unstreamed:
        types.GenerateContentResponse.model_validate(chunk)
    text = "".join(c["candidates"][0]["content"]["parts"][0]["text"] for c in unstreamed)
    assert text == raw["candidates"][0]["content"]["parts"][0]["text"]
    assert http.post(f"{path}/{MODEL}:generateContent?key=any", json=body).status_code == 200


def test_system_instruction(client):
    told = ask(client, system_instruction="You are a pirate and speak like one. Always say arr.")
    assert told.text != ask(client).text
    assert told.usage_metadata.prompt_token_count != ask(client).usage_metadata.prompt_token_count


def test_stream_is_the_whole(client):
    whole = ask(client)
    chunks = list(
        client.models.generate_content_stream(model=MODEL, contents="Name a fruit.", config={"max_output_tokens": 20})
    )
    assert "".join(c.text or "" for c in chunks) == whole.text and len(chunks) > 5
    assert chunks[-1].usage_metadata == whole.usage_metadata
    assert chunks[-1].candidates[0].finish_reason == whole.candidates[0].finish_reason


def test_the_sdk_calls_functions_by_itself(client):
    cities = []

    def get_weather(city: str) -> dict:
        """The weather of a city."""
        cities.append(city)
        return {"celsius": -3}

    reply = ask(client, "What is the weather in Oslo?", tools=[get_weather], max_output_tokens=100)
    assert cities == ["Oslo"] and "celsius: -3" in reply.text


def test_function_calling_modes(client):
    declaration = {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]},
    }
    tools = [{"function_declarations": [declaration]}]

    def calls(text, mode):
        choice = {"function_calling_config": {"mode": mode}}
        reply = ask(client, text, tools=tools, tool_config=choice)
        return [(c.name, c.args) for c in reply.function_calls or []]

    assert calls("What is the weather in Oslo?", "AUTO") == [("get_weather", {"city": "Oslo"})]
    assert calls("What is the weather in Oslo?", "NONE") == []
    assert [name for name, _ in calls("Hello", "ANY")] == ["get_weather"]
    chunks = client.models.generate_content_stream(
        model=MODEL, contents="What is the weather in Oslo?", config={"tools": tools}
    )
    assert [c.args for chunk in chunks for c in chunk.function_calls or []] == [{"city": "Oslo"}]


def test_response_schema(client):
    text = "A table in Vienna for 4 guests."
    for schema in (
        {"response_schema": Table},
        {"response_json_schema": Table.model_json_schema()},
    ):
        reply = ask(client, text, response_mime_type="application/json", max_output_tokens=100, **schema)
        assert Table.model_validate_json(reply.text) == Table(city="Vienna", guests=4)
    label = ask(
        client,
        "I was charged twice. Which team?",
        response_mime_type="application/json",
        response_schema={
            "type": "OBJECT",
            "properties": {"team": {"type": "STRING", "enum": ["billing", "technical"]}},
        },
    )
    assert label.parsed == {"team": "billing"}


def test_google_s_schemas_as_json_schema():
    google = {
        "type": "OBJECT",
        "nullable": True,
        "propertyOrdering": ["a"],
        "properties": {"a": {"type": "ARRAY", "items": {"type": "INTEGER", "nullable": True}, "minItems": "2"}},
    }
    assert as_json_schema(google) == {
        "type": ["object", "null"],
        "properties": {"a": {"type": "array", "items": {"type": ["integer", "null"]}, "minItems": 2}},
    }


def test_inline_images(client):
    picture = pictures.draw('navy "Summer Sale"', (64, 32))
    reply = client.models.generate_content(
        model=MODEL, contents=["What is in the picture?", types.Part.from_bytes(data=picture, mime_type="image/png")]
    )
    assert "64 pixels wide" in reply.text and "Summer Sale" in reply.text
    with pytest.raises(errors.ClientError, match="inlineData"):
        client.models.generate_content(
            model=MODEL, contents=[types.Part.from_uri(file_uri="gs://bucket/cat.png", mime_type="image/png")]
        )


def test_chat_keeps_its_history(client):
    chat = client.chats.create(model=MODEL, config={"max_output_tokens": 5})
    first = chat.send_message("My name is Ada.").usage_metadata.prompt_token_count
    second = chat.send_message("Hello").usage_metadata.prompt_token_count
    assert second > first and len(chat.get_history()) == 4


def test_counted_tokens_are_those_of_the_bill(client):
    counted = client.models.count_tokens(model=MODEL, contents="Name a fruit.")
    assert counted.total_tokens == ask(client).usage_metadata.prompt_token_count


def test_embeddings(client):
    reply = client.models.embed_content(
        model="gemini-embedding-001",
        contents=["the invoice is wrong", "my bill is not right", "a walk in the woods"],
        config={"output_dimensionality": 128, "task_type": "SEMANTIC_SIMILARITY"},
    )
    a, b, c = (e.values for e in reply.embeddings)
    assert len(a) == 128
    assert sum(x * y for x, y in zip(a, b, strict=True)) > sum(x * y for x, y in zip(a, c, strict=True))
    assert len(client.models.embed_content(model="gemini-embedding-001", contents="x").embeddings[0].values) == 3072


def test_vertex_tells_what_it_truncated(vertex_client):
    reply = vertex_client.models.embed_content(model="text-embedding-005", contents=["word " * 700, "short"])
    long, short = (e.statistics for e in reply.embeddings)
    assert long.truncated and long.token_count > 700 and not short.truncated
    assert len(reply.embeddings[0].values) == 768 and reply.metadata.billable_character_count == 4 * 700 + 5
    single = vertex_client.models.embed_content(model="gemini-embedding-2-preview", contents="hello")
    assert single.embeddings[0].values


def test_cached_contents(client):
    long = "The contract says that the rent is 900 euros a month. " * 150
    cache = client.caches.create(
        model=MODEL, config={"contents": [long], "system_instruction": "Be brief.", "ttl": "120s", "display_name": "c"}
    )
    assert cache.usage_metadata.total_token_count > 1024 and cache.name in [c.name for c in client.caches.list()]
    # A number is looked up without the language model, which would take seconds to read a prompt as long as this.
    number = {"type": "OBJECT", "properties": {"rent": {"type": "NUMBER"}}, "required": ["rent"]}
    form = {"response_mime_type": "application/json", "response_schema": number}
    reply = ask(client, "What is the rent?", cached_content=cache.name, **form)
    usage = reply.usage_metadata
    assert usage.cached_content_token_count == cache.usage_metadata.total_token_count < usage.prompt_token_count
    later = client.caches.update(name=cache.name, config={"ttl": "7200s"})
    assert later.expire_time - cache.expire_time > dt.timedelta(seconds=6000)
    with pytest.raises(errors.ClientError, match="belong into the CachedContent"):
        ask(client, "x", cached_content=cache.name, system_instruction="Be long.")
    client.caches.delete(name=cache.name)
    with pytest.raises(errors.ClientError) as caught:
        ask(client, "What is the rent?", cached_content=cache.name)
    assert caught.value.code == 404
    with pytest.raises(errors.ClientError, match="minimum token count"):
        client.caches.create(model=MODEL, config={"contents": ["short"]})


def ended(client, job, limit=60):
    deadline = time.monotonic() + limit
    while job.state.name in ("JOB_STATE_PENDING", "JOB_STATE_RUNNING"):
        assert time.monotonic() < deadline
        job = client.batches.get(name=job.name)
    return job


def test_gemini_batches_in_their_own_body(gemini_client):
    good = {"contents": [{"role": "user", "parts": [{"text": "Name a fruit."}]}], "config": {"max_output_tokens": 3}}
    bad = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "config": {"temperature": 9.0}}
    job = gemini_client.batches.create(model=MODEL, src=[good, bad], config={"display_name": "two"})
    assert job.name.startswith("batches/") and job.display_name == "two"
    job = ended(gemini_client, job)
    assert job.state.name == "JOB_STATE_SUCCEEDED" and job.end_time
    first, second = job.dest.inlined_responses
    assert first.response.text == ask(gemini_client, max_output_tokens=3).text
    assert second.error.code == 400 and second.response is None
    assert job.name in [j.name for j in gemini_client.batches.list()]
    gemini_client.batches.delete(name=job.name)
    with pytest.raises(errors.ClientError, match="not found"):
        gemini_client.batches.get(name=job.name)


def test_gemini_batches_of_embeddings(gemini_client):
    job = gemini_client.batches.create_embeddings(
        model="gemini-embedding-001", src={"inlined_requests": {"contents": ["one", "two"]}}
    )
    job = ended(gemini_client, job)
    found = job.dest.inlined_embed_content_responses
    assert [len(r.response.embedding.values) for r in found] == [3072, 3072]


def test_gemini_files_and_batches_from_them(gemini_client, tmp_path):
    request = {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 3}}
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps({"key": f"r{i}", "request": request}) + "\n" for i in range(3)))
    file = gemini_client.files.upload(file=path, config={"display_name": "lines", "mime_type": "application/jsonl"})
    assert file.size_bytes == path.stat().st_size and file.state.name == "ACTIVE"
    assert file.name in [f.name for f in gemini_client.files.list()]
    assert gemini_client.files.get(name=file.name).display_name == "lines"
    job = ended(gemini_client, gemini_client.batches.create(model=MODEL, src=file.name))
    rows = [json.loads(line) for line in gemini_client.files.download(file=job.dest.file_name).splitlines()]
    assert sorted(r["key"] for r in rows) == ["r0", "r1", "r2"]
    assert all(r["response"]["candidates"] for r in rows)
    gemini_client.files.delete(name=file.name)
    with pytest.raises(errors.ClientError):
        gemini_client.files.get(name=file.name)
    path.write_text("nonsense")
    broken = gemini_client.files.upload(file=path, config={"mime_type": "application/jsonl"})
    failed = ended(gemini_client, gemini_client.batches.create(model=MODEL, src=broken.name))
    assert failed.state.name == "JOB_STATE_FAILED"


def test_a_large_file_comes_in_pieces(gemini_client, tmp_path):
    path = tmp_path / "large.txt"
    path.write_bytes(bytes(range(256)) * 40_000)  # more than one piece of 8 MiB
    file = gemini_client.files.upload(file=path, config={"mime_type": "text/plain"})
    assert file.size_bytes == 10_240_000


def test_a_gemini_batch_is_cancelled(clients, fresh, gemini_client):
    slow = clients["google"](fresh("latency=1s"))  # its requests are at work while the next lines ask
    job = slow.batches.create(model=MODEL, src=[{"contents": [{"parts": [{"text": "Hi"}]}]}] * 6)
    gemini_client.batches.cancel(name=job.name)
    assert ended(gemini_client, gemini_client.batches.get(name=job.name)).state.name == "JOB_STATE_CANCELLED"


@pytest.mark.parametrize("expiry", ["soon", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"])
def test_an_expiry_that_is_none(http, expiry):
    body = {"model": MODEL, "contents": [{"parts": [{"text": "The rent is 900 euros. " * 200}]}], "expireTime": expiry}
    reply = http.post("/google/v1beta/cachedContents", json=body, headers={"x-goog-api-key": "any"})
    assert reply.status_code == 400 and "expireTime" in reply.text


def test_the_actions_that_an_unknown_one_is_told_are_those_that_are_served():
    served = {r.path.rpartition("{model}:")[2] for r in PROVIDER.routes if "{model}:" in r.path}
    assert served == set(ACTIONS)


def test_models(client):
    assert MODEL in client.models.get(model=MODEL).name
    assert any(MODEL in m.name for m in client.models.list(config={"query_base": True}))


def test_async(client):
    async def main():
        reply = await client.aio.models.generate_content(model=MODEL, contents="Hi", config={"max_output_tokens": 4})
        chunks = await client.aio.models.generate_content_stream(
            model=MODEL, contents="Hi", config={"max_output_tokens": 4}
        )
        return reply.text, "".join([c.text or "" async for c in chunks])

    whole, streamed = asyncio.run(main())
    assert whole == streamed


def test_the_token_endpoint(http, settings):
    def token(**form):
        return http.post("/google/token", data=form)

    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"

    def assertion(kid):
        return jwt.encode({"iss": "me"}, settings.google_private_key, algorithm="RS256", headers={"kid": kid})

    assert token(grant_type=grant, assertion=assertion("keyless:rpm=3")).json()["access_token"] == "keyless:rpm=3"
    assert token(grant_type=grant, assertion=assertion("abc")).json()["access_token"] == "keyless-needs-no-key"
    assert token(grant_type=grant, assertion="x.y").json()["error"] == "invalid_grant"
    assert token(grant_type="password").json()["error"] == "unsupported_grant_type"
    assert http.post("/google/token", content=b"\xff").status_code == 400


def test_bad_requests(client):
    for wrong in ({"temperature": 9.0}, {"max_output_tokens": 0}):
        with pytest.raises(errors.ClientError) as caught:
            ask(client, **wrong)
        assert caught.value.code == 400 and caught.value.status == "INVALID_ARGUMENT"
