"""The whole stack: how soon 50 lessons are listed, and what it costs to do nothing. Takes four minutes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from stack import processes
from stack.ports import free_port
from stack.settings import REPO, Settings
from stack.up import health, listed

LESSON = "114_01_03_basic_llm_task"


@dataclass(frozen=True)
class Stack:
    """Seconds from the start of the processes to 50 listed DAGs; cores used while idle; MiB of memory; cold and warm ready times."""

    cold_ready: float
    warm_ready: float
    listed_after: float
    idle_cores: float
    memory_mb: float


def measure(idle_after: float = 120, idle_for: float = 30) -> Stack:
    """Start the stack twice on a fresh state folder, the second time with 50 copies of one lesson."""
    with tempfile.TemporaryDirectory(prefix="course-bench-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        os.environ.update(
            COURSE_STATE=str(Path(folder) / "state"), PORT=str(free_port()), KEYLESS_PORT=str(free_port())
        )
        settings = Settings.load()
        cold, _ = _ready(settings)
        _stop()
        warm, _ = _ready(settings)
        _stop()
        many = Path(folder) / "dags"
        many.mkdir()
        for number in range(50):
            shutil.copy(REPO / "dags" / f"{LESSON}.py", many / f"copy_{number:02d}.py")
        os.environ["COURSE_DAGS"] = str(many)
        settings = Settings.load()
        _, listed_after = _ready(settings, wanted=50)
        began = time.monotonic()
        time.sleep(idle_after)
        before, at = _cpu(settings), time.monotonic()
        time.sleep(idle_for)
        cores = (_cpu(settings) - before) / (time.monotonic() - at)
        memory = sum(p.memory_full_info().pss for p in _all(settings)) / 2**20
        assert time.monotonic() > began
        _stop()
        os.environ.pop("COURSE_DAGS")
        return Stack(cold, warm, listed_after, cores, memory)


def _ready(settings: Settings, wanted: int | None = None) -> tuple[float, float]:
    """Seconds until all parts answer and list the DAGs, and until then from the start of Airflow's own processes."""
    began = time.monotonic()
    subprocess.Popen(
        [sys.executable, "-m", "stack", "up"], cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    started = None
    goal = wanted or len(list(settings.dags.glob("*.py")))
    while time.monotonic() - began < 300:
        time.sleep(0.25)
        if started is None and any("dag-processor" in p.cmdline() for p in processes.ours(settings)):
            started = time.monotonic()
        try:
            if all(health(settings).values()) and listed(settings) >= goal:
                return time.monotonic() - began, time.monotonic() - (started or began)
        except (httpx.HTTPError, KeyError, ValueError):
            continue
    raise TimeoutError("the stack did not come up")


def _stop() -> None:
    subprocess.run([sys.executable, "-m", "stack", "down"], cwd=REPO, stdout=subprocess.DEVNULL, check=True)


def _all(settings: Settings) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" or process.environ().get("COURSE_STATE") == str(settings.state):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _cpu(settings: Settings) -> float:
    total = 0.0
    for process in _all(settings):
        try:
            times = process.cpu_times()
            # Children that have ended count too: Airflow forks for each file that it reads.
            total += times.user + times.system + times.children_user + times.children_system
        except psutil.Error:
            continue
    return total
