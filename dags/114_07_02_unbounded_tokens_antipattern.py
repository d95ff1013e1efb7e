"""
# 114.7.2 Unbounded Token Usage

Tokens are money and room, and both end. A lease with its annexes is longer than the model's context, so the call fails; and where a
call succeeds, nobody said how long the answer may be. The bad way sends what it has and takes what comes. The good way counts first, cuts
at a sentence, limits each answer, and stops the run when it has spent what it may.

| Checklist item | Tasks that show it |
|---|---|
| Cost overruns | `bad_way.explain_parts`, `compare_ways` |
| Context overflow | `bad_way.read_whole` |
| Token budgeting | `good_way.count_tokens`, `good_way.read_until_cap` |
| Content truncation | `good_way.cut_parts` |

**Try it**: the run ends *failed*, as it should: the log of `bad_way.read_whole` says how many tokens were too many. Compare the tokens in
`compare_ways`: few calls of the bad way cost as much as many of the good one. Raise *Most tokens of a run* and see how many parts
`good_way.read_until_cap` reads; lower *Longest part* and see where `good_way.cut_parts` cuts.

**In production**: set `max_tokens` in the connection or the prompt's settings, so that no call is without. A cap a run stops a loop; a cap a
month belongs to the provider's account. Count with the provider's own count where it matters, and leave room for the answer. What
cannot be cut is read in parts, as lesson 114.3.2 does.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Param, TriggerRule, dag, task, task_group

from llmkit import prompts, tokens

CONN_ID = "openai_context"
LEASE = Path(__file__).parents[1] / "include" / "data" / "leases" / "lease_with_annexes.md"
MODEL = "gpt-4o-mini"


def ask(prompt: prompts.Prompt, part: str) -> Any:
    """One call, with the settings that the prompt's file has, or without any."""
    messages = [{"role": "user", "content": prompt.render(part=part)}]
    return OpenAIHook(conn_id=CONN_ID).conn.chat.completions.create(model=MODEL, messages=messages, **prompt.settings)


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["reference", "anti-pattern", "intermediate", "failure"],
    # A request that is too long stays too long: the task that sends it has no retries.
    default_args={"retries": 2, "retry_delay": timedelta(seconds=2), "execution_timeout": timedelta(minutes=5)},
    params={
        "cap": Param(1200, type="integer", title="Most tokens of a run", description="Of the good way.", minimum=100),
        "longest": Param(120, type="integer", title="Longest part", description="In tokens.", minimum=10, maximum=1000),
    },
)
def unbounded_tokens_antipattern() -> None:
    @task
    def split_lease() -> list[str]:
        """Content truncation: the document, by its sections."""
        return LEASE.read_text().split("\n## ")

    @task_group
    def bad_way(parts: list[str]):
        @task
        def explain_parts(parts: list[str]) -> list[int]:
            """Cost overruns: nobody said how long an answer may be, so each is as long as the model likes; in tokens."""
            prompt = prompts.load("explain_lease_part")
            return [ask(prompt, part).usage.completion_tokens for part in parts[1:3]]

        @task(retries=0)
        def read_whole(parts: list[str]) -> str:
            """Context overflow: more tokens than the model can read; the provider refuses, and nothing is read at all."""
            return ask(prompts.load("note_lease_part"), "\n## ".join(parts)).choices[0].message.content

        @task
        def publish_notes(note: str) -> int:
            """Context overflow: what was to be done with the answer is not done."""
            return len(note)

        read = read_whole(parts)
        publish_notes(read)
        explain_parts(parts) >> read
        return read

    @task_group
    def good_way(parts: list[str]):
        @task
        def count_tokens(parts: list[str]) -> dict[str, Any]:
            """Token budgeting: known before anything is paid; offline, and exact for this model."""
            counted = [tokens.count(part, MODEL) for part in parts]
            return {"parts": [each.tokens for each in counted], "all": sum(each.tokens for each in counted)}

        @task
        def cut_parts(parts: list[str], params: dict) -> list[dict]:
            """Content truncation: what is too long is cut behind a whole sentence, and says that it was."""
            cut = [tokens.truncate(part, params["longest"], MODEL) for part in parts]
            return [{"text": part.text, "tokens": part.tokens, "of": part.original_tokens} for part in cut]

        @task
        def read_until_cap(parts: list[dict], params: dict, **context) -> dict[str, Any]:
            """Token budgeting: before each call the ledger says what this run has spent, also in tries that failed."""
            from llmkit import ledger

            def spent() -> int:
                groups = ledger.spending("task_id", run_id=context["run_id"], dag_id=context["dag"].dag_id)
                mine = [s for s in groups if s.group[0] == context["ti"].task_id]
                return sum(s.input_tokens + s.output_tokens for s in mine)

            prompt, notes = prompts.load("note_lease_part"), []
            # What a call takes at most: the prompt's words, the part, and the longest answer.
            around = tokens.count(prompt.render(part=""), MODEL).tokens + prompt.settings["max_tokens"] + 20
            for part in parts:
                if spent() + around + part["tokens"] > params["cap"]:
                    break
                notes.append(ask(prompt, part["text"]).choices[0].message.content)
            return {"read": len(notes), "of": len(parts), "tokens": spent(), "notes": notes}

        count_tokens(parts)
        return read_until_cap(cut_parts(parts))

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def compare_ways(**context) -> str:
        """Cost overruns: what each way used, and what came of it."""
        from llmkit.course import side_by_side

        return side_by_side.table(context, bad_way="bad_way.read_whole", good_way="good_way.read_until_cap")

    parts = split_lease()
    [bad_way(parts), good_way(parts)] >> compare_ways()


unbounded_tokens_antipattern()
