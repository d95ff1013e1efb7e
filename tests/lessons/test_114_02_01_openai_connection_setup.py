from __future__ import annotations

import json
import subprocess

import pytest

DAG = "114_02_01_openai_connection_setup"
VARIABLE = "AIRFLOW_CONN_OPENAI_LESSON"


@pytest.fixture(scope="module", autouse=True)
def no_other_key():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OPENAI_API_KEY", raising=False)
        patch.setenv(VARIABLE, "{}")  # the lesson sets it; gone after these tests
        yield


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def own(run_lesson):
    return run_lesson(DAG, organization="org-of-o'the-test", project="proj_of_the_test")


@pytest.fixture
def run_with(settings, run_dag, keyless_url, monkeypatch):
    """``run_with(organization, host=…, password=…)`` runs the lesson with another ``openai_default``."""

    def run(organization, **fields):
        known = {"conn_type": "openai", "host": f"{keyless_url}/openai/v1", "password": "any"}
        monkeypatch.setenv("AIRFLOW_CONN_OPENAI_DEFAULT", json.dumps({**known, **fields}))
        return run_dag(settings.dags, DAG, organization=organization)

    return run


@pytest.fixture
def check(lesson_module, llmock):
    """``check(status, code)`` is what the lesson says of an error that keyless does not make."""
    from airflow.sdk import Connection

    def check(status, code=None):
        llmock.fail(status, code=code)
        made = Connection(conn_id="openai_lesson", conn_type="openai", host=llmock.base_url(), password="any")
        return lesson_module(DAG).check("a case", made)

    return check


def pasted(line):
    """What the variable is once ``line`` was pasted into a shell."""
    shell = subprocess.run(["bash", "-c", f"{line}\nprintenv {VARIABLE}"], capture_output=True, text=True, check=False)
    assert shell.returncode == 0, shell.stderr
    return shell.stdout.rstrip("\n")


def cases(run):
    return {row["case"]: row for row in run.result["cases"]}


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}
    assert "unknown organization" in run.log, "the result is logged as a table"


@pytest.mark.checklist("114.2.1", "Create OpenAI connection")
def test_json_uri_and_fields_are_the_same_connection(own, keyless_url):
    from airflow.sdk import Connection

    written = own.xcoms["write_connection"]
    texts = [pasted(written[form]) for form in ("JSON", "URI")]
    read = [Connection.from_json(texts[0]), Connection.from_uri(texts[1], conn_id="x")]
    for made in read:
        assert (made.conn_type, made.host, made.password) == ("openai", f"{keyless_url}/openai/v1", "<your key>")
        client = made.extra_dejson["openai_client_kwargs"]
        assert client == {"organization": "org-of-o'the-test", "project": "proj_of_the_test"}
    assert written["UI"] == {
        "Host": f"{keyless_url}/openai/v1",
        "API Key": "<your key>",
        "Extra Fields JSON": read[0].extra_dejson,
    }


@pytest.mark.checklist("114.2.1", "Create OpenAI connection")
def test_what_else_the_connection_has_stays(lesson_module, monkeypatch):
    known = {"auth_type": "workload_identity", "openai_client_kwargs": {"timeout": 5, "project": "proj_known"}}
    monkeypatch.setenv("AIRFLOW_CONN_OPENAI_DEFAULT", json.dumps({"conn_type": "openai", "extra": known}))
    made = lesson_module(DAG).connection({"organization": "org-1", "project": None})
    client = {"timeout": 5, "project": "proj_known", "organization": "org-1"}
    assert made.extra_dejson == {"auth_type": "workload_identity", "openai_client_kwargs": client}


@pytest.mark.checklist("114.2.1", "Configure API key")
def test_the_key_is_sent_and_masked(run):
    assert "The key was sent as: Bearer ***" in run.log
    assert "keyless-needs-no-key" not in run.log
    assert "keyless-needs-no-key" not in json.dumps(run.xcoms)
    assert run.result["key"] == f"Bearer, {len('keyless-needs-no-key')} characters"
    assert {r["key"] for r in run.requests if r["status"] == 200} == {"keyl…"}


@pytest.mark.checklist("114.2.1", "Configure API key")
def test_no_key_and_a_wrong_key_are_told_apart(run):
    assert cases(run)["no key"] == {"case": "no key", "result": "Missing credentials", "retry helps": False}
    assert cases(run)["wrong key"]["result"] == "HTTP 401 invalid_api_key: correct the key or the organization"
    assert cases(run)["wrong key"]["retry helps"] is False
    assert [r["status"] for r in run.requests] == [200, 200, 401, 200], "without a key nothing is sent"


@pytest.mark.checklist("114.2.1", "Configure API key")
@pytest.mark.parametrize(
    ("status", "code", "says", "retry"),
    [
        (403, None, "give the key this permission", False),
        (408, None, "send it again", True),
        (409, None, "send it again", True),
        (429, "insufficient_quota", "buy credit", False),
        (429, "rate_limit_exceeded", "send fewer requests", True),
        (500, None, "the fault is the server's", True),
        (503, None, "the fault is the server's", True),
        (404, None, "read the log", False),
    ],
)
def test_no_other_error_is_taken_for_a_missing_key(check, llmock, status, code, says, retry):
    found = check(status, code)
    assert found["result"].startswith(f"HTTP {status} {code or ''}") and says in found["result"]
    assert found["retry helps"] is retry
    assert len(llmock.requests) == 1, "a check does not try again"


@pytest.mark.checklist("114.2.1", "Set organization ID")
def test_no_organization_is_invented(run):
    sent = [r["headers"].get("openai-organization") for r in run.requests]
    assert sent == [None, None, None, "org-unknown"], "only the case of an unknown organization has one"
    assert run.result["organization"] is None and run.result["project"] is None


@pytest.mark.checklist("114.2.1", "Set organization ID")
def test_the_headers_shown_are_those_received(own):
    received = [r["headers"] for r in own.requests]
    assert [r.get("openai-organization") for r in received] == ["org-of-o'the-test"] * 3 + ["org-unknown"]
    assert {r.get("openai-project") for r in received} == {"proj_of_the_test"}
    assert own.result["organization"] == "org-of-o'the-test" and own.result["project"] == "proj_of_the_test"
    assert own.result["address"].endswith("/openai/v1/models")


@pytest.mark.checklist("114.2.1", "Test connection")
def test_a_connection_that_works(run):
    assert run.xcoms["test_connection"] == {"case": "as it is", "result": "works", "retry helps": None}
    assert cases(run)["no server"]["result"].startswith("no answer: check host")
    assert [case for case, row in cases(run).items() if row["retry helps"]] == ["no server"]


@pytest.mark.checklist("114.2.1", "Test connection")
def test_a_dead_connection_fails_its_test(run_with):
    dead = run_with("org-dead", host="http://127.0.0.1:9/v1")
    assert dead.state == "failed" and dead.tasks["test_connection"] == "failed"
    assert dead.tasks["send_headers"] == "upstream_failed" and dead.result is None
    assert dead.log.count("ConnectionError: no answer: check host, proxy and firewall") == 2, "it is tried once more"


@pytest.mark.checklist("114.2.1", "Test connection")
def test_a_refused_key_fails_at_once(run_with):
    refused = run_with("org-refused", password="keyless:fail=403")
    assert refused.state == "failed" and "give the key this permission" in refused.log
    assert [r["status"] for r in refused.requests] == [403]
