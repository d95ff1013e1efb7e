"""
# 114.7.2 Unbounded Token Usage

This run is expected to end *failed*. Each of the 19 parts of a lease gets a label of one word. The bad way asks for them in one
conversation, as a chat does: each call sends all earlier parts and answers once more. So each call costs more than the one before,
until the conversation is longer than the model's context and the provider refuses it. The good way asks for each part alone, cuts a
part that is too long behind a whole sentence, estimates each call before it is sent, and fails before it can spend more than a cap.

| Checklist item | Tasks that show it |
|---|---|
| Cost overruns | `bad_way.label_in_one_chat`, `compare_ways` |
| Context overflow | `bad_way.label_in_one_chat` |
| Token budgeting | `good_way.label_parts`, `measure_limits` |
| Content truncation | `split_lease` |

**Try it**: open `compare_ways` and look at *Storage → XCom*. The log of `bad_way.label_in_one_chat` ends in one sentence that says
what failed and what it cost. Trigger the DAG with *Most tokens* at 2000: `good_way.label_parts` fails before the call that could go
beyond it. Trigger it with *Longest part* at 150: more parts are cut, and the verdict says how many tokens stay unread. Such a cut
has its price: the last part ends with annex C, which halves the notice period. At 300, the good way never reads it.

**You should see** (offline):

| way      |   calls |   refused |   tokens |      usd |   seconds | lost            |
|:---------|--------:|----------:|---------:|---------:|----------:|:----------------|
| bad_way  |      22 |         2 |    15772 | 0.002384 |       2.8 | 19 of 19 labels |
| good_way |      19 |         0 |     3664 | 0.000561 |       2.2 | 0 of 19 labels  |

|     paid | limit                            |   allowed |
|---------:|:---------------------------------|----------:|
|      494 | tokens, by usage_limits          |       400 |
| 0.000076 | USD, by usage_limits             |   0.00006 |
|      302 | tokens, counted before each call |       400 |

- verdict: The bad way paid 15772 tokens and lost 19 of 19 labels. The good way paid 3664 tokens and lost 0 of 19 labels. Of the long parts, 357 tokens stay unread.

**SDK or own code?** `@task.llm` takes pydantic-ai's
[`usage_limits`](https://airflow.apache.org/docs/apache-airflow-providers-common-ai/1.1.0/operators/llm.html): tokens, or USD as
`cost_limit`, for one task, its retries included. They are checked when an answer has come, so the last call is paid in full;
`measure_limits` shows how far each goes beyond its limit. `count_tokens_before_request` asks the provider for the input tokens
first; OpenAI's chat API has no such count, its Responses API has. The lesson estimates each call itself, with
`llmkit.tokens`, and adds what earlier tries paid, from the ledger.

**In production**: give every call a `max_tokens`; the thinking of a model counts too. Keep a chat short: send its last turns, or a
summary (lesson 4.3). A chat that is too long stays too long: a retry pays for all calls again. Set a budget for the month
in the provider's account, because no code of yours sees all calls. A retry of `label_parts` starts with the first part again: store
each label at once if the calls are costly. Offline the context has 1,500 tokens. A real one is far larger: there the chat may end well, the
run ends *success*, and only the bill tells.

**Builds on** [4.3 System Prompts and Personas](114_04_03_system_prompts_personas.py) · **Next** [7.3 No Output Validation](114_07_03_no_validation_antipattern.py)
"""

import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Param, TriggerRule, XComArg, dag, task, task_group
from airflow.sdk.exceptions import AirflowFailException

from llmkit import prompts, tables, tokens
from llmkit.course import side_by_side

log = logging.getLogger(__name__)
LEASE = Path(__file__).parents[1] / "include" / "data" / "leases" / "lease_with_annexes.md"
MODEL, CONN_ID, LIMIT, USD = "gpt-4o-mini", "openai_context", 400, Decimal("0.00006")
COUNTED_FOR = "smollm"  # The model that answers offline; the count is an estimate. With a real key: MODEL.


def labelled(cap: int, calls: list[dict], spent: int) -> Iterator[tuple[str, int]]:
    """Each label, and the tokens spent so far. Fails before a call that may take more than is left of the ``cap``."""
    settings, client = prompts.load("sort_lease_part").settings, OpenAIHook(conn_id=CONN_ID).conn
    for call in calls:
        if spent + call["most"] > cap:
            raise AirflowFailException(f"{spent} of {cap} tokens are spent, and the next call may take {call['most']}.")
        messages = [{"role": "user", "content": call["prompt"]}]
        reply = client.chat.completions.create(model=MODEL, messages=messages, **settings)
        spent += reply.usage.total_tokens
        yield reply.choices[0].message.content, spent


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.7.2 · Unbounded Token Usage (fails on purpose)",
    doc_md=__doc__,
    tags=["reference", "anti-pattern", "intermediate", "failure"],
    default_args={"retries": 1, "retry_delay": timedelta(seconds=2), "execution_timeout": timedelta(minutes=5)},
    params={
        "cap": Param(6000, type="integer", minimum=100, title="Most tokens", description="100 or more, for good_way."),
        "longest": Param(300, type="integer", minimum=50, title="Longest part", description="50 or more; rest is cut."),
    },
)
def unbounded_tokens_antipattern() -> XComArg:
    @task
    def split_lease(params: dict) -> list[dict]:
        """Content truncation: the lease by its ## headings; a part that is too long is cut behind a whole sentence."""
        prompt, calls = prompts.load("sort_lease_part"), []
        for part in LEASE.read_text().split("\n## ")[1:]:
            cut = tokens.truncate(part, params["longest"], COUNTED_FOR)
            text, unread = prompt.render(part=cut.text), cut.original_tokens - cut.tokens
            most = tokens.count(text, COUNTED_FOR).upper + 2 * tokens.PER_MESSAGE + prompt.settings["max_tokens"]
            calls.append({"whole": prompt.render(part=part), "prompt": text, "most": most, "unread": unread})
        return calls

    @task_group
    def bad_way(calls: list[dict]) -> XComArg:
        @task(on_failure_callback=side_by_side.last_line("all labels were lost"))
        def label_in_one_chat(calls: list[dict]) -> list[str]:
            """Context overflow: the chat grows by a part and an answer with each call, until the provider refuses it."""
            client, chat = OpenAIHook(conn_id=CONN_ID).conn, []
            for call in calls:
                chat.append({"role": "user", "content": call["whole"]})
                reply = client.chat.completions.create(model=MODEL, messages=chat)
                chat.append({"role": "assistant", "content": reply.choices[0].message.content})
            return [turn["content"] for turn in chat if turn["role"] == "assistant"]

        @task
        def publish_labels(labels: list[str]) -> None:
            """The work that waits for the labels. It never starts, and so the run fails."""

        publish_labels(labels := label_in_one_chat(calls))
        return labels

    @task_group
    def good_way(calls: list[dict]) -> XComArg:
        @task
        def label_parts(calls: list[dict], params: dict, **context) -> list[str]:
            """Token budgeting: each part alone, while the next call fits under the cap; what earlier tries paid counts too."""
            paid = side_by_side.rows(context, earlier_tries="good_way")[0]["tokens"]
            return [label for label, _ in labelled(params["cap"], calls, paid)]

        return label_parts(calls)

    @task
    def measure_limits(calls: list[dict]) -> list[dict]:
        """Token budgeting: the same calls under three limits of about the same worth, and what each paid until it stopped."""
        from airflow.providers.common.ai.hooks.pydantic_ai import PydanticAIHook
        from pydantic_ai.usage import RunUsage, UsageLimitExceeded, UsageLimits

        agent = PydanticAIHook().create_agent(instructions="", model_settings=prompts.load("sort_lease_part").settings)
        counted, in_tokens, in_usd = 0, RunUsage(), RunUsage()
        for usage, limit in ((in_tokens, {"total_tokens_limit": LIMIT}), (in_usd, {"cost_limit": USD})):
            with suppress(UsageLimitExceeded):
                for call in calls:
                    agent.run_sync(call["prompt"], usage=usage, usage_limits=UsageLimits(**limit))
        with suppress(AirflowFailException):
            for _, spent in labelled(LIMIT, calls, 0):
                counted = spent
        return [
            {"limit": "tokens, by usage_limits", "allowed": LIMIT, "paid": in_tokens.total_tokens},
            {"limit": "USD, by usage_limits", "allowed": float(USD), "paid": float(in_usd.cost)},
            {"limit": "tokens, counted before each call", "allowed": LIMIT, "paid": counted},
        ]

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def compare_ways(calls: list[dict], bad: list | None, good: list | None, limits: list[dict], **context) -> dict:
        """Cost overruns: the same parts; what each way paid, and what it has for that."""
        rows = side_by_side.rows(context, bad_way="bad_way", good_way="good_way")
        for row, labels in zip(rows, (bad, good), strict=True):
            row["lost"] = f"{len(calls) - len(labels or [])} of {len(calls)} labels"
        say = [f"The {row['way'].replace('_', ' ')} paid {row['tokens']} tokens and lost {row['lost']}" for row in rows]
        verdict = f"{'. '.join(say)}. Of the long parts, {sum(call['unread'] for call in calls)} tokens stay unread."
        return tables.logged(log, {"ways": rows, "limits": limits, "verdict": verdict})

    return compare_ways(calls := split_lease(), bad_way(calls), good_way(calls), measure_limits(calls))


unbounded_tokens_antipattern()
