from __future__ import annotations

import itertools
import json

import pytest

DAG = "114_01_02_ai_sdk_configuration"
KEY = "keyless-needs-no-key"
LIMITED = "call_at_a_rate"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def next_turn() -> dict[str, float]:
    """When the limiter lets the next request go, by run, in seconds since the epoch."""
    return {}


@pytest.fixture(scope="module")
def other(run_lesson, settings, next_turn):
    """Both form fields with another value, and a connection of the environment whose provider fails each second request."""
    connection = {
        "conn_type": "pydanticai",
        "host": f"{settings.keyless_url}/openai/v1",
        "password": "keyless:fail=503@0.5,name=lesson-1-2",
        "extra": {"model": "openai-chat:gpt-5-nano"},
    }
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW_CONN_PYDANTICAI_DEFAULT", json.dumps(connection))
        connections = ["openai_default", "pydanticai_default", "no_such_connection"]
        done = run_lesson(DAG, per_minute=10, connections=connections)
    from llmkit import ledger

    with ledger.connect() as database:
        query = "SELECT refilled_at::float / 1000000 FROM llm_limits WHERE name = 'lesson_114_1_2:requests'"
        (next_turn["other"],) = database.execute(query).fetchone()
    return done


def starts(run) -> list[float]:
    """When the requests of the limited task went out, by the ledger."""
    from llmkit import ledger

    with ledger.connect() as connection:
        rows = connection.execute(
            "SELECT extract(epoch FROM at)::float FROM llm_calls WHERE run_id = %s AND task_id = %s ORDER BY at",
            [run.run_id, LIMITED],
        ).fetchall()
    return [at for (at,) in rows]


def found_by(run) -> dict[str, str]:
    return {row["id"]: row["found_by"] for row in run.xcoms["sum_up"]["connections"]}


def calls(run) -> dict[tuple, int]:
    return {(row["task"], row["model"], row["http_status"]): row["calls"] for row in run.xcoms["sum_up"]["calls"]}


def test_it_ends_as_the_outline_says(run, other):
    assert run.state == other.state == "success", run.log[-3000:]
    assert {task for task, state in run.tasks.items() if state != "success"} == {"use_wrong_key"}


@pytest.mark.checklist("114.1.2", "Configure provider connections")
def test_it_tells_which_backend_of_airflow_has_a_connection(run, other):
    database = "ExecutionAPISecretsBackend"
    environment = "EnvironmentVariablesBackend"
    assert found_by(run) == {"pydanticai_default": database, "openai_default": database, "llm_db": environment}
    assert found_by(other) == {
        "openai_default": database,
        "pydanticai_default": environment,
        "no_such_connection": "nobody",
    }
    (row,) = [row for row in run.xcoms["sum_up"]["connections"] if row["id"] == "pydanticai_default"]
    assert row["type"] == "pydanticai"


@pytest.mark.checklist("114.1.2", "Configure provider connections")
def test_a_secrets_backend_is_asked_before_the_environment(run_lesson, monkeypatch, tmp_path):
    from airflow.sdk import configuration

    kept = tmp_path / "connections.json"
    kept.write_text(json.dumps({"openai_default": {"conn_type": "openai", "host": "https://vault.example"}}))
    monkeypatch.setenv("AIRFLOW_CONN_OPENAI_DEFAULT", json.dumps({"conn_type": "openai"}))
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "airflow.secrets.local_filesystem.LocalFilesystemBackend")
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", json.dumps({"connections_file_path": str(kept)}))
    # Airflow remembers backends for the life of a process.
    monkeypatch.setattr(configuration, "_secrets_backend_cache", {})
    run = run_lesson(DAG, connections=["openai_default"], per_minute=600)
    assert found_by(run) == {"openai_default": "LocalFilesystemBackend"}


@pytest.mark.checklist("114.1.2", "API key management")
def test_a_key_is_masked_in_the_log(run):
    assert "The key of pydanticai_default is ***" in run.log
    assert KEY not in run.log


@pytest.mark.checklist("114.1.2", "API key management")
def test_a_refused_key_is_not_tried_again_and_a_busy_server_is(run, other):
    assert run.tasks["use_wrong_key"] == "failed"
    assert [request["status"] for request in run.requests].count(401) == 1
    assert "Incorrect API key provided" in run.log
    assert calls(run).get(("use_wrong_key", "gpt-4o-mini", 401)) == 1
    assert len(starts(other)) > 2, "a 503 is worth another try"


@pytest.mark.checklist("114.1.2", "Default model settings")
def test_the_connection_s_model_answers_unless_the_task_names_another(run, other):
    by_default = [r for r in run.requests if r["status"] == 200 and r["asked"]["max_tokens"] is None]
    assert [(r["model"], r["asked"]["temperature"]) for r in by_default] == [("gpt-4o-mini", None)]
    overridden = [r for r in run.requests if r["model"] == "gpt-4o"]
    assert [(r["asked"]["temperature"], r["asked"]["max_tokens"]) for r in overridden] == [(0.0, 4)]
    assert calls(run).get(("ask_with_defaults", "gpt-4o-mini", 200)) == 1
    assert calls(run).get(("ask_with_overrides", "gpt-4o", 200)) == 1
    assert calls(other).get(("ask_with_defaults", "gpt-5-nano", 200)) == 1
    assert calls(other).get(("ask_with_overrides", "gpt-4o", 200)) == 1


@pytest.mark.checklist("114.1.2", "Rate limiting configuration")
def test_requests_are_as_far_apart_as_the_form_says(run, other, next_turn):
    # A slow machine keeps calls apart too. So look at the limiter itself: its next turn is 6 s after the last one.
    assert 1.5 < next_turn["other"] - starts(other)[-1] < 6.5
    for done, seconds in ((run, 1), (other, 6)):
        gaps = [later - earlier for earlier, later in itertools.pairwise(starts(done))]
        # From a turn to its request some time goes by, and not always the same.
        assert gaps and min(gaps) >= 0.7 * seconds
        assert done.xcoms["sum_up"]["seconds_between_calls"] == pytest.approx(min(gaps), abs=0.06)


@pytest.mark.checklist("114.1.2", "Rate limiting configuration")
def test_each_request_takes_a_turn_also_those_that_repeat_a_failed_one(run, other):
    assert len(starts(run)) == 2 < len(starts(other))
    for done in (run, other):
        assert done.log.count("limit lesson_114_1_2: waited") == len(starts(done))


@pytest.mark.checklist("114.1.2", "Rate limiting configuration")
def test_airflow_s_own_limits_are_set(dagbag):
    from airflow.models.pool import Pool

    task = dagbag.dags[DAG].get_task(LIMITED)
    assert task.pool == "llm_calls" and Pool.get_pool("llm_calls").slots == 2
    assert task.max_active_tis_per_dag == 1


def test_the_run_s_result_is_short(run):
    result = run.xcoms["sum_up"]
    rows = [*result["connections"], *result["calls"]]
    assert len(rows) <= 8
    assert max(len(str(cell)) for row in rows for cell in row.values()) <= 60
