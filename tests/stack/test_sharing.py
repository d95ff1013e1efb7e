"""Several commands at once on one state folder: each ends well, and the last one stops what nobody uses any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from test_up import Stack

from stack.database import connected
from stack.locks import Lock
from stack.pausing import mend, paused
from stack.settings import REPO


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python process that has said its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=REPO,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline().strip() == "ready"
    return process


_HOLD = """
import sys
from pathlib import Path
from stack.locks import Lock
lock = Lock(Path(sys.argv[1]))
lock.share() if sys.argv[2] == "share" else lock.take(wait=True)
print("ready", flush=True)
sys.stdin.readline()
"""


def test_a_probe_takes_no_lock_and_names_who_holds_it(tmp_path):
    lock = Lock(tmp_path / "lock")
    assert lock.holder() is None and not lock.path.exists(), "asking leaves no trace"
    for how in ("share", "take"):
        other = child(_HOLD, lock.path, how)
        assert lock.holder() == other.pid
        assert not lock.take(wait=False)
        other.kill()
        other.wait()
        assert lock.holder() is None, "a killed process holds nothing"
    # Others find nothing after a probe, or while one is at it.
    probing = child(
        "import sys\nfrom pathlib import Path\nfrom stack.locks import Lock\nlock = Lock(Path(sys.argv[1]))\n"
        "print('ready', flush=True)\nwhile True: lock.holder()",
        lock.path,
    )
    try:
        for _ in range(2000):
            assert lock.take(wait=False)
            lock.release()
    finally:
        probing.kill()
        probing.wait()


def test_a_lock_that_is_shared_stays_while_its_note_is_written(tmp_path):
    lock = Lock(tmp_path / "lock")
    lock.share()
    lock.note = "mine"
    assert lock.note == "mine"
    asked = f"from pathlib import Path\nfrom stack.locks import Lock\nprint(Lock(Path({str(lock.path)!r})).holder())"
    done = subprocess.run([sys.executable, "-c", asked], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(os.getpid())
    lock.release()


def test_a_stale_pid_is_never_signalled(tmp_path):
    """The power went, and the pids of then are now those of others."""
    bystander = subprocess.Popen(["sleep", "600"])
    postgres = tmp_path / "postgres"
    postgres.symlink_to("/bin/sleep")
    another = subprocess.Popen([postgres, "600"])
    try:
        for pid in (bystander.pid, another.pid):
            state = tmp_path / str(pid)
            (state / "pg").mkdir(parents=True)
            (state / "pg" / "PG_VERSION").write_text("18\n")
            (state / "pg" / "postmaster.pid").write_text(f"{pid}\n{state}/pg\n1\n5432\n{state}/pg\n\n1 1\nready\n")
            for name in ("up.lock", "users.lock", "start.lock"):
                (state / name).write_text(str(pid))
            done = subprocess.run(
                [sys.executable, "-m", "stack", "down"],
                cwd=REPO,
                env={**os.environ, "COURSE_STATE": str(state)},
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert done.stdout.strip() == "Nothing was running.", done
        assert bystander.poll() is None and another.poll() is None
    finally:
        for process in (bystander, another):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def alone():
    """A stack of this module's own, with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="course-many-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        stack = Stack(Path(folder) / "state")
        yield stack
        for process in stack.processes:
            process.kill()


def start(stack: Stack, *arguments: str) -> subprocess.Popen[str]:
    out = stack.state.parent / f"{'-'.join(arguments).replace('=', '-')}-{time.monotonic_ns()}.out"
    with out.open("w") as file:
        process = subprocess.Popen(
            ["make", "-s", *arguments],
            cwd=REPO,
            env=stack.env,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    process.out = out  # type: ignore[attr-defined]
    return process


def said(process: subprocess.Popen[str]) -> str:
    return process.out.read_text()  # type: ignore[attr-defined]


def until(true, limit: float = 240) -> None:
    """Wait for ``true()``."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < limit
        time.sleep(0.2)


def test_four_lessons_and_make_up_within_a_second(alone):
    """On a fresh state, too: one of them makes the database, the others wait for it. Two run the same lesson."""
    lessons = [start(alone, "lesson", f"DAG={dag}") for dag in ("114_01_03", "114_01_03", "114_07_03", "114_02_02")]
    up = start(alone, "up")
    try:
        for lesson in lessons:
            lesson.wait(timeout=400)
        for lesson in lessons:
            assert lesson.returncode == 0 and "(as expected)" in said(lesson), said(lesson)
        until(lambda: "Ready after" in said(up) or up.poll() is not None)
        assert up.poll() is None and "Ready after" in said(up), said(up)
        with alone.api() as client:
            dags = client.get("/api/v2/dags", params={"limit": 100}).json()["dags"]
            assert not any(d["is_paused"] for d in dags)
            runs = client.get("/api/v2/dags/114_01_03_basic_llm_task/dagRuns").json()["dag_runs"]
            assert [run["state"] for run in runs] == ["success", "success"]

        # `make up` goes first, and the lesson beside it keeps what it uses.
        lesson = start(alone, "lesson", "DAG=114_07_03")
        until(lambda: "✓" in said(lesson) or lesson.poll() is not None)
        os.killpg(up.pid, signal.SIGINT)
        up.wait(timeout=60)
        assert "Stopped. Everything is kept" in said(up), said(up)
        lesson.wait(timeout=120)
        assert lesson.returncode == 0 and "failed (as expected)" in said(lesson), said(lesson)
        assert alone.processes == [], "and the last one stops all"
    finally:
        for process in (*lessons, up):
            process.poll() is None and os.killpg(process.pid, signal.SIGKILL)


def test_a_killed_lesson_is_no_user_any_more(alone):
    killed = start(alone, "lesson", "DAG=114_07_03")
    try:
        until(lambda: "✓" in said(killed) or killed.poll() is not None)
        assert killed.poll() is None, said(killed)
    finally:
        os.killpg(killed.pid, signal.SIGKILL)
    killed.wait(timeout=30)
    assert {p.name() for p in alone.processes} >= {"postgres"}, "orphans are what this test is about"
    keyless = {p.pid for p in alone.processes if "keyless" in p.cmdline()}
    costs = start(alone, "costs")
    assert costs.wait(timeout=120) == 0 and "114_07_03" in said(costs), said(costs)
    assert len(keyless) == 1 and alone.processes == [], "the next one uses them and, as the last, stops them"


def test_what_a_shell_uses_stays_until_make_down(alone):
    assert alone.make("-s", "env").returncode == 0
    assert alone.make("costs").returncode == 0
    assert {p.name() for p in alone.processes} == {"postgres"}
    assert alone.make("-s", "down").stdout.strip() == "Stopped."
    assert alone.processes == []


_RUN = """
import sys
from stack.pausing import paused
from stack.settings import Settings
with paused(Settings.load(), sys.argv[1]):
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def paused_dags(running_stack, settings):
    """What the database says; two DAGs, the second paused by the reader."""
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    ids = ["pausing_one", "pausing_two"]
    with create_session() as session:
        session.merge(DagBundleModel(name="pausing"))
        session.flush()
        session.add_all(DagModel(dag_id=i, bundle_name="pausing", is_paused=i == ids[1]) for i in ids)

    with connected(settings, "airflow") as connection:

        def now() -> tuple[bool, ...]:
            rows = connection.execute("SELECT is_paused FROM dag WHERE dag_id = ANY(%s) ORDER BY dag_id", [ids])
            return tuple(row[0] for row in rows)

        yield now
        connection.execute("DELETE FROM dag WHERE dag_id = ANY(%s)", [ids])


def test_a_start_leaves_what_the_reader_paused(paused_dags):
    from stack import airflow_setup

    airflow_setup.main()
    assert paused_dags() == (False, True)


def test_of_two_runs_the_last_one_unpauses(paused_dags):
    first, second = child(_RUN, "pausing_one"), child(_RUN, "pausing_one")
    assert paused_dags() == (True, True)
    first.communicate("\n", timeout=30)
    assert paused_dags() == (True, True), "one still runs it"
    second.communicate("\n", timeout=30)
    assert paused_dags() == (False, True)


def test_a_killed_run_leaves_no_lesson_paused_and_the_reader_s_stays(paused_dags, settings):
    runs = [child(_RUN, "pausing_one"), child(_RUN, "pausing_two")]
    assert paused_dags() == (True, True)
    mend(settings)
    assert paused_dags() == (True, True), "they run"
    for run in runs:
        run.kill()
        run.wait()
    assert paused_dags() == (True, True)
    mend(settings)
    assert paused_dags() == (False, True)
    with paused(settings, "pausing_two"):
        pass
    assert paused_dags() == (False, True)
