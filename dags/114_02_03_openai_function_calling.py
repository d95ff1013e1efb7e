"""
# 114.2.3 OpenAI Function Calling

A model knows nothing about order 4711. Function calling lets it ask: it answers with the name of a function and arguments,
the DAG runs that function, and the model writes its answer from the result. The model only proposes. What runs, and with
which arguments, is decided here: names are looked up in an allow-list, arguments are checked against the function's own types,
and every mistake is told to the model instead of failing the task.

| Checklist item | Tasks that show it |
|---|---|
| Define function schemas | `define_schemas` |
| Enable function calling | `ask_with_tools`, `let_model_answer` |
| Parse function arguments | `parse_arguments`, `survive_bad_calls` |
| Execute functions from response | `execute_functions`, `let_model_answer`, `survive_bad_calls` |

**Try it**: follow the XComs from left to right: the schema, the call that the model proposed, its arguments as typed values, the
result, the answer. `survive_bad_calls` gets three calls as bad models make them, and returns what the model is told about
each. Trigger it with *What does the Fjord standing desk cost?* and another function is called.

**In production**: functions that only read can run at once; for one that writes, put a person or a policy between
`parse_arguments` and `execute_functions`. Keep the step limit: a model that is unsure asks for ever, and each step sends the
whole conversation again. Results are read by the model, so text from strangers in them is an injection risk.
"""

import inspect
import json
from datetime import timedelta
from pathlib import Path
from typing import get_type_hints

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowFailException
from pydantic import BaseModel, ValidationError, create_model

ORDERS = Path(__file__).parents[1] / "include" / "data" / "orders.json"
PRICES = {"aurora lamp": 89, "fjord standing desk": 399, "lyra reading lamp": 49}
BAD_CALLS = {
    "a function that is not there": {"name": "delete_order", "arguments": '{"order_id": 4711}'},
    "an argument of the wrong type": {"name": "find_order", "arguments": '{"order_id": "the lamp"}'},
    "arguments that are no JSON": {"name": "find_order", "arguments": "{order_id: 4711"},
}


def find_order(order_id: int) -> dict:
    """Look up an order by its number: product, pieces, status and date."""
    orders = {order["order_id"]: order for order in json.loads(ORDERS.read_text())}
    return orders.get(order_id, {"error": f"there is no order {order_id}"})


def price_of(product: str, pieces: int = 1) -> dict:
    """The price of a product in EUR, from the catalogue."""
    known = next((name for name in PRICES if name in product.lower()), None)
    return {"product": known, "eur": PRICES[known] * pieces} if known else {"error": f"no product {product!r}"}


# Only these can be called, whatever a model says.
ALLOWED = {function.__name__: function for function in (find_order, price_of)}


def arguments_of(name: str) -> type[BaseModel]:
    """The arguments of a function as a type that can be described to a model and that checks what comes back."""
    parameters, types = inspect.signature(ALLOWED[name]).parameters, get_type_hints(ALLOWED[name])
    return create_model(
        name, **{n: (types[n], ... if p.default is p.empty else p.default) for n, p in parameters.items()}
    )


def parse(call: dict) -> dict:
    """The call with its arguments as values, or with a sentence on what is wrong with it."""
    if call["name"] not in ALLOWED:
        return {"mistake": f"There is no function {call['name']}; there are {', '.join(ALLOWED)}."}
    try:
        arguments = arguments_of(call["name"]).model_validate_json(call["arguments"])
        return {"name": call["name"], "arguments": arguments.model_dump(mode="json")}
    except ValidationError as error:
        return {"mistake": "; ".join(f"{'.'.join(map(str, e['loc']))} {e['msg']}".strip() for e in error.errors())}


def execute(messages: list[dict]) -> list[dict]:
    """The conversation with a result, or the mistake, under the id of each call."""
    results = []
    for call in messages[-1].get("tool_calls", []):
        parsed = parse(call["function"])
        if "mistake" not in parsed:
            values = arguments_of(parsed["name"]).model_validate(parsed["arguments"])
            parsed = ALLOWED[parsed["name"]](**dict(values))
        results.append({"role": "tool", "tool_call_id": call["id"], "content": json.dumps(parsed)})
    return [*messages, *results]


def ask(messages: list[dict], tools: list[dict]) -> dict:
    """One call to the model, which answers with a text or with calls."""
    reply = OpenAIHook(conn_id="openai_default").conn.chat.completions.create(
        model="gpt-4o-mini", messages=messages, tools=tools, max_tokens=80
    )
    return reply.choices[0].message.model_dump(exclude_none=True, include={"role", "content", "tool_calls"})


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["reference", "patterns", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=2)},
    params={
        "question": Param("Where is my order 4711?", type="string", title="Question", minLength=1),
        "max_steps": Param(4, type="integer", title="Most steps", description="Calls to the model.", minimum=1),
    },
)
def openai_function_calling() -> None:
    @task
    def define_schemas() -> list[dict]:
        """Define function schemas: made from the functions' own types and docstrings, so that the two cannot differ."""
        schemas = {name: arguments_of(name).model_json_schema() for name in ALLOWED}
        described = [{"name": n, "description": ALLOWED[n].__doc__, "parameters": s} for n, s in schemas.items()]
        return [{"type": "function", "function": function} for function in described]

    @task
    def ask_with_tools(tools: list[dict], params: dict) -> list[dict]:
        """Enable function calling: the schemas go with the question, and the answer is a proposal, not a text."""
        question = {"role": "user", "content": params["question"]}
        return [question, ask([question], tools)]

    @task
    def parse_arguments(messages: list[dict]) -> list[dict]:
        """Parse function arguments: they come as a text in JSON, and are values only once their types are checked."""
        return [parse(call["function"]) for call in messages[-1].get("tool_calls", [])]

    @task
    def execute_functions(messages: list[dict]) -> list[dict]:
        """Execute functions from response: the conversation so far, with the results."""
        return execute(messages)

    @task
    def let_model_answer(messages: list[dict], tools: list[dict], params: dict) -> str:
        """Execute functions from response: on and on, until the model answers with a text or the limit is reached."""
        for _ in range(1, params["max_steps"]):
            messages = execute([*messages, ask(messages, tools)])
            if messages[-1]["role"] == "assistant":
                return messages[-1].get("content", "")
        raise AirflowFailException(f"No answer after {params['max_steps']} steps; the last message: {messages[-1]}")

    @task
    def survive_bad_calls(kind: str) -> str:
        """Parse function arguments: what the model is told about a call that cannot be made."""
        call = {"id": "call_1", "type": "function", "function": BAD_CALLS[kind]}
        return execute([{"role": "assistant", "tool_calls": [call]}])[-1]["content"]

    tools = define_schemas()
    asked = ask_with_tools(tools)
    parse_arguments(asked) >> let_model_answer(execute_functions(asked), tools)
    survive_bad_calls.expand(kind=list(BAD_CALLS))


openai_function_calling()
