"""The official anthropic client: messages, streamed, with tools, system prompts and structured output."""

from __future__ import annotations

import asyncio
import json

import anthropic
import pytest

WEATHER = {
    "name": "get_weather",
    "description": "Get the weather for a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def ask(client, text="Name a fruit.", max_tokens=30, **more):
    return client.messages.create(
        model="claude-sonnet-5", max_tokens=max_tokens, messages=[{"role": "user", "content": text}], **more
    )


def test_a_message_has_text_and_true_usage(anthropic_client, http):
    message = ask(anthropic_client)
    assert message.content[0].text.strip() and message.model == "claude-sonnet-5"
    assert not message.model_extra and not message.usage.model_extra
    row = http.get("/_keyless/requests", params={"limit": 1}).json()["requests"][-1]
    assert (row["prompt_tokens"], row["completion_tokens"]) == (message.usage.input_tokens, message.usage.output_tokens)
    assert row["provider"] == "anthropic"


def test_stop_reasons(anthropic_client):
    assert ask(anthropic_client, "Write a long story.", max_tokens=9).stop_reason == "max_tokens"
    assert ask(anthropic_client, "Say hello.", max_tokens=200).stop_reason == "end_turn"
    word = ask(anthropic_client, "Why is the sky blue?").content[0].text.split()[4]
    stopped = ask(anthropic_client, "Why is the sky blue?", stop_sequences=[word])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", word)


def test_the_system_prompt_is_read(anthropic_client):
    plain = ask(anthropic_client)
    told = ask(anthropic_client, system="You are a pirate and speak like one. Always say arr.")
    blocks = ask(
        anthropic_client, system=[{"type": "text", "text": "You are a pirate and speak like one. Always say arr."}]
    )
    assert told.usage.input_tokens != plain.usage.input_tokens
    assert told.content[0].text == blocks.content[0].text != plain.content[0].text


def test_stream(anthropic_client):
    whole = ask(anthropic_client)
    with anthropic_client.messages.stream(
        model="claude-sonnet-5", max_tokens=30, messages=[{"role": "user", "content": "Name a fruit."}]
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text == final.content[0].text
    assert (final.usage.input_tokens, final.usage.output_tokens) == (
        whole.usage.input_tokens,
        whole.usage.output_tokens,
    )


def test_tools_and_their_results(anthropic_client):
    question = {"role": "user", "content": "What is the weather in Oslo?"}
    asked = anthropic_client.messages.create(model="m", max_tokens=200, messages=[question], tools=[WEATHER])
    (call,) = [b for b in asked.content if b.type == "tool_use"]
    assert (call.name, call.input, asked.stop_reason) == ("get_weather", {"city": "Oslo"}, "tool_use")
    result = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": call.id, "content": '{"celsius": -3}'}],
    }
    answer = anthropic_client.messages.create(
        model="m",
        max_tokens=200,
        tools=[WEATHER],
        messages=[question, {"role": "assistant", "content": asked.content}, result],
    )
    assert "3" in answer.content[0].text and answer.stop_reason == "end_turn"


def test_tool_choice(anthropic_client):
    forced = ask(anthropic_client, "Hello", tools=[WEATHER], tool_choice={"type": "tool", "name": "get_weather"})
    assert forced.content[0].name == "get_weather"
    assert ask(anthropic_client, "Hello", tools=[WEATHER], tool_choice={"type": "any"}).stop_reason == "tool_use"
    none = ask(anthropic_client, "What is the weather in Oslo?", tools=[WEATHER], tool_choice={"type": "none"})
    assert none.content[0].type == "text"


def test_tools_stream(anthropic_client):
    with anthropic_client.messages.stream(
        model="m",
        max_tokens=100,
        tools=[WEATHER],
        messages=[{"role": "user", "content": "What is the weather in Oslo?"}],
    ) as stream:
        final = stream.get_final_message()
    assert final.content[0].input == {"city": "Oslo"}


def test_structured_output(anthropic_client):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "guests": {"type": "integer"}},
        "required": ["city", "guests"],
        "additionalProperties": False,
    }
    message = ask(
        anthropic_client,
        "A table in Vienna for 4 guests.",
        max_tokens=100,
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert json.loads(message.content[0].text) == {"city": "Vienna", "guests": 4}


def test_async(keyless_url):
    async def main():
        client = anthropic.AsyncAnthropic(base_url=f"{keyless_url}/anthropic", api_key="any", max_retries=0)
        return await asyncio.gather(*(ask_async(client) for _ in range(4)))

    async def ask_async(client):
        return await client.messages.create(model="m", max_tokens=5, messages=[{"role": "user", "content": "Hi"}])

    assert len({m.content[0].text for m in asyncio.run(main())}) == 1


def test_errors_are_the_sdk_s_own(anthropic_client, keyless_url):
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        ask(anthropic_client, "word " * 9000)
    with pytest.raises(anthropic.AuthenticationError):
        ask(anthropic.Anthropic(base_url=f"{keyless_url}/anthropic", api_key="keyless:nope", max_retries=0))
    with pytest.raises(anthropic.BadRequestError):
        anthropic_client.messages.create(model="m", max_tokens=0, messages=[{"role": "user", "content": "Hi"}])


SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
FINDER = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}


def test_tools_that_anthropic_runs_may_be_declared(anthropic_client):
    plain = ask(anthropic_client)
    declared = ask(anthropic_client, tools=[SEARCH, FINDER])
    assert declared.stop_reason == plain.stop_reason and declared.content == plain.content
    called = ask(anthropic_client, "What is the weather in Oslo?", 100, tools=[SEARCH, WEATHER])
    assert called.stop_reason == "tool_use" and called.content[-1].name == "get_weather"
    counted = {"model": "claude-sonnet-5", "messages": [{"role": "user", "content": "Hi"}]}
    assert anthropic_client.messages.count_tokens(**counted, tools=[SEARCH]).input_tokens > 0


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        ({"name": "a"}, "tools.0.custom.input_schema: Field required"),
        ({"type": "custom", "input_schema": {}}, "tools.0.custom.name: Field required"),
        ({"type": "teleport_20250101", "name": "a"}, "tools.0: Input tag 'teleport_20250101' found using 'type'"),
    ],
)
def test_tools_that_are_none_are_refused(tool, message, anthropic_client):
    with pytest.raises(anthropic.BadRequestError, match=message):
        ask(anthropic_client, tools=[tool])


def test_a_huge_max_tokens_is_no_reason_to_go_on(anthropic_client):
    question = [{"role": "user", "content": "Write a very long story about a lamp."}]
    with anthropic_client.messages.stream(model="claude-sonnet-5", max_tokens=128_000, messages=question) as stream:
        message = stream.get_final_message()
    assert message.stop_reason == "end_turn" and 100 < message.usage.output_tokens <= 256
