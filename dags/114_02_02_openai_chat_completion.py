"""
# 114.2.2 OpenAI Chat Completion

A chat completion is the call that everything else is built on: a system message says who answers, a user message what is
asked, and a handful of parameters how. Lumen & Oak lets it draft replies to customers. Airflow's OpenAI provider has no
operator for it, so the course brings one, `OpenAIChatOperator`; the provider's own `OpenAIResponseOperator`, for OpenAI's
newer API, stands beside it.

| Checklist item | Tasks that show it |
|---|---|
| OpenAIChatOperator usage | `draft_reply`, `keep_usage`, `draft_by_responses` |
| Configure model (gpt-4, gpt-3.5) | `ask_model`, `compare_models` |
| System and user messages | `write_system_message`, `write_user_message`, `draft_reply` |
| Temperature and parameters | `vary_temperature`, `compare_temperatures` |

**Try it**: trigger it with another *Model* or *Temperature* and open the task `draft_reply`: beside `return_value` it has the
XComs `usage` and `finish_reason`, and `keep_usage` joins the three to what a bill needs. With *Longest answer* at 5 the reason
is `length`, and the log warns. `compare_temperatures` shows which of three equal calls gave equal answers.

**In production**: keep `finish_reason`, because a cut-off answer looks like a good one. 0.0 is for what the next step parses;
even there a hosted model promises no equal answers. The gpt-5 family takes `max_completion_tokens` and no temperature (pass
such things in `settings`), and gpt-3.5 is only there for old prompts: put the model into a param or the connection.
"""

from datetime import timedelta
from pathlib import Path

from airflow.providers.openai.operators.openai import OpenAIResponseOperator
from airflow.sdk import Param, dag, task

from llmkit import prompts
from llmkit.operators import OpenAIChatOperator

CONN_ID = "openai_default"
MODELS = ["gpt-3.5-turbo", "gpt-4", "gpt-4o", "gpt-4o-mini", "gpt-4.1-mini"]
TICKET = "My Aurora lamp flickers when I dim it. I bought it in March and would like a new one."


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=2)},
    params={
        "ticket": Param(TICKET, type="string", title="Ticket", description="What the customer wrote.", minLength=1),
        "model": Param("gpt-4o-mini", enum=MODELS, title="Model"),
        "temperature": Param(0.2, type="number", title="Temperature", description="0 to 2.", minimum=0, maximum=2),
        "max_tokens": Param(
            60, type="integer", title="Longest answer", description="In tokens.", minimum=1, maximum=500
        ),
    },
)
def openai_chat_completion() -> None:
    @task
    def write_system_message() -> str:
        """System and user messages: the system message is ours, and the same for every customer."""
        return prompts.load("support_agent").render(shop="Lumen & Oak")

    @task
    def write_user_message(params: dict) -> str:
        """System and user messages: what a customer wrote goes here alone, so that it cannot pose as an instruction."""
        return params["ticket"]

    system, ticket = write_system_message(), write_user_message()
    draft = OpenAIChatOperator(
        task_id="draft_reply",
        doc_md="OpenAIChatOperator usage: one call, with every argument from the form or from a task before.",
        conn_id=CONN_ID,
        # An XCom is passed on as it is, and never rendered: braces in a ticket stay braces.
        system=system,
        prompt=ticket,
        model="{{ params.model }}",
        temperature="{{ params.temperature }}",
        max_tokens="{{ params.max_tokens }}",
    )

    @task
    def keep_usage(text: str, usage: dict, finish_reason: str, model: str) -> dict:
        """OpenAIChatOperator usage: the text, why it ended, and what it cost, each from an XCom of the operator."""
        from llmkit import prices

        tokens = {"input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"]}
        cost = prices.cost("openai", model, **tokens)
        return {"text": text, "complete": finish_reason == "stop", **tokens, "usd": str(cost)}

    by_responses = OpenAIResponseOperator(
        task_id="draft_by_responses",
        doc_md="OpenAIChatOperator usage: the provider's operator for the Responses API, for comparison.",
        conn_id=CONN_ID,
        input_text=ticket,
        response_kwargs={"instructions": system, "temperature": 0.2},
        max_output_tokens="{{ params.max_tokens }}",
    )

    asked = OpenAIChatOperator.partial(
        task_id="ask_model",
        doc_md="Configure model (gpt-4, gpt-3.5): one task, mapped over models.",
        system=system,
        prompt=ticket,
        max_tokens=20,
    ).expand(model=["gpt-3.5-turbo", "gpt-4", "gpt-4o-mini"])

    @task
    def compare_models(usages: list[dict], models: list[str]) -> str:
        """Configure model (gpt-4, gpt-3.5): what the same draft costs on each, by list price."""
        from llmkit import prices

        rows = []
        for model, usage in zip(models, usages, strict=True):
            used = usage["prompt_tokens"], usage["completion_tokens"]
            cost = prices.cost("openai", model, input_tokens=used[0], output_tokens=used[1])
            rows.append(f"| {model} | {used[0]} | {used[1]} | {cost * 1000:.4f} |")
        return "\n".join(["| model | prompt | completion | USD for 1,000 drafts |", "|---|--:|--:|--:|", *rows])

    varied = OpenAIChatOperator.partial(
        task_id="vary_temperature",
        doc_md="Temperature and parameters: the same call three times, twice cold and once hot.",
        system=system,
        prompt=ticket,
        max_tokens=20,
        settings={"seed": 7},
    ).expand(temperature=[0.0, 0.0, 1.5])

    @task
    def compare_temperatures(answers: list[str]) -> dict:
        """Temperature and parameters: cold answers repeat themselves, a hot one goes its own way."""
        first, second, hot = answers
        return {"the two cold answers are equal": first == second, "the hot one is another": hot != first, "hot": hot}

    keep_usage(draft.output, draft.output["usage"], draft.output["finish_reason"], draft.output["model"])
    compare_models(asked.output["usage"], asked.output["model"])
    compare_temperatures(varied.output)
    draft >> by_responses


openai_chat_completion()
