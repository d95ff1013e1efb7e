"""Airflow's hooks, operators, triggers and decorators of every provider, by the connections that the course imports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "fixtures" / "clients"
PREFIXES = ("default", "responses", "anthropic", "ollama", "cohere", "gemini", "vertex", "bedrock")


@pytest.fixture(scope="module")
def run(run_dag, tmp_path_factory):
    """The finished run of a client DAG; all of its tasks have succeeded."""

    def runner(name: str):
        params = {"results": str(tmp_path_factory.getbasetemp())} if name == "common_ai" else {}
        done = run_dag(FOLDER, f"client_{name}", **params)
        failed = {t: s for t, s in done.tasks.items() if s not in ("success", "skipped")}
        assert done.state == "success" and not failed, f"{failed}\n{done.error}\n{done.log[-6000:]}"
        return done

    return runner


def test_openai(run):
    done = run("openai")
    said = done.xcoms["hook"]
    assert said["chat"] == said["streamed"] and said["response"] and said["vectors"] == [1536, 1536]
    assert [len(v) for v in done.xcoms["embed"]] == [1536, 1536]
    assert done.xcoms["parse"] == {"city": "Vienna", "guests": 4} and done.xcoms["respond"]
    assert done.xcoms["results"] == [3, 3], "both batches, the waited and the deferred, have all answers"


def test_cohere(run):
    done = run("cohere")
    said = done.xcoms["hook"]
    assert said["chat"] == said["streamed"] and said["vectors"] == 1024
    assert [len(v) for v in done.xcoms["embed"]] == [1024, 1024]
    assert done.xcoms["rerank"]["results"][0]["index"] == 1


def test_anthropic(run):
    done = run("anthropic")
    said = done.xcoms["hook"]
    assert said["chat"] == said["streamed"] and said["counted"] == said["billed"] and said["model"] == "claude-sonnet-5"
    assert done.xcoms["results"] == [["succeeded"] * 3] * 2


def test_google(run):
    done = run("google")
    assert done.xcoms["generate"] == done.xcoms["hook"]["streamed"]
    assert done.xcoms["structured"] == {"city": "Vienna", "guests": 4}
    assert done.xcoms["cache"].startswith("projects/keyless-course/locations/us-central1/cachedContents/")
    assert done.xcoms["use_cache"]
    assert done.xcoms["batch"]["state"] == done.xcoms["batch_embed"]["state"] == "JOB_STATE_SUCCEEDED"
    assert done.xcoms["batch_get"]["name"] == done.xcoms["batch"]["name"]
    paths = [r["path"] for r in done.requests if r["provider"] == "google"]
    assert any(p.endswith(":countTokens") for p in paths) and any(p.endswith(":predict") for p in paths)


def test_bedrock(run):
    done = run("bedrock")
    said = done.xcoms["hook"]
    assert said["chat"] == said["streamed"] == done.xcoms["claude"]["content"][0]["text"]
    assert done.xcoms["titan"]["results"][0]["outputText"] == said["chat"]
    assert len(done.xcoms["embed"]["embedding"]) == 256


@pytest.mark.parametrize("prefix", PREFIXES)
def test_common_ai_on_every_connection(run, prefix):
    done = run("common_ai")
    # Airflow keeps a model with the name of its class beside its data.
    assert done.xcoms[f"llm_{prefix}"]["__data__"] == {"city": "Vienna", "guests": 4}
    assert done.xcoms[f"text_{prefix}"]
    assert "-3" in done.xcoms[f"agent_{prefix}"] and "Oslo" in done.xcoms[f"agent_{prefix}"]


def test_every_provider_was_really_asked(run):
    seen = {r["provider"] for r in run("common_ai").requests}
    assert seen == {"openai", "anthropic", "cohere", "google", "bedrock"}


def test_branch_and_batches(run):
    done = run("common_ai")
    assert (done.tasks["billing"], done.tasks["technical"]) == ("success", "skipped")
    for name in ("batch_responses", "batch_anthropic"):
        manifest = json.dumps(done.xcoms[name])
        assert "2" in manifest and name in manifest
