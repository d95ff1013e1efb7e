"""
# 114.7.5 Single Provider Dependency

Every provider is down some day. Whoever can ask only one is down with it, after having waited for each retry. Here OpenAI is down for
the whole run. The bad way asks it, again and again, and fails. The good way knows three providers behind one function, takes the
first that is healthy, and remembers for all tasks who is not: after three failures it does not even ask.

| Checklist item | Tasks that show it |
|---|---|
| Outage vulnerability | `bad_way.sort_tickets` |
| No fallback | `bad_way.sort_tickets`, `bad_way.publish_teams` |
| Multi-provider setup | `good_way.check_health`, `good_way.sort_ticket`, `good_way.count_providers` |
| Provider abstraction | `good_way.sort_ticket` |

**Try it**: the run ends *failed*, as it should: the log of `bad_way.sort_tickets` ends in `InternalServerError: 503`. `good_way.count_providers`
has who answered and how often the one that is down was asked. Trigger it again within half a minute: it is not asked at all, as its
breaker is still open. Put another order into *Connections*: the first healthy one answers.

**In production**: a fallback is another model, so measure it on your own data, and watch how often it is used. Retries are for faults of
seconds, a breaker is for minutes, a second provider for hours. pydantic-ai's `fallback_conn_ids` (114.1.5) does the same within one call
and remembers nothing. Quotas count too: the second provider must bear the whole load.
"""

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.anthropic.hooks.anthropic import AnthropicHook
from airflow.providers.cohere.hooks.cohere import CohereHook
from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Connection, Param, TriggerRule, dag, task, task_group

from llmkit import prompts
from llmkit.routing import Chain

TICKETS = Path(__file__).parents[1] / "include" / "data" / "tickets.json"
CONNECTIONS = ["openai_outage", "anthropic_default", "cohere_default"]
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-5", "cohere": "command-a-03-2025"}


def ask(conn_id: str, prompt: str) -> str:
    """One word from the provider that a connection is of. The SDKs do not retry: the next provider is quicker."""
    messages, provider = [{"role": "user", "content": prompt}], Connection.get(conn_id).conn_type
    asked = {"model": MODELS[provider], "messages": messages, "max_tokens": 5}
    if provider == "anthropic":
        reply = AnthropicHook(conn_id=conn_id).get_conn().with_options(max_retries=0).messages.create(**asked)
        return reply.content[0].text
    if provider == "cohere":
        reply = CohereHook(conn_id=conn_id).get_conn().chat(**asked, request_options={"max_retries": 0})
        return reply.message.content[0].text
    reply = OpenAIHook(conn_id=conn_id).conn.with_options(max_retries=0).chat.completions.create(**asked)
    return reply.choices[0].message.content


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["reference", "anti-pattern", "intermediate", "failure"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=2), "execution_timeout": timedelta(minutes=2)},
    params={
        "connections": Param(
            CONNECTIONS, type="array", title="Connections", description="In the order of preference.", minItems=1
        ),
        "tickets": Param(6, type="integer", title="Tickets", minimum=1, maximum=24),
    },
)
def single_provider_antipattern() -> None:
    @task
    def write_prompts(params: dict) -> list[str]:
        """Provider abstraction: a prompt that names no provider and uses nothing that only one of them has."""
        tickets = json.loads(TICKETS.read_text())[: params["tickets"]]
        return [prompts.load("sort_ticket", 2).render(ticket=each["text"]) for each in tickets]

    @task_group
    def bad_way(asked: list[str]):
        @task
        def sort_tickets(asked: list[str], params: dict) -> list[str]:
            """Outage vulnerability: one provider, which is down. No fallback: each retry waits, and asks the same one."""
            return [ask(params["connections"][0], prompt) for prompt in asked]

        @task
        def publish_teams(teams: list[str]) -> int:
            """No fallback: whoever waits for the answers has none, as long as somebody else's outage lasts."""
            return len(teams)

        teams = sort_tickets(asked)
        publish_teams(teams)
        return teams

    @task_group
    def good_way(asked: list[str]):
        @task
        def check_health(params: dict) -> dict[str, str]:
            """Multi-provider setup: each connection's breaker, whose state all tasks and runs share."""
            return Chain(params["connections"], cooldown=30).health()

        @task
        def sort_ticket(prompt: str, params: dict) -> dict[str, Any]:
            """Provider abstraction: the first healthy one answers; which, the task does not care. Multi-provider setup."""
            chain = Chain(params["connections"], failures=3, cooldown=30)
            routed = chain.call(lambda conn_id: ask(conn_id, prompt))
            return {"team": routed.answer.strip().lower(), "by": routed.conn_id, "passed": routed.passed}

        @task
        def count_providers(answers: list[dict[str, Any]], health: dict[str, str]) -> dict[str, Any]:
            """Multi-provider setup: who answered, and who was passed over, asked or not."""
            passed = [why for answer in answers for why in answer["passed"].values()]
            return {
                "health before": health,
                "answered": dict(Counter(answer["by"] for answer in answers)),
                "asked in vain": sum(not why.startswith("not asked") for why in passed),
                "not asked": sum(why.startswith("not asked") for why in passed),
                "teams": [answer["team"] for answer in answers],
            }

        health, answers = check_health(), sort_ticket.expand(prompt=asked)
        health >> answers
        return count_providers(answers, health)

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def compare_ways(**context) -> str:
        """No fallback: the same outage, and an answer for every ticket on one side."""
        from llmkit.course import side_by_side

        return side_by_side.table(context, bad_way="bad_way.sort_tickets", good_way="good_way.count_providers")

    asked = write_prompts()
    [bad_way(asked), good_way(asked)] >> compare_ways()


single_provider_antipattern()
