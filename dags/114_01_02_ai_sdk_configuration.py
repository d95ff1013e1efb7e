"""
# 114.1.2 AI SDK Configuration

Before a model call reaches production somebody asks four questions: where does the key live, who can read it, which
model answers when nobody says otherwise, and what stops fifty tasks from calling at once. This lesson answers each with
a setting that you can change, and shows in a log or an XCom what the setting did.

| Checklist item | Tasks that show it |
|---|---|
| Configure provider connections | `connections.find_connection`, `connections.list_backends` |
| API key management | `keys.log_a_key`, `keys.use_wrong_key`, `keys.explain_failure` |
| Default model settings | `defaults.ask_with_defaults`, `defaults.ask_with_overrides`, `defaults.compare_answers` |
| Rate limiting configuration | `limits.call_in_pool`, `limits.call_one_at_a_time`, `limits.call_at_a_rate` |

**Try it**: open the log of `keys.log_a_key`: the task logs the key, and the log shows `***`. `keys.use_wrong_key` is red:
it has three tries and used one, because its policy knows that a refused key stays refused. Set
`AIRFLOW_CONN_OPENAI_DEFAULT` in the environment of `make up`: `connections.find_connection` names the new source.

**In production**: keep keys in a secrets backend (Vault, AWS or Google Secret Manager), which Airflow asks before the
environment and the database, and give each team a connection of its own, so that a leaked key can be withdrawn alone.
A pool limits how many calls run, not how many start in a minute: use it together with a limiter.
"""

import logging
import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import Connection, Param, RetryDecision, RetryPolicy, TriggerRule, dag, task, task_group

from llmkit import prompts
from llmkit.limits import RateLimit

log = logging.getLogger(__name__)

CONN_ID = "pydanticai_default"
QUESTION = "Name one thing that makes a desk lamp good."


class StopOnRefusedKey(RetryPolicy):
    """HTTP 401 and 403 stay what they are however often one asks; everything else follows the task's own retries."""

    def evaluate(self, exception: BaseException, *args: object, **kwargs: object) -> RetryDecision:
        if getattr(exception, "status_code", None) in (401, 403):
            return RetryDecision.fail("the provider refused the key")
        return RetryDecision.default()


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    # Prompts are finished texts: nothing in them shall be rendered as a template once more.
    jinja_environment_kwargs=prompts.rendered_once(),
    schedule=None,
    catchup=False,
    tags=["reference", "core", "beginner", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=2), "execution_timeout": timedelta(minutes=2)},
    params={
        "per_minute": Param(30, type="integer", title="Requests a minute", description="Try 2.", minimum=2),
    },
)
def ai_sdk_configuration() -> None:
    @task_group
    def connections():
        @task
        def list_backends() -> list[str]:
            """Configure provider connections: the places that are asked for a connection, in their order."""
            from airflow.sdk.configuration import conf

            custom = conf.get("secrets", "backend", fallback="") or "(no secrets backend: set [secrets] backend)"
            return [custom, "environment variables AIRFLOW_CONN_<ID>", "Airflow's database, which the UI edits"]

        @task
        def find_connection(conn_id: str) -> dict:
            """Configure provider connections: what a connection holds, and where this one was found."""
            connection = Connection.get(conn_id)
            in_environment = f"AIRFLOW_CONN_{conn_id.upper()}" in os.environ
            return {
                "conn_id": conn_id,
                "found in": "environment" if in_environment else "Airflow's database",
                "type": connection.conn_type,
                "host": connection.host,
            }

        list_backends() >> find_connection.expand(conn_id=[CONN_ID, "openai_default", "llm_db"])

    @task_group
    def keys():
        @task
        def log_a_key() -> str:
            """API key management: a key that came from a connection is masked in every log line."""
            log.info("The key of %s is %s", CONN_ID, Connection.get(CONN_ID).password)
            return "see the log"

        @task.llm(llm_conn_id="pydanticai_wrong_key", retry_policy=StopOnRefusedKey())
        def use_wrong_key() -> str:
            """API key management: a refused key fails at once and clearly; trying again would not help."""
            return "Hello"

        @task(trigger_rule=TriggerRule.ALL_DONE)
        def explain_failure(**context) -> dict:
            """API key management: the state that the refused task ended in, and what a reader does next."""
            ti, task_id = context["ti"], "keys.use_wrong_key"
            states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id])
            return {
                "state": states[ti.run_id][task_id],
                "what to do": "put a valid key into the connection, then clear the task",
            }

        log_a_key() >> use_wrong_key() >> explain_failure()

    @task_group
    def defaults():
        @task.llm(llm_conn_id=CONN_ID)
        def ask_with_defaults() -> str:
            """Default model settings: the model is the one in the connection's extra, for every task that names none."""
            return QUESTION

        @task.llm(
            llm_conn_id=CONN_ID, model_id="openai-chat:gpt-4o", model_settings={"temperature": 0.0, "max_tokens": 12}
        )
        def ask_with_overrides() -> str:
            """Default model settings: a task overrides the model and its settings for itself alone."""
            return QUESTION

        @task
        def compare_answers(by_default: str, overridden: str) -> dict:
            """Default model settings: the same question, cut at 12 tokens in the task that asked for it."""
            model = Connection.get(CONN_ID).extra_dejson["model"]
            return {f"{model}, no limit": by_default, "openai-chat:gpt-4o, 12 tokens": overridden}

        compare_answers(ask_with_defaults(), ask_with_overrides())

    @task_group
    def limits():
        @task.llm(llm_conn_id=CONN_ID, pool="llm_calls", model_settings={"max_tokens": 5})
        def call_in_pool(number: int) -> str:
            """Rate limiting configuration: a pool bounds the calls that run at once, over all DAGs that use it."""
            return f"Say the number {number}."

        @task.llm(llm_conn_id=CONN_ID, max_active_tis_per_dag=1, model_settings={"max_tokens": 5})
        def call_one_at_a_time(number: int) -> str:
            """Rate limiting configuration: max_active_tis_per_dag bounds one task over all runs of its DAG."""
            return f"Say the number {number}."

        @task.llm(llm_conn_id=CONN_ID, model_settings={"max_tokens": 5})
        def call_at_a_rate(number: int, params: dict) -> str:
            """Rate limiting configuration: a limiter in the database bounds the calls that start in a minute."""
            RateLimit("openai_chat", params["per_minute"]).acquire(timeout=90)
            return f"Say the number {number}."

        for limited in (call_in_pool, call_one_at_a_time, call_at_a_rate):
            limited.expand(number=[1, 2, 3])

    connections() >> [keys(), defaults(), limits()]


ai_sdk_configuration()
