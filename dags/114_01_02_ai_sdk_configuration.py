"""
# 114.1.2 AI SDK Configuration

Before a model call goes to production, somebody asks four questions. Where does the key live, and who sees it? Which model answers
when a task names none? What stops fifty tasks from calling at once? Each task here answers one of them with a setting that you can
change. The last task reads from the ledger what the settings did. The ledger has one row for each request that really went out.

| Checklist item | Tasks that show it |
|---|---|
| Configure provider connections | `find_connections` |
| API key management | `log_key`, `use_wrong_key` |
| Default model settings | `ask_with_defaults`, `ask_with_overrides` |
| Rate limiting configuration | `call_at_a_rate`, `sum_up` |

**Try it**: press *Trigger*. The log of `log_key` shows `***` in place of the key. `use_wrong_key` ends red on purpose, after one try of
three, and the run still ends green, because its last task runs in any case. Trigger it again with *Requests a minute* set to 10: in
*Storage → XCom* of `sum_up`, the calls are about 6 seconds apart. With 60 the limit of one second hardly shows, because
starting a task takes longer. `ExecutionAPISecretsBackend` is Airflow's API server, which reads the connections of the UI. Set
`AIRFLOW_CONN_OPENAI_DEFAULT` before `make up`, and `find_connections` names the environment as the source.

**You should see** (offline):

| id                 | type       | found_by                    |
|:-------------------|:-----------|:----------------------------|
| pydanticai_default | pydanticai | ExecutionAPISecretsBackend  |
| openai_default     | openai     | ExecutionAPISecretsBackend  |
| llm_db             | postgres   | EnvironmentVariablesBackend |

| task               | model       |   http_status |   calls |
|:-------------------|:------------|--------------:|--------:|
| ask_with_defaults  | gpt-4o-mini |           200 |       1 |
| ask_with_overrides | gpt-4o      |           200 |       1 |
| call_at_a_rate     | gpt-4o-mini |           200 |       2 |
| use_wrong_key      | gpt-4o-mini |           401 |       1 |

- seconds_between_calls: 1

**SDK or own code?** A connection holds the key and the model; temperature and limits are the task's. Keys, models and retries are the
SDK's: [connections](https://airflow.apache.org/docs/apache-airflow-providers-common-ai/stable/hooks/pydantic_ai.html),
[secrets backends](https://airflow.apache.org/docs/apache-airflow/stable/security/secrets/secrets-backend/index.html), `ExceptionRetryPolicy`. Airflow has
pools for calls that run at once, but no limit for calls that start in a minute, so `llmkit.limits` counts those in the database.
`find_connections` uses an internal function of Airflow, `ensure_secrets_backend_loaded`. Use `Connection.get` in your own tasks.

**In production**: keep keys in a secrets backend (Vault, AWS or Google Secret Manager). Give each team its own connection, so that you
can withdraw a leaked key alone. Airflow masks a key as it stands in the connection, so never log a part or an encoded form of it. A
`model_id` names the provider too: change it in `ask_with_overrides` when you put another provider's key into the connection. Use a pool
and a rate limit together. A pool works where a scheduler runs (`make up`); `make lesson` runs one task at a time anyway. Providers also
limit tokens a minute: `RateLimit(..., tokens_per_minute=...)`. A last task with `ALL_DONE` makes the run
green whatever failed before it, so let it raise an error for what matters.

**Builds on** [1.1 AI SDK Overview](114_01_01_ai_sdk_overview.py) · **Next** [1.3 Basic LLM Task](114_01_03_basic_llm_task.py)
"""

import itertools
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Connection, ExceptionRetryPolicy, Param, RetryAction, RetryRule, TriggerRule, dag, task

from llmkit import prompts, tables
from llmkit.limits import RateLimit

log = logging.getLogger(__name__)

CONN_ID = "pydanticai_default"
QUESTION = "Name one thing that makes a desk lamp good. Answer with one word."

# A refused key stays refused. All other errors follow the task's own retries.
STOP_ON_REFUSED_KEY = ExceptionRetryPolicy(
    rules=[RetryRule(exception="pydantic_ai.exceptions.ModelAuthenticationError", action=RetryAction.FAIL)]
)


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.1.2 · AI SDK Configuration",
    doc_md=__doc__,
    jinja_environment_kwargs=prompts.rendered_once(),
    tags=["reference", "core", "beginner", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=2), "execution_timeout": timedelta(minutes=2)},
    params={
        "connections": Param(
            [CONN_ID, "openai_default", "llm_db"], type="array", title="Connections", description="Ids, one a line."
        ),
        "per_minute": Param(
            60,
            type="integer",
            title="Requests a minute",
            description="For call_at_a_rate, 6 to 600. With 10 at most one call goes out every 6 s.",
            minimum=6,
            maximum=600,
        ),
    },
)
def ai_sdk_configuration() -> Any:
    @task
    def find_connections(params: dict) -> list[dict]:
        """Configure provider connections: ask each of Airflow's secrets backends, in Airflow's order, until one has it."""
        from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

        rows = []
        for conn_id in params["connections"]:
            row = {"id": conn_id, "found_by": "nobody", "type": None}
            for backend in ensure_secrets_backend_loaded():
                if connection := backend.get_connection(conn_id):
                    # ExecutionAPISecretsBackend is Airflow's API server: its own backends, in the end the database.
                    row |= {"found_by": type(backend).__name__, "type": connection.conn_type}
                    break
            rows.append(row)
        return rows

    @task
    def log_key() -> None:
        """API key management: Airflow masks the key of a connection that a task has read, in all that the task logs."""
        log.info("The key of %s is %s", CONN_ID, Connection.get(CONN_ID).password)

    @task.llm(llm_conn_id="pydanticai_wrong_key", retry_policy=STOP_ON_REFUSED_KEY)
    def use_wrong_key() -> str:
        """API key management: a refused key fails at once, because no retry would help. This task ends red on purpose."""
        return QUESTION

    @task.llm(llm_conn_id=CONN_ID)
    def ask_with_defaults() -> str:
        """Default model settings: the connection's extra names the model, and no limit is sent."""
        return QUESTION

    @task.llm(llm_conn_id=CONN_ID, model_id="openai-chat:gpt-4o", model_settings={"temperature": 0.0, "max_tokens": 4})
    def ask_with_overrides() -> str:
        """Default model settings: a task may override the model and set its own limits."""
        return QUESTION

    @task.llm(
        llm_conn_id=CONN_ID,
        # At most 2 calls at once, over all DAGs that use this pool; at most one of this task, over all its runs.
        pool="llm_calls",
        max_active_tis_per_dag=1,
        # One request a turn: the retries of the client and of pydantic-ai would go out without asking the limit.
        model_settings={"max_tokens": 4, "max_retries": 0},
        output_retries=0,
    )
    def call_at_a_rate(number: int, params: dict) -> str:
        """Rate limiting configuration: a pool, a limit for this task, and a turn in the database for each request."""
        # One request in so many seconds, without the burst that a quota of a whole minute would let through.
        RateLimit("lesson_114_1_2", per_minute=1, minute=60 / params["per_minute"]).acquire(timeout=90)
        return f"Say the number {number}."

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def sum_up(connections: list[dict], **context) -> dict[str, Any]:
        """Rate limiting configuration: the calls of this run by the ledger, and the shortest time between two of them."""
        from llmkit import ledger

        calls = []
        for spent in ledger.spending("task_id", "model", "status", run_id=context["run_id"]):
            task_id, model, status = spent.group
            calls.append({"task": task_id, "model": model, "http_status": status, "calls": spent.calls})
        with ledger.connect() as database:
            query = "SELECT at FROM llm_calls WHERE run_id = %s AND task_id = 'call_at_a_rate' ORDER BY at"
            starts = database.execute(query, [context["run_id"]]).fetchall()
        gaps = [(later - earlier).total_seconds() for (earlier,), (later,) in itertools.pairwise(starts)]
        shortest = round(min(gaps), 1) if gaps else None
        result = {"connections": connections, "calls": calls, "seconds_between_calls": shortest}
        return tables.logged(log, result)

    asked = [log_key(), use_wrong_key(), ask_with_defaults(), ask_with_overrides()]
    result = sum_up(find_connections())
    [*asked, call_at_a_rate.expand(number=[1, 2])] >> result
    return result


ai_sdk_configuration()
