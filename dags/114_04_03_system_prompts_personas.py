"""
# 114.4.3 System Prompts and Personas

Who answers decides what is said, so Lumen & Oak keeps three personas as files and asks each the same question. A long
conversation is a different trouble: it does not fit into the model's window, and the call fails. The lesson counts the tokens,
keeps the newest messages, has the older ones summarized, and compresses a long document to the sentences that say most.

| Checklist item | Tasks that show it |
|---|---|
| Define system prompts | `list_personas`, `write_system_prompt` |
| Create agent personas | `ask_persona`, `compare_personas` |
| Context window management | `send_everything`, `trim_history`, `summarize_older`, `answer_in_window` |
| Prompt compression | `compress_document`, `report_savings` |

**Try it**: `compare_personas` has three answers to one question; put your own into the form. `send_everything` shows the error of a
model with a window of 400 tokens; `answer_in_window` asks the same model and gets an answer. Lower *Window* and see in
`trim_history` which messages are left. Lower *Compressed to* and see in `report_savings` what that does to the meaning.

**In production**: count before you call, with a margin where the tokenizer is not to be had. What falls out of the window should
be summarized once and kept, not with each call. A persona is tone and duty, and no access control: whatever the system
message holds can be talked out of the model. Compressed text is cheaper and no longer a quotation.
"""

import json
from datetime import timedelta
from pathlib import Path

from airflow.providers.common.ai.operators.llm import LLMOperator
from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Param, dag, task
from pydantic import BaseModel, Field

from llmkit import prompts, tokens
from llmkit.operators import OpenAIChatOperator

DATA = Path(__file__).parents[1] / "include" / "data"
CONVERSATION = json.loads((DATA / "conversation.json").read_text())  # with a customer, of 26 messages
SMALL, MODEL, SHOP = "openai_small_context", "gpt-4o-mini", "Lumen & Oak"
ANSWER, SUMMARY = 40, 90  # tokens that are kept free for the answer, and for the summary of what was left out


class Summary(BaseModel):
    """What the assistant must still know."""

    summary: str = Field(description="A summary in three sentences, with names, numbers and decisions")


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["reference", "patterns", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=3)},
    params={
        "question": Param(
            "My desk lamp broke after two years. What can be done?", type="string", title="Question", minLength=1
        ),
        "window": Param(330, type="integer", title="Window", description="In tokens.", minimum=250, maximum=380),
        "compressed": Param(400, type="integer", title="Compressed to", description="Tokens of a lease.", minimum=50),
    },
)
def system_prompts_personas() -> None:
    @task
    def list_personas() -> list[str]:
        """Define system prompts: a persona is a file, and whoever may edit it needs no Python."""
        return [name for name in prompts.names() if name.startswith("persona_")]

    @task
    def write_system_prompt(persona: str) -> str:
        """Define system prompts: who answers, how, and what never; the question is not in it."""
        return prompts.load(persona).render(shop=SHOP)

    @task
    def compare_personas(personas: list[str], systems: list[str], answers: list[str]) -> dict[str, dict[str, str]]:
        """Create agent personas: the same question, the same model, three voices."""
        pairs = zip(personas, systems, answers, strict=True)
        return {name.removeprefix("persona_"): {"told": told, "said": said} for name, told, said in pairs}

    @task
    def send_everything() -> dict:
        """Context window management: all of it to a model with a small window; the provider refuses the call."""
        from openai import BadRequestError

        counted = sum(tokens.count(message["content"], MODEL).tokens + tokens.PER_MESSAGE for message in CONVERSATION)
        try:
            OpenAIHook(conn_id=SMALL).create_chat_completion(CONVERSATION, model=MODEL, max_tokens=ANSWER)
        except BadRequestError as error:
            return {"tokens": counted, "error": error.code}
        return {"tokens": counted, "error": None}

    @task
    def trim_history(params: dict) -> dict:
        """Context window management: the system message, room for summary and answer, and the newest messages that fit."""
        system = prompts.load("persona_adviser").render(shop=SHOP)
        budget = tokens.Budget(context=params["window"], answer=ANSWER + SUMMARY, model=MODEL)
        fitted = budget.fit(system, history=[message["content"] for message in CONVERSATION])
        at = len(CONVERSATION) - len(fitted.history)
        return {"system": system, "older": CONVERSATION[:at], "kept": CONVERSATION[at:], "tokens": fitted.tokens}

    @task
    def write_request(trimmed: dict) -> str:
        """Context window management: what no longer fits goes to a model once, to be summarized."""
        return prompts.load("summarize_conversation").render(messages=trimmed["older"])

    @task
    def answer_in_window(trimmed: dict, older: dict) -> dict:
        """Context window management: summary and newest messages, to the model that refused the whole."""
        summary = tokens.truncate(older["summary"], SUMMARY - tokens.PER_MESSAGE, MODEL).text
        system = {"role": "system", "content": f"{trimmed['system']}\n\nEarlier in this conversation: {summary}"}
        asked = [*trimmed["kept"], {"role": "user", "content": "What should I order first?"}]
        reply = OpenAIHook(conn_id=SMALL).conn.chat.completions.create(
            model=MODEL, messages=[system, *asked], max_tokens=ANSWER, temperature=0
        )
        return {"summary": summary, "tokens": reply.usage.total_tokens, "answer": reply.choices[0].message.content}

    @task
    def compress_document(params: dict) -> dict[str, str]:
        """Prompt compression: the sentences that say most of a lease, in their order; none is rewritten."""
        lease, most = (DATA / "leases" / "lease.md").read_text(), params["compressed"]
        short = tokens.compress(lease, most, OpenAIHook().create_embeddings, MODEL)
        return {"whole": lease, "compressed": short.text, "beginning": tokens.truncate(lease, most, MODEL).text}

    @task
    def report_savings(texts: dict[str, str]) -> dict[str, dict]:
        """Prompt compression: tokens left, and how much of the meaning, beside simply cutting the text off."""
        embed = OpenAIHook().create_embeddings
        sizes = {name: tokens.count(text, MODEL).tokens for name, text in texts.items()}
        return {
            name: {"tokens": sizes[name], "similarity": round(tokens.likeness(texts["whole"], text, embed), 3)}
            for name, text in texts.items()
        }

    personas = list_personas()
    systems = write_system_prompt.expand(persona=personas)
    answers = OpenAIChatOperator.partial(
        task_id="ask_persona",
        doc_md="Create agent personas: one call for each system message.",
        prompt="{{ params.question }}",
        model=MODEL,
        temperature=0.0,
        max_tokens=40,
    ).expand(system=systems)
    compare_personas(personas, systems, answers.output)

    trimmed = trim_history()
    older = LLMOperator(
        task_id="summarize_older",
        doc_md="Context window management: the older messages in three sentences.",
        prompt=write_request(trimmed),
        llm_conn_id="pydanticai_default",
        output_type=Summary,
        serialize_output=True,
    )
    send_everything() >> answer_in_window(trimmed, older.output)
    report_savings(compress_document())


system_prompts_personas()
