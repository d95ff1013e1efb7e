"""
# 114.1.3 Basic LLM Task

The shop Lumen & Oak wants a first draft of a reply for every customer message. This is the smallest pipeline that does it: a
prompt goes in, an answer comes out, and the last task decides what happens with it. An answer is not always a usable text. It
can be cut off, refused by the provider's filter, or empty. The provider's *finish reason* says whether an answer was cut off or
refused. Whether it is empty, you see in the text. No task has to guess from the words.

| Checklist item | Tasks that show it |
|---|---|
| Create simple LLM task | `ask_model` |
| Pass prompt to model | `write_prompt`, `ask_model` |
| Retrieve completion | `retrieve_completion` |
| Handle response | `handle_response` |

**Try it**: press *Trigger*. When the run is done, open the task `handle_response` and look at *Storage → XCom*: the status is `ready`.
Trigger it again with *Longest answer* set to 8. The model stops after 8 tokens, and the status is `cut_off`. The prompt is the
XCom of `write_prompt`. The answer, in pydantic-ai's form for all providers, is the XCom of `ask_model`. The whole draft is the
XCom of `retrieve_completion`.

**You should see** (offline):

- status: ready
- finish_reason: stop
- output_tokens: 38
- next_step: a colleague checks the draft and sends it
- draft_begins: We're sorry to hear that something is wrong with your …

**SDK or own code?** `@task.llm` does all this in one task (next lesson), but it returns only the text: a text that was cut off
looks like a whole one. This lesson uses the same
[hook](https://airflow.apache.org/docs/apache-airflow-providers-common-ai/stable/hooks/pydantic_ai.html) and sends one
[direct request](https://ai.pydantic.dev/direct), which returns the finish reason too. pydantic-ai gives the reason the same values
for every provider. A server that sends no reason counts as "stop": pydantic-ai fills it in.

**In production**: set `max_tokens` on every call and an `execution_timeout` on every task. For a reasoning model, `max_tokens` also
counts the thinking. A model can also decline in plain words, with the finish reason `stop`; no field tells you that. Where it
matters, use `@task.llm` with `output_type=Reply | Declined`, two types of your own. The offline model never ends with `content_filter`.

**Builds on** [1.2 AI SDK Configuration](114_01_02_ai_sdk_configuration.py) · **Next** [1.4 AI SDK Task Decorator](114_01_04_ai_sdk_task_decorator.py)
"""

import logging
import textwrap
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Param, dag, task

from llmkit import prompts, tables

log = logging.getLogger(__name__)

CONN_ID = "pydanticai_default"
TICKET = "Hello, the Aurora lamp I bought from you in March flickers whenever I dim it. Can you send me a new one?"

# What is done with a draft, by its status. Only one of them is meant for the customer.
NEXT_STEPS = {
    "ready": "a colleague checks the draft and sends it",
    "empty": "a colleague writes the reply",
    "cut_off": "raise Longest answer and run it again",
    "refused": "a colleague writes the reply",
    "unknown": "read the answer of ask_model",
}


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.1.3 · Basic LLM Task",
    doc_md=__doc__,
    tags=["reference", "core", "beginner", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=2)},
    params={
        "ticket": Param(
            TICKET,
            type="string",
            title="Ticket",
            description="The customer's message. It goes into the prompt.",
            format="multiline",
            minLength=1,
        ),
        "max_tokens": Param(
            200,
            type="integer",
            title="Longest answer",
            description="Tokens, 1 to 500. With a small value the answer is cut off.",
            minimum=1,
            maximum=500,
        ),
    },
)
def basic_llm_task() -> Any:
    @task
    def write_prompt(params: dict) -> str:
        """Pass prompt to model: the prompt is an XCom, so you can read what the model will read."""
        return prompts.load("reply_to_ticket").render(ticket=params["ticket"])

    @task
    def ask_model(prompt: str, params: dict) -> list[dict]:
        """Create simple LLM task: the connection names the model, one request goes out, the whole answer is kept."""
        from airflow.providers.common.ai.hooks.pydantic_ai import PydanticAIHook
        from pydantic_ai import ModelMessagesTypeAdapter, ModelRequest
        from pydantic_ai.direct import model_request_sync

        answer = model_request_sync(
            PydanticAIHook.get_hook(CONN_ID).get_conn(),
            [ModelRequest.user_text_prompt(prompt)],
            model_settings={"temperature": 0.0, "max_tokens": params["max_tokens"]},
        )
        return ModelMessagesTypeAdapter.dump_python([answer], mode="json")

    @task
    def retrieve_completion(messages: list[dict]) -> dict[str, Any]:
        """Retrieve completion: the text, why the model stopped, and what it cost in tokens, from the stored answer."""
        from pydantic_ai import ModelMessagesTypeAdapter

        answer = ModelMessagesTypeAdapter.validate_python(messages)[0]
        return {
            "text": (answer.text or "").strip(),
            "finish_reason": answer.finish_reason,
            "input_tokens": answer.usage.input_tokens,
            "output_tokens": answer.usage.output_tokens,
        }

    @task
    def handle_response(completion: dict[str, Any]) -> dict[str, Any]:
        """Handle response: the finish reason decides, and whether there is a text at all; its words do not."""
        match completion["finish_reason"]:
            case "stop":
                status = "ready" if completion["text"] else "empty"
            case "length":
                status = "cut_off"
            case "content_filter":
                status = "refused"
            case _:
                # A reason that the SDK does not know arrives as None.
                status = "unknown"
        result = {
            "status": status,
            "finish_reason": completion["finish_reason"],
            "output_tokens": completion["output_tokens"],
            "next_step": NEXT_STEPS[status],
            "draft_begins": textwrap.shorten(completion["text"], 60, placeholder=" …"),
        }
        return tables.logged(log, result)

    return handle_response(retrieve_completion(ask_model(write_prompt())))


basic_llm_task()
