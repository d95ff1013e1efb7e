"""
# 114.7.1 No Rate Limit Handling

This run is expected to end *failed*. Sixteen letters meet a quota of ten requests a minute. The bad way is what many people write:
the SDK as it comes, with a thread for each letter. The provider answers HTTP 429 with a time to wait, the SDK waits exactly so
long, and all threads come back at the same moment. After two retries the SDK gives up, the task fails, and its retry pays once
more for letters that were answered. The good way asks with the same SDK, in two tasks with a thread for each letter, but each
request first waits for its turn.

| Checklist item | Tasks that show it |
|---|---|
| API errors and retries | `bad_way.call_at_once` |
| Cost explosion risks | `bad_way.call_at_once`, `compare_ways` |
| Proper rate limiting | `good_way.deal_letters`, `good_way.call_in_turn` |
| Backoff strategies | `ask_again_later` |

**Try it**: open `compare_ways` and look at *Storage → XCom*. The log of `bad_way.call_at_once` ends in one sentence that says what
failed and what it cost. Open `ask_again_later`: its first try was refused, and Airflow waited as long as the provider asked, plus
some. Trigger the DAG with 4 *Letters*: they fit into the quota, so both ways succeed at the same price. Trigger it with 5 *Requests
a minute*: the good way takes longer than it needs to.

**You should see** (offline):

| way      |   calls |   refused |   tokens |      usd |   seconds | lost             |
|:---------|--------:|----------:|---------:|---------:|----------:|:-----------------|
| bad_way  |      60 |        39 |     2257 | 0.000351 |       6.6 | 16 of 16 answers |
| good_way |      17 |         1 |     1727 | 0.000269 |       4.2 | 0 of 16 answers  |

- ask_again_later: answered in try 2
- verdict: The bad way paid 0.000351 USD and lost 16 of 16 answers. The good way paid 0.000269 USD and lost 0 of 16 answers.

**SDK or own code?** OpenAI's SDK retries twice and obeys a `Retry-After` of up to two minutes, each client on its own and without
jitter. Airflow's `ExceptionRetryPolicy` has a fixed wait for each kind of error, so the lesson has a [retry
policy](https://airflow.apache.org/docs/apache-airflow/3.3.0/_modules/airflow/example_dags/example_retry_policy.html) that reads the
header. Nothing in either shares a quota among workers; `llmkit.limits` does.

**In production**: a [pool](https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/pools.html) bounds
how many tasks run; a task with eight threads makes eight calls in one slot. The limiter bounds how many calls start, for all
workers together. Let a task keep what it has: smaller batches lose less. An empty account is a 429 too, and no wait helps there.
Offline a minute lasts six seconds. With a real key an ordinary quota refuses nothing here: both ways succeed, and the run ends
success. Leave the three connections of this lesson offline. Batch APIs have quotas of their own and cost half.

**Builds on** [1.2 AI SDK Configuration](114_01_02_ai_sdk_configuration.py) · **Next** [7.2 Unbounded Token Usage](114_07_02_unbounded_tokens_antipattern.py)
"""

import json
import logging
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Param, RetryDecision, RetryPolicy, TriggerRule, XComArg, dag, task, task_group

from llmkit import prompts, tables
from llmkit.course import side_by_side
from llmkit.limits import RateLimit, retry_after

log = logging.getLogger(__name__)
TICKETS = Path(__file__).parents[1] / "include" / "data" / "tickets.json"
FITS = "4 to 24. More than 10 do not fit into the quota."
GOOD = "What the good way's limiter lets through, 5 or more; the provider's quota stays at 10."
MINUTE = "Seconds, 1 to 60: the minute that the limiter counts by."


def letters(params: dict) -> list[str]:
    """As many of the shop's letters as the form asks for."""
    return [ticket["text"] for ticket in json.loads(TICKETS.read_text())[: params["letters"]]]


def ask(client: Any, letter: str) -> str:
    """The team for a letter; one call, and the SDK's own retries."""
    prompt = prompts.load("sort_ticket", 2)
    messages = [{"role": "user", "content": prompt.render(ticket=letter)}]
    reply = client.chat.completions.create(model="gpt-4o-mini", messages=messages, **prompt.settings)
    return reply.choices[0].message.content


class WaitAsAsked(RetryPolicy):
    """Waits as long as the provider asks. If it names no time, the wait doubles with each try. Jitter adds up to half."""

    def evaluate(self, exception: BaseException, try_number: int, *args: object, **kwargs: object) -> RetryDecision:
        if getattr(exception, "status_code", None) != 429:
            return RetryDecision.default()
        if getattr(exception, "code", None) == "insufficient_quota":
            return RetryDecision.fail("the account has no credit left")
        asked = retry_after(exception.response.headers)
        seconds = 2.0**try_number if asked is None else asked
        # Jitter: clients that were refused at the same moment must not come back at the same moment.
        return RetryDecision.retry(timedelta(seconds=seconds * random.uniform(1.0, 1.5)), f"told to wait {asked} s")


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.7.1 · No Rate Limit Handling (fails on purpose)",
    doc_md=__doc__,
    max_active_runs=1,
    tags=["reference", "anti-pattern", "intermediate", "failure"],
    default_args={"retries": 1, "retry_delay": timedelta(seconds=4), "execution_timeout": timedelta(minutes=5)},
    params={
        "letters": Param(16, type="integer", minimum=4, maximum=24, title="Letters", description=FITS),
        "per_minute": Param(10, type="integer", minimum=5, title="Requests a minute", description=GOOD),
        "minute": Param(6, type="number", minimum=1, maximum=60, title="A minute", description=MINUTE),
    },
)
def no_rate_limit_antipattern() -> XComArg:
    @task_group
    def bad_way() -> XComArg:
        @task(on_failure_callback=side_by_side.last_line("no answer was kept"))
        def call_at_once(params: dict) -> list[str]:
            """API errors and retries: threads are refused, wait equally long, and are refused again, until one gives up."""
            client, batch = OpenAIHook(conn_id="openai_quota_one").conn, letters(params)
            with ThreadPoolExecutor(len(batch)) as threads:
                return list(threads.map(partial(ask, client), batch))

        @task
        def publish_answers(answers: list[str]) -> None:
            """The work that waits for the answers. It never starts, and so the run fails."""

        publish_answers(answers := call_at_once())
        return answers

    @task_group
    def good_way() -> XComArg:
        @task
        def deal_letters(params: dict) -> list[list[str]]:
            """Proper rate limiting: two batches for two workers, who share one quota."""
            return [letters(params)[0::2], letters(params)[1::2]]

        @task(pool="llm_calls")
        def call_in_turn(batch: list[str], params: dict) -> list[str]:
            """Proper rate limiting: each request, also a retry of the SDK, waits for its turn among all workers' requests."""
            limit = RateLimit("lesson 114.7.1", params["per_minute"], minute=params["minute"])
            client = OpenAIHook(conn_id="openai_quota_two").conn.with_options(http_client=limit.http_client())
            with ThreadPoolExecutor(len(batch)) as threads:
                return list(threads.map(partial(ask, client), batch))

        return call_in_turn.expand(batch=deal_letters())

    @task(retries=3, retry_policy=WaitAsAsked())
    def ask_again_later(params: dict, **context) -> dict:
        """Backoff strategies: this provider refuses the first try for certain; Airflow comes back when it was told to."""
        client = OpenAIHook(conn_id="openai_busy").conn.with_options(max_retries=0)
        return {"team": ask(client, letters(params)[0]), "tries": context["ti"].try_number}

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def compare_ways(bad: list | None, good: list[list], again: dict | None, params: dict, **context) -> dict:
        """Cost explosion risks: the same letters and the same quota, and what each way paid and kept."""
        rows, wanted = side_by_side.rows(context, bad_way="bad_way", good_way="good_way"), params["letters"]
        for row, kept in zip(rows, (len(bad or []), sum(map(len, good))), strict=True):
            row["lost"] = f"{wanted - kept} of {wanted} answers"
        verdict = "The bad way paid {0[usd]:.6f} USD and lost {0[lost]}. The good way paid {1[usd]:.6f} USD and lost {1[lost]}."
        tried = f"answered in try {again['tries']}" if again else "not answered"
        return tables.logged(log, {"ways": rows, "ask_again_later": tried, "verdict": verdict.format(*rows)})

    return compare_ways(bad_way(), good_way(), ask_again_later())


no_rate_limit_antipattern()
