"""Agents: several rounds of tools, from the goal, the tools and what earlier calls returned."""

from __future__ import annotations

import pytest
from pydantic_ai import Agent
from test_pydantic_ai import KINDS, make

from bench import quality


def test_tasks_of_agents(http):
    score = quality.agents(http)
    assert score.total >= 20
    assert score.share >= 0.9, score.wrong


@pytest.mark.parametrize("kind", KINDS)
def test_two_rounds_with_parallel_calls(kind, keyless_url):
    agent = Agent(make(kind, keyless_url))
    seen = []

    @agent.tool_plain
    def find_customer(name: str) -> dict[str, str]:
        """Find a customer by name."""
        seen.append("find")
        return {"id": f"C-{len(seen)}00"}

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """Get the current weather for a city."""
        seen.append(city)
        return "17 degrees"

    @agent.tool_plain
    def list_invoices(customer_id: str) -> str:
        """List the invoices of a customer."""
        seen.append(customer_id)
        return "one invoice of 240 EUR"

    result = agent.run_sync("Get the weather in Paris and Berlin. Which invoices does the customer Ana Costa have?")
    assert seen[:2] == ["Paris", "Berlin"] and seen[-1] == "C-300" and len(seen) == 4
    assert result.output.strip()


def test_a_tool_without_parameters_gets_no_argument(http):
    tool = {
        "type": "function",
        "function": {"name": "list_tables", "description": "List the tables of the database", "parameters": {}},
    }
    message = quality._chat(http, [{"role": "user", "content": "Which tables are in the database?"}], tools=[tool])
    assert [c["function"]["arguments"] for c in message["tool_calls"]] == ["{}"]


def test_what_changes_something_is_not_done_under_a_condition(http):
    def tool(name: str, says: str) -> dict:
        parameters = {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}
        return {"type": "function", "function": {"name": name, "description": says, "parameters": parameters}}

    tools = [tool("get_order", "Look up an order"), tool("cancel_order", "Cancel an order")]

    def called(request: str) -> list[str]:
        message = quality._chat(http, [{"role": "user", "content": request}], tools=tools)
        return [c["function"]["name"] for c in message.get("tool_calls") or []]

    assert called("Cancel the order A-100.") == ["cancel_order"]
    assert "cancel_order" not in called("Look up the order A-100. If it is late, cancel the order A-100.")
