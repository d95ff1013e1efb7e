from __future__ import annotations

import json
import re
from itertools import islice, pairwise
from types import SimpleNamespace

import pytest

DAG = "114_03_04_aws_bedrock_integration"
CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
NOVA = "amazon.nova-lite-v1:0"
MODELS = [CLAUDE, NOVA, "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon.titan-text-express-v1"]
TITAN = "amazon.titan-embed-text-v2:0"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def other(run_lesson):
    return run_lesson(DAG, model=NOVA, max_tokens=5)


def sent(run, action: str, model: str = "") -> list[dict]:
    """Requests of one action (invoke, converse, converse-stream), of one model or all."""
    return [r for r in run.requests if r["path"].split("/")[-1] == action and (not model or r["model"] == model)]


def text_of(path: str) -> str:
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(path).read_text()


def by_call(run) -> dict[str, list[dict]]:
    calls: dict[str, list[dict]] = {}
    for row in run.result["calls"]:
        calls.setdefault(row["call"], []).append(row)
    return calls


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.3.4", "Configure Bedrock connection")
def test_region_endpoint_and_signer_come_from_the_connection(run, keyless_url):
    found = run.xcoms["check_connection"]
    assert found["endpoint"] == f"{keyless_url}/bedrock" and found["credentials"] == "explicit", (
        "those of the connection"
    )
    assert found["region"] == run.result["region"] == "us-east-1"
    assert {r["key"] for r in run.requests} == {"keyl…"}


@pytest.mark.checklist("114.3.4", "Configure Bedrock connection")
def test_another_connection_gives_another_region(lesson_module, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://AKIAEXAMPLE:secret@/?region_name=eu-central-1")
    check = lesson_module(DAG).aws_bedrock_integration().get_task("check_connection").python_callable
    found = check()
    assert found["region"] == "eu-central-1"
    assert found["endpoint"] == "https://bedrock-runtime.eu-central-1.amazonaws.com"


@pytest.mark.checklist("114.3.4", "Invoke foundation models")
def test_each_maker_gets_its_body_and_its_answer_is_read(run):
    (claude,), (titan,) = sent(run, "invoke", CLAUDE), sent(run, "invoke", TITAN)
    (message,) = claude["body"]["messages"]
    assert set(claude["body"]) == {"anthropic_version", "max_tokens", "messages"} and claude["body"]["max_tokens"] == 20
    assert "how to look after this product" in message["content"] and "Aurora lamp: A dimmable" in message["content"]
    assert titan["body"]["inputText"].startswith("Aurora lamp: A dimmable") and titan["body"]["dimensions"] == 256
    wrote, embedded = by_call(run)["invoke_model"]
    assert (wrote["model"], embedded["model"]) == (CLAUDE, TITAN)
    body = run.xcoms["invoke_claude"]
    assert body["content"][0]["text"] and wrote["stopped"] == body["stop_reason"]
    assert (wrote["tokens in"], wrote["tokens out"]) == (claude["prompt_tokens"], claude["completion_tokens"])
    assert embedded["tokens in"] == titan["prompt_tokens"] and embedded["tokens out"] == 0
    vector = json.loads(text_of(run.xcoms["stream_to_storage"]["path"].replace("leaflet.md", "vector.json")))
    assert vector == run.xcoms["invoke_titan"]["embedding"] and len(vector) == 256


@pytest.mark.checklist("114.3.4", "Model selection (Claude, Titan)")
def test_the_form_chooses_the_model_and_the_length(run, other):
    for done, model, limit in ((run, CLAUDE, 30), (other, NOVA, 5)):
        for action, call in (("converse", "converse"), ("converse-stream", "converse_stream")):
            (request,) = sent(done, action)
            assert request["model"] == model and request["asked"]["max_tokens"] == limit
            assert request["asked"]["temperature"] == 0
            (row,) = by_call(done)[call]
            assert row["model"] == model
            assert (row["tokens in"], row["tokens out"]) == (request["prompt_tokens"], request["completion_tokens"])
            (message,) = request["asked"]["messages"]
            assert "how to look after this product" in message["text"] and "Aurora lamp: A dimmable" in message["text"]
    assert [row["stopped"] for row in other.result["calls"][2:]] == ["max_tokens", "max_tokens"]
    assert len(text_of(other.xcoms["stream_to_storage"]["path"])) < len(text_of(run.xcoms["stream_to_storage"]["path"]))


@pytest.mark.checklist("114.3.4", "Model selection (Claude, Titan)")
def test_the_prices_are_those_of_the_tokens_of_this_call(run, other):
    from llmkit import prices

    for done in (run, other):
        (asked,) = by_call(done)["converse"]
        used = {"input_tokens": asked["tokens in"], "output_tokens": asked["tokens out"]}
        told = done.result["USD for 1,000"]
        wanted = {model.rpartition(".")[2]: float(prices.cost("aws", model, **used)) * 1000 for model in MODELS}
        assert told == pytest.approx(wanted, abs=1e-4) and len(set(told.values())) == 4


@pytest.mark.checklist("114.3.4", "Streaming responses")
def test_the_file_grows_with_every_piece_and_is_whole(run):
    streamed = run.xcoms["stream_to_storage"]
    sizes = streamed["sizes"]
    assert sizes[0] > 0 and all(before < after for before, after in pairwise(sizes))
    assert sizes[-1] == len(text_of(streamed["path"]).encode()) and len(sizes) > 3
    assert text_of(streamed["path"]) == run.xcoms["ask_by_converse"]["text"]
    assert run.result["grew"] is True and run.result["same text by converse"] is True
    assert 0 < run.result["seconds to the first piece"] <= run.result["seconds"]


@pytest.mark.checklist("114.3.4", "Streaming responses")
@pytest.mark.parametrize("sizes", [[0, 0, 0, 0], [0, 0, 0, 61], [10, 10, 20], [20, 10, 30], [61], []])
def test_a_file_that_shows_its_text_only_at_the_end_did_not_grow(lesson_module, tmp_path, sizes):
    (tmp_path / "leaflet.md").write_text("Dust the shade.")
    report = lesson_module(DAG).aws_bedrock_integration().get_task("report_leaflet").python_callable
    claude = {"usage": {"input_tokens": 9, "output_tokens": 3}, "stop_reason": "end_turn"}
    streamed = {"path": f"file://{tmp_path}/leaflet.md", "sizes": sizes, "row": {}, "first": 0.1, "all": 0.2}
    asked = {"text": "Wash the shade.", "row": {}, "prices": {}}
    told = report("us-east-1", claude, {"inputTextTokenCount": 4, "embedding": [0.5]}, asked, streamed)
    assert told["grew"] is False and told["same text by converse"] is False


@pytest.mark.checklist("114.3.4", "Streaming responses")
def test_a_broken_stream_fails_the_try_and_the_next_one_starts_afresh(run_dag, settings, monkeypatch):
    from airflow.providers.amazon.aws.hooks.bedrock import BedrockRuntimeHook

    real, streams = BedrockRuntimeHook.conn, []

    def once_broken(self):
        client = real.__get__(self, type(self))

        def converse_stream(**asked):
            streams.append(client.converse_stream(**asked)["stream"])
            return {"stream": islice(streams[0], 4) if len(streams) == 1 else streams[-1]}

        used = {name: getattr(client, name) for name in ("converse", "invoke_model", "meta")}
        return SimpleNamespace(converse_stream=converse_stream, **used)

    monkeypatch.setattr(BedrockRuntimeHook, "conn", property(once_broken))
    run = run_dag(settings.dags, DAG, max_tokens=20)
    assert run.state == "success" and len(streams) == 2
    assert re.search(r"The stream broke off; what had come is in \S+/leaflet\.md\.partial", run.log)
    assert text_of(run.xcoms["stream_to_storage"]["path"]) == run.xcoms["ask_by_converse"]["text"]
