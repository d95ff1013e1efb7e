"""The journal shows what the model was told, in one form for every provider, and only where that is asked for."""

from __future__ import annotations

import json

import pytest

from keyless.app import create_app
from keyless.http.journal import Journal
from keyless.neutral import Message, Request

SYSTEM = "You answer in one word."
QUESTION = "Is the lamp red? The lamp is red."
PARAMETERS = {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]}
TOOL = {"name": "find_item", "description": "Find an item", "parameters": PARAMETERS}


def openai_chat(client):
    client.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}],
        tools=[{"type": "function", "function": TOOL}],
        temperature=0.5,
        max_tokens=12,
        seed=7,
    )


def openai_responses(client):
    client.responses.create(
        model="gpt-4o",
        instructions=SYSTEM,
        input=QUESTION,
        tools=[{"type": "function", "strict": False, **TOOL}],
        temperature=0.5,
        max_output_tokens=12,
    )


def anthropic(client):
    client.messages.create(
        model="claude-sonnet-5",
        system=SYSTEM,
        messages=[{"role": "user", "content": QUESTION}],
        tools=[{"name": TOOL["name"], "description": TOOL["description"], "input_schema": PARAMETERS}],
        extra_body={"temperature": 0.5},
        max_tokens=12,
    )


def cohere(client):
    client.chat(
        model="command-a-03-2025",
        messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}],
        tools=[{"type": "function", "function": TOOL}],
        temperature=0.5,
        max_tokens=12,
        seed=7,
    )


def google(client):
    client.models.generate_content(
        model="gemini-2.5-flash",
        contents=QUESTION,
        config={
            "system_instruction": SYSTEM,
            "temperature": 0.5,
            "max_output_tokens": 12,
            "seed": 7,
            "tools": [
                {
                    "function_declarations": [
                        {
                            "name": TOOL["name"],
                            "description": TOOL["description"],
                            "parameters_json_schema": PARAMETERS,
                        }
                    ]
                }
            ],
        },
    )


def bedrock(client):
    spec = {"name": TOOL["name"], "description": TOOL["description"], "inputSchema": {"json": PARAMETERS}}
    client.converse(
        modelId="amazon.nova-lite-v1:0",
        system=[{"text": SYSTEM}],
        messages=[{"role": "user", "content": [{"text": QUESTION}]}],
        toolConfig={"tools": [{"toolSpec": spec}]},
        inferenceConfig={"temperature": 0.5, "maxTokens": 12},
    )


def bedrock_claude(client):
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "system": SYSTEM,
        "messages": [{"role": "user", "content": QUESTION}],
        "tools": [{"name": TOOL["name"], "description": TOOL["description"], "input_schema": PARAMETERS}],
        "temperature": 0.5,
        "max_tokens": 12,
    }
    client.invoke_model(modelId="anthropic.claude-3-haiku-20240307-v1:0", body=json.dumps(body))


def ollama(client):
    client.chat(
        model="llama3.2",
        messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}],
        tools=[{"type": "function", "function": TOOL}],
        options={"temperature": 0.5, "num_predict": 12, "seed": 7},
    )


CHATS = [
    ("openai", openai_chat, True),
    ("openai", openai_responses, False),
    ("anthropic", anthropic, False),
    ("cohere", cohere, True),
    ("google", google, True),
    ("bedrock", bedrock, False),
    ("bedrock", bedrock_claude, False),
    ("ollama", ollama, True),
]


def last(http):
    return http.get("/_keyless/requests", params={"limit": 1}).json()["requests"][-1]


@pytest.mark.parametrize(("provider", "chat", "takes_a_seed"), CHATS, ids=[c.__name__ for _, c, _ in CHATS])
def test_every_providers_chat_is_shown_in_the_same_form(clients, http, provider, chat, takes_a_seed):
    chat(clients[provider]("keyless"))
    row = last(http)
    asked = row["asked"]
    assert row["provider"] == provider and asked["system"] == SYSTEM
    assert [(m["role"], m["text"]) for m in asked["messages"]] == [("user", QUESTION)]
    assert [t["name"] for t in asked["tools"]] == ["find_item"]
    assert asked["tools"][0]["description"] == TOOL["description"]
    assert asked["tools"][0]["parameters"]["properties"]["item"]["type"] == "string"
    assert (asked["temperature"], asked["max_tokens"]) == (0.5, 12)
    assert asked["seed"] == (7 if takes_a_seed else None)
    assert QUESTION in json.dumps(row["body"])


def test_a_stream_and_a_schema_are_shown(openai_client, http):
    schema = {"type": "object", "properties": {"red": {"type": "boolean"}}, "required": ["red"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    list(
        openai_client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": QUESTION}], response_format=form, stream=True
        )
    )
    row = last(http)
    assert row["stream"] and row["asked"]["schema"] == schema and row["asked"]["system"] == ""


def test_what_tools_returned_is_shown(openai_client, http):
    call = {"id": "c1", "type": "function", "function": {"name": "find_item", "arguments": '{"item": "lamp"}'}}
    said = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "It is red."},
    ]
    openai_client.chat.completions.create(model="gpt-4o", messages=said, max_tokens=12)
    _, called, returned = last(http)["asked"]["messages"]
    assert called["tool_calls"] == [{"id": "c1", "name": "find_item", "arguments": {"item": "lamp"}}]
    assert (returned["role"], returned["text"], returned["tool_call_id"]) == ("tool", "It is red.", "c1")


def test_what_is_embedded_ranked_counted_and_drawn_is_shown(clients, http):
    clients["openai"]("keyless").embeddings.create(model="text-embedding-3-small", input=["a lamp", "a desk"])
    assert last(http)["asked"] == {"texts": ["a lamp", "a desk"]}
    clients["cohere"]("keyless").rerank(model="rerank-v3.5", query="light", documents=["a lamp", "a desk"])
    assert last(http)["asked"] == {"texts": ["light", "a lamp", "a desk"]}
    clients["anthropic"]("keyless").messages.count_tokens(
        model="claude-sonnet-5", messages=[{"role": "user", "content": QUESTION}]
    )
    assert last(http)["asked"]["messages"][0]["text"] == QUESTION
    clients["openai"]("keyless").images.generate(model="gpt-image-1", prompt="a red lamp", size="256x256")
    assert last(http)["asked"] == {"prompt": "a red lamp"}


def test_a_request_that_is_refused_shows_its_body(http):
    http.post("/openai/v1/chat/completions", json={"model": "gpt-4o"}, headers={"authorization": "Bearer sk-offline"})
    row = last(http)
    assert row["status"] == 400 and row["body"] == {"model": "gpt-4o"} and row["asked"] is None


def test_keys_are_masked(http):
    secret = "abcd-this-may-be-a-real-one"
    model, body = "/google/v1beta/models/m:countTokens", {"contents": [{"parts": [{"text": "Hi"}]}]}
    for name in ("authorization", "x-api-key", "x-goog-api-key"):
        value = f"Bearer {secret}" if name == "authorization" else secret
        http.post(model, json=body, headers={name: value})
        assert last(http)["headers"][name].removeprefix("Bearer ") == "abcd…"
    http.post(f"{model}?key={secret}", json=body)
    assert last(http)["key"] == "abcd…"
    assert secret not in http.get("/_keyless/requests", params={"limit": 4}).text


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("authorization", "Bearer abcdefgh", "Bearer abcd…"),
        ("authorization", "bearer abcdefgh", "bearer abcd…"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=abc/1", "AWS4-HMAC-SHA256 Cred…"),
        ("authorization", "sk-abcdefgh and-more", "sk-a…"),
        ("proxy-authorization", "Basic abcdefgh", "Basic abcd…"),
        ("x-api-key", "abcdefgh", "abcd…"),
        ("x-goog-api-key", "abcdefgh", "abcd…"),
        ("api-key", "abcdefgh", "abcd…"),
        ("x-amz-security-token", "abcdefgh", "abcd…"),
        ("cookie", "_token=abcdefgh; other=b", "…"),
        ("referer", "http://x.example/a?key=abcdefgh", "http://x.example/a"),
        ("openai-organization", "org-abcdefgh", "org-abcdefgh"),
    ],
)
def test_headers_are_shown_without_their_secrets(name, value, shown):
    journal = Journal()
    journal.open("openai", "POST", "/v1/x", {name: value})
    assert journal.rows()[0]["headers"] == {name: shown}


@pytest.mark.parametrize("odd", ["NaN", "-Infinity", '"\\ud800"', "1e999"])
def test_what_no_json_can_say_breaks_no_log(http, odd):
    body = '{"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "odd": ODD}'.replace(
        "ODD", odd
    )
    headers = {"authorization": "Bearer any", "content-type": "application/json"}
    assert http.post("/openai/v1/chat/completions", content=body, headers=headers).status_code == 200
    assert last(http)["body"]["model"] == "m"
    tool = '{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "default": ODD}}}'
    http.post(
        "/openai/v1/chat/completions", content=f'{body[:-1]}, "tools": [{tool.replace("ODD", odd)}]}}', headers=headers
    )
    assert last(http)["asked"]["tools"][0]["name"] == "f"


def test_nothing_that_was_said_is_kept_unless_it_is_asked_for():
    journal = Journal()
    entry = journal.open("openai", "POST", "/v1/x", {})
    journal.note_body(entry, b"{}")
    journal.note_asked(entry, {"texts": ["secret"]})
    (row,) = journal.rows()
    assert "body" not in row and "asked" not in row and "secret" not in json.dumps(row)
    assert create_app(served=[]).state.journal._room == 0


def test_what_is_kept_is_bounded():
    journal = Journal(keep_bodies=True, kept_body_bytes=1000)
    entries = [journal.open("openai", "POST", f"/{n}", {}) for n in range(30)]
    for number, entry in enumerate(entries):
        journal.note_body(entry, json.dumps({"n": number, "filler": "x" * 70}).encode())
        journal.note_asked(entry, Request((Message("user", "x"),)))
    kept = [row["body"]["n"] for row in journal.rows() if "body" in row]
    assert kept == list(range(30 - len(kept), 30)) and 5 < len(kept) <= 10
    assert all(e.asked is None for e in entries[: -len(kept)])
    journal.note_body(entries[0], b"x" * 1001)
    assert "body" not in journal.rows()[0], "what is larger than all the room is not kept"
    journal.note_body(entries[0], b"\xff\x00")
    assert journal.rows()[0]["body"] == {"bytes": 2}
    journal.clear()
    assert journal.rows() == [] and journal._with_body == {} and journal._used == 0


def test_a_request_that_is_forgotten_takes_its_body_along():
    journal = Journal(keep_bodies=True, kept=10)
    for number in range(50):
        journal.note_body(journal.open("openai", "POST", f"/{number}", {}), b'{"n": 1}')
    assert len(journal.rows()) == len(journal._with_body) == 10 and journal._used == 10 * len(b'{"n": 1}')
