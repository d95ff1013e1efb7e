from __future__ import annotations

import os

import psycopg2
import pytest

DAG = "114_01_02_ai_sdk_configuration"
KEY = "keyless-needs-no-key"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]


@pytest.mark.checklist("114.1.2", "Configure provider connections")
def test_it_tells_where_a_connection_was_found(run):
    found = {c["conn_id"]: c["found in"] for c in run.xcoms["connections.find_connection"]}
    assert found == {
        "pydanticai_default": "Airflow's database",
        "openai_default": "Airflow's database",
        "llm_db": "environment",
    }


def test_the_environment_wins_over_the_database(run_lesson, monkeypatch, settings):
    monkeypatch.setenv(
        "AIRFLOW_CONN_OPENAI_DEFAULT",
        '{"conn_type": "openai", "host": "http://127.0.0.1:9/v1", "password": "from-environment"}',
    )
    run = run_lesson(DAG, per_minute=31)
    found = {c["conn_id"]: c for c in run.xcoms["connections.find_connection"]}
    assert found["openai_default"]["found in"] == "environment"
    assert found["openai_default"]["host"] == "http://127.0.0.1:9/v1"


@pytest.mark.checklist("114.1.2", "API key management")
def test_keys_are_masked_and_a_refused_key_is_not_tried_again(run):
    assert "The key of pydanticai_default is ***" in run.log
    assert KEY not in run.log
    assert run.tasks["keys.use_wrong_key"] == "failed"
    refused = [r for r in run.requests if r["status"] == 401]
    assert len(refused) == 1, "a retry would be refused too"
    assert "Incorrect API key provided" in run.log
    assert run.xcoms["keys.explain_failure"]["state"] == "failed"


@pytest.mark.checklist("114.1.2", "Default model settings")
def test_the_connection_s_model_answers_unless_the_task_names_another(run):
    models = {r["model"] for r in run.requests if r["status"] == 200}
    assert models == {"gpt-4o-mini", "gpt-4o"}
    (overridden,) = [r for r in run.requests if r["model"] == "gpt-4o"]
    assert overridden["completion_tokens"] == 12
    compared = run.xcoms["defaults.compare_answers"]
    assert len(compared["openai-chat:gpt-4o-mini, no limit"]) > len(compared["openai-chat:gpt-4o, 12 tokens"])


@pytest.mark.checklist("114.1.2", "Rate limiting configuration")
def test_the_three_limits_are_set_and_the_limiter_counts(run, dagbag):
    dag = dagbag.dags[DAG]
    assert dag.get_task("limits.call_in_pool").pool == "llm_calls"
    assert dag.get_task("limits.call_one_at_a_time").max_active_tis_per_dag == 1
    for task_id in ("call_in_pool", "call_one_at_a_time", "call_at_a_rate"):
        assert len(run.xcoms[f"limits.{task_id}"]) == 3, "a limit that lets nothing through is none"
    # Each call is counted in the database, where every worker sees it.
    first = min((r for r in run.requests if r["status"] == 200), key=lambda r: r["received_at"])
    with (
        psycopg2.connect(
            host=os.environ["AIRFLOW_CONN_LLM_DB"].split("host=")[1].replace("%2F", "/"), user="postgres", dbname="llm"
        ) as llm,
        llm.cursor() as cursor,
    ):
        cursor.execute("SELECT refilled_at FROM llm_limits WHERE name = 'openai_chat:requests'")
        # Three of 30 a minute: the quota is whole again six seconds after the first of them, at the earliest.
        assert cursor.fetchone()[0] >= (first["received_at"] + 5) * 1_000_000


def test_the_pool_of_the_lesson_exists(running_stack):
    from airflow.models.pool import Pool

    assert Pool.get_pool("llm_calls").slots == 2


def test_the_ledger_knows_each_call_s_task(run):
    from collections import Counter

    from llmkit import ledger

    with ledger.connect() as connection:
        rows = connection.execute(
            "SELECT task_id, map_index, try_number FROM llm_calls WHERE run_id = %s", [run.run_id]
        ).fetchall()
    of_task = Counter(task_id for task_id, _, _ in rows)
    assert of_task["limits.call_in_pool"] == 3 and of_task["keys.use_wrong_key"] == 1
    assert {index for task_id, index, _ in rows if task_id == "limits.call_in_pool"} == {0, 1, 2}
    assert {number for *_, number in rows} == {1}
