"""
# 114.1.4 AI SDK Task Decorator

One prompt that asks for everything at once gets a muddle back. Lumen & Oak announces its new desk in three steps
instead, each a task of its own: an outline, a draft that follows it, and a polished text. Each step can be read, tested
and run again alone, and each has the model settings that suit it.

| Checklist item | Tasks that show it |
|---|---|
| Use @task.llm decorator | `write_outline`, `write_draft`, `polish` |
| Configure model parameters | `write_outline`, `write_draft`, `polish` |
| Template prompts with Jinja | `write_outline`, `write_draft`, `show_prompts` |
| Chain LLM tasks | `write_outline`, `write_draft`, `polish`, `publish` |

**Try it**: in the graph, follow outline → draft → polish; the XCom of `write_outline` is data with a headline and points, and
`write_draft` reads both. Trigger it with *Tone* set to `formal`: `show_prompts` shows the line that the template adds
under that condition. Clear `polish` alone: the two steps before it are not paid for again.

**In production**: version the prompt files like code (`include/prompts/<name>/v1.j2`; lesson 114.4.2 does more). Low
temperatures where the next step parses, higher ones where a person reads. A chain multiplies failure: with three steps
of 98 % each, one run in seventeen fails, so let each step retry by itself.
"""

from datetime import timedelta
from pathlib import Path

from airflow.sdk import Param, dag, task
from pydantic import BaseModel, Field

from llmkit import prompts

FACTS = [
    "The Fjord desk lifts from 68 to 120 cm without a sound.",
    "Its top is made of oak from Norway.",
    "It costs 399 EUR and is delivered in five days.",
]


class Outline(BaseModel):
    """What the draft has to contain. It is at module level, so that every task can read it back from XCom."""

    headline: str = Field(description="A short headline", max_length=80)
    points: list[str] = Field(description="The points to make", min_length=2, max_length=4)


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    # Rendered by `llmkit.prompts`, in a sandbox; Airflow, which has no way to know, would render them once more.
    jinja_environment_kwargs=prompts.rendered_once(),
    schedule=None,
    catchup=False,
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=3)},
    params={
        "product": Param("the Fjord standing desk", type="string", title="Product", minLength=1),
        "facts": Param(
            FACTS, type="array", title="Facts", description="One a line: all that the text may claim.", minItems=1
        ),
        "tone": Param(
            "friendly", enum=["friendly", "formal"], title="Tone", description="formal adds a line to the last prompt."
        ),
    },
)
def ai_sdk_task_decorator() -> None:
    @task.llm(
        llm_conn_id="pydanticai_default",
        output_type=Outline,
        serialize_output=True,
        model_settings={"temperature": 0.0, "max_tokens": 120},
    )
    def write_outline(params: dict) -> str:
        """Use @task.llm decorator: with an output type the answer is an `Outline`, checked before it leaves the task."""
        return prompts.load("outline_announcement").render(
            product=params["product"], facts=params["facts"], audience="people who work at home"
        )

    @task.llm(llm_conn_id="pydanticai_default", model_settings={"temperature": 0.3, "max_tokens": 140})
    def write_draft(outline: dict, params: dict) -> str:
        """Configure model parameters: 0.3 for temperature here, 0.0 in the other two, each with its own max_tokens."""
        return prompts.load("draft_announcement").render(
            headline=outline["headline"], points=outline["points"], tone=params["tone"]
        )

    @task
    def show_prompts(outline: dict, draft: str, params: dict) -> dict[str, str]:
        """Template prompts with Jinja: a loop over the points, a condition on the tone, and no way out of the sandbox."""
        return {
            "draft_announcement": prompts.load("draft_announcement").render(
                headline=outline["headline"], points=outline["points"], tone=params["tone"]
            ),
            "polish_announcement": prompts.load("polish_announcement").render(draft=draft, tone=params["tone"]),
        }

    @task.llm(llm_conn_id="pydanticai_default", model_settings={"temperature": 0.0, "max_tokens": 90})
    def polish(draft: str, params: dict) -> str:
        """Chain LLM tasks: what one returns is what the next one reads."""
        return prompts.load("polish_announcement").render(draft=draft, tone=params["tone"])

    @task
    def publish(outline: dict, text: str) -> str:
        """Chain LLM tasks: the end of the chain is a page, made from the first and the last answer."""
        return f"# {outline['headline']}\n\n{text}"

    outline = write_outline()
    draft = write_draft(outline)
    show_prompts(outline, draft)
    publish(outline, polish(draft))


ai_sdk_task_decorator()
