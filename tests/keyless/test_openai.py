"""The official openai client: chat completions, responses, embeddings, models; sync, async, streamed."""

from __future__ import annotations

import asyncio
import json
from typing import Literal

import bpe_openai
import numpy as np
import openai
import pytest
from pydantic import BaseModel, Field


class Ticket(BaseModel):
    team: Literal["billing", "technical", "sales"] = Field(
        description="billing: payments; technical: defects; sales: offers"
    )
    order_number: str | None = None
    amount: float | None = Field(None, description="Amount of money")
    urgent: bool


TEXT = "My card was charged 49.90 EUR twice for order A-1001. I need this fixed right now!"


def ask(client, text="Name a fruit.", **more):
    return client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}], **more)


def test_chat_answers_with_true_usage(openai_client, http):
    reply = ask(openai_client, max_tokens=30)
    assert reply.model == "gpt-4o" and reply.object == "chat.completion"
    assert reply.choices[0].message.role == "assistant" and reply.choices[0].message.content.strip()
    row = http.get("/_keyless/requests", params={"limit": 1}).json()["requests"][-1]
    assert (row["prompt_tokens"], row["completion_tokens"]) == (
        reply.usage.prompt_tokens,
        reply.usage.completion_tokens,
    )
    assert row["provider"] == "openai" and row["model"] == "gpt-4o" and row["status"] == 200 and row["ms"] > 0
    assert "keyless-needs-no-key" not in json.dumps(row)


def test_nothing_in_a_reply_is_unknown_to_the_sdk(openai_client):
    reply = ask(openai_client, max_tokens=5)
    assert not reply.model_extra and not reply.choices[0].model_extra and not reply.choices[0].message.model_extra
    response = openai_client.responses.create(model="gpt-4o", input="Hello", max_output_tokens=5)
    assert not response.model_extra and not response.output[0].model_extra


def test_max_tokens_is_exact(openai_client):
    reply = ask(openai_client, "Write a long story about a lamp.", max_tokens=17)
    assert reply.usage.completion_tokens == 17
    assert reply.choices[0].finish_reason == "length"


def test_stop_ends_the_text_before_it(openai_client):
    whole = ask(openai_client, "Why is the sky blue?", max_tokens=60).choices[0].message.content
    word = whole.split()[6]
    reply = ask(openai_client, "Why is the sky blue?", max_tokens=60, stop=[word])
    assert word not in reply.choices[0].message.content
    assert whole.startswith(reply.choices[0].message.content)
    assert reply.choices[0].finish_reason == "stop"
    streamed = [
        c for c in ask(openai_client, "Why is the sky blue?", max_tokens=60, stop=[word], stream=True) if c.choices
    ]
    assert "".join(c.choices[0].delta.content or "" for c in streamed) == reply.choices[0].message.content


def test_no_temperature_repeats_and_seeds_decide_otherwise(openai_client):
    def text(**more):
        return ask(openai_client, "Tell me about lamps.", max_tokens=25, **more).choices[0].message.content

    assert text() == text() == text(temperature=0)
    assert text(temperature=1.2, seed=7) == text(temperature=1.2, seed=7)
    assert len({text(temperature=1.2, seed=s) for s in (1, 2, 3)}) > 1


def test_stream_carries_the_same_text_and_usage(openai_client):
    whole = ask(openai_client, max_tokens=30)
    chunks = list(ask(openai_client, max_tokens=30, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert len(chunks) > 5, "tokens come one by one"


def test_several_choices(openai_client):
    reply = ask(openai_client, n=3, temperature=1.0, max_tokens=8)
    assert [c.index for c in reply.choices] == [0, 1, 2]
    assert reply.usage.completion_tokens > 8


def test_structured_output_is_decided_and_extracted(openai_client):
    parsed = (
        openai_client.chat.completions.parse(
            model="gpt-4o", messages=[{"role": "user", "content": TEXT}], response_format=Ticket
        )
        .choices[0]
        .message.parsed
    )
    assert parsed == Ticket(team="billing", order_number="A-1001", amount=49.9, urgent=True)


def test_json_object_mode(openai_client):
    reply = ask(
        openai_client, "Give me JSON about this: name: Ana, city: Oslo", response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(reply.choices[0].message.content), dict)


def test_structured_output_honours_max_tokens(openai_client):
    reply = ask(
        openai_client, TEXT, max_tokens=6,
        response_format={"type": "json_schema", "json_schema": {"name": "t", "schema": Ticket.model_json_schema()}},
    )  # fmt: skip
    assert reply.choices[0].finish_reason == "length" and reply.usage.completion_tokens == 6


TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Get the weather for a city", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "get_order_status", "description": "Look up where an order is", "parameters": {
        "type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}}},
]  # fmt: skip


def test_the_right_tool_is_called_with_arguments_from_the_question(openai_client):
    reply = ask(openai_client, "What is the weather in Lisbon?", tools=TOOLS)
    (call,) = reply.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Lisbon"})
    assert reply.choices[0].finish_reason == "tool_calls" and reply.choices[0].message.content is None


def test_two_questions_are_two_calls_unless_parallel_calls_are_off(openai_client):
    question = "What is the weather in Lisbon? Where is order A-17?"
    calls = ask(openai_client, question, tools=TOOLS).choices[0].message.tool_calls
    assert {c.function.name for c in calls} == {"get_weather", "get_order_status"}
    assert len({c.id for c in calls}) == 2
    one = ask(openai_client, question, tools=TOOLS, parallel_tool_calls=False).choices[0].message.tool_calls
    assert len(one) == 1


def test_tool_choice(openai_client):
    assert (
        ask(openai_client, "What is the weather in Lisbon?", tools=TOOLS, tool_choice="none", max_tokens=10)
        .choices[0]
        .message.tool_calls
        is None
    )
    forced = ask(
        openai_client,
        "Good morning",
        tools=TOOLS,
        tool_choice={"type": "function", "function": {"name": "get_order_status"}},
    )
    assert forced.choices[0].message.tool_calls[0].function.name == "get_order_status"
    assert ask(openai_client, "Good morning", tools=TOOLS, tool_choice="required").choices[0].message.tool_calls
    assert ask(openai_client, "Tell me a joke.", tools=TOOLS, max_tokens=10).choices[0].message.tool_calls is None


def test_results_are_used_and_the_tool_is_not_called_again(openai_client):
    messages = [{"role": "user", "content": "What is the weather in Lisbon?"}]
    first = openai_client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS).choices[0].message
    messages += [
        first,
        {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": '{"sky": "drizzle", "celsius": 17}'},
    ]
    reply = openai_client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS).choices[0].message
    assert reply.tool_calls is None
    assert "17" in reply.content


def test_tool_calls_stream(openai_client):
    name, arguments = "", ""
    for chunk in ask(openai_client, "What is the weather in Lisbon?", tools=TOOLS, stream=True):
        for call in chunk.choices[0].delta.tool_calls or []:
            name += call.function.name or ""
            arguments += call.function.arguments or ""
    assert (name, json.loads(arguments)) == ("get_weather", {"city": "Lisbon"})


def test_closed_questions_get_one_of_their_answers(openai_client):
    text = "Answer only with positive or negative.\n\nReview: It broke on the first day and nobody answers my calls."
    assert ask(openai_client, text).choices[0].message.content == "negative"


def test_async_clients_run_together(keyless_url):
    async def main():
        client = openai.AsyncOpenAI(base_url=f"{keyless_url}/openai/v1", api_key="any", max_retries=0)
        return await asyncio.gather(*(
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"Say {i}"}], max_tokens=5) for i in range(12)
        ))  # fmt: skip

    assert all(r.usage.completion_tokens <= 5 for r in asyncio.run(main()))


def test_responses_text_and_usage(openai_client):
    response = openai_client.responses.create(
        model="gpt-4o", instructions="Be brief.", input="Name a fruit.", max_output_tokens=12
    )
    assert response.output_text and response.usage.output_tokens <= 12
    assert response.status in ("completed", "incomplete")
    assert openai_client.responses.retrieve(response.id).output_text == response.output_text


def test_responses_stream(openai_client):
    with openai_client.responses.stream(model="gpt-4o", input="Name a fruit.") as stream:
        kinds, text = [], ""
        for event in stream:
            kinds.append(event.type)
            text += event.delta if event.type == "response.output_text.delta" else ""
        final = stream.get_final_response()
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert final.output_text == text and final.usage.total_tokens > 0


def test_responses_structured(openai_client):
    parsed = openai_client.responses.parse(model="gpt-4o", input=TEXT, text_format=Ticket).output_parsed
    assert parsed.team == "billing" and parsed.amount == 49.9


def test_responses_tools_and_memory(openai_client):
    tools = [{"type": "function", **TOOLS[0]["function"], "strict": True}]
    first = openai_client.responses.create(model="gpt-4o", input="What is the weather in Lisbon?", tools=tools)
    (call,) = first.output
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "get_weather", {"city": "Lisbon"})
    second = openai_client.responses.create(
        model="gpt-4o", previous_response_id=first.id, tools=tools,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": '{"celsius": 17}'}],
    )  # fmt: skip
    assert "17" in second.output_text
    with openai_client.responses.stream(model="gpt-4o", input="What is the weather in Lisbon?", tools=tools) as stream:
        assert stream.get_final_response().output[0].name == "get_weather"


def test_embeddings(openai_client):
    reply = openai_client.embeddings.create(
        model="text-embedding-3-small", input=["A red car", "A crimson automobile", "Tax law"]
    )
    vectors = np.array([d.embedding for d in reply.data])
    assert vectors.shape == (3, 1536)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert vectors[0] @ vectors[1] > 0.4 > vectors[0] @ vectors[2]
    assert reply.usage.prompt_tokens > 0
    plain = openai_client.embeddings.create(
        model="text-embedding-3-small", input="A red car", encoding_format="float", dimensions=256
    )
    assert len(plain.data[0].embedding) == 256
    assert abs(float(np.linalg.norm(plain.data[0].embedding)) - 1) < 1e-4


def test_models(openai_client):
    assert "gpt-4o" in {m.id for m in openai_client.models.list()}
    assert openai_client.models.retrieve("gpt-9").id == "gpt-9"


@pytest.mark.parametrize("key", ["keyless:wrong", "keyless:rpm"])
def test_a_directive_that_does_not_exist_is_named(keyless_url, key):
    client = openai.OpenAI(base_url=f"{keyless_url}/openai/v1", api_key=key, max_retries=0)
    with pytest.raises(openai.AuthenticationError, match=key.split(":")[1]):
        client.models.list()


def test_a_prompt_over_the_context_is_the_sdk_s_own_error(openai_client):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(openai_client, "word " * 9000)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as caught:
        list(ask(openai_client, "word " * 9000, stream=True))
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize("many", [False, True])
def test_token_ids_are_embedded_as_their_text(many, openai_client):
    text = "The invoice is overdue. ü ✨"
    ids = bpe_openai.get_encoding("cl100k_base").encode(text)
    asked = {"model": "text-embedding-3-small"}
    whole = openai_client.embeddings.create(input=text, **asked)
    same = openai_client.embeddings.create(input=[ids, ids] if many else ids, **asked)
    assert len(same.data) == (2 if many else 1) and same.data[-1].embedding == whole.data[0].embedding


@pytest.mark.parametrize("ids", [[[10**7]], [[-1]], [10**12], [[]]])
def test_ids_outside_the_vocabulary_are_refused(ids, openai_client):
    with pytest.raises(openai.BadRequestError, match="Invalid 'input'"):
        openai_client.embeddings.create(model="text-embedding-3-small", input=ids)


@pytest.mark.parametrize("kind", ["web_search", "web_search_preview", "code_interpreter", "file_search"])
def test_tools_that_openai_would_run_are_refused_as_by_a_model_without_them(kind, openai_client):
    with pytest.raises(openai.BadRequestError) as caught:
        openai_client.responses.create(model="gpt-4.1-nano", input="What is new?", tools=[{"type": kind}])
    assert f"Hosted tool '{kind}' is not supported with gpt-4.1-nano." in str(caught.value)
    assert (caught.value.type, caught.value.param) == ("invalid_request_error", "tools")


@pytest.mark.parametrize("limit", [None, 100_000])
def test_an_answer_without_a_limit_ends_itself(limit, openai_client):
    question = "Write a very long story about a lamp."
    given = {} if limit is None else {"max_output_tokens": limit}
    response = openai_client.responses.create(model="gpt-5", input=question, **given)
    assert response.status == "completed" and response.incomplete_details is None
    assert 100 < response.usage.output_tokens <= 256 and response.output_text.rstrip()[-1] in ".!?\"'”’"
    given = {} if limit is None else {"max_completion_tokens": limit}
    stream = ask(openai_client, question, stream=True, stream_options={"include_usage": True}, **given)
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == response.output_text
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].usage.completion_tokens == response.usage.output_tokens
    assert ask(openai_client, question, max_tokens=40).choices[0].finish_reason == "length"
