"""One example, run in a process of its own that is ended after its time."""

from __future__ import annotations

import asyncio
import copy
import json
import multiprocessing
import os
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx

from bench.examples import people, services
from stack.settings import Settings


@dataclass
class Call:
    """A tool call that the model asked for, and what the tool said."""

    name: str
    arguments: dict[str, Any]
    result: str = ""


@dataclass
class Ran:
    """What one run came to. ``xcoms`` has what tasks returned, by task; of a mapped one a list."""

    dag_id: str
    state: str = "timeout"
    tasks: dict[str, str] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    xcoms: dict[str, Any] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """What keyless answered with an error: ``400 POST /openai/v1/embeddings``."""
    asked: int = 0
    prompts: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0


def calls_in(requests: list[dict[str, Any]]) -> list[Call]:
    """Every tool call that later requests of the log repeat as the conversation so far, once each."""
    found: dict[tuple[str, str], Call] = {}
    for request in requests:
        results = {}
        messages = (request.get("asked") or {}).get("messages") or []
        for message in messages:
            if message.get("role") == "tool":
                results[message.get("tool_call_id")] = message.get("text", "")
        for message in messages:
            for call in message.get("tool_calls") or []:
                key = (call["id"], json.dumps(call["arguments"], sort_keys=True))
                one = found.setdefault(key, Call(call["name"], call["arguments"]))
                one.result = results.get(call["id"], one.result)
    return list(found.values())


def unwrapped(value: Any) -> Any:
    """A model's fields in place of how Airflow keeps the model."""
    if isinstance(value, dict):
        return unwrapped(value["__data__"]) if "__classname__" in value else {k: unwrapped(v) for k, v in value.items()}
    return [unwrapped(v) for v in value] if isinstance(value, list) else value


def prompts_in(requests: list[dict[str, Any]]) -> list[str]:
    """What users said in the requests of the log, each once."""
    messages = (m for r in requests for m in (r.get("asked") or {}).get("messages") or [])
    return list(dict.fromkeys(m["text"] for m in messages if m.get("role") == "user"))


def journal(settings: Settings, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
    """keyless' log of requests."""
    asked = {"after": after, "limit": limit}
    reply = httpx.get(f"{settings.keyless_url}/_keyless/requests", params=asked, timeout=20, trust_env=False)
    return reply.json()["requests"]


def run(settings: Settings, bag: Any, dag_id: str, conf: dict | None, service: str, log: Path, limit: float) -> Ran:
    """Run a DAG of ``bag``, for ``limit`` seconds at most."""
    last = journal(settings, limit=1)
    out = log.with_suffix(".json")
    out.unlink(missing_ok=True)
    began = time.monotonic()
    fork = multiprocessing.get_context("fork")
    child = fork.Process(target=_child, args=(settings, bag, dag_id, conf, service, log, out))
    child.start()
    child.join(limit)
    ended = not child.is_alive()
    if not ended:
        # The tools that it started, an MCP server for one, go with it.
        with suppress(ProcessLookupError):
            os.killpg(child.pid, 9)
        child.join()
    ran = Ran(**json.loads(out.read_text())) if out.exists() else Ran(dag_id)
    if ended and not out.exists():
        ran.state, ran.errors = "crashed", [f"the process ended with {child.exitcode}"]
    if not ended:
        ran.state, ran.errors = "timeout", [f"not ended after {limit:.0f} s"]
    ran.seconds = round(time.monotonic() - began, 1)
    requests = journal(settings, last[-1]["id"] if last else 0)
    ran.asked = len(requests)
    ran.calls = calls_in(requests)
    ran.prompts = prompts_in(requests)
    ran.refused = [f"{r['status']} {r['method']} {r['path']}" for r in requests if (r["status"] or 0) >= 400]
    return ran


def _child(settings: Settings, bag: Any, dag_id: str, conf: dict | None, service: str, log: Path, out: Path) -> None:
    os.setpgid(0, 0)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(target, 1), os.dup2(target, 2)
    ran = Ran(dag_id, "failed")
    try:
        _run(settings, bag, dag_id, conf, service, ran)
    except BaseException:
        traceback.print_exc()
        ran.errors.append(traceback.format_exc().strip().splitlines()[-1])
    text = log.read_text(errors="replace")
    ran.errors += [line for line in errors_in(text) if line not in ran.errors]
    whole = asdict(ran)
    out.with_suffix(".part").write_text(json.dumps(whole, default=str))
    out.with_suffix(".part").rename(out)
    os._exit(0)


def errors_in(log: str) -> list[str]:
    """The last lines of the tracebacks in a log, in order, each once."""
    found: dict[str, None] = {}
    lines = log.splitlines()
    inside = False
    for line in lines:
        bare = line.strip(" │╭╰")
        if "Traceback (most recent call last)" in line:
            inside = True
        elif inside and line[:1] not in (" ", "│", "╭", "╰", "") and ":" in bare.split(" ")[0]:
            found[bare[:400]] = None
            inside = False
    return list(found)


def _run(settings: Settings, bag: Any, dag_id: str, conf: dict | None, service: str, ran: Ran) -> None:
    from airflow import settings as orm
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.sdk import timezone
    from airflow.sdk.log import configure_logging
    from airflow.utils.session import create_session
    from datafusion.object_store import AmazonS3
    from sqlalchemy import select

    s3 = "airflow.providers.common.sql.datafusion.object_storage_provider"
    orm.engine.dispose(close=False)
    orm.configure_orm()
    configure_logging()
    services.redirect(service)
    # Only its own example is registered, or the 130 others cost each run half a minute.
    alone = copy.copy(bag)
    alone.dags = {dag_id: bag.dags[dag_id]}
    done = people.attend(dag_id, ran.answered)
    # Nobody waits for the delay of a retry, nor for a service that stands on this machine.
    at_once = patch.object(TaskInstance, "next_retry_datetime", lambda ti: timezone.utcnow() - timedelta(seconds=1))
    sleep, pause = time.sleep, asyncio.sleep

    async def shortly(seconds: float, result: Any = None) -> Any:
        return await pause(min(seconds, 1), result)

    with (
        at_once,
        patch("time.sleep", lambda seconds: sleep(min(seconds, 0.5))),
        patch("asyncio.sleep", shortly),
        # This machine's S3 speaks no TLS, and DataFusion has a switch for that which Airflow does not pass on.
        patch(f"{s3}.AmazonS3", partial(AmazonS3, allow_http=True)),
        patch("airflow.dag_processing.dagbag.BundleDagBag", lambda **_: alone),
    ):
        outcome = bag.dags[dag_id].test(run_conf=conf)
    done.set()
    ran.state = str(outcome.state)
    with create_session() as session:
        for ti in outcome.get_task_instances(session=session):
            name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
            ran.tasks[name], ran.tries[name] = str(ti.state), ti.try_number
        rows = select(XComModel).where(XComModel.dag_id == dag_id, XComModel.run_id == outcome.run_id)
        for row in session.scalars(rows.order_by(XComModel.map_index)):
            with suppress(Exception):
                value = unwrapped(XComModel.deserialize_value(row))
                name = row.task_id if row.key == "return_value" else f"{row.task_id}/{row.key}"
                if row.map_index < 0:
                    ran.xcoms[name] = value
                else:
                    ran.xcoms.setdefault(name, []).append(value)
