"""
# 114.2.3 OpenAI Function Calling

A model knows nothing about order 4711. Function calling lets it ask: it answers with the name of a function and its
arguments, this DAG runs the function, and the model writes its answer from the result. The model only proposes. This DAG
looks up the name in an allow-list, checks the arguments against types, and tells the model about a mistake instead of failing.

| Checklist item | Tasks that show it |
|---|---|
| Define function schemas | `define_schemas` |
| Enable function calling | `ask_with_tools`, `let_model_answer` |
| Parse function arguments | `parse_arguments`, `parse_bad_calls` |
| Execute functions from response | `execute_functions`, `let_model_answer` |

**Try it**: open the tasks from left to right and look at *Storage → XCom* of each: the schemas, the call that the model
proposes, its arguments as values, the function's result. Then *Trigger* it with another *Question*. *What do 2 Fjord standing
desks cost?* gets the other function called. *Hello!* needs no function, so the run pays for one request and not for two.

**You should see** (offline):

| who       | says                                                                   | calls                                         |
|:----------|:-----------------------------------------------------------------------|:----------------------------------------------|
| user      | Where is my order 4711?                                                | –                                             |
| assistant | –                                                                      | name find_order, arguments {"order_id": 4711} |
| tool      | {"product": "Aurora lamp", "pieces": 2, "status": "shipped"}           | –                                             |
| assistant | Here is what I found: product: Aurora lamp; pieces: 2; status: shipped | –                                             |

| id         | name         | mistake                                                                  | arguments                |
|:-----------|:-------------|:-------------------------------------------------------------------------|:-------------------------|
| unknown    | delete_order | There is no function delete_order. Use find_order or price_of.           | {"order_id": 4711}       |
| wrong type | find_order   | [{"type":"int_parsing","loc":["order_id"],"msg":"Input should be a vali… | {"order_id": "the lamp"} |

**SDK or own code?** The SDK writes the schemas (`pydantic_function_tool`), and the provider's hook sends them. The loop is
written out because it is the lesson; `@task.agent` of Airflow's AI SDK runs the same loop for you. Read more in OpenAI's guide
to [function calling](https://developers.openai.com/api/docs/guides/function-calling) and in Airflow's pages on the
[OpenAI provider](https://airflow.apache.org/docs/apache-airflow-providers-openai/stable/index.html).

**In production**: a function that only reads can run at once. If one writes, put an approval between `parse_arguments` and
`execute_functions`, and leave it out of the tools that `let_model_answer` offers. Keep the limit on rounds, because each round sends the whole
conversation again. With `strict`, OpenAI holds arguments to the schema unless `max_tokens` cuts them off; other servers ignore
it, so the check stays here. The model reads what functions return: a stranger's text in it is an injection risk.

**Builds on** [2.2 OpenAI Chat Completion](114_02_02_openai_chat_completion.py) · **Next** [2.4 OpenAI Embeddings](114_02_04_openai_embeddings.py)
"""

import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from airflow.sdk import BaseHook, Param, dag, task
from airflow.sdk.exceptions import AirflowFailException
from pydantic import BaseModel, Field, ValidationError

from llmkit import tables

ORDERS = Path(__file__).parents[1] / "include" / "data" / "orders.json"
PRICES = {"Aurora lamp": 89, "Lyra reading lamp": 49, "Fjord standing desk": 399}
HELP = "A question on an order (4711 to 4714) or on the price of a product. The model decides which function it needs."
BAD_CALLS = [
    {"id": "unknown", "function": {"name": "delete_order", "arguments": '{"order_id": 4711}'}},
    {"id": "wrong type", "function": {"name": "find_order", "arguments": '{"order_id": "the lamp"}'}},
]


class FindOrder(BaseModel):
    """Look up an order by its number: product, pieces and status."""

    order_id: int

    def run(self) -> dict:
        for order in json.loads(ORDERS.read_text()):
            if order["order_id"] == self.order_id:
                return {name: order[name] for name in ("product", "pieces", "status")}  # the provider needs no more
        return {"error": f"There is no order {self.order_id}."}


class PriceOf(BaseModel):
    """The price of a number of pieces of one product, in EUR."""

    product: Literal["Aurora lamp", "Lyra reading lamp", "Fjord standing desk"]
    pieces: int = Field(ge=1, description="How many pieces; 1 if the customer names no number")

    def run(self) -> dict:
        return {"pieces": self.pieces, "total_eur": PRICES[self.product] * self.pieces}


FUNCTIONS = {"find_order": FindOrder, "price_of": PriceOf}  # the allow-list: nothing else can run


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.2.3 · OpenAI Function Calling",
    doc_md=__doc__,
    tags=["reference", "patterns", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=2)},
    params={"question": Param("Where is my order 4711?", type="string", title="Question", description=HELP)},
)
def openai_function_calling() -> Any:
    @task
    def define_schemas() -> list[dict]:
        """Define function schemas: name, docstring and types of each function, as JSON Schema written by the SDK."""
        from openai import pydantic_function_tool

        return [pydantic_function_tool(function, name=name) for name, function in FUNCTIONS.items()]

    @task
    def ask_with_tools(messages: list[dict], tools: list[dict]) -> list[dict]:
        """Enable function calling: the schemas travel with the messages, and the model may answer with a call."""
        choices = BaseHook.get_hook("openai_default").create_chat_completion(messages, tools=tools, max_tokens=100)
        return [*messages, choices[0].message.model_dump(include={"role", "content", "tool_calls"})]

    @task
    def parse_arguments(messages: list[dict]) -> list[dict]:
        """Parse function arguments: a text in JSON becomes values, or a sentence that tells the model its mistake."""
        calls = []
        for asked in messages[-1]["tool_calls"] or []:
            call = {"id": asked["id"], **asked["function"]}
            try:
                call["arguments"] = FUNCTIONS[call["name"]].model_validate_json(call["arguments"]).model_dump()
            except KeyError:
                call["mistake"] = f"There is no function {call['name']}. Use {' or '.join(FUNCTIONS)}."
            except ValidationError as error:
                call["mistake"] = error.json(include_url=False, include_context=False, include_input=False)
            calls.append(call)
        return calls

    @task
    def execute_functions(calls: list[dict]) -> list[dict]:
        """Execute functions from response: this DAG runs them, and each result goes under the id of its call."""
        results = []
        for call in calls:
            result = call if "mistake" in call else FUNCTIONS[call["name"]](**call["arguments"]).run()
            results.append({"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)})
        return results

    @task
    def let_model_answer(messages: list[dict], results: list[dict], tools: list[dict]) -> list[dict]:
        """Execute functions from response: results go back, by the same steps, until a text comes or the limit is reached."""
        for _ in range(3):  # each round is paid, and a model may never stop asking
            if results:
                messages = ask_with_tools.function([*messages, *results], tools)
                results = execute_functions.function(parse_arguments.function(messages))
        if results:
            raise AirflowFailException(f"No answer after 3 rounds; the last results: {results}")
        return messages

    @task
    def show_conversation(messages: list[dict], bad_calls: list[dict]) -> dict[str, Any]:
        """Who said what, and what a model hears about calls that cannot be made."""
        turns = []
        for message in messages:
            calls = [call["function"] for call in message.get("tool_calls") or []]
            turns.append({"who": message["role"], "says": message["content"], "calls": calls})
        return tables.logged(logging.getLogger(__name__), {"turns": turns, "bad calls": bad_calls})

    tools = define_schemas()
    asked = ask_with_tools([{"role": "user", "content": "{{ params.question }}"}], tools)
    answered = let_model_answer(asked, execute_functions(parse_arguments(asked)), tools)
    return show_conversation(answered, parse_arguments.override(task_id="parse_bad_calls")([{"tool_calls": BAD_CALLS}]))


openai_function_calling()
