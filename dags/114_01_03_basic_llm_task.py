"""
# 114.1.3 Basic LLM Task

The shop Lumen & Oak wants a first draft of an answer for every customer message. This is the smallest pipeline that is
of use: a prompt goes in, a completion comes out, and the last task does something with it. A completion is not always
an answer: it can be empty, it can be a refusal, and it can end in the middle of a sentence. All three come up in the
first week of any real pipeline, so they are handled here.

| Checklist item | Tasks that show it |
|---|---|
| Create simple LLM task | `set_limits`, `draft_reply` |
| Pass prompt to model | `write_prompt`, `draft_reply` |
| Retrieve completion | `retrieve_completion` |
| Handle response | `handle_response` |

**Try it**: trigger it and look at the XCom of `handle_response`: `status` is `ready`, with the text to send. Trigger it
again with *Longest answer* set to 8 tokens: the completion ends in mid-sentence, and the same task returns
`cut_off` and keeps only whole sentences. The log of `draft_reply` shows the tokens that either run used.

**In production**: set `max_tokens` on every call, and an `execution_timeout`, so that neither money nor a worker slot
can run away. Count the `status` values; a rising share of `refused` says that a prompt or a model has changed.
"""

import logging
import re
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypedDict

from airflow.sdk import Param, dag, task

from llmkit import prompts

log = logging.getLogger(__name__)

TICKET = "Hello, the Aurora lamp I bought from you in March flickers whenever I dim it. Can you send me a new one?"
REFUSAL = re.compile(r"\b(?:I (?:can(?:no|')t|am unable to|won't)|as an AI|I'm sorry, but)\b", re.IGNORECASE)


class Draft(TypedDict):
    """What the next system gets: never a bare string that might be anything."""

    status: Literal["ready", "empty", "refused", "cut_off"]
    text: str


def judge(completion: str) -> Draft:
    """Tell an answer from what only looks like one."""
    text = completion.strip()
    if not text:
        return {"status": "empty", "text": ""}
    if REFUSAL.search(text[:120]):
        return {"status": "refused", "text": text}
    if text[-1] not in ".!?\"')":
        # Whole sentences can still be of use; half of one never is.
        whole = re.findall(r"[^.!?]+[.!?]", text)
        return {"status": "cut_off", "text": "".join(whole).strip()}
    return {"status": "ready", "text": text}


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    # @task.llm renders the prompt as an Airflow template once more; what a customer wrote is no template.
    jinja_environment_kwargs=prompts.rendered_once(),
    schedule=None,
    catchup=False,
    tags=["reference", "core", "beginner", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=2)},
    params={
        "ticket": Param(
            TICKET,
            type="string",
            title="Ticket",
            description="What the customer wrote.",
            format="multiline",
            minLength=1,
        ),
        "max_tokens": Param(
            120, type="integer", title="Longest answer", description="In tokens. Try 8.", minimum=1, maximum=500
        ),
    },
)
def basic_llm_task() -> None:
    @task
    def write_prompt(params: dict) -> str:
        """Pass prompt to model: what the model will read is an XCom, so that it can be seen and replayed."""
        return prompts.load("reply_to_ticket").render(shop="Lumen & Oak", ticket=params["ticket"])

    @task
    def set_limits(params: dict) -> dict:
        """Create simple LLM task: its settings may come from the form; a task keeps the number a number."""
        return {"temperature": 0.0, "max_tokens": params["max_tokens"]}

    @task.llm(llm_conn_id="pydanticai_default", model_settings=set_limits())
    def draft_reply(prompt: str) -> str:
        """Create simple LLM task: a function that returns a prompt becomes a task that returns the completion."""
        return prompt

    @task
    def retrieve_completion(completion: str) -> str:
        """Retrieve completion: it is the LLM task's return value, an XCom like any other."""
        log.info("The completion has %d characters: %s", len(completion), completion)
        return completion

    @task
    def handle_response(completion: str) -> Draft:
        """Handle response: ready, empty, refused or cut off, and only `ready` is sent as it is."""
        draft = judge(completion)
        log.info("The draft is %s.", draft["status"])
        return draft

    handle_response(retrieve_completion(draft_reply(write_prompt())))


basic_llm_task()
