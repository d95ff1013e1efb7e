"""
# 114.1.5 Multi-Provider Support

Lumen & Oak does not want to bet its mail on one provider. The same prompt therefore runs on five of them, and nothing but
the connection changes: no SDK is named in this file. When the first provider of a chain is down, the next one answers in
the same task. And because every provider has other prices, the last part asks what the same work costs on each.

| Checklist item | Tasks that show it |
|---|---|
| Switch between providers | `ask_provider`, `compare_answers` |
| Provider-agnostic prompts | `write_prompt`, `ask_provider` |
| Fallback provider configuration | `ask_with_fallback`, `prove_who_answered` |
| Cost comparison utilities | `compare_prices` |

**Try it**: open the mapped task `ask_provider`: five runs, one a connection, and `compare_answers` shows that each answer
has the same type. `prove_who_answered` lists, from the ledger, the calls that failed before Claude answered. Trigger it
with a line removed from *Connections*: one run less, and no other change. `make costs` has the same figures later.

**In production**: keep the chain in the connection's extra (`fallback_conn_ids`), so that operations can change it
without a deployment. A fallback answers for outages and refused calls, not for bad answers; measure the second model on your own
data before it has to step in. Prices are list prices; discounts for caching and batches are not in them.
"""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from airflow.providers.common.ai.operators.llm import LLMOperator
from airflow.sdk import Param, dag, task
from pydantic import BaseModel, Field

from llmkit import prompts

CONNECTIONS = ["pydanticai_default", "pydanticai_anthropic", "pydanticai_gemini", "pydanticai_bedrock_default"]
# The last one has no list price: it is a model that runs on one's own machine.
LOCAL = "pydanticai_ollama"
MODELS = [
    *("openai:gpt-4o-mini", "openai:gpt-5-mini", "anthropic:claude-sonnet-5", "google:gemini-2.5-flash"),
    *("bedrock:amazon.nova-lite-v1:0", "cohere:command-a-03-2025", "ollama:llama3.2"),
]
TICKET = "The motor of our standing desk is broken, and we need it for tomorrow's fair. Who can repair it today?"


class Routing(BaseModel):
    """Each provider asks its model for this in a way of its own; what comes back is checked against the same type."""

    team: Literal["support", "sales", "accounting"] = Field(
        description="support: something is broken or late; sales: prices and offers; accounting: invoices and payments"
    )
    urgent: bool = Field(description="Whether it is urgent")


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    # What a customer wrote is no template.
    jinja_environment_kwargs=prompts.rendered_once(),
    schedule=None,
    catchup=False,
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=3)},
    params={
        "ticket": Param(TICKET, type="string", title="Ticket", description="What the customer wrote.", minLength=1),
        "connections": Param(
            [*CONNECTIONS, LOCAL],
            type="array",
            title="Connections",
            description="One a line: each is asked the same. Add pydanticai_cohere or pydanticai_vertex_default.",
            minItems=1,
        ),
        "models": Param(MODELS, type="array", title="Models", description="One a line: each gets a price.", minItems=1),
    },
)
def multi_provider_support() -> None:
    @task
    def write_prompt(params: dict) -> str:
        """Provider-agnostic prompts: plain words, no provider's special tokens; roles and formats are the SDK's business."""
        return prompts.load("route_ticket").render(shop="Lumen & Oak", ticket=params["ticket"])

    @task
    def list_connections(params: dict) -> list[str]:
        """Switch between providers: whom to ask is data, here from the trigger form."""
        return params["connections"]

    @task
    def compare_answers(connections: list[str], answers: list[dict]) -> dict:
        """Switch between providers: one answer a connection, all of one type."""
        return {
            conn_id: Routing.model_validate(answer).model_dump()
            for conn_id, answer in zip(connections, answers, strict=True)
        }

    @task.llm(
        llm_conn_id="pydanticai_outage",
        fallback_conn_ids=["pydanticai_wrong_key", "pydanticai_anthropic"],
        output_type=Routing,
        serialize_output=True,
    )
    def ask_with_fallback(prompt: str) -> str:
        """Fallback provider configuration: one provider is down, one refuses the key, the third one answers."""
        return prompt

    @task
    def prove_who_answered(answer: dict, **context) -> list[str]:
        """Fallback provider configuration: the ledger has a row for each call, also for those that failed."""
        from llmkit import ledger

        calls = ledger.spending("task_id", "provider", "model", "status", run_id=context["run_id"])
        return [
            f"{model} of {provider}: HTTP {status}, {spent.calls} calls"
            for spent in sorted(calls, key=lambda spent: -spent.group[3])
            for task_id, provider, model, status in [spent.group]
            if task_id == "ask_with_fallback"
        ]

    @task
    def compare_prices(answers: list[dict], params: dict, **context) -> str:
        """Cost comparison utilities: what one call used, by the ledger, and what it would cost on each model."""
        from llmkit import ledger, routing

        calls = ledger.spending("task_id", "status", run_id=context["run_id"])
        done = next(spent for spent in calls if spent.group == ("ask_provider", 200))
        # The mean of the calls: what one ticket takes.
        tokens = {"input_tokens": done.input_tokens // done.calls, "output_tokens": done.output_tokens // done.calls}
        rows = []
        for quote in routing.quotes(params["models"], **tokens):
            price = "no list price" if quote.cost is None else f"{quote.cost * 1_000_000:.2f}"
            rows.append(f"| {quote.model} | {quote.input_tokens} | {quote.output_tokens} | {price} |")
        return "\n".join(["| model | input | output | USD for a million calls |", "|---|--:|--:|--:|", *rows])

    prompt = write_prompt()
    connections = list_connections()
    answers = LLMOperator.partial(
        task_id="ask_provider",
        doc_md="Switch between providers: the same task for each connection. Provider-agnostic prompts: the same prompt, too.",
        prompt=prompt,
        output_type=Routing,
        serialize_output=True,
    ).expand(llm_conn_id=connections)
    compare_answers(connections, answers.output) >> compare_prices(answers.output)
    prove_who_answered(ask_with_fallback(prompt))


multi_provider_support()
