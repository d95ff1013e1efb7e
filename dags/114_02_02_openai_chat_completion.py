"""
# 114.2.2 OpenAI Chat Completion

A chat completion is the basic call to a model. A system message says who answers, a user message says what is
asked, and a few parameters say how. Lumen & Oak lets it draft replies to customers. The course brings an operator for this call,
`OpenAIChatOperator`, and compares it with the provider's own `OpenAIResponseOperator` for OpenAI's newer API.

| Checklist item | Tasks that show it |
|---|---|
| OpenAIChatOperator usage | `draft_reply`, `draft_by_responses`, `compare_calls` |
| Configure model (gpt-4, gpt-3.5) | `draft_reply`, `ask_model`, `compare_calls` |
| System and user messages | `write_system_message`, `draft_reply` |
| Temperature and parameters | `draft_reply`, `vary_temperature`, `compare_calls` |

**Try it**: *Trigger* it with another *Model* and *Temperature*, and open *Storage → XCom* of `draft_reply`: beside the text are
`usage`, `finish_reason` and `model`. The rows of `ask_model` end in `length`, because 16 tokens are too few; their logs warn of it.
*USD for 1,000* is the list price of a thousand such calls. Write `{{ params.model }}` into *Ticket*: the model gets these very
characters, because Airflow renders once.

**You should see** (offline):

| call                   | ended   | model         |   tokens |   USD for 1,000 |
|:-----------------------|:--------|:--------------|---------:|----------------:|
| OpenAIChatOperator     | length  | gpt-4o-mini   |      154 |           0.059 |
| OpenAIResponseOperator | –       | gpt-4o-mini   |      154 |           0.059 |
| ask_model              | length  | gpt-3.5-turbo |       90 |           0.061 |
| ask_model              | length  | gpt-4         |       90 |            3.18 |
| ask_model              | length  | gpt-4o-mini   |       90 |           0.021 |

- reply: I'm sorry for the misunderstanding, but as a lamp manufacturer, we don't have a lot of options available right now. We only sell candles, so if you're looking for something else, you might want to tr…
- equal at 0: yes
- equal at 0 and 1.5: no

**SDK or own code?** Airflow's provider has no operator for chat completions. Its `OpenAIResponseOperator` calls the Responses API. It
keeps the usage, but only logs why an answer was cut off, and takes no template for the model. Chat completions are also what
self-hosted servers speak. See
[OpenAIResponseOperator](https://airflow.apache.org/docs/apache-airflow-providers-openai/stable/operators/openai.html) and OpenAI's
guide to [text generation](https://developers.openai.com/api/docs/guides/text).

**In production**: keep `finish_reason`, because an answer that was cut off looks like a good one. Use temperature 0 for text that a
program reads; a hosted model still promises no equal answers. Reasoning models, such as gpt-5, take `max_completion_tokens` and no
temperature (use `settings`). Keep the model in a form or a variable, because OpenAI retires models: gpt-3.5-turbo and gpt-4 on 23
October 2026, gpt-4o and gpt-4.1 on 14 January 2027. With a real key, name today's models in `MODELS` and in `ask_model`, or these calls
fail.

**Builds on** [2.1 OpenAI Connection Setup](114_02_01_openai_connection_setup.py) · **Next** [2.3 OpenAI Function Calling](114_02_03_openai_function_calling.py)
"""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.openai.operators.openai import OpenAIResponseOperator
from airflow.sdk import Param, dag, task

from llmkit import prompts, tables
from llmkit.operators import OpenAIChatOperator

log = logging.getLogger(__name__)
CONN_ID = "openai_default"
MODEL = "gpt-4o-mini"
MODELS = ["gpt-3.5-turbo", "gpt-4", "gpt-4o", "gpt-4o-mini", "gpt-4.1-mini"]
TICKET = "My Aurora lamp flickers when I dim it. I bought it in March and would like a new one."


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.2.2 · OpenAI Chat Completion",
    doc_md=__doc__,
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=2)},
    params={
        "ticket": Param(
            TICKET,
            type="string",
            title="Ticket",
            description="What the customer writes: the user message.",
            minLength=1,
        ),
        "model": Param(MODEL, enum=MODELS, title="Model", description="Writes the draft. gpt-4 costs the most."),
        "temperature": Param(
            0.2,
            type="number",
            title="Temperature",
            description="For the draft only, 0 to 2. With a high value each run writes another draft.",
            minimum=0,
            maximum=2,
        ),
    },
)
def openai_chat_completion() -> Any:
    @task
    def write_system_message() -> str:
        """System and user messages: the system message is ours, the same for every customer; a ticket is never part of it."""
        return prompts.load("support_agent").render(shop="Lumen & Oak")

    system, ticket = write_system_message(), "{{ params.ticket }}"
    draft = OpenAIChatOperator(
        task_id="draft_reply",
        doc_md="OpenAIChatOperator usage: one call. Model and temperature come from the form, the messages from two sources.",
        conn_id=CONN_ID,
        system=system,
        prompt=ticket,
        model="{{ params.model }}",
        temperature="{{ params.temperature }}",
        max_tokens=80,
    )
    by_responses = OpenAIResponseOperator(
        task_id="draft_by_responses",
        doc_md="OpenAIChatOperator usage: beside it the provider's operator, with the same messages, for the Responses API.",
        conn_id=CONN_ID,
        input_text=ticket,
        model=MODEL,
        response_kwargs={"instructions": system},
        max_output_tokens=80,
    )
    asked = OpenAIChatOperator.partial(
        task_id="ask_model",
        doc_md="Configure model (gpt-4, gpt-3.5): one task, mapped over three models. 16 tokens cut the answer off.",
        system=system,
        prompt=ticket,
        max_tokens=16,
    ).expand(model=["gpt-3.5-turbo", "gpt-4", MODEL])
    varied = OpenAIChatOperator.partial(
        task_id="vary_temperature",
        doc_md="Temperature and parameters: the same call with the same seed, twice at 0 and once at 1.5.",
        system=system,
        prompt=ticket,
        max_tokens=16,
        settings={"seed": 7},
    ).expand(temperature=[0.0, 0.0, 1.5])

    @task
    def compare_calls(draft: dict, responses: dict, asked: dict, varied: list[str]) -> dict[str, Any]:
        """What each call used, why it ended, what it costs by list price, and which answers are equal."""
        from llmkit import prices

        calls = [
            ("OpenAIChatOperator", draft["model"], draft["usage"], draft["ended"]),
            ("OpenAIResponseOperator", MODEL, responses, None),
        ]
        for model, usage, ended in zip(asked["models"], asked["usages"], asked["ended"], strict=True):
            calls.append(("ask_model", model, usage, ended))
        rows = []
        for call, model, usage, ended in calls:
            read = usage.get("prompt_tokens") or usage["input_tokens"]
            written = usage.get("completion_tokens") or usage["output_tokens"]
            usd = prices.cost("openai", model, input_tokens=read * 1000, output_tokens=written * 1000)
            price = None if usd is None else round(float(usd), 3)
            rows.append(
                {"call": call, "ended": ended, "model": model, "tokens": read + written, "USD for 1,000": price}
            )
        equal = {"equal at 0": varied[0] == varied[1], "equal at 0 and 1.5": varied[0] == varied[2]}
        return tables.logged(log, {"calls": rows, "reply": draft["text"], **equal})

    sent = draft.output
    drafted = {"text": sent, "model": sent["model"], "usage": sent["usage"], "ended": sent["finish_reason"]}
    mapped = asked.output
    models = {"models": mapped["model"], "usages": mapped["usage"], "ended": mapped["finish_reason"]}
    return compare_calls(drafted, by_responses.output["usage"], models, varied.output)


openai_chat_completion()
