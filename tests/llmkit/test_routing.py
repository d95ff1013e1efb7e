from __future__ import annotations

from decimal import Decimal

import pytest

from llmkit import routing


def test_the_same_tokens_on_several_models_cheapest_first():
    models = [
        "ollama:llama3.2",
        "anthropic:claude-sonnet-5",
        "openai-chat:gpt-4o-mini",
        "bedrock:amazon.nova-lite-v1:0",
    ]
    found = routing.quotes(models, input_tokens=1_000_000, output_tokens=1_000_000)
    assert [q.model for q in found] == [models[3], models[2], models[1], models[0]]
    assert [q.cost for q in found] == [Decimal("0.3"), Decimal("0.75"), Decimal("12"), None]


@pytest.mark.parametrize(
    "model", ["openai:gpt-5-mini", "openai-responses:gpt-5-mini", "google:gemini-2.5-flash", "google-cloud:gemini-2.5-flash"]
)  # fmt: skip
def test_every_way_to_name_a_provider_has_a_price(model):
    assert routing.quotes([model], input_tokens=10, output_tokens=10)[0].cost > 0


def test_a_model_needs_a_provider():
    with pytest.raises(ValueError, match="anthropic:claude"):
        routing.quotes(["gpt-4o"], input_tokens=1, output_tokens=1)
