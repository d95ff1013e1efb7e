"""pydantic-ai, which Airflow's AI provider is built on: its chat, responses, Anthropic and Ollama models."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from cohere import AsyncClientV2
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError, NativeOutput, PromptedOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.bedrock import BedrockConverseModel
from pydantic_ai.models.cohere import CohereModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.bedrock import BedrockProvider
from pydantic_ai.providers.cohere import CohereProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider


class Ticket(BaseModel):
    team: Literal["billing", "technical"]
    amount: float
    urgent: bool


TEXT = "My card was charged 49.90 EUR twice. I need this fixed right now!"


def make(kind, url, key="any"):
    """A model of one of pydantic-ai's classes, pointed at keyless."""
    openai = f"{url}/openai/v1"
    cohere = AsyncClientV2(api_key=key, base_url=f"{url}/cohere")
    return {
        "chat": lambda: OpenAIChatModel("gpt-4o", provider=OpenAIProvider(base_url=openai, api_key=key)),
        "responses": lambda: OpenAIResponsesModel("gpt-5", provider=OpenAIProvider(base_url=openai, api_key=key)),
        "anthropic": lambda: AnthropicModel(
            "claude-sonnet-4-5", provider=AnthropicProvider(base_url=f"{url}/anthropic", api_key=key)
        ),
        "ollama": lambda: OpenAIChatModel("llama3.2", provider=OllamaProvider(base_url=openai, api_key=key)),
        "cohere": lambda: CohereModel("command-a-03-2025", provider=CohereProvider(cohere_client=cohere)),
        "google": lambda: GoogleModel(
            "gemini-2.5-flash", provider=GoogleProvider(api_key=key, base_url=f"{url}/google")
        ),
        "bedrock": lambda: BedrockConverseModel(
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            provider=BedrockProvider(
                region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key="any", base_url=f"{url}/bedrock"
            ),
        ),
    }[kind]()


KINDS = ("chat", "responses", "anthropic", "ollama", "cohere", "google", "bedrock")


@pytest.fixture(params=KINDS)
def model(request, keyless_url):
    return make(request.param, keyless_url)


def test_text(model):
    result = Agent(model, model_settings={"max_tokens": 20}).run_sync("Name a fruit.")
    assert result.output.strip() and result.usage.output_tokens <= 20


@pytest.mark.parametrize("mode", [lambda t: t, NativeOutput, PromptedOutput], ids=["tool", "native", "prompted"])
def test_typed_output(model, mode):
    if mode is NativeOutput and isinstance(model, CohereModel):
        pytest.skip("pydantic-ai has no native output for Cohere")
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


@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_http_errors_with_their_status(kind, keyless_url, fresh):
    def status(key, text="Hi"):
        model = make(kind, keyless_url, key)
        if hasattr(getattr(model, "client", None), "max_retries"):
            model.client.max_retries = 1
        with pytest.raises(ModelHTTPError) as caught:
            Agent(model).run_sync(text)
        return caught.value.status_code

    assert status("keyless:wrong") == 401
    assert status("keyless:context=50", "word " * 60) == 400
    # The SDKs that these models are built on try again by themselves: a fault that stays gets through to the caller.
    assert status("keyless:outage") == (529 if kind == "anthropic" else 503)
    assert status(fresh("fail=429")) == 429
