"""What a newcomer does: make up on a fresh state, trigger a lesson over REST, read its answer, stop; and what goes wrong."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from llmkit.ledger import replies
from stack.outline import outline
from stack.ports import free_port
from stack.settings import REPO, Settings
from stack.use import up_lock


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

    def trigger(self, client: httpx.Client, dag_id: str, **conf) -> str:
        reply = client.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf})
        return reply.raise_for_status().json()["dag_run_id"]

    def ended(self, client: httpx.Client, dag_id: str, run: str, limit: float = 90) -> str:
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            state = client.get(f"/api/v2/dags/{dag_id}/dagRuns/{run}").json()["state"]
            if state in ("success", "failed"):
                return state
            time.sleep(0.3)
        raise TimeoutError(dag_id)

    def run(self, client: httpx.Client, dag_id: str, **conf) -> tuple[str, str]:
        run = self.trigger(client, dag_id, **conf)
        return run, self.ended(client, dag_id, run)

    @property
    def socket(self) -> str:
        """The folder of PostgreSQL's socket."""
        return (self.state / "pg" / "postmaster.pid").read_text().splitlines()[4]

    def requests(self) -> list[dict]:
        """What keyless received."""
        url = f"http://127.0.0.1:{self.keyless_port}/_keyless/requests"
        return httpx.get(url, params={"limit": 20_000}, trust_env=False).json()["requests"]

    def ledger(self) -> list[tuple]:
        """The ledger's rows of what keyless answered, those of batches left out, which were no requests."""
        with psycopg.connect(host=self.socket, user="postgres", dbname="llm") as connection:
            return connection.execute(
                "SELECT provider, status, input_tokens, output_tokens, dag_id, task_id, run_id, map_index, try_number "
                "FROM llm_calls WHERE host = %s AND batch_id IS NULL AND status > 0",
                [f"127.0.0.1:{self.keyless_port}"],
            ).fetchall()


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


@pytest.fixture
def chosen_lessons(request):
    """A lesson with branches and a deferred batch, beside the one above with mapped tasks; with --all-lessons all."""
    if request.config.getoption("--all-lessons"):
        return sorted(path.stem for path in (REPO / "dags").glob("*.py"))
    return ["114_03_02_anthropic_claude_integration"]


def of_a_model(request: dict) -> tuple | None:
    """Provider, status and tokens of a request as the ledger has them; ``None`` if no model was asked."""
    api = replies.api_of(request["method"], request["path"])
    if api is None or api.kind == "batch":
        return None
    told = request["status"] == 200 and api.kind != "rerank"
    tokens = (request["prompt_tokens"], request["completion_tokens"]) if told else (None, None)
    return (api.provider, request["status"], *tokens)


def test_the_newcomer_s_first_hour(stack, chosen_lessons):
    stack.up()
    ready = stack.said.strip().splitlines()[-1]
    there = len(list((REPO / "dags").glob("*.py")))
    assert re.fullmatch(
        rf"Ready after \d+ s: http://127\.0\.0\.1:{stack.port} lists {there} lessons\. State and logs: {stack.state}\. Ctrl-C stops everything\. A small local model answers, .*",
        ready,
    )

    with stack.api() as client:
        dags = {d["dag_id"]: d for d in client.get("/api/v2/dags", params={"limit": 100}).json()["dags"]}
        assert len(dags) == there and not any(d["is_paused"] for d in dags.values())
        run, state = stack.run(client, DAG)
        assert state == "success"
        # Airflow knows the run's result; who waits for the run gets it.
        waited = client.get(f"/api/v2/dags/{DAG}/dagRuns/{run}/wait", params={"interval": 1}).text
        answer = json.loads(waited.strip().splitlines()[-1])["results"]["handle_response"]
        assert answer["status"] in ("ready", "cut_off") and answer["draft_begins"].strip()
        log = client.get(
            f"/api/v2/dags/{DAG}/dagRuns/{run}/taskInstances/handle_response/logs/1",
            headers={"Accept": "application/json"},
        ).text
        assert "next_step: " in log, "the result, a line a fact"
        assert [c["path"] for c in stack.requests()] == ["/v1/chat/completions"]

        # Workers, mapped tasks, retries, the triggerer: lessons at once, triggered over REST.
        lessons = outline()
        runs = {dag_id: stack.trigger(client, dag_id) for dag_id in {"114_01_02_ai_sdk_configuration", *chosen_lessons}}
        states = {dag_id: stack.ended(client, dag_id, run, limit=300) for dag_id, run in runs.items()}
        assert states == {dag_id: lessons[dag_id]["outcome"] for dag_id in runs}
        costs = stack.make("costs")
        assert costs.returncode == 0 and all(dag_id in costs.stdout for dag_id in runs), costs

        # A worker masks the key, and a task really runs one at a time.
        run = runs["114_01_02_ai_sdk_configuration"]
        log = client.get(
            f"/api/v2/dags/114_01_02_ai_sdk_configuration/dagRuns/{run}/taskInstances/log_key/logs/1",
            headers={"Accept": "application/json"},
        ).text
        assert "***" in log and "keyless-needs-no-key" not in log
        instances = client.get(
            f"/api/v2/dags/114_01_02_ai_sdk_configuration/dagRuns/{run}/taskInstances", params={"limit": 100}
        ).json()["task_instances"]
        assert {i["try_number"] for i in instances if i["task_id"] == "use_wrong_key"} == {1}
        spans = sorted((i["start_date"], i["end_date"]) for i in instances if i["task_id"] == "call_at_a_rate")
        assert len(spans) == 2 and all(a[1] <= b[0] for a, b in itertools.pairwise(spans)), "one at a time"

        # A lesson in the shell, beside the running scheduler, which must not run its tasks a second time.
        beside = stack.make("lesson", "DAG=114_01_04")
        assert beside.returncode == 0, beside.stdout + beside.stderr
        url = "/api/v2/dags/114_01_04_ai_sdk_task_decorator"
        (tested,) = client.get(f"{url}/dagRuns").json()["dag_runs"]
        instances = client.get(f"{url}/dagRuns/{tested['dag_run_id']}/taskInstances").json()["task_instances"]
        assert len({i["pid"] for i in instances}) == 1 and len(instances) == 5, "one process ran them all"
        assert client.get(url).json()["is_paused"] is False

        # And of all the above the ledger misses nothing.
        rows, received = stack.ledger(), Counter(filter(None, map(of_a_model, stack.requests())))
        assert Counter(row[:4] for row in rows) == received, "the ledger is keyless' request log, call for call"
        assert {(row[4], row[6]) for row in rows} >= set(runs.items()), "and knows whose calls they were"
        assert sorted(row[7] for row in rows if row[5] == "call_at_a_rate") == [0, 1]

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
    psutil.Process(up_lock(replace(Settings.load(), state=stack.state)).holder()).kill()
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
