"""Official clients of every provider, pointed at the test run's keyless."""

from __future__ import annotations

import anthropic
import httpx
import ollama
import openai
import pytest

KEY = "keyless-needs-no-key"


@pytest.fixture(scope="session")
def openai_client(keyless_url):
    return openai.OpenAI(base_url=f"{keyless_url}/openai/v1", api_key=KEY, max_retries=0)


@pytest.fixture(scope="session")
def anthropic_client(keyless_url):
    return anthropic.Anthropic(base_url=f"{keyless_url}/anthropic", api_key=KEY, max_retries=0)


@pytest.fixture(scope="session")
def ollama_client(keyless_url):
    return ollama.Client(host=f"{keyless_url}/ollama")


@pytest.fixture(scope="session")
def http(keyless_url):
    with httpx.Client(base_url=keyless_url, timeout=60, trust_env=False) as client:
        yield client
