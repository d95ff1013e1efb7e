"""
# 114.3.2 Anthropic Claude Integration

Long documents cost money and fill context windows. Lumen & Oak reads a lease here. Claude's tokens are counted first, and the count
picks the way. A note is read by one call. For a contract each term has a question of its own, and the contract is cached between
them. A contract with annexes is read chapter by chapter in a batch at half the price, and the results are merged. Where two chapters
state different terms, the report shows both and chooses none.

| Checklist item | Tasks that show it |
|---|---|
| Configure Anthropic connection | `check_connection` |
| Claude completion operator | `forward_question`, `send_batch` |
| System prompts for Claude | `forward_question` |
| Handle long context | `choose_way`, `read_at_once`, `read_with_cache`, `write_requests`, `report_terms` |

**Try it**: the side letter in `lease_with_annexes.md` changes the notice period, and the table below has both values. Choose another
*Document* in the *Trigger* form: another branch of the graph runs. With `lease.md` compare the two sums in USD: the cache saves money,
although the text of its first call costs a quarter more. *USD* is the price of the reading, without `forward_question`.
*Rendered Templates* of `forward_question` shows its system prompt.

**You should see** (offline):

| term          |   value | stated by                |
|:--------------|--------:|:-------------------------|
| monthly_rent  |    2400 | chapter-1 2400           |
| deposit       |    7200 | chapter-1 7200           |
| notice_months |       – | chapter-1 6, chapter-4 3 |

- tokens counted: 3131
- tokens billed: 3767
- from the cache: 0
- USD: 0.004227
- USD without cache and batch: 0.008454
- question goes to: lawyer

**SDK or own code?** `AnthropicBatchOperator` is the
[provider's](https://airflow.apache.org/docs/apache-airflow-providers-anthropic/stable/operators/anthropic.html). It has no operator
for a single message and recommends `common-ai` for that. llmkit's `AnthropicMessageOperator` sends one with Claude's own settings.
The connection's `platform` can be `anthropic`, `aws`, `bedrock`, `vertex` or `foundry`; only the first two count tokens and take batches.

**In production**: Anthropic calls its count an estimate, so leave some room; offline it is exact, but Claude's tokenizer counts
differently. A write to the cache costs 1.25 times the price of input, a read a tenth. An entry lives five minutes after its last use. A
shorter text than the model's minimum (here 1,024 tokens, on others 512 to 4,096) is not cached, and no error says so: watch *from the
cache*. The limits here are small, so that short texts show all three ways. A chapter that contradicts itself goes unnoticed. While a
batch waits, its task is *deferred* and holds no worker; a retry would buy it again. A real batch takes up to a day: raise `poll_interval`
to 60 seconds. Claude Sonnet 5 thinks by default, and its thinking counts against `max_tokens`, so each call here turns it off. An answer
that ends at `max_tokens` fails its task, because a term may be missing. Sonnet 5.5 refuses both that setting and a forced tool.

**Builds on** [3.1 Cohere Integration](114_03_01_cohere_integration.py) · **Next** [3.3 Google Vertex AI](114_03_03_google_vertex_ai.py)
"""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.anthropic.hooks.anthropic import AnthropicHook
from airflow.providers.anthropic.operators.batch import AnthropicBatchOperator
from airflow.sdk import Param, TriggerRule, dag, task
from airflow.sdk.exceptions import AirflowFailException
from pydantic import BaseModel, Field

from llmkit import ledger, prices, prompts, tables
from llmkit.operators import AnthropicMessageOperator

log = logging.getLogger(__name__)
LEASES = Path(__file__).parents[1] / "include" / "data" / "leases"
DOCUMENTS, QUESTION = ["note.md", "lease.md", "lease_with_annexes.md"], "Which notice period holds?"
CACHE_MINIMUM, ONE_PROMPT = 1024, 3000  # tokens: many models cache no shorter text; a longer one is split here
AT_ONCE = {"thinking": {"type": "disabled"}}  # what Claude thinks would use up max_tokens
SYSTEM = "{{ prompt('forward_lease_question').render(company='Lumen & Oak') }}"


class Terms(BaseModel):
    monthly_rent: float | None = Field(None, description="The monthly rent in EUR")
    deposit: float | None = Field(None, description="The deposit in EUR")
    notice_months: int | None = Field(None, description="The notice period in months")


def reading(text: str, question: str = "Note all terms.", **marks: Any) -> dict[str, Any]:
    """The arguments of a call. The text stands before the question: only what comes first can be cached."""
    content = [{"type": "text", "text": text, **marks}, {"type": "text", "text": question}]
    tool = {"name": "note_terms", "description": "Note the terms.", "input_schema": Terms.model_json_schema()}
    asked = {"system": prompts.load("lease_reader").render(company="Lumen & Oak"), "tools": [tool]}
    asked |= {"messages": [{"role": "user", "content": content}], "tool_choice": {"type": "tool", "name": tool["name"]}}
    return AT_ONCE | asked


def terms_in(message: Any) -> dict[str, float]:
    if message.stop_reason == "max_tokens":
        raise AirflowFailException("Claude was cut off at max_tokens, so a term may be missing: raise the limit.")
    return Terms.model_validate(message.content[-1].input).model_dump(exclude_none=True)


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.3.2 · Anthropic Claude Integration",
    doc_md=__doc__,
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=5)},
    user_defined_macros={"prompt": prompts.load},
    params={
        "document": Param(DOCUMENTS[2], enum=DOCUMENTS, title="Document", description="Its length decides the way."),
        "question": Param(QUESTION, type="string", minLength=1, title="Question", description="It picks the team."),
    },
)
def anthropic_claude_integration() -> Any:
    @task
    def check_connection() -> dict[str, Any]:
        """Configure Anthropic connection: with a wrong key or address this fails, and no document is read."""
        hook = AnthropicHook()
        return {"platform": hook.platform, "model": hook.default_model, "models": len(hook.conn.models.list().data)}

    @task.branch
    def choose_way(params: dict, ti: Any) -> str:
        """Handle long context: the tokens of the whole call decide, not the size of the file. Counting is free."""
        tokens = AnthropicHook().count_tokens(**reading((LEASES / params["document"]).read_text()))
        ti.xcom_push(key="tokens", value=tokens)
        way = "read_with_cache" if tokens <= ONE_PROMPT else "write_requests"
        return "read_at_once" if tokens < CACHE_MINIMUM else way

    @task
    def read_at_once(params: dict) -> dict[str, float]:
        """Handle long context: one call for all terms."""
        return terms_in(AnthropicHook().create_message(**reading((LEASES / params["document"]).read_text())))

    @task
    def read_with_cache(params: dict) -> dict[str, float]:
        """Handle long context: a call for each term; the first writes the text to the cache, the others read it there."""
        text, found = (LEASES / params["document"]).read_text(), {}
        for term in Terms.model_fields:
            asked = reading(text, f"Note the {term}.", cache_control={"type": "ephemeral"})
            found[term] = terms_in(AnthropicHook().create_message(**asked)).get(term)
        return found

    @task
    def write_requests(params: dict) -> list[dict[str, Any]]:
        """Handle long context: one request for each chapter. A chapter begins with a line like `# Annex A`."""
        chapters = enumerate((LEASES / params["document"]).read_text().removeprefix("# ").split("\n\n# "), 1)
        return [{"custom_id": f"chapter-{n}", "params": {"max_tokens": 200, **reading(text)}} for n, text in chapters]

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def report_terms(team: str, tokens: int, once: dict, cached: dict, batch_id: str, run_id: str) -> dict[str, Any]:
        """Handle long context: what each chapter states; a term has a value only if no chapter contradicts another."""
        results = AnthropicHook().stream_batch_results(batch_id) if batch_id else []
        found = {each.custom_id: terms_in(each.result.message) for each in results} or {"whole text": once or cached}
        rows = []
        for term in Terms.model_fields:
            stated = {name: terms[term] for name, terms in sorted(found.items()) if terms.get(term) is not None}
            value = max(stated.values()) if len(set(stated.values())) == 1 else None
            rows.append({"term": term, "value": value, "stated by": stated})
        spent = ledger.spending("task_id", "model", dag_id=Path(__file__).stem, run_id=run_id)
        read = next(each for each in spent if each.group[0] in ("read_at_once", "read_with_cache", "report_terms"))
        full = prices.cost("anthropic", read.group[1], input_tokens=read.input_tokens, output_tokens=read.output_tokens)
        bill = {"tokens billed": read.input_tokens, "from the cache": read.cached_tokens}
        bill |= {"USD": round(float(read.cost_usd), 6), "USD without cache and batch": round(float(full or 0), 6)}
        return tables.logged(log, {"terms": rows, "tokens counted": tokens, **bill, "question goes to": team})

    way, once, cached, requests = choose_way(), read_at_once(), read_with_cache(), write_requests()
    waiting = {"deferrable": True, "poll_interval": 1, "retries": 0, "execution_timeout": timedelta(hours=25)}
    batch = AnthropicBatchOperator(task_id="send_batch", requests=requests, fail_on_partial_error=True, **waiting)
    batch.doc_md = "Claude completion operator: many calls at half the price. It defers: no worker waits for it."
    brief = {"max_tokens": 8, "settings": AT_ONCE}
    team = AnthropicMessageOperator(task_id="forward_question", system=SYSTEM, prompt="{{ params.question }}", **brief)
    team.doc_md = "System prompts for Claude: an argument, not a message. Claude completion operator: one message."
    check_connection() >> way >> [once, cached, requests]
    return report_terms(team.output, way["tokens"], once, cached, batch.output)


anthropic_claude_integration()
