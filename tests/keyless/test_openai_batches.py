"""Files, batches and moderations by the official client."""

from __future__ import annotations

import json
import time

import openai
import pytest
import yaml
from shapes import valid

from bench.quality import DATA


def line(number: int, **body) -> dict:
    asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"Say {number}"}], "max_tokens": 3}
    return {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions", "body": {**asked, **body}}


def upload(client, lines) -> str:
    content = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in lines).encode()
    return client.files.create(file=("lines.jsonl", content), purpose="batch").id


def start(client, lines, endpoint="/v1/chat/completions"):
    return client.batches.create(
        input_file_id=upload(client, lines), endpoint=endpoint, completion_window="24h", metadata={"lesson": "x"}
    )


def ended(client, batch, limit=60):
    """The batch when it has ended, and every status it was seen in."""
    seen, deadline = [batch.status], time.monotonic() + limit
    while batch.status in ("validating", "in_progress", "cancelling"):
        assert time.monotonic() < deadline
        batch = client.batches.retrieve(batch.id)
        valid(batch)
        if batch.status != seen[-1]:
            seen.append(batch.status)
    return batch, seen


def rows(client, file_id):
    return [json.loads(row) for row in client.files.content(file_id).text.splitlines()]


def test_files(openai_client):
    kept = openai_client.files.create(file=("a.txt", b"hello"), purpose="user_data")
    valid(kept)
    assert (kept.bytes, kept.filename, kept.purpose) == (5, "a.txt", "user_data")
    assert openai_client.files.retrieve(kept.id) == kept
    assert openai_client.files.content(kept.id).read() == b"hello"
    assert kept.id in [f.id for f in openai_client.files.list(purpose="user_data")]
    assert kept.id not in [f.id for f in openai_client.files.list(purpose="batch")]
    assert len(openai_client.files.list(limit=1).data) == 1
    assert openai_client.files.delete(kept.id).deleted
    with pytest.raises(openai.NotFoundError):
        openai_client.files.content(kept.id)
    for wrong in ({"file": ("a", b""), "purpose": "batch"}, {"file": ("a", b"x"), "purpose": "fun"}):
        with pytest.raises(openai.BadRequestError):
            openai_client.files.create(**wrong)


def test_a_batch_answers_every_line_as_a_call_would(openai_client):
    lines = [line(0), line(1, messages="bad"), line(2), line(3, max_tokens=0)]
    batch, seen = ended(openai_client, start(openai_client, lines))
    assert seen[0] == "validating" and seen[-1] == "completed"
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (4, 2, 2)
    assert batch.metadata == {"lesson": "x"} and batch.model == "gpt-4o-mini"
    good, bad = rows(openai_client, batch.output_file_id), rows(openai_client, batch.error_file_id)
    assert {r["custom_id"] for r in good} == {"r0", "r2"} and {r["custom_id"] for r in bad} == {"r1", "r3"}
    direct = openai_client.chat.completions.create(**line(2)["body"])
    answer = next(r for r in good if r["custom_id"] == "r2")["response"]
    assert answer["status_code"] == 200
    assert answer["body"]["choices"][0]["message"]["content"] == direct.choices[0].message.content
    assert batch.usage.total_tokens == sum(r["response"]["body"]["usage"]["total_tokens"] for r in good)
    wrong = next(r for r in bad if r["custom_id"] == "r1")["response"]
    assert wrong["status_code"] == 400 and wrong["body"]["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "hello"}),
        ("/v1/responses", {"model": "gpt-5-mini", "input": "hello", "max_output_tokens": 3}),
    ],
)
def test_other_endpoints(openai_client, endpoint, body):
    lines = [{"custom_id": "a", "method": "POST", "url": endpoint, "body": body}]
    batch, _ = ended(openai_client, start(openai_client, lines, endpoint))
    (row,) = rows(openai_client, batch.output_file_id)
    assert row["response"]["body"]["object"] in ("list", "response")


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["{"], "invalid_json_line"),
        ([line(0), line(0)], "duplicate_custom_id"),
        ([{**line(0), "url": "/v1/embeddings"}], "mismatched_url"),
        ([{**line(0), "method": "GET"}], "invalid_method"),
        ([{"custom_id": "a"}], "invalid_request"),
        ([" "], "empty_file"),
    ],
)
def test_a_bad_file_fails_before_anything_is_answered(openai_client, lines, code):
    batch, seen = ended(openai_client, start(openai_client, lines))
    assert seen == ["validating", "failed"] or seen == ["failed"]
    assert batch.errors.data[0].code == code and batch.output_file_id is None


def test_a_batch_whose_file_is_gone_ends(openai_client):
    """It never hangs: a client that polls sees it fail, or finished if the file was read in time."""
    file_id = upload(openai_client, [line(i) for i in range(3)])
    body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = openai_client.batches.create(**body)
    openai_client.files.delete(file_id)
    batch, _ = ended(openai_client, batch)
    assert batch.status == "completed" or "deleted" in batch.errors.data[0].message


def test_cancel(clients, fresh, openai_client):
    slow = clients["openai"](fresh("latency=1s"))  # its requests are at work while the next lines ask
    batch = start(slow, [line(i) for i in range(6)])
    openai_client.batches.cancel(batch.id)
    batch, seen = ended(openai_client, openai_client.batches.retrieve(batch.id))
    assert seen[-1] == "cancelled" and batch.request_counts.completed <= 2
    with pytest.raises(openai.ConflictError, match="cancelled"):
        openai_client.batches.cancel(batch.id)
    assert batch.id in [b.id for b in openai_client.batches.list(limit=5)]


def test_a_batch_leaves_room_for_others(openai_client):
    batch = start(openai_client, [line(i, max_tokens=120) for i in range(20)])
    openai_client.chat.completions.create(**line(0)["body"])
    assert openai_client.batches.retrieve(batch.id).status in ("validating", "in_progress")
    openai_client.batches.cancel(batch.id)
    ended(openai_client, batch)


def test_a_batch_is_not_in_the_journal_and_spends_no_quota(clients, fresh, http):
    client = clients["openai"](fresh("rpm=1"))
    http.delete("/_keyless/requests")
    batch, _ = ended(client, start(client, [line(i) for i in range(3)]))
    assert batch.request_counts.completed == 3
    paths = {r["path"] for r in http.get("/_keyless/requests").json()["requests"]}
    assert "/v1/chat/completions" not in paths
    client.chat.completions.create(**line(0)["body"])


def test_unknown_batches_and_files(openai_client):
    with pytest.raises(openai.NotFoundError):
        openai_client.batches.retrieve("batch_none")
    with pytest.raises(openai.NotFoundError):
        openai_client.batches.create(input_file_id="file-none", endpoint="/v1/responses", completion_window="24h")
    with pytest.raises(openai.BadRequestError, match="endpoint"):
        openai_client.batches.create(
            input_file_id=upload(openai_client, [line(0)]), endpoint="/v1/nope", completion_window="24h"
        )


def test_moderations(openai_client):
    texts = yaml.safe_load((DATA / "moderation.yaml").read_text())
    reply = openai_client.moderations.create(input=[text for text, _ in texts])
    valid(reply)
    right = 0
    for (_, expected), result in zip(texts, reply.results, strict=True):
        flagged = {name for name, on in result.categories.model_dump(by_alias=True).items() if on}
        assert result.flagged == bool(flagged)
        families = {name.partition("/")[0] for name in expected}
        right += (
            bool(flagged & set(expected)) and {f.partition("/")[0] for f in flagged} <= families
            if expected
            else not flagged
        )
    assert right >= 25, f"{right} of {len(texts)}"
    parts = openai_client.moderations.create(input=[{"type": "text", "text": "I will kill you"}])
    assert len(parts.results) == 1 and parts.results[0].flagged
    with pytest.raises(openai.BadRequestError):
        openai_client.moderations.create(input=[])
