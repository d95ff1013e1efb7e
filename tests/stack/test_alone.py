"""The course contacts nobody: no process of it looks up a name or opens a connection beyond loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stack.ports import free_port
from stack.settings import REPO

# As another user than root one needs a user namespace to have a network of one's own.
_UNSHARE = (
    ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--user", "--map-current-user", "--keep-caps"]
)

_EVERYTHING = """
set -e
"$PYTHON" -m stack up > "$COURSE_STATE.log" 2>&1 &
up=$!
until grep -qs http:// "$COURSE_STATE.log"; do kill -0 $up; sleep 0.5; done
"$PYTHON" -m stack lesson 114_01_03
"$PYTHON" -m stack down
wait $up || true
"""


@pytest.fixture
def alone(tmp_path):
    """``alone(command)`` runs it without a way out of this machine: how it ended, and what it tried to reach."""
    if subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody have a network of one's own (unshare --net)")

    def run(*command: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], list[dict]]:
        report = tmp_path / "report.json"
        # What this process has switched off for itself must not be off for that reason alone.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "ORT_"))}
        recorder = [*_UNSHARE, sys.executable, str(Path(__file__).with_name("alone.py")), str(report)]
        done = subprocess.run(
            [*recorder, *command],
            cwd=REPO,
            env={**inherited, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done, json.loads(report.read_text())

    return run


def test_the_recorder_sees_names_and_connections(alone):
    code = """
import socket
for attempt in (lambda: socket.getaddrinfo("example.com", 443), lambda: socket.create_connection(("192.0.2.1", 443), 0.2)):
    try:
        attempt()
    except OSError:
        pass
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
"""
    done, seen = alone(sys.executable, "-c", code, RES_OPTIONS="timeout:1 attempts:1")
    assert done.returncode == 0, done
    assert any(packet["port"] == 53 and "example.com" in packet["holds"] for packet in seen), seen
    assert any((packet["address"], packet["port"]) == ("192.0.2.1", 443) for packet in seen), seen
    assert not [packet for packet in seen if packet["address"] == "127.0.0.1" and packet["port"] != 53]


def test_nothing_of_the_stack_looks_beyond_loopback(alone):
    # Where PostgreSQL's own user may go too, which it has when root runs the tests.
    with tempfile.TemporaryDirectory(prefix="course-alone-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        state = str(Path(folder) / "state")
        ports = {"PORT": str(free_port()), "KEYLESS_PORT": str(free_port())}
        done, seen = alone("sh", "-c", _EVERYTHING, PYTHON=sys.executable, COURSE_STATE=state, **ports)
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-2000:])
    assert "success (as expected)" in done.stdout
    assert seen == []
