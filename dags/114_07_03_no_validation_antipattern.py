"""
# 114.7.3 No Output Validation

This run is expected to end *failed*. A model answers in JSON until it does not: it writes a polite sentence before the JSON, puts
a comma too many, or stops in the middle. The bad way hands each answer to the database as it came; one that is no JSON costs the
whole batch. The good way reads the same answers leniently, checks them against a type, asks once more for those that fail, and
puts the rest aside for a person.

| Checklist item | Tasks that show it |
|---|---|
| Malformed outputs | `ask_model` |
| Downstream failures | `bad_way.write_rows`, `compare_ways` |
| Schema validation | `good_way.write_rows` |
| Output parsing | `good_way.check_answers` |

**Try it**: open `compare_ways` and look at *Storage → XCom*: one batch of answers, and what each way made of it. The log of
`bad_way.write_rows` ends in one sentence that says what failed and what it cost. The stack above that sentence shows the database
driver. No line of it shows that a model wrote the text. The XCom of `good_way.check_answers` says for each ticket how its answer
was read, or what is wrong with it. Trigger the DAG with 40 *Tickets*: the model of this connection spoils the form of three
answers in ten and cuts four in ten.

**You should see** (offline):

| way      |   calls |   tokens |      usd |   seconds | not written   |
|:---------|--------:|---------:|---------:|----------:|:--------------|
| bad_way  |      12 |     2494 | 0.000498 |       0.7 | 12 of 12 rows |
| good_way |      17 |     4554 |  0.00086 |       1.1 | 2 of 12 rows  |

- good_way: put aside: 2
- good_way: as it is: 5
- good_way: repaired: 3
- good_way: parsed leniently: 2
- verdict: The bad way did not write 12 of 12 rows. The good way put 2 of 12 rows aside for a person.

**SDK or own code?** OpenAI's SDK checks one answer by itself (`client.chat.completions.parse(response_format=Ticket)`), and
[`@task.llm`](https://airflow.apache.org/docs/apache-airflow-providers-common-ai/stable/operators/index.html) with `output_type`
also asks again (lesson 1.5), but not for an answer that the token limit cut: there it raises at once. Both raise for an answer
that stays wrong. The lesson takes the steps apart (`llmkit.guardrails.output`), so that one bad answer stops no other.

**In production**: ask for a strict schema at once, and check all the same: a token limit cuts any JSON, and a schema does not know
whether an answer is right. A retry of `write_rows` cannot help, and it keeps "all rows or none" only up to 1,000 rows (the hook's
`commit_every`). A retry of `ask_model` pays for all its calls again: map it over smaller batches. Watch the share in quarantine.
With a real key the answers are nearly always JSON: the bad way succeeds too, and the run ends success.

**Builds on** [2.3 OpenAI Function Calling](114_02_03_openai_function_calling.py) · **Next** [7.4 Hardcoded Prompts](114_07_04_hardcoded_prompts_antipattern.py)
"""

import json
import logging
from collections import Counter
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Literal

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Param, TriggerRule, XComArg, dag, task, task_group
from pydantic import BaseModel, Field

from llmkit import prompts, tables
from llmkit.course import side_by_side
from llmkit.guardrails.output import OutputRejected, checked, quarantine

log = logging.getLogger(__name__)
HOW_MANY = "How many tickets, 4 to 48: one call for each, and one more for each answer that cannot be read."
TICKETS = Path(__file__).parents[1] / "include" / "data" / "tickets.json"


class Ticket(BaseModel):
    """A row of our table. What does not fit is no ticket, even if it is JSON."""

    team: Literal["support", "sales", "accounting"]
    urgent: bool
    summary: str = Field(min_length=5)


def ask(ticket: str, wrong: str = "", *, strict: bool = False, **more: int) -> str:
    """The model's answer as it comes. A schema that is not ``strict`` is a wish; that is the API's default."""
    form, hook = prompts.load("note_ticket"), OpenAIHook(conn_id="openai_malformed")
    schema = {"type": "json_schema", "json_schema": {"name": "ticket", "schema": form.output, "strict": strict}}
    messages = [{"role": "user", "content": f"{form.render(ticket=ticket)}\n\n{wrong}".strip()}]
    message = hook.create_chat_completion(messages, response_format=schema, **{**form.settings, **more})[0].message
    return message.content or message.refusal or ""


def write(table: str, rows: list[tuple[str, str]]) -> int:
    """All rows or none. A ticket that is there already gets its new answer, so that running it twice is safe."""
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    hook = PostgresHook("llm_db")
    hook.run(f"CREATE TABLE IF NOT EXISTS {table} (ticket text PRIMARY KEY, answer jsonb NOT NULL)")
    hook.insert_rows(table, rows, target_fields=["ticket", "answer"], replace=True, replace_index="ticket")
    return len(rows)


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.7.3 · No Output Validation (fails on purpose)",
    doc_md=__doc__,
    tags=["reference", "anti-pattern", "intermediate", "failure"],
    default_args={"retries": 1, "retry_delay": timedelta(seconds=2), "execution_timeout": timedelta(minutes=5)},
    params={"tickets": Param(12, type="integer", minimum=4, maximum=48, title="Tickets", description=HOW_MANY)},
)
def no_validation_antipattern() -> XComArg:
    @task
    def ask_model(params: dict) -> list[dict[str, str]]:
        """Malformed outputs: one answer for each ticket, as it comes. Both ways get the same answers."""
        tickets = json.loads(TICKETS.read_text())[: params["tickets"]]
        return [{"id": each["id"], "text": each["text"], "answer": ask(each["text"])} for each in tickets]

    @task_group
    def bad_way(answers: list[dict]) -> XComArg:
        @task(on_failure_callback=side_by_side.last_line("no row was written", of="ask_model"))
        def write_rows(answers: list[dict]) -> int:
            """Downstream failures: the database is the first to look, and it refuses all rows because of one."""
            return write("lesson_tickets_bad", [(each["id"], each["answer"]) for each in answers])

        @task
        def report_teams(rows: int) -> None:
            """The work that waits for the table. It never starts, and so the run fails."""

        report_teams(rows := write_rows(answers))
        return rows

    @task_group
    def good_way(answers: list[dict]) -> list[XComArg]:
        @task
        def check_answers(answers: list[dict], **context) -> list[dict]:
            """Output parsing: an answer is read as it is, leniently, or once more with twice the room; or put aside."""
            read = []
            for each in answers:
                try:
                    found = checked(
                        each["answer"], Ticket, repair=partial(ask, each["text"], strict=True, max_tokens=160)
                    )
                    read.append({"id": each["id"], "how": found.how, "ticket": found.value.model_dump()})
                except OutputRejected as rejected:
                    quarantine(rejected, each["id"], context)
                    read.append({"id": each["id"], "how": "put aside", "ticket": None, "errors": rejected.errors})
            return read

        @task
        def write_rows(read: list[dict]) -> int:
            """Schema validation: only what is a Ticket is written; JSON with a team that we do not have is none."""
            return write("lesson_tickets_good", [(a["id"], json.dumps(a["ticket"])) for a in read if a["ticket"]])

        read = check_answers(answers)
        return [read, write_rows(read)]

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def compare_ways(bad_rows: int | None, good: tuple[list[dict], int], **context) -> dict:
        """Downstream failures: the same answers, and what each way made of them. The first calls count for both."""
        read, written = good
        ways = side_by_side.rows(context, bad_way=["ask_model", "bad_way"], good_way=["ask_model", "good_way"])
        for way, rows in zip(ways, (bad_rows or 0, written), strict=True):
            way["not written"] = f"{len(read) - rows} of {len(read)} rows"
            del way["refused"]
        how = Counter(f"good_way: {each['how']}" for each in read)
        verdict = "The bad way did not write {0[not written]}. The good way put {1[not written]} aside for a person."
        return tables.logged(log, {"ways": ways, **how, "verdict": verdict.format(*ways)})

    answers = ask_model()
    return compare_ways(bad_way(answers), good_way(answers))


no_validation_antipattern()
