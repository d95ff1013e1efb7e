from __future__ import annotations

import re
from itertools import islice
from types import SimpleNamespace

import pytest

DAG = "114_03_04_aws_bedrock_integration"
NOVA = "amazon.nova-lite-v1:0"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def read(path: str) -> str:
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(path).read_text()


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.3.4", "Configure Bedrock connection")
def test_region_endpoint_and_signer_come_from_the_connection(run, keyless_url):
    found = run.xcoms["check_connection"]
    assert found["region"] == "us-east-1" and found["endpoint"] == f"{keyless_url}/bedrock" and found["credentials"]
    assert {r["key"] for r in run.requests} == {"keyl…"}


@pytest.mark.checklist("114.3.4", "Invoke foundation models")
def test_two_makers_have_two_bodies(run):
    assert set(run.xcoms["invoke_claude"]) >= {"content", "stop_reason", "usage"}
    assert set(run.xcoms["invoke_titan"]) == {"inputTextTokenCount", "results"}
    bodies = run.xcoms["read_bodies"]
    assert bodies["claude"][1] == "end_turn" and bodies["titan"][1] == "FINISH"
    assert bodies["claude"][0] and 0 < bodies["claude"][2] <= 40


@pytest.mark.checklist("114.3.4", "Model selection (Claude, Titan)")
def test_the_model_is_a_param_with_a_price(run, run_lesson):
    prices = {row.split("|")[1].strip(): row.split("|")[2].strip() for row in run.xcoms["list_prices"].splitlines()[2:]}
    assert len(prices) == 5 and "?" not in prices.values()
    assert list(map(float, prices.values())) == sorted(map(float, prices.values()))
    assert run.xcoms["ask_by_converse"]["model"].startswith("anthropic.claude")
    other = run_lesson(DAG, model=NOVA, max_tokens=8)
    assert other.xcoms["ask_by_converse"]["model"] == NOVA
    assert other.xcoms["ask_by_converse"]["stopped"] == "max_tokens"
    assert {r["path"].split("/")[-1] for r in other.requests if r["model"] == NOVA} == {"converse", "converse-stream"}


@pytest.mark.checklist("114.3.4", "Streaming responses")
def test_the_file_grows_while_the_stream_runs(run):
    streamed = run.xcoms["stream_to_storage"]
    assert len(streamed["sizes"]) > 3 and streamed["sizes"] == sorted(set(streamed["sizes"])), "one piece at a time"
    assert streamed["seconds"]["first"] < streamed["seconds"]["all"]
    assert read(streamed["path"]) == run.xcoms["ask_by_converse"]["text"]
    assert run.xcoms["check_stream"]["grew"] and run.xcoms["check_stream"]["bytes"] == streamed["sizes"][-1]


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
    assert read(run.xcoms["stream_to_storage"]["path"]) == run.xcoms["ask_by_converse"]["text"]
