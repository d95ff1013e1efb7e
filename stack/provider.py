"""keyless beside the course: whether it answers, its start, its end, and what a reader is told about it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import httpx
import psutil

from stack import processes
from stack.settings import REPO, Settings, StackError

_MARK = "COURSE_KEYLESS"


def who_answers(settings: Settings) -> str:
    """One sentence on where the answers come from."""
    if not settings.keyless:
        return "The connections in Airflow say who answers: KEYLESS=0 starts no model of the course's own."
    return "A small local model answers, whatever model a lesson names; README, “What answers”, says how to use a better one."


def answers(settings: Settings) -> bool:
    """Whether keyless answers on its port."""
    try:
        return httpx.get(f"{settings.keyless_url}/health", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def started(settings: Settings) -> list[psutil.Process]:
    """The keyless processes of this state folder, whoever started them."""
    return processes.marked(_MARK, settings)


def start(settings: Settings) -> psutil.Process | None:
    """Start keyless in a session of its own, unless one answers; it outlives who started it. Raises ``StackError``.

    Returns without waiting for it, with the process if there is a new one.
    """
    if answers(settings):
        return None
    processes.require_free_port(settings.keyless_port, "KEYLESS_PORT", "keyless")
    environment = {k: v for k, v in os.environ.items() if k != processes.MARK}
    with (settings.logs / "keyless.log").open("ab") as log:
        return psutil.Popen(
            [sys.executable, "-m", "keyless", "--port", str(settings.keyless_port)],
            cwd=REPO,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**environment, _MARK: str(settings.state)},
            start_new_session=True,
        )


def wait_for(settings: Settings, process: psutil.Process) -> None:
    """Until it answers. Raises ``StackError`` when it ends or says nothing for a minute."""
    began = time.monotonic()
    while time.monotonic() - began < 60 and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if answers(settings):
            return
        time.sleep(0.1)
    processes.end([process])
    raise StackError(f"keyless did not start; {settings.logs / 'keyless.log'} says why.")


def stop(settings: Settings) -> None:
    """End the keyless of this state folder."""
    processes.end(started(settings))
