"""Bedrock's runtime by boto3, and its event stream by the book."""

from __future__ import annotations

import base64
import binascii
import json
import struct

import pytest
from botocore.exceptions import ClientError
from shapes import fits_bedrock

from keyless.mind import pictures
from keyless.providers.bedrock import event_stream

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
BODIES = {
    "anthropic.claude-3-haiku-20240307-v1:0": {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 8,
        "messages": [{"role": "user", "content": "Name a fruit."}],
    },
    "amazon.titan-text-express-v1": {
        "inputText": "User: Name a fruit.\nBot:",
        "textGenerationConfig": {"maxTokenCount": 8},
    },
    "amazon.nova-lite-v1:0": {
        "schemaVersion": "messages-v1",
        "messages": [{"role": "user", "content": [{"text": "Name a fruit."}]}],
        "inferenceConfig": {"max_new_tokens": 8},
    },
    "meta.llama3-8b-instruct-v1:0": {
        "prompt": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nName a fruit.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "max_gen_len": 8,
    },
}
WEATHER = {
    "toolSpec": {
        "name": "get_weather",
        "description": "Weather of a city",
        "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}},
    }
}


def user(*content):
    return {"role": "user", "content": [{"text": c} if isinstance(c, str) else c for c in content]}


def converse(client, *messages, **more):
    return client.converse(
        **{"modelId": CLAUDE, "messages": list(messages), "inferenceConfig": {"maxTokens": 20}, **more}
    )


def text_of(model, body):
    """What the model said, wherever its family puts it, and the tokens it was billed for."""
    if "claude" in model:
        return body["content"][0]["text"], body["usage"]["input_tokens"], body["usage"]["output_tokens"]
    if "titan" in model:
        return body["results"][0]["outputText"], body["inputTextTokenCount"], body["results"][0]["tokenCount"]
    if "nova" in model:
        usage = body["usage"]
        return body["output"]["message"]["content"][0]["text"], usage["inputTokens"], usage["outputTokens"]
    return body["generation"], body["prompt_token_count"], body["generation_token_count"]


def piece_of(model, chunk):
    if "claude" in model:
        return chunk.get("delta", {}).get("text", "")
    if "titan" in model:
        return chunk["outputText"]
    if "nova" in model:
        return chunk.get("contentBlockDelta", {}).get("delta", {}).get("text", "")
    return chunk["generation"]


def test_converse(bedrock_client):
    reply = converse(bedrock_client, user("Name a fruit."))
    reply.pop("ResponseMetadata")
    assert fits_bedrock(reply, "ConverseResponse") == []
    usage = reply["usage"]
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"] and usage["outputTokens"] <= 20
    assert reply["stopReason"] in ("end_turn", "max_tokens")
    word = reply["output"]["message"]["content"][0]["text"].split()[2]
    stopped = converse(
        bedrock_client, user("Name a fruit."), inferenceConfig={"maxTokens": 20, "stopSequences": [word]}
    )
    assert stopped["stopReason"] == "stop_sequence"
    assert converse(bedrock_client, user("Hi"), system=[{"text": "Be brief."}])["usage"]["inputTokens"] > 0


def test_the_raw_reply_has_nothing_that_botocore_drops(http):
    body = {"messages": [user("Hi")], "inferenceConfig": {"maxTokens": 3}}
    signed = {"authorization": "AWS4-HMAC-SHA256 Credential=any/20261121/us-east-1/bedrock/aws4_request, x"}
    raw = http.post(f"/bedrock/model/{CLAUDE}/converse", json=body, headers=signed).json()
    assert fits_bedrock(raw, "ConverseResponse") == []


def test_converse_stream_is_the_whole(bedrock_client):
    whole = converse(bedrock_client, user("Name a fruit."))
    stream = bedrock_client.converse_stream(
        modelId=CLAUDE, messages=[user("Name a fruit.")], inferenceConfig={"maxTokens": 20}
    )
    events = list(stream["stream"])
    for event in events:
        assert fits_bedrock(event, "ConverseStreamOutput") == []
    text = "".join(e["contentBlockDelta"]["delta"]["text"] for e in events if "contentBlockDelta" in e)
    assert text == whole["output"]["message"]["content"][0]["text"]
    assert [next(iter(e)) for e in (events[0], *events[-3:])] == [
        "messageStart", "contentBlockStop", "messageStop", "metadata"
    ]  # fmt: skip
    assert events[-1]["metadata"]["usage"] == whole["usage"]


def test_tools_and_their_results(bedrock_client):
    question = user("What is the weather in Oslo?")
    config = {"tools": [WEATHER]}
    asked = converse(bedrock_client, question, toolConfig=config)
    (use,) = [b["toolUse"] for b in asked["output"]["message"]["content"]]
    assert (use["name"], use["input"], asked["stopReason"]) == ("get_weather", {"city": "Oslo"}, "tool_use")
    result = {"toolResult": {"toolUseId": use["toolUseId"], "content": [{"json": {"celsius": -3}}]}}
    answer = converse(bedrock_client, question, asked["output"]["message"], user(result), toolConfig=config)
    assert "3" in answer["output"]["message"]["content"][0]["text"]
    events = list(bedrock_client.converse_stream(modelId=CLAUDE, messages=[question], toolConfig=config)["stream"])
    parts = [e["contentBlockDelta"]["delta"]["toolUse"]["input"] for e in events if "contentBlockDelta" in e]
    assert json.loads("".join(parts)) == {"city": "Oslo"}
    forced = converse(bedrock_client, user("Hello"), toolConfig={**config, "toolChoice": {"any": {}}})
    assert forced["stopReason"] == "tool_use"
    named = converse(bedrock_client, user("Hi"), toolConfig={**config, "toolChoice": {"tool": {"name": "get_weather"}}})
    assert named["stopReason"] == "tool_use"


def test_structured_output_pictures_and_documents(bedrock_client):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "guests": {"type": "integer"}},
        "required": ["city", "guests"],
    }
    form = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(schema)}}}}
    reply = converse(
        bedrock_client,
        user("A table in Vienna for 4 guests."),
        outputConfig=form,
        inferenceConfig={"maxTokens": 100},
    )
    assert json.loads(reply["output"]["message"]["content"][0]["text"]) == {"city": "Vienna", "guests": 4}
    picture = {"image": {"format": "png", "source": {"bytes": pictures.draw("navy", (64, 32))}}}
    seen = converse(bedrock_client, user("What is it?", picture))
    assert "64 pixels wide" in seen["output"]["message"]["content"][0]["text"]
    document = {"document": {"name": "note", "format": "txt", "source": {"bytes": b"word " * 50}}}
    read = converse(bedrock_client, user("Summarize.", document))
    assert read["usage"]["inputTokens"] > 60


@pytest.mark.parametrize("model", BODIES)
def test_invoke_and_its_stream(bedrock_client, model):
    reply = bedrock_client.invoke_model(modelId=model, body=json.dumps(BODIES[model]))
    text, read, written = text_of(model, json.loads(reply["body"].read()))
    assert text and written == 8
    headers = reply["ResponseMetadata"]["HTTPHeaders"]
    assert int(headers["x-amzn-bedrock-input-token-count"]) == read
    stream = bedrock_client.invoke_model_with_response_stream(modelId=model, body=json.dumps(BODIES[model]))
    chunks = [json.loads(e["chunk"]["bytes"]) for e in stream["body"]]
    assert "".join(piece_of(model, c) for c in chunks) == text
    metrics = chunks[-1]["amazon-bedrock-invocationMetrics"]
    assert (metrics["inputTokenCount"], metrics["outputTokenCount"]) == (read, written)
    assert all("amazon-bedrock-invocationMetrics" not in c for c in chunks[:-1])


def test_all_families_read_the_same_prompt(bedrock_client):
    said = set()
    for model, body in BODIES.items():
        reply = bedrock_client.invoke_model(modelId=model, body=json.dumps(body))
        said.add(text_of(model, json.loads(reply["body"].read())))
    assert len(said) == 1


def test_titan_embeddings(bedrock_client):
    def embed(model, **body):
        return json.loads(bedrock_client.invoke_model(modelId=model, body=json.dumps(body))["body"].read())

    one = embed("amazon.titan-embed-text-v2:0", inputText="hello", dimensions=256)
    assert len(one["embedding"]) == 256 and one["embeddingsByType"]["float"] == one["embedding"]
    assert sum(x * x for x in one["embedding"]) == pytest.approx(1, abs=1e-5)
    both = embed("amazon.titan-embed-text-v2:0", inputText="hello", embeddingTypes=["float", "binary"])
    assert [x > 0 for x in both["embedding"]] == [bool(b) for b in both["embeddingsByType"]["binary"]]
    assert (
        len(both["embedding"]) == 1024 and len(embed("amazon.titan-embed-text-v1", inputText="x")["embedding"]) == 1536
    )


def test_count_tokens(bedrock_client):
    counted = bedrock_client.count_tokens(modelId=CLAUDE, input={"converse": {"messages": [user("Name a fruit.")]}})
    assert counted["inputTokens"] == converse(bedrock_client, user("Name a fruit."))["usage"]["inputTokens"]


def test_cache_points_are_accounted_for_and_are_no_words(bedrock_client):
    """Airflow's @task.agent sets them by itself, after the results of tools too."""
    point = {"cachePoint": {"type": "default"}}
    system = [{"text": "You answer questions about the contract below. " * 200}, point]
    # A tool call is decided without the language model, which would take seconds to read a prompt as long as this.
    call = {"tools": [WEATHER], "toolChoice": {"tool": {"name": "get_weather"}}}
    first, second = (converse(bedrock_client, user("Hello"), system=system, toolConfig=call)["usage"] for _ in range(2))
    assert first["cacheWriteInputTokens"] == second["cacheReadInputTokens"] > 1024
    assert second["cacheWriteInputTokens"] == 0 and first["inputTokens"] == second["inputTokens"]
    assert second["totalTokens"] == second["inputTokens"] + second["outputTokens"] + second["cacheReadInputTokens"]
    plain = converse(bedrock_client, user("Hello"))["usage"]
    assert converse(bedrock_client, user("Hello", point))["usage"] == plain


def test_model_ids_may_be_addresses(bedrock_client):
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    assert converse(bedrock_client, user("Hi"), modelId=arn)["output"]
    body = json.dumps(BODIES["anthropic.claude-3-haiku-20240307-v1:0"])
    assert json.loads(bedrock_client.invoke_model(modelId=arn, body=body)["body"].read())["model"] == arn


def test_bad_requests(bedrock_client):
    def code(call):
        with pytest.raises(ClientError) as caught:
            call()
        return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]

    kind, message = code(lambda: bedrock_client.invoke_model(modelId="mistral.large", body="{}"))
    assert kind == "ValidationException" and "claude, titan, nova, llama" in message
    kind, message = code(lambda: bedrock_client.invoke_model(modelId="amazon.titan-text-lite", body="{}"))
    assert kind == "ValidationException" and "inputText" in message
    kind, _ = code(lambda: bedrock_client.invoke_model(modelId="anthropic.claude", body='{"max_tokens": 3}'))
    assert kind == "ValidationException"


def test_the_framing_by_the_book():
    """Prelude, headers and checksums, read byte by byte as the specification has them."""
    payload = b'{"a": 1}'
    message = event_stream.event("chunk", payload)
    total, headers_length, prelude_crc = struct.unpack("!III", message[:12])
    assert total == len(message) and prelude_crc == binascii.crc32(message[:8])
    assert struct.unpack("!I", message[-4:])[0] == binascii.crc32(message[:-4])
    assert message[12 + headers_length : -4] == payload
    headers, at = {}, 12
    while at < 12 + headers_length:
        size = message[at]
        name = message[at + 1 : at + 1 + size].decode()
        kind, length = struct.unpack("!BH", message[at + 1 + size : at + 4 + size])
        at += 4 + size
        assert kind == 7
        headers[name] = message[at : at + length].decode()
        at += length
    assert headers == {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}


def test_a_chunk_is_base64_in_json(http):
    signed = {"authorization": "AWS4-HMAC-SHA256 Credential=any/20261121/us-east-1/bedrock/aws4_request, x"}
    model = "amazon.titan-text-express-v1"
    reply = http.post(f"/bedrock/model/{model}/invoke-with-response-stream", json=BODIES[model], headers=signed)
    assert reply.headers["content-type"] == "application/vnd.amazon.eventstream"
    total = struct.unpack("!I", reply.content[:4])[0]
    inner = json.loads(reply.content[: total - 4].split(b"event", 3)[-1])
    assert "outputText" in json.loads(base64.b64decode(inner["bytes"]))
