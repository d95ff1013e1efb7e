"""
# 114.7.5 Single Provider Dependency

This run is expected to end *failed*. Every provider is down some day. If you can ask only one, you are down too, after waiting for
each retry. Here OpenAI is down for the whole run. The bad way asks it again and again, with the SDK's and Airflow's retries, and
fails. The good way has three providers behind one function: the first healthy one answers. All tasks share what they learned:
after three failures in a row the *breaker* of a provider opens, and nobody asks it until the *Cooldown* is over.

| Checklist item | Tasks that show it |
|---|---|
| Outage vulnerability | `bad_way.sort_tickets` |
| No fallback | `bad_way.sort_tickets`, `compare_ways` |
| Multi-provider setup | `good_way.sort_ticket`, `good_way.count_providers` |
| Provider abstraction | `write_prompts`, `good_way.sort_ticket` |

**Try it**: open `compare_ways` under *Storage → XCom*: both ways had the same tickets and the same outage. The log of
`bad_way.sort_tickets` ends in one sentence that says what failed. Press *Trigger* again with *Cooldown* at 600: *failed
calls* is 0, because the breaker is still open. Move the line *openai_outage* in *Connections* to the end: both ways succeed, and
the run is green. `make lesson` runs one task after another. In the UI tasks may run side by side, and more of them ask the
failing provider before the breaker opens.

**You should see** (offline):

| way      |   calls |   refused |   tokens |      usd |   seconds | lost           |
|:---------|--------:|----------:|---------:|---------:|----------:|:---------------|
| bad_way  |       6 |         6 |        0 |        0 |       5.5 | 6 of 6 tickets |
| good_way |       9 |         3 |      649 | 0.001346 |       2.3 | 0 of 6 tickets |

- answered by: anthropic_default 6
- failed calls: 3
- calls saved by the breaker: 3
- verdict: The bad way lost 6 of 6 tickets, the good way lost 0 of 6 tickets.

**SDK or own code?** Each SDK retries twice by itself, always at the same provider. common-ai has
[fallback_conn_ids](https://airflow.apache.org/docs/apache-airflow-providers-common-ai/stable/provider_fallback.html), which moves to
the next provider within one call (1.5); it remembers nothing, so every call meets the outage first. The breaker is `llmkit.routing`.

**In production**: the fallback is another model, so measure it on your own data, and watch how often it answers. Retries are for
faults of seconds, a breaker for minutes, a second provider for hours. Quotas count too: the second provider must carry the whole
load, and be allowed to see your customers' data. A wrong key (401, 403) also passes to the next provider, so raise an alarm when
the first one is passed over. With real keys in the other two connections, *openai_outage* still plays the outage, and the run still
ends *failed*. Offline one model answers for all.

**Builds on** [1.5 Multi-Provider Support](114_01_05_multi_provider_support.py)
"""

import json
import logging
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.anthropic.hooks.anthropic import AnthropicHook
from airflow.providers.cohere.hooks.cohere import CohereHook
from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Connection, Param, TriggerRule, dag, task, task_group

from llmkit import prompts, tables
from llmkit.course import side_by_side
from llmkit.routing import Chain

log = logging.getLogger(__name__)
TICKETS = Path(__file__).parents[1] / "include" / "data" / "tickets.json"
CONNECTIONS = ["openai_outage", "anthropic_default", "cohere_default"]
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-5", "cohere": "command-a-03-2025"}


def ask(conn_id: str, prompt: str, max_retries: int) -> str:
    """One word from the provider that the connection belongs to. ``max_retries`` are those of its SDK."""
    messages, provider = [{"role": "user", "content": prompt}], Connection.get(conn_id).conn_type
    asked = {"model": MODELS[provider], "messages": messages, "max_tokens": 5}
    if provider == "anthropic":
        client = AnthropicHook(conn_id=conn_id).get_conn().with_options(max_retries=max_retries)
        return client.messages.create(**asked, thinking={"type": "disabled"}).content[-1].text
    if provider == "cohere":
        reply = CohereHook(conn_id=conn_id).get_conn().chat(**asked, request_options={"max_retries": max_retries})
        return reply.message.content[0].text
    client = OpenAIHook(conn_id=conn_id).conn.with_options(max_retries=max_retries)
    return client.chat.completions.create(**asked).choices[0].message.content


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.7.5 · Single Provider Dependency (fails on purpose)",
    doc_md=__doc__,
    tags=["reference", "anti-pattern", "intermediate", "failure"],
    default_args={"retries": 1, "retry_delay": timedelta(seconds=2), "execution_timeout": timedelta(minutes=2)},
    params={
        "connections": Param(
            CONNECTIONS,
            type="array",
            title="Connections",
            description="OpenAI, Anthropic or Cohere; one a line, the preferred one first. The bad way knows only that.",
            minItems=1,
        ),
        "tickets": Param(6, type="integer", title="Tickets", description="1 to 24, each way.", minimum=1, maximum=24),
        "cooldown": Param(
            30,
            type="integer",
            title="Cooldown",
            description="Seconds, 1 to 600. For this time nobody asks a provider after three failures in a row.",
            minimum=1,
            maximum=600,
        ),
    },
)
def single_provider_antipattern() -> Any:
    @task
    def write_prompts(params: dict) -> list[str]:
        """Provider abstraction: a prompt that names no provider and uses nothing that only one of them has."""
        prompt, tickets = prompts.load("sort_ticket", 2), json.loads(TICKETS.read_text())
        return [prompt.render(ticket=ticket["text"]) for ticket in tickets[: params["tickets"]]]

    @task_group
    def bad_way(asked: list[str]) -> Any:
        @task(on_failure_callback=side_by_side.last_line("no ticket was sorted"))
        def sort_tickets(asked: list[str], params: dict) -> list[str]:
            """Outage vulnerability: one provider, and it is down. Every retry waits, and asks the same one again."""
            return [ask(params["connections"][0], prompt, max_retries=2) for prompt in asked]

        @task
        def publish_teams(teams: list[str]) -> None:
            """The work that waits for the teams. It never starts, and so the run fails."""

        publish_teams(teams := sort_tickets(asked))
        return teams

    @task_group
    def good_way(asked: list[str]) -> Any:
        @task
        def sort_ticket(prompt: str, params: dict) -> dict[str, Any]:
            """Provider abstraction: the first healthy provider answers. No retry by the SDK comes first."""
            chain = Chain(params["connections"], failures=3, cooldown=params["cooldown"])
            routed = chain.call(lambda conn_id: ask(conn_id, prompt, max_retries=0))
            return {"team": routed.answer.strip(" .\n").lower(), "by": routed.conn_id, "passed": routed.passed}

        @task(trigger_rule=TriggerRule.ALL_DONE)  # a failed ticket is only missing here
        def count_providers(answers: list[dict[str, Any]]) -> dict[str, Any]:
            """Multi-provider setup: who answered, and how often a provider was passed over, with a call or without."""
            reasons = []
            for answer in answers:
                reasons += answer["passed"].values()
            spared = sum(reason.startswith("not asked") for reason in reasons)
            by = dict(Counter(answer["by"] for answer in answers))
            return {"answered by": by, "failed calls": len(reasons) - spared, "calls saved by the breaker": spared}

        return count_providers(sort_ticket.expand(prompt=asked))

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def compare_ways(bad: list[str] | None, good: dict[str, Any] | None, params: dict, **context) -> dict[str, Any]:
        """No fallback: the same tickets and the same outage, and what each way paid and lost."""
        good, tickets = good or {"answered by": {}}, params["tickets"]
        rows = side_by_side.rows(context, bad_way="bad_way", good_way="good_way")
        for row, kept in zip(rows, (len(bad or []), sum(good["answered by"].values())), strict=True):
            row["lost"] = f"{tickets - kept} of {tickets} tickets"
        verdict = f"The bad way lost {rows[0]['lost']}, the good way lost {rows[1]['lost']}."
        return tables.logged(log, {"ways": rows, **good, "verdict": verdict})

    asked = write_prompts()
    return compare_ways(bad_way(asked), good_way(asked))


single_provider_antipattern()
