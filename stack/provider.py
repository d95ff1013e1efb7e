"""keyless beside the course: whether it answers, its start, its end, and what a reader is told about it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import httpx
import psutil

from keyless.mind.download import find_model as find
from keyless.mind.weights import UnusableModel
from stack import processes
from stack.settings import REPO, Settings, StackError

_MARK = "COURSE_KEYLESS"


def who_answers(settings: Settings) -> str:
    """One sentence on where the answers come from."""
    if not settings.keyless:
        return "The connections in Airflow say who answers: KEYLESS=0 starts no model of the course's own."
    if settings.model:
        return f"The model {settings.model} answers, whatever model a lesson names."
    return "A small local model answers, whatever model a lesson names; README, “What answers”, says how to use a better one."


def answers(settings: Settings) -> bool:
    """Whether keyless answers on its port."""
    try:
        return httpx.get(f"{settings.keyless_url}/health", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def find_model(settings: Settings, say: Callable[[str], None]) -> Settings:
    """The settings with the path of the reader's own model, loaded if it must be. Raises ``StackError``."""
    if not settings.model:
        return settings
    if not settings.keyless:
        raise StackError("MODEL is for keyless, and KEYLESS=0 starts none: leave one of them out.")
    try:
        return replace(settings, model=str(find(settings.model, settings.state / "models", say).path))
    except UnusableModel as error:
        raise StackError(str(error)) from None


def _require_model(settings: Settings) -> None:
    """Raises ``StackError`` when the keyless that answers has another model than ``settings`` name."""
    about = httpx.get(f"{settings.keyless_url}/health", timeout=5, trust_env=False).json()
    if about.get("file", "") != settings.model:
        wanted = f"MODEL={settings.model}" if settings.model else "no MODEL"
        raise StackError(
            f"keyless runs already with the model {about['model']} ({about.get('file', 'the course’s own')}) and this command names {wanted}: "
            "stop it with `make down`, or name the same model."
        )


def started(settings: Settings) -> list[psutil.Process]:
    """The keyless processes of this state folder, whoever started them."""
    return processes.marked(_MARK, settings)


def start(settings: Settings) -> psutil.Process | None:
    """Start keyless in a session of its own, unless one answers; it outlives who started it. Raises ``StackError``.

    Returns without waiting for it, with the process if there is a new one.
    """
    if answers(settings):
        _require_model(settings)
        return None
    processes.require_free_port(settings.keyless_port, "KEYLESS_PORT", "keyless")
    environment = {k: v for k, v in os.environ.items() if k != processes.MARK}
    with (settings.logs / "keyless.log").open("ab") as log:
        return psutil.Popen(
            [
                *(sys.executable, "-m", "keyless", "--port", str(settings.keyless_port)),
                *(["--model", settings.model] if settings.model else []),
            ],
            cwd=REPO,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**environment, _MARK: str(settings.state), "COURSE_STATE": str(settings.state)},
            start_new_session=True,
        )


def wait_for(settings: Settings, process: psutil.Process) -> None:
    """Until it answers. Raises ``StackError`` when it ends or says nothing for a minute (ten with a model of the reader's own)."""
    began = time.monotonic()
    while (
        time.monotonic() - began < (600 if settings.model else 60)
        and process.is_running()
        and process.status() != psutil.STATUS_ZOMBIE
    ):
        if answers(settings):
            return
        time.sleep(0.1)
    processes.end([process])
    raise StackError(f"keyless did not start; {settings.logs / 'keyless.log'} says why.")


def stop(settings: Settings) -> None:
    """End the keyless of this state folder."""
    processes.end(started(settings))
