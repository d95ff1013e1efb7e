"""pydantic-ai, which Airflow's AI provider is built on: its chat, responses, Anthropic and Ollama models."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError, NativeOutput, PromptedOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider


class Ticket(BaseModel):
    team: Literal["billing", "technical"]
    amount: float
    urgent: bool


TEXT = "My card was charged 49.90 EUR twice. I need this fixed right now!"


@pytest.fixture(params=["chat", "responses", "anthropic", "ollama"])
def model(request, keyless_url):
    openai = f"{keyless_url}/openai/v1"
    return {
        "chat": lambda: OpenAIChatModel("gpt-4o", provider=OpenAIProvider(base_url=openai, api_key="any")),
        "responses": lambda: OpenAIResponsesModel("gpt-5", provider=OpenAIProvider(base_url=openai, api_key="any")),
        "anthropic": lambda: AnthropicModel(
            "claude-sonnet-4-5", provider=AnthropicProvider(base_url=f"{keyless_url}/anthropic", api_key="any")
        ),
        "ollama": lambda: OpenAIChatModel("llama3.2", provider=OllamaProvider(base_url=openai, api_key="any")),
    }[request.param]()


def test_text(model):
    result = Agent(model, model_settings={"max_tokens": 20}).run_sync("Name a fruit.")
    assert result.output.strip() and result.usage.output_tokens <= 20


@pytest.mark.parametrize("mode", [lambda t: t, NativeOutput, PromptedOutput], ids=["tool", "native", "prompted"])
def test_typed_output(model, mode):
    result = Agent(model, output_type=mode(Ticket)).run_sync(TEXT)
    assert result.output == Ticket(team="billing", amount=49.9, urgent=True)
    assert result.usage.requests == 1


def test_tools_are_called_once_and_their_result_is_used(model):
    calls = []
    agent = Agent(model)

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """Get the weather for a city."""
        calls.append(city)
        return "17 degrees and drizzle"

    result = agent.run_sync("What is the weather in Lisbon?")
    assert calls == ["Lisbon"]
    assert "17" in result.output


def test_tools_then_typed_output(model):
    agent = Agent(model, output_type=Ticket)
    seen = []

    @agent.tool_plain
    def look_up_payment(order_id: str) -> str:
        """Look up the payment of an order."""
        seen.append(order_id)
        return "two payments"

    result = agent.run_sync(
        "Look up the payment of order A-17. My card was charged 12.00 EUR too much, fix it right now!"
    )
    assert seen == ["A-17"] and result.output.amount == 12.0


def test_stream(model):
    async def main():
        async with Agent(model, model_settings={"max_tokens": 20}).run_stream("Name a fruit.") as run:
            return [piece async for piece in run.stream_text(delta=True, debounce_by=None)]

    pieces = asyncio.run(main())
    assert len(pieces) > 1 and "".join(pieces).strip()


def test_a_refused_key_is_an_http_error(keyless_url):
    model = OpenAIChatModel("m", provider=OpenAIProvider(base_url=f"{keyless_url}/openai/v1", api_key="keyless:wrong"))
    with pytest.raises(ModelHTTPError) as caught:
        Agent(model).run_sync("Hi")
    assert caught.value.status_code == 401
