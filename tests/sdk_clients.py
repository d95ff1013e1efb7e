"""Official clients of every provider, pointed at the test run's keyless, with any API key."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import anthropic
import boto3
import cohere
import httpx
import ollama
import openai
import pytest
from botocore.config import Config
from google import genai
from google.genai import types as genai_types

KEY = "keyless-needs-no-key"


@pytest.fixture(scope="session")
def clients(keyless_url) -> dict[str, Callable[[str], Any]]:
    """For each provider a function from an API key to a client that never retries."""
    return clients_of(keyless_url)


def clients_of(keyless_url: str) -> dict[str, Callable[[str], Any]]:
    """As the fixture ``clients``, for the keyless at that address."""

    def bedrock(key: str) -> Any:
        return boto3.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=f"{keyless_url}/bedrock",
            aws_access_key_id=key,
            aws_secret_access_key="keyless-needs-no-secret",
            config=Config(retries={"max_attempts": 0}, read_timeout=120),
        )

    def gemini(key: str) -> Any:
        return genai.Client(api_key=key, http_options=genai_types.HttpOptions(base_url=f"{keyless_url}/google"))

    return {
        "openai": lambda key: openai.OpenAI(base_url=f"{keyless_url}/openai/v1", api_key=key, max_retries=0),
        "anthropic": lambda key: anthropic.Anthropic(base_url=f"{keyless_url}/anthropic", api_key=key, max_retries=0),
        "cohere": lambda key: cohere.ClientV2(base_url=f"{keyless_url}/cohere", api_key=key, timeout=120),
        "google": gemini,
        "bedrock": bedrock,
        "ollama": lambda key: ollama.Client(
            host=f"{keyless_url}/ollama", headers={"Authorization": f"Bearer {key}"} if key else {}
        ),
    }


@pytest.fixture(scope="session")
def openai_client(clients):
    return clients["openai"](KEY)


@pytest.fixture(scope="session")
def anthropic_client(clients):
    return clients["anthropic"](KEY)


@pytest.fixture(scope="session")
def ollama_client(clients):
    return clients["ollama"]("")


@pytest.fixture(scope="session")
def cohere_client(clients):
    return clients["cohere"](KEY)


@pytest.fixture(scope="session")
def gemini_client(clients):
    return clients["google"](KEY)


@pytest.fixture(scope="session")
def bedrock_client(clients):
    return clients["bedrock"](KEY)


@pytest.fixture(scope="session")
def vertex_client(keyless_url, settings):
    """Vertex AI as Airflow's hook asks it: with a service account's key."""
    from google.oauth2 import service_account

    info = {
        "type": "service_account",
        "project_id": "course",
        "private_key_id": KEY,
        "private_key": settings.google_private_key,
        "client_email": "lessons@course.iam.gserviceaccount.com",
        "token_uri": f"{keyless_url}/google/token",
    }
    return genai.Client(
        vertexai=True,
        project="course",
        location="us-central1",
        credentials=service_account.Credentials.from_service_account_info(
            info, scopes=["https://www.googleapis.com/auth/cloud-platform"]
        ),
        http_options=genai_types.HttpOptions(base_url=f"{keyless_url}/google"),
    )


_numbers = itertools.count(1)


@pytest.fixture
def fresh():
    """A key with these directives that no other test has used, so that its quotas are full and its faults uncounted."""
    return lambda directives: f"keyless:{directives},name=test-{next(_numbers)}"


@pytest.fixture(scope="session")
def http(keyless_url):
    with httpx.Client(base_url=keyless_url, timeout=60, trust_env=False) as client:
        yield client
