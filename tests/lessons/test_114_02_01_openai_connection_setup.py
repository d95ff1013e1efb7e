from __future__ import annotations

import json

import pytest

DAG = "114_02_01_openai_connection_setup"


@pytest.fixture(scope="module")
def run(run_lesson):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OPENAI_API_KEY", raising=False)
        return run_lesson(DAG, organization="org-of-the-test")


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.2.1", "Create OpenAI connection")
def test_json_and_uri_are_the_same_connection(run, keyless_url):
    as_json, as_uri = run.xcoms["write_as_json"], run.xcoms["write_as_uri"]
    assert all(line.startswith("export AIRFLOW_CONN_OPENAI_LESSON='") for line in (as_json, as_uri))
    assert json.loads(as_json.split("=", 1)[1].strip("'"))["conn_type"] == "openai"
    assert as_uri.split("=", 1)[1].startswith("'openai://")
    fields = run.xcoms["compare_forms"]
    assert fields["Host"] == f"{keyless_url}/openai/v1" and fields["API Key"] == "<your key>"
    assert fields["Extra Fields JSON"]["openai_client_kwargs"]["project"] == "proj_shop"


@pytest.mark.checklist("114.2.1", "Configure API key")
def test_the_key_is_sent_and_masked(run):
    assert "The key was sent as: Bearer ***" in run.log
    assert "keyless-needs-no-key" not in run.log
    assert "keyless-needs-no-key" not in json.dumps(run.xcoms)
    assert {r["key"] for r in run.requests if r["status"] == 200} == {"keyl…"}


@pytest.mark.checklist("114.2.1", "Set organization ID")
def test_the_headers_shown_are_those_received(run):
    shown = run.xcoms["send_headers"]
    received = [r["headers"] for r in run.requests if r["status"] == 200]
    assert len(received) == 2
    for headers in received:
        assert headers["openai-organization"] == shown["openai-organization"] == "org-of-the-test"
        assert headers["openai-project"] == shown["openai-project"] == "proj_shop"
    assert shown["authorization"].startswith("Bearer …") and shown["sent to"].endswith("/models")


@pytest.mark.checklist("114.2.1", "Test connection")
def test_it_works_and_three_failures_are_told_apart(run):
    assert run.xcoms["test_connection"] == "Connection established!"
    failures = {found["fault"]: found for found in run.xcoms["explain_failure"]}
    assert "no key was found, nothing was sent" in failures["no key"]["cause"]
    assert "refused the key (HTTP 401)" in failures["wrong key"]["cause"]
    assert "cannot be reached" in failures["no way to the server"]["cause"]
    assert [f["fault"] for f in failures.values() if f["a retry helps"]] == ["no way to the server"]
    assert [r["status"] for r in run.requests].count(401) == 1, "without a key nothing arrives"
