"""Decision models' API, by pydantic-ai's model and Ollama's client."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import pytest
from pydantic import BaseModel, Field
from pydantic_ai import Agent, ModelHTTPError, UseEnumMemberDocstrings
from pydantic_ai.models.system_one import SystemOneModel
from pydantic_ai.providers.system_one import SystemOneProvider


class Cause(UseEnumMemberDocstrings, StrEnum):
    """Why a task failed."""

    transient = "transient"
    """A fault that clears by itself: a timeout, throttling, a dropped connection."""

    permission = "permission"
    """The role lacks a permission that it needs."""

    bug = "bug"
    """A mistake in the code, such as a missing key or a wrong type."""


class Handling(BaseModel):
    team: Literal["billing", "technical"] = Field(description="billing: payments; technical: defects")
    asks_for_money: bool = Field(description="Does the customer ask for money back?")


QUESTIONS = {
    "kind": {"type": "choice", "instructions": "What is wanted?", "criteria": {"refund": "money back", "advice": None}},
    "angry": {"type": "noul", "instructions": "Is the customer angry?"},
    "urgency": {"type": "score", "instructions": "How urgent is it?", "criteria": ["can wait", "this week", "at once"]},
}


def model(url, path="systemone", key="any"):
    return SystemOneModel("laya", provider=SystemOneProvider(base_url=f"{url}/{path}", api_key=key))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("AccessDenied when calling PutObject: the role airflow-worker lacks s3:PutObject.", "permission"),
        ("HTTP 429 Too Many Requests, retry after 20 s.", "transient"),
        ("KeyError: 'customer_id' in transform.py, line 12.", "bug"),
    ],
)
@pytest.mark.parametrize("path", ["systemone", "ollama"])
def test_an_agent_decides(text, cause, path, keyless_url):
    result = Agent(model(keyless_url, path), output_type=Cause, instructions="Why did it fail?").run_sync(text)
    details = result.response.provider_details
    spread = details["probabilities"]["response"]
    assert result.output.value == cause == max(spread, key=spread.__getitem__)
    assert details["confidence"]["response"] == spread[cause] and sum(spread.values()) == pytest.approx(1)
    assert result.usage.input_tokens > 10 and result.usage.output_tokens == 1


def test_an_object_is_several_questions(keyless_url):
    text = "My card was charged twice. I want my money back."
    result = Agent(model(keyless_url), output_type=Handling, instructions="Judge the ticket.").run_sync(text)
    assert result.output == Handling(team="billing", asks_for_money=True)


def test_ollamas_client_asks_all_three_kinds(ollama_client):
    reply = ollama_client.systemone("laya", {"text": "The lamp broke. I want my money back at once."}, QUESTIONS)
    assert reply.answers["kind"].choice == "refund" and 0 <= reply.answers["angry"].noul <= 1
    urgency = reply.answers["urgency"]
    assert urgency.legend == {"0": "can wait", "1": "this week", "2": "at once"}
    assert urgency.score == pytest.approx(sum(int(level) * p for level, p in urgency.probabilities.items()))
    again = ollama_client.systemone("laya", {"text": "The lamp broke. I want my money back at once."}, QUESTIONS)
    assert again == reply


def test_errors_quotas_and_the_log(keyless_url, http, fresh):
    def status(key, text="Hi"):
        with pytest.raises(ModelHTTPError) as caught:
            Agent(model(keyless_url, key=key), output_type=Cause, instructions="Why?").run_sync(text)
        return caught.value.status_code

    assert status("keyless:wrong") == 401
    assert status(fresh("fail=503")) == 503
    assert status(fresh("context=20"), "word " * 60) == 400
    body = {"model": "laya", "state": "Hi", "questions": QUESTIONS}
    key = {"Authorization": f"Bearer {fresh('tpm=10')}"}
    assert http.post("/systemone/v1/systemone", json=body, headers=key).status_code == 429
    assert http.post("/systemone/v1/systemone", json=body).status_code == 200
    row = http.get("/_keyless/requests", params={"limit": 1}).json()["requests"][-1]
    assert (row["provider"], row["model"], row["completion_tokens"]) == ("systemone", "laya", 3)
    for broken in ({**body, "questions": {}}, {**body, "questions": {"a": {"type": "rank"}}}, {"model": "laya"}):
        reply = http.post("/systemone/v1/systemone", json=broken)
        assert reply.status_code == 400 and reply.json()["error"]["message"]
