"""Airflow's hooks, operators, triggers and decorators of every provider, by the connections that the course imports."""

from __future__ import annotations

import json
import os
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
        path = Path(done.xcoms[name]["result_uri"].removeprefix("file://"))
        outputs = {row["index"]: row["output"] for row in map(json.loads, path.read_text().splitlines())}
        assert outputs == {0: {"city": "Vienna", "guests": 4}, 1: {"city": "Oslo", "guests": 2}}


KEYS = {
    "auth": "keyless:nope",
    "rate": "keyless:fail=429",
    "overload": "keyless:outage",
    "context": "keyless:context=3",
    "bad": "keyless",
}


@pytest.fixture(scope="module")
def faulty_connections(settings):
    """For each provider a connection for each class of error, as a reader could make them."""
    url = settings.keyless_url
    account = {
        "type": "service_account",
        "private_key": settings.google_private_key,
        "client_email": "lessons@keyless-course.iam.gserviceaccount.com",
        "token_uri": f"{url}/google/token",
    }
    once = {"max_retries": 0}
    names = []
    for fault, key in KEYS.items():
        found = {
            "openai": {"host": f"{url}/openai/v1", "password": key, "extra": {"openai_client_kwargs": once}},
            "anthropic": {"host": f"{url}/anthropic", "password": key, "extra": {"anthropic_client_kwargs": once}},
            "cohere": {"host": f"{url}/cohere", "password": key},
            "google": {
                "conn_type": "google_cloud_platform",
                "extra": {"project": "p", "keyfile_dict": {**account, "private_key_id": key}},
            },
            "aws": {
                "login": key,
                "password": "keyless-needs-no-secret",
                "extra": {
                    "region_name": "us-east-1",
                    "service_config": {"bedrock-runtime": {"endpoint_url": f"{url}/bedrock"}},
                    "config_kwargs": {"retries": {"max_attempts": 0}},
                },
            },
            "pydanticai": {
                "host": f"{url}/openai/v1", "password": key, "extra": {"model": "openai-chat:gpt-4o"}
            },
        }  # fmt: skip
        for provider, fields in found.items():
            names.append(f"AIRFLOW_CONN_{provider}_{fault}".upper())
            os.environ[names[-1]] = json.dumps({"conn_type": provider, **fields})
    yield
    for name in names:
        del os.environ[name]


def test_what_hooks_raise_is_the_sdk_s_own(faulty_connections, run):
    said = run("errors").xcoms
    auth, rate, overload, bad = (
        "AuthenticationError 401", "RateLimitError 429", "InternalServerError 503", "BadRequestError 400"
    )  # fmt: skip
    assert said["openai"] == [auth, rate, overload, bad, bad]
    assert said["anthropic"] == [auth, rate, "OverloadedError 529", bad, bad]
    assert said["cohere"] == [
        "UnauthorizedError 401", "TooManyRequestsError 429", "ServiceUnavailableError 503", bad, bad
    ]  # fmt: skip
    assert said["google"] == [
        "ClientError 401",
        "ClientError 429",
        "ServerError 503",
        "ClientError 400",
        "ClientError 400",
    ]
    assert said["bedrock"] == [
        "UnrecognizedClientException", "ThrottlingException", "ServiceUnavailableException", "ValidationException",
        "ValidationException",
    ]  # fmt: skip
    codes = [text.split()[1] for text in said["pydanticai"]]
    assert codes == ["401", "429", "503", "400", "400"]
