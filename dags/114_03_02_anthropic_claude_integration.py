"""
# 114.3.2 Anthropic Claude Integration

Long documents are where money and context windows run out. Lumen & Oak reads a lease here: its tokens are counted before anything
is paid, and their number picks the way: one call for a note; a cached document and a question for each term for a contract;
map-reduce for one with annexes. All three find the same terms. What nobody waits for goes through the batch API at half the price.

| Checklist item | Tasks that show it |
|---|---|
| Configure Anthropic connection | `check_connection` |
| Claude completion operator | `answer_colleague`, `send_batch`, `read_batch` |
| System prompts for Claude | `load_system_prompt`, `answer_colleague` |
| Handle long context | `load_document`, `count_tokens`, `choose_way`, `read_at_once`, `read_with_cache`, `split_document`, `read_chunk`, `report_terms` |

**Try it**: trigger it with each *Document*: another branch of the graph runs, and `report_terms` says the same. For `lease.md` it
has the tokens that came from the cache, at a tenth of the price. `send_batch` is *deferred* while it waits.

**In production**: put the document before the question, or nothing is cached; a cache lives five minutes. The connection's extra
picks the platform (`anthropic`, `bedrock`, `vertex`, `aws`, `foundry`). A retry would buy a second batch, hence `retries=0`.
"""

from datetime import timedelta
from pathlib import Path

from airflow.providers.anthropic.hooks.anthropic import AnthropicHook
from airflow.providers.anthropic.operators.batch import AnthropicBatchOperator
from airflow.sdk import Param, TriggerRule, dag, task
from pydantic import BaseModel, Field

from llmkit import prompts
from llmkit.operators import AnthropicMessageOperator

CONN_ID = "anthropic_default"
LEASES = Path(__file__).parents[1] / "include" / "data" / "leases"
ONE_CALL, ONE_DOCUMENT = 500, 2000  # tokens
QUESTIONS = {"rent": "Who pays the rent?", "roof": "Who repairs a roof?", "keys": "Who keeps the keys?"}


class Terms(BaseModel):
    """What the bookkeeping needs; a part of a document may not say all of it."""

    monthly_rent: float | None = Field(None, description="The monthly rent in EUR")
    deposit: float | None = Field(None, description="The deposit in EUR")
    notice_months: int | None = Field(None, description="The notice period in months")


def read_terms(document: str, question: str = "Note all terms.", cache: dict | None = None) -> dict:
    """Handle long context: what a text states, by a forced tool call, and how many tokens came from the cache."""
    content = [{"type": "text", "text": document, **(cache or {})}, {"type": "text", "text": question}]
    reply = AnthropicHook(conn_id=CONN_ID).create_message(
        [{"role": "user", "content": content}],
        system=prompts.load("lease_reader").render(company="Lumen & Oak"),
        tools=[{"name": "note_terms", "description": "Note the terms.", "input_schema": Terms.model_json_schema()}],
        tool_choice={"type": "tool", "name": "note_terms"},
    )
    found = Terms.model_validate(next(part.input for part in reply.content if part.type == "tool_use"))
    return {**found.model_dump(), "tokens_from_cache": reply.usage.cache_read_input_tokens or 0}


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=5)},
    params={
        "document": Param("lease.md", enum=["note.md", "lease.md", "lease_with_annexes.md"], title="Document"),
        "tone": Param("plain", enum=["plain", "formal"], title="Tone", description="Of the answer to a colleague."),
    },
)
def anthropic_claude_integration() -> None:
    @task
    def check_connection() -> dict:
        """Configure Anthropic connection: platform, default model, and whether it answers."""
        hook = AnthropicHook(conn_id=CONN_ID)
        return {"platform": hook.platform, "model": hook.default_model, "test": hook.test_connection()[1]}

    @task
    def load_system_prompt(params: dict) -> str:
        """System prompts for Claude: configuration, from a file; they are an argument of their own, not a message."""
        return prompts.load("lease_assistant").render(company="Lumen & Oak", tone=params["tone"])

    answer = AnthropicMessageOperator(
        task_id="answer_colleague",
        doc_md="Claude completion operator: one message, with the model of the connection.",
        conn_id=CONN_ID,
        system=load_system_prompt(),
        prompt="What is a notice period?",
        max_tokens=50,
    )

    @task
    def load_document(params: dict) -> str:
        """Handle long context: the text of the document that was chosen."""
        return (LEASES / params["document"]).read_text()

    @task
    def count_tokens(document: str) -> int:
        """Handle long context: counting is a call of its own, free of charge, and exact."""
        return AnthropicHook(conn_id=CONN_ID).count_tokens([{"role": "user", "content": document}])

    @task.branch
    def choose_way(tokens: int) -> str:
        """Handle long context: the number of tokens decides what to do, not a guess by file size."""
        if tokens <= ONE_CALL:
            return "read_at_once"
        return "read_with_cache" if tokens <= ONE_DOCUMENT else "split_document"

    @task
    def read_with_cache(document: str) -> dict:
        """Handle long context: a question for each term, and one document that is paid in full only once."""
        kept = {"cache_control": {"type": "ephemeral"}}
        answers = {name: read_terms(document, f"Note the {name}.", kept) for name in Terms.model_fields}
        cached = sum(found["tokens_from_cache"] for found in answers.values())
        return {**{name: found[name] for name, found in answers.items()}, "tokens_from_cache": cached}

    @task
    def split_document(document: str, tokens: int) -> list[str]:
        """Handle long context: parts of whole sections, each about as long as what one call shall read."""
        sections, size = document.split("\n\n#"), max(1, document.count("\n\n#") * ONE_CALL // tokens)
        return ["\n\n#".join(sections[n : n + size]) for n in range(0, len(sections), size)]

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def report_terms(once: dict | None, cached: dict | None, chunks: list[dict] | None) -> dict:
        """Handle long context: reduce; the first part that states a term has it."""
        found = [part for part in (once, cached, *(chunks or [])) if part]
        return {name: next((part[name] for part in found if part[name] is not None), None) for name in found[0]}

    batch = AnthropicBatchOperator(
        task_id="send_batch",
        doc_md="Claude completion operator: many calls at half the price. It defers: the triggerer waits, no worker does.",
        conn_id=CONN_ID,
        requests=[
            {"custom_id": name, "params": {"max_tokens": 12, "messages": [{"role": "user", "content": question}]}}
            for name, question in QUESTIONS.items()
        ],
        deferrable=True,
        poll_interval=2,
        retries=0,
    )

    @task
    def read_batch(batch_id: str) -> dict[str, str]:
        """Claude completion operator: results come in any order; the id says which is which."""
        results = AnthropicHook(conn_id=CONN_ID).stream_batch_results(batch_id)
        return {r.custom_id: r.result.message.content[0].text for r in results if r.result.type == "succeeded"}

    document = load_document()
    tokens = count_tokens(document)
    read = task(read_terms)  # a part is read as a short document is
    once, cached = read.override(task_id="read_at_once")(document), read_with_cache(document)
    parts = split_document(document, tokens)
    choose_way(tokens) >> [once, cached, parts]
    report_terms(once, cached, read.override(task_id="read_chunk").expand(document=parts))
    check_connection() >> answer
    read_batch(batch.output)


anthropic_claude_integration()
