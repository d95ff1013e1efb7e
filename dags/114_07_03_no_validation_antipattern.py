"""
# 114.7.3 No Output Validation

A model answers in JSON until it does not: it is polite before it, puts a comma too many, or stops in the middle. The bad way takes the
text for what it should be and hands it to the database, whose error is about bytes and says nothing of the model. The good way reads
an answer leniently, checks it against a type, asks once more where that fails, and puts what is still wrong aside.

| Checklist item | Tasks that show it |
|---|---|
| Malformed outputs | `ask_model`, `list_malformed` |
| Downstream failures | `bad_way.write_rows`, `bad_way.report_teams` |
| Schema validation | `good_way.check_answers`, `good_way.write_rows` |
| Output parsing | `good_way.check_answers`, `good_way.show_quarantine` |

**Try it**: the run ends *failed*, as it should: the log of `bad_way.write_rows` ends in Postgres' `invalid input syntax for type json`, and
not one row is written. `good_way.check_answers` says for each ticket how its answer was read, and `good_way.show_quarantine` what a
person has to look at. Trigger it with more *Tickets*: the model of this connection spoils three answers of ten, and halves four.

**In production**: ask for the schema (`response_format`, tools, or pydantic-ai's `output_type`, which asks again by itself) and check the
answer all the same: a schema says nothing about sense, and a limit cuts any JSON. Watch the share that lands in quarantine.
"""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Param, TriggerRule, dag, task, task_group
from pydantic import BaseModel, Field

from llmkit import prompts

CONN_ID = "openai_malformed"
TICKETS = Path(__file__).parents[1] / "include" / "data" / "tickets.json"


class Ticket(BaseModel):
    """A row of our table; what does not fit is no ticket."""

    team: Literal["support", "sales", "accounting"]
    urgent: bool
    summary: str = Field(min_length=5)


def ask(prompt: str) -> str:
    """The model's answer to one prompt, as it comes."""
    form = prompts.load("note_ticket")
    schema = {"type": "json_schema", "json_schema": {"name": "ticket", "strict": True, "schema": form.output}}
    messages = [{"role": "user", "content": prompt}]
    reply = OpenAIHook(conn_id=CONN_ID).create_chat_completion(messages, response_format=schema, **form.settings)
    return reply[0].message.content


def is_json(text: str) -> bool:
    """Whether ``text`` parses, as it is."""
    try:
        return json.loads(text) is not None
    except ValueError:
        return False


def write(table: str, rows: list[tuple[str, str]]) -> int:
    """All rows or none; a ticket that is there already gets its new answer, so that running it twice is safe."""
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    hook = PostgresHook("llm_db")
    hook.run(f"CREATE TABLE IF NOT EXISTS {table} (ticket text PRIMARY KEY, answer jsonb NOT NULL)")
    hook.insert_rows(table, rows, target_fields=["ticket", "answer"], replace=True, replace_index="ticket")
    return len(rows)


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["reference", "anti-pattern", "intermediate", "failure"],
    default_args={"retries": 1, "retry_delay": timedelta(seconds=2), "execution_timeout": timedelta(minutes=5)},
    params={"tickets": Param(12, type="integer", title="Tickets", description="To note.", minimum=4, maximum=48)},
)
def no_validation_antipattern() -> None:
    @task
    def ask_model(params: dict) -> list[dict[str, str]]:
        """Malformed outputs: one answer a ticket, as it comes; both ways get the same."""
        tickets = json.loads(TICKETS.read_text())[: params["tickets"]]
        asked = {each["id"]: prompts.load("note_ticket").render(ticket=each["text"]) for each in tickets}
        return [{"id": name, "prompt": prompt, "answer": ask(prompt)} for name, prompt in asked.items()]

    @task
    def list_malformed(answers: list[dict[str, str]]) -> list[str]:
        """Malformed outputs: those that are no JSON, as the model wrote them."""
        return [each["answer"] for each in answers if not is_json(each["answer"])]

    @task_group
    def bad_way(answers: list[dict[str, str]]):
        @task
        def write_rows(answers: list[dict[str, str]]) -> int:
            """Downstream failures: the database is the first that looks, and it refuses all rows for the sake of one."""
            return write("lesson_tickets_bad", [(each["id"], each["answer"]) for each in answers])

        @task
        def report_teams(rows: int) -> int:
            """Downstream failures: whoever waits for the table waits."""
            return rows

        written = write_rows(answers)
        report_teams(written)
        return written

    @task_group
    def good_way(answers: list[dict[str, str]]):
        @task
        def check_answers(answers: list[dict[str, str]], **context) -> list[dict[str, Any]]:
            """Output parsing: as it is, leniently, or by one more call. Schema validation: then it is a Ticket, or set aside."""
            from llmkit.guardrails.output import OutputRejected, checked, quarantine

            found = []
            for each in answers:
                try:
                    ticket = checked(
                        each["answer"], Ticket, repair=lambda wrong, each=each: ask(f"{each['prompt']}\n\n{wrong}")
                    )
                    found.append({"id": each["id"], "how": ticket.how, "ticket": ticket.value.model_dump()})
                except OutputRejected as rejected:
                    quarantine(rejected, each["id"], context)
                    found.append({"id": each["id"], "how": "quarantine", "ticket": None})
            return found

        @task
        def write_rows(found: list[dict[str, Any]]) -> int:
            """Schema validation: what fits is written, whatever became of the others."""
            return write(
                "lesson_tickets_good", [(each["id"], json.dumps(each["ticket"])) for each in found if each["ticket"]]
            )

        @task
        def show_quarantine(**context) -> list[dict[str, str]]:
            """Output parsing: what could not be read, with the reasons, for a person to look at."""
            from llmkit.guardrails.output import quarantined

            return quarantined(context["dag"].dag_id, context["run_id"])

        found = check_answers(answers)
        found >> show_quarantine()
        return write_rows(found)

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def compare_ways(**context) -> str:
        """Downstream failures: the price of checking is a call for each answer that cannot be read."""
        from llmkit.course import side_by_side

        return side_by_side.table(context, bad_way="bad_way.write_rows", good_way="good_way.write_rows")

    answers = ask_model()
    list_malformed(answers)
    [bad_way(answers), good_way(answers)] >> compare_ways()


no_validation_antipattern()
