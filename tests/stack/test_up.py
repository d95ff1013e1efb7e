"""What a newcomer does: make up on a fresh state, trigger a lesson over REST, read its answer, stop; and what goes wrong."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import psutil
import pytest
from ports import free_port

from stack.settings import REPO


class Stack:
    """A ``make up`` in a terminal of its own."""

    def __init__(self, state: Path) -> None:
        self.state, self.port, self.keyless_port = state, free_port(), free_port()
        self.env = {
            **os.environ,
            "COURSE_STATE": str(state),
            "PORT": str(self.port),
            "KEYLESS_PORT": str(self.keyless_port),
            "MAKEFLAGS": "",
        }
        # The test run's own Airflow settings must not leak into this one.
        self.env = {k: v for k, v in self.env.items() if not k.startswith("AIRFLOW")}
        self.out = state.parent / f"{state.name}.out"

    def make(self, *arguments, timeout=120):
        return subprocess.run(
            ["make", *arguments], cwd=REPO, env=self.env, capture_output=True, text=True, timeout=timeout, check=False
        )

    def up(self) -> None:
        began = time.monotonic()
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                ["make", "up"], cwd=REPO, env=self.env, stdout=out, stderr=out, start_new_session=True
            )
        while "Ready after" not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() - began < 150, self.said
            time.sleep(0.2)

    @property
    def said(self) -> str:
        return self.out.read_text()

    def interrupt(self) -> None:
        """Ctrl-C: the signal reaches every process of the terminal."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(timeout=60)

    @property
    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get("COURSE_STATE") == str(self.state) and process.pid != os.getpid()
                postgres = process.name() == "postgres" and str(self.state) in " ".join(process.cmdline())
                if (mine or postgres) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def api(self) -> httpx.Client:
        url = f"http://127.0.0.1:{self.port}"
        token = httpx.get(f"{url}/auth/token", trust_env=False).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=url, timeout=30, trust_env=False, headers=headers)

    def run(self, client: httpx.Client, dag_id: str, **conf) -> tuple[str, str]:
        run = (
            client.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf})
            .raise_for_status()
            .json()["dag_run_id"]
        )
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            state = client.get(f"/api/v2/dags/{dag_id}/dagRuns/{run}").json()["state"]
            if state in ("success", "failed"):
                return run, state
            time.sleep(0.3)
        raise TimeoutError(dag_id)


@pytest.fixture(scope="module")
def stack():
    # A short path: a Unix socket's may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="course-up-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        stack = Stack(Path(folder) / "state")
        yield stack
        for process in stack.processes:
            process.kill()


def listening(processes):
    for process in processes:
        for connection in process.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                yield process.name(), connection.laddr.ip


DAG = "114_01_03_basic_llm_task"


def test_the_newcomer_s_first_hour(stack):
    stack.up()
    ready = stack.said.strip().splitlines()[-1]
    lessons = len(list((REPO / "dags").glob("*.py")))
    assert re.fullmatch(
        rf"Ready after \d+ s: http://127\.0\.0\.1:{stack.port} lists {lessons} lessons\. State and logs: {stack.state}\. Ctrl-C stops everything\.",
        ready,
    )

    with stack.api() as client:
        dags = {d["dag_id"]: d for d in client.get("/api/v2/dags", params={"limit": 100}).json()["dags"]}
        assert len(dags) == lessons and not any(d["is_paused"] for d in dags.values())
        run, state = stack.run(client, DAG)
        assert state == "success"
        answer = client.get(
            f"/api/v2/dags/{DAG}/dagRuns/{run}/taskInstances/handle_response/xcomEntries/return_value",
            params={"deserialize": True},
        ).json()
        assert answer["value"]["status"] in ("ready", "cut_off", "refused") and answer["value"]["text"].strip()
        log = client.get(
            f"/api/v2/dags/{DAG}/dagRuns/{run}/taskInstances/draft_reply/logs/1", headers={"Accept": "application/json"}
        ).text
        assert "LLM run complete" in log
        calls = httpx.get(f"http://127.0.0.1:{stack.keyless_port}/_keyless/requests", trust_env=False).json()[
            "requests"
        ]
        assert [c["path"] for c in calls] == ["/v1/chat/completions"]

        # The configuration lesson again, by the processes: a worker masks the key, and a pool really bounds.
        run, state = stack.run(client, "114_01_02_ai_sdk_configuration")
        assert state == "success"
        log = client.get(
            f"/api/v2/dags/114_01_02_ai_sdk_configuration/dagRuns/{run}/taskInstances/keys.log_a_key/logs/1",
            headers={"Accept": "application/json"},
        ).text
        assert "***" in log and "keyless-needs-no-key" not in log
        instances = client.get(
            f"/api/v2/dags/114_01_02_ai_sdk_configuration/dagRuns/{run}/taskInstances", params={"limit": 100}
        ).json()["task_instances"]
        assert {i["try_number"] for i in instances if i["task_id"] == "keys.use_wrong_key"} == {1}
        spans = sorted(
            (i["start_date"], i["end_date"]) for i in instances if i["task_id"] == "limits.call_one_at_a_time"
        )
        assert len(spans) == 3 and all(a[1] <= b[0] for a, b in itertools.pairwise(spans)), "one at a time"

        # The same lesson in the shell, beside the running scheduler, which must not run its tasks a second time.
        beside = stack.make("lesson", "DAG=114_01_02")
        assert beside.returncode == 0, beside.stdout + beside.stderr
        runs = client.get(
            "/api/v2/dags/114_01_02_ai_sdk_configuration/dagRuns", params={"order_by": "-start_date"}
        ).json()
        tested = runs["dag_runs"][0]["dag_run_id"]
        assert tested != run
        url = f"/api/v2/dags/114_01_02_ai_sdk_configuration/dagRuns/{tested}/taskInstances"
        assert len({i["pid"] for i in client.get(url).json()["task_instances"]}) == 1, "one process ran them all"
        assert client.get("/api/v2/dags/114_01_02_ai_sdk_configuration").json()["is_paused"] is False

    addresses = set(listening(stack.processes))
    assert len(addresses) >= 2 and {ip for _, ip in addresses} == {"127.0.0.1"}, addresses

    second = stack.make("up")
    assert second.returncode != 0 and "running already" in second.stdout + second.stderr

    stack.interrupt()
    assert "Stopped. Everything is kept" in stack.said
    assert stack.processes == []


def test_a_killed_run_leaves_a_state_that_starts_again(stack):
    stack.up()
    # The power goes: no process gets to say goodbye, and some outlive the one that started them.
    psutil.Process(int((stack.state / "up.lock").read_text())).kill()
    psutil.Process(int((stack.state / "pg" / "postmaster.pid").read_text().split()[0])).kill()
    assert stack.processes, "orphans are what this test is about"
    stack.process.wait(timeout=30)

    stack.up()
    with stack.api() as client:
        runs = client.get(f"/api/v2/dags/{DAG}/dagRuns").json()
        assert runs["total_entries"] == 1, "the run of before is still there"
    done = stack.make("down")
    assert done.returncode == 0 and "Stopped." in done.stdout
    stack.process.wait(timeout=30)
    assert stack.processes == []
