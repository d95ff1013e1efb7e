"""
# 114.1.4 AI SDK Task Decorator

When one prompt asks for everything at once and the text is poor, nobody can tell which part went wrong. Lumen & Oak announces its
standing desk in three steps instead: an outline, a draft of it, and a polished text. Each step is one `@task.llm` task. You can read,
test and repeat each step alone, and each has its own model settings.

| Checklist item | Tasks that show it |
|---|---|
| Use @task.llm decorator | `write_outline` |
| Configure model parameters | `choose_settings`, `write_draft` |
| Template prompts with Jinja | `write_draft`, `polish_draft` |
| Chain LLM tasks | `polish_draft`, `publish` |

**Try it**: press *Trigger* and follow the graph from left to right. *Storage → XCom* of `write_outline` is data, with a headline and
points; that of `write_draft` is text. The result shows how the text begins; the whole text is the XCom of `polish_draft`. Trigger it
again with *Tone* set to `formal` and *Temperature of the draft* set to 1: the draft is sampled more freely, and the last prompt gets
one more sentence. Then clear `polish_draft` with *Downstream*. In the new result that step has two calls and the others still have one.

**You should see** (offline):

| step          |   calls |   input_tokens |   output_tokens |
|:--------------|--------:|---------------:|----------------:|
| write_outline |       1 |            220 |              87 |
| write_draft   |       1 |             85 |              32 |
| polish_draft  |       1 |             70 |              23 |

- headline: The Fjord standing desk lifts from 68 to 120 cm without a …
- text: A more precise version: The Fjord is designed to …

**SDK or own code?** Everything here is [`@task.llm`](https://airflow.apache.org/docs/apache-airflow-providers-common-ai/stable/operators/llm.html).
It also renders the prompt that your function returns as a Jinja template, which is handy for `{{ params.tone }}` and dangerous for a
text that a customer wrote. So the prompts here are files in `include/prompts`, rendered once by `llmkit.prompts`.

**In production**: use a low temperature where a task parses the answer, a higher one where a person reads it. A chain multiplies
failures: with three steps that each work 98 times in 100, one run in seventeen fails, so give each step its own retries. A text
that reaches `max_tokens` is cut off without an error; lesson 1.3 shows how to notice it. Check a text against its facts before you publish it.
The small offline model invents some, and a large one sometimes does too.

**Builds on** [1.3 Basic LLM Task](114_01_03_basic_llm_task.py) · **Next** [1.5 Multi-Provider Support](114_01_05_multi_provider_support.py)
"""

import logging
import textwrap
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Param, dag, task
from pydantic import BaseModel, Field

from llmkit import prompts, tables

log = logging.getLogger(__name__)

CONN_ID = "pydanticai_default"
FACTS = [
    "The Fjord standing desk lifts from 68 to 120 cm without a sound.",
    "Its top is made of oak from Norway.",
    "It costs 399 EUR and is delivered in five days.",
]


class Outline(BaseModel):
    """What the draft has to contain. The SDK sends this type as a JSON Schema and checks the answer against it."""

    headline: str = Field(description="A short headline", max_length=80)
    points: list[str] = Field(description="The points to make", min_length=2, max_length=4)


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.1.4 · AI SDK Task Decorator",
    doc_md=__doc__,
    # The prompts are finished texts, so Airflow must not render them a second time.
    jinja_environment_kwargs=prompts.rendered_once(),
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=3)},
    params={
        "facts": Param(
            FACTS,
            type="array",
            title="Facts",
            description="One a line, two or more. The prompt for the outline lists them.",
            items={"type": "string"},
            minItems=2,
        ),
        "tone": Param(
            "friendly",
            enum=["friendly", "formal"],
            title="Tone",
            description="formal adds a sentence to the last prompt: Do not use contractions.",
        ),
        "temperature": Param(
            0.3,
            type="number",
            title="Temperature of the draft",
            description="0 to 1. With a higher value the model takes less likely words. The other steps stay at 0.",
            minimum=0,
            maximum=1,
        ),
    },
)
def ai_sdk_task_decorator() -> Any:
    @task.llm(
        llm_conn_id=CONN_ID,
        output_type=Outline,
        serialize_output=True,
        model_settings={"temperature": 0.0, "max_tokens": 300},
    )
    def write_outline(params: dict) -> str:
        """Use @task.llm decorator: the function returns the prompt, the task returns the model's answer as an Outline."""
        return prompts.load("outline_announcement").render(facts=params["facts"])

    @task
    def choose_settings(params: dict) -> dict[str, float]:
        """Configure model parameters: the settings of a task may be another task's result, here from the form."""
        return {"temperature": params["temperature"], "max_tokens": 150, "seed": 7}

    @task.llm(llm_conn_id=CONN_ID, model_settings=choose_settings())
    def write_draft(outline: dict) -> str:
        """Template prompts with Jinja: the file draft_announcement/v1.j2 has a loop over the outline's points."""
        return prompts.load("draft_announcement").render(points=outline["points"])

    @task.llm(llm_conn_id=CONN_ID, model_settings={"temperature": 0.0, "max_tokens": 80})
    def polish_draft(draft: str, params: dict) -> str:
        """Chain LLM tasks: the answer of the step before is the input of this one."""
        return prompts.load("polish_announcement").render(draft=draft, tone=params["tone"])

    @task
    def publish(outline: dict, text: str, **context) -> dict[str, Any]:
        """Chain LLM tasks: the first answer gives the headline, the last one the text; the ledger has each step's tokens."""
        from llmkit import ledger

        steps = []
        for spent in ledger.spending("task_id", run_id=context["run_id"]):
            steps.append(
                {
                    "step": spent.group[0],
                    "calls": spent.calls,
                    "input_tokens": spent.input_tokens,
                    "output_tokens": spent.output_tokens,
                }
            )
        # In the order of the chain: each step reads what the step before wrote.
        order = ["write_outline", "write_draft", "polish_draft"]
        steps.sort(key=lambda row: order.index(row["step"]))
        result = {
            "steps": steps,
            "headline": textwrap.shorten(outline["headline"], 60, placeholder=" …"),
            "text": textwrap.shorten(text, 60, placeholder=" …"),
        }
        return tables.logged(log, result)

    outline = write_outline()
    return publish(outline, polish_draft(write_draft(outline)))


ai_sdk_task_decorator()
