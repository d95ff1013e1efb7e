"""
# 114.1.5 Multi-Provider Support

Lumen & Oak does not want its mail to depend on one provider. The same prompt therefore runs on five of them, and nothing but
the connection changes: this file names no SDK. When the first provider of a chain is down, the next one answers in the same
task. Every provider has other prices, so the last task puts the price of the same number of tokens beside each answer.

| Checklist item | Tasks that show it |
|---|---|
| Switch between providers | `list_connections`, `ask_provider`, `compare_answers` |
| Provider-agnostic prompts | `write_prompt`, `ask_provider` |
| Fallback provider configuration | `ask_with_fallback`, `prove_who_answered` |
| Cost comparison utilities | `compare_prices` |

**Try it**: open the mapped task `ask_provider`: it has five instances, one for each connection. *Trigger* the DAG with one line fewer
in *Connections*: there is one instance fewer, and the other answers stay. *USD for 1,000* is the price of 1,000 such calls. The rows of
the fallback come from the ledger, which has every call to a model, also the failed ones. A 503 is there three times, because OpenAI's
client tries again twice before the chain moves on. `make costs` shows the same ledger.

**You should see** (offline):

| conn_id                    | decision        | model name                                           |   USD for 1,000 |
|:---------------------------|:----------------|:-----------------------------------------------------|----------------:|
| pydanticai_default         | support, urgent | openai-chat:gpt-4o-mini                              |          0.0425 |
| pydanticai_anthropic       | support, urgent | anthropic:claude-sonnet-5                            |           0.606 |
| pydanticai_gemini          | support, urgent | google:gemini-2.5-flash                              |          0.1109 |
| pydanticai_bedrock_default | support, urgent | bedrock:us.anthropic.claude-sonnet-4-5-20250929-v1:0 |          0.9999 |
| pydanticai_ollama          | support, urgent | ollama:llama3.2                                      |               – |

| model           |   status | provider   |   requests |
|:----------------|---------:|:-----------|-----------:|
| gpt-4o-mini     |      503 | openai     |          3 |
| gpt-4o-mini     |      401 | openai     |          1 |
| claude-sonnet-5 |      200 | anthropic  |          1 |

- tokens of a prompt: 203
- tokens of an answer: 20

**SDK or own code?** `LLMOperator`, `@task.llm` and the fallback are Airflow's AI SDK. Its page on
[provider fallback](https://airflow.apache.org/docs/apache-airflow-providers-common-ai/stable/provider_fallback.html) says which errors
move on to the next connection. The ledger and `routing.quotes` are the course's own: pydantic-ai knows the price of an answer that it
got, and compares none.

**In production**: keep the chain in the connection's extra (`fallback_conn_ids`), so that operators can change it without a
deployment. A fallback helps against outages and refused calls, not against bad answers: measure the second model on your own data
before you need it. Every call asks the first connection again, so in an outage every task waits for it; the breaker of lesson 7.5
skips it. A refused key does not fail the run either, so watch the ledger for 401. Another model splits the same text into other
tokens, and list prices leave out discounts for caching and batches. So compare prices here and bills in the ledger. Offline, one small
model on this machine gives all answers. With real keys, leave `pydanticai_outage` and `pydanticai_wrong_key` as they are: they must fail.

**Builds on** [1.3 Basic LLM Task](114_01_03_basic_llm_task.py) · **Next** [2.1 OpenAI Connection Setup](114_02_01_openai_connection_setup.py)
"""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from airflow.providers.common.ai.operators.llm import LLMOperator
from airflow.sdk import Connection, Param, dag, task
from pydantic import BaseModel, Field

from llmkit import prompts, tables

log = logging.getLogger(__name__)
OWN = "pydanticai_ollama"  # a model that runs on a machine of your own, and has no list price
CONNECTIONS = ["pydanticai_default", "pydanticai_anthropic", "pydanticai_gemini", "pydanticai_bedrock_default", OWN]
TICKET = "The motor of our standing desk is broken, and we need it for tomorrow's fair. Who can repair it today?"
ASKED = """
SELECT model, provider, status, count(*) FROM llm_calls
WHERE run_id = %s AND task_id = 'ask_with_fallback' GROUP BY 1, 2, 3 ORDER BY min(at)
"""


class Routing(BaseModel):
    """The SDK asks each provider for this type in that provider's way, and checks every answer against it."""

    team: Literal["support", "sales", "accounting"] = Field(
        description="support: something is broken or late; sales: prices and offers; accounting: invoices and payments"
    )
    urgent: bool = Field(description="Whether it is urgent")


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.1.5 · Multi-Provider Support",
    doc_md=__doc__,
    # What a customer wrote is no template.
    jinja_environment_kwargs=prompts.rendered_once(),
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=3)},
    params={
        "ticket": Param(TICKET, type="string", title="Ticket", description="What the customer wrote.", minLength=1),
        "connections": Param(
            CONNECTIONS,
            type="array",
            title="Connections",
            description="One a line. All get the same prompt. Add pydanticai_cohere or pydanticai_vertex_default.",
            minItems=1,
        ),
    },
)
def multi_provider_support() -> Any:
    @task
    def write_prompt(params: dict) -> str:
        """Provider-agnostic prompts: plain words, no provider's special tokens. The SDK adds roles and formats."""
        return prompts.load("route_ticket").render(shop="Lumen & Oak", ticket=params["ticket"])

    @task
    def list_connections(params: dict) -> list[str]:
        """Switch between providers: who is asked is data, here from the form."""
        return params["connections"]

    @task
    def compare_answers(connections: list[str], answers: list[dict]) -> list[dict]:
        """Switch between providers: one answer a connection, all of one type, and the model that the connection names."""
        rows = []
        for conn_id, answer in zip(connections, answers, strict=True):
            decision = f"{answer['team']}, {'urgent' if answer['urgent'] else 'not urgent'}"
            model = Connection.get(conn_id).extra_dejson["model"]
            rows.append({"conn_id": conn_id, "decision": decision, "model name": model})
        return rows

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
    def prove_who_answered(answer: dict, run_id: str) -> list[dict]:
        """Fallback provider configuration: what the ledger has of the chain's calls, in their order."""
        from llmkit import ledger

        ledger.deliver(at_once=True)
        with ledger.connect() as connection:
            calls = connection.execute(ASKED, [run_id]).fetchall()
        return [{"model": call[0], "provider": call[1], "status": call[2], "requests": call[3]} for call in calls]

    @task
    def compare_prices(rows: list[dict], fallback: list[dict], run_id: str) -> dict[str, Any]:
        """Cost comparison utilities: the average tokens of a call, by the ledger, at the list price of each model."""
        from llmkit import ledger, routing

        spent = {each.group: each for each in ledger.spending("task_id", "status", run_id=run_id)}
        done = spent["ask_provider", 200]
        read, written = done.input_tokens // done.calls, done.output_tokens // done.calls
        models = {row["model name"] for row in rows}
        for quote in routing.quotes(models, input_tokens=read * 1000, output_tokens=written * 1000):
            for row in rows:
                if row["model name"] == quote.model:
                    row["USD for 1,000"] = None if quote.cost is None else round(float(quote.cost), 4)
        facts = {"tokens of a prompt": read, "tokens of an answer": written}
        return tables.logged(log, {"answers": rows, "fallback": fallback, **facts})

    prompt, connections = write_prompt(), list_connections()
    answers = LLMOperator.partial(
        task_id="ask_provider",
        doc_md="Switch between providers: the same task for each connection. Provider-agnostic prompts: the same prompt.",
        prompt=prompt,
        output_type=Routing,
        serialize_output=True,
    ).expand(llm_conn_id=connections)
    rows = compare_answers(connections, answers.output)
    return compare_prices(rows, prove_who_answered(ask_with_fallback(prompt)))


multi_provider_support()
