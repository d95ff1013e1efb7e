"""
# 114.7.1 No Rate Limit Handling

A provider lets an account make so many requests a minute. Whoever does not care gets HTTP 429, tries again at once, and gets it
again; the task fails, its retry begins from the start, and what had been answered is paid once more. Here are sixty letters and
a quota of twenty a minute. One way ignores it; the other takes turns, and is done in the least time that the quota allows.

| Checklist item | Tasks that show it |
|---|---|
| API errors and retries | `bad_way.call_at_once` |
| Cost explosion risks | `bad_way.call_at_once`, `compare_ways` |
| Proper rate limiting | `good_way.call_in_turn`, `good_way.count_answers` |
| Backoff strategies | `good_way.list_delays`, `good_way.ask_again_later` |

**Try it**: the run ends *failed*, as it should: the log of `bad_way.call_at_once` ends in `RateLimitError`. `compare_ways` has both ways
side by side: calls, tokens, USD. Trigger it with 4 *Letters*: they fit into the quota, and both ways succeed. keyless' minute lasts
six seconds here (`minute=6s` in the connection's password), so that nobody has to wait.

**In production**: a pool bounds how many calls run, a limiter how many start; use both, and put the limiter where all workers reach
it. Let the SDK retry single calls, as it obeys `Retry-After`, and let a task keep what it has before it fails. Jitter matters as soon
as two clients were refused at the same moment. Batch APIs have quotas of their own, and cost half.
"""

import itertools
import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Param, RetryDecision, RetryPolicy, TriggerRule, dag, task, task_group

from llmkit import prompts
from llmkit.limits import RateLimit, retry_after

TICKETS = Path(__file__).parents[1] / "include" / "data" / "tickets.json"
ONE_QUOTA, THE_SAME_QUOTA = "openai_quota", "openai_quota_2"
WORKERS, THREADS = 4, 8


def ask(client: Any, letter: str) -> str:
    """The team for a letter; one call."""
    prompt = prompts.load("sort_ticket", 2)
    messages = [{"role": "user", "content": prompt.render(ticket=letter)}]
    reply = client.chat.completions.create(model="gpt-4o-mini", messages=messages, **prompt.settings)
    return reply.choices[0].message.content


class WaitAsAsked(RetryPolicy):
    """Airflow's retry comes when the provider says so, and a little later, as others were told the same."""

    def evaluate(self, exception: BaseException, *args: object, **kwargs: object) -> RetryDecision:
        if getattr(exception, "status_code", None) != 429:
            return RetryDecision.default()
        seconds = retry_after(exception.response.headers) or 1.0
        return RetryDecision.retry(timedelta(seconds=seconds * random.uniform(1.0, 1.5)), "as Retry-After says")


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["reference", "anti-pattern", "intermediate", "failure"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=1), "execution_timeout": timedelta(minutes=5)},
    params={
        "letters": Param(60, type="integer", title="Letters", description="By four workers.", minimum=4, maximum=200),
        "per_minute": Param(20, type="integer", title="Requests a minute", description="The quota.", minimum=2),
        "minute": Param(6.0, type="number", title="A minute in seconds", description="60 with a real key.", minimum=1),
    },
)
def no_rate_limit_antipattern() -> None:
    @task
    def deal_letters(params: dict) -> list[list[str]]:
        """API errors and retries: so many letters for each of four workers."""
        texts = [ticket["text"] for ticket in json.loads(TICKETS.read_text())]
        letters = [texts[n % len(texts)] for n in range(params["letters"])]
        return [letters[n::WORKERS] for n in range(WORKERS)]

    @task_group
    def bad_way(batches: list[list[str]]):
        # The retry comes at once, and begins with the first letter again.
        @task(retries=2, retry_delay=timedelta(0))
        def call_at_once(batches: list[list[str]]) -> list[str]:
            """API errors and retries: 429, again, 429, again. Cost explosion risks: a retry pays what was answered before."""
            from openai import RateLimitError

            client = OpenAIHook(conn_id=ONE_QUOTA).conn.with_options(max_retries=0)

            def insist(letter: str) -> str:
                for _ in range(3):
                    try:
                        return ask(client, letter)
                    except RateLimitError as error:
                        refused = error
                raise refused

            with ThreadPoolExecutor(WORKERS * THREADS) as threads:
                return list(threads.map(insist, itertools.chain(*batches)))

        @task
        def publish_answers(answers: list[str]) -> int:
            """Cost explosion risks: nothing comes of it; the answers that were paid for are lost with the task."""
            return len(answers)

        answers = call_at_once(batches)
        publish_answers(answers)
        return answers

    @task_group
    def good_way(batches: list[list[str]], quota_used_up: Any):
        @task(pool="llm_calls")
        def call_in_turn(letters: list[str], params: dict) -> list[str]:
            """Proper rate limiting: each request, also a retry of the SDK's own, waits for its turn among all workers'."""
            limit = RateLimit("lesson 114.7.1", params["per_minute"], minute=params["minute"])
            client = OpenAIHook(conn_id=THE_SAME_QUOTA).conn
            client = client.with_options(http_client=limit.http_client(), max_retries=5)
            with ThreadPoolExecutor(THREADS) as threads:
                return list(threads.map(lambda letter: ask(client, letter), letters))

        @task
        def count_answers(answers: list[list[str]]) -> int:
            """Proper rate limiting: every letter has its answer."""
            return sum(map(len, answers))

        @task
        def list_delays() -> dict[str, list[float]]:
            """Backoff strategies: seconds before each retry. With jitter, clients that were refused together part."""
            doubled = [min(60.0, 0.5 * 2**attempt) for attempt in range(6)]
            return {"fixed": [1.0] * 6, "exponential": doubled, "full jitter": [random.uniform(0, d) for d in doubled]}

        @task(retries=5, retry_policy=WaitAsAsked(), trigger_rule=TriggerRule.ALL_DONE)
        def ask_again_later(letters: list[list[str]]) -> str:
            """Backoff strategies: refused by the quota that the bad way has used up, Airflow waits as long as it was told."""
            return ask(OpenAIHook(conn_id=ONE_QUOTA).conn.with_options(max_retries=0), letters[0][0])

        [list_delays(), quota_used_up] >> ask_again_later(batches)
        return count_answers(call_in_turn.expand(letters=batches))

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def compare_ways(**context) -> str:
        """Cost explosion risks: the same letters, the same quota, two bills."""
        from llmkit.course import side_by_side

        return side_by_side.table(context, bad_way="bad_way.call_at_once", good_way="good_way.count_answers")

    batches = deal_letters()
    answers = bad_way(batches)
    [answers, good_way(batches, answers)] >> compare_ways()


no_rate_limit_antipattern()
