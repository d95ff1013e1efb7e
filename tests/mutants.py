"""``make mutants``: break each promise of a lesson and see a test go red.

``tests/lessons/mutations.yaml`` names for every checklist item at least one change of the lesson's source that breaks the item's
promise. Each change is made in a copy of the lesson, and the tests that carry the item's marker run against that copy.
"""

from __future__ import annotations

import argparse
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import checks
import yaml

from stack.ports import free_port
from stack.settings import StackError

REPO = Path(__file__).resolve().parents[1]
FIELDS = {"lesson", "item", "find", "replace", "symptom", "hint"}
LONGEST = 600
"""Seconds for the tests of one item. A change that makes them hang is no mutation of use."""


@dataclass
class Verdict:
    """What the tests said of one change: ``red`` when an assertion failed, and which test, with its message, saw it.

    An error that ``pytest.raises`` expects and that does not come is a failed assertion too. A crash is none.
    """

    red: bool
    test: str = ""
    message: str = ""
    seconds: float = 0.0


def mutations() -> list[dict[str, str]]:
    """All entries, as they stand in the file."""
    return yaml.safe_load((REPO / "tests" / "lessons" / "mutations.yaml").read_text()) or []


def errors(entries: list[dict[str, str]], dags: Path) -> list[str]:
    """What is wrong with the entries themselves: an unknown lesson or item, a text that is not there once, no change."""
    lessons = checks.outline(REPO)
    found = []
    for number, entry in enumerate(entries, 1):
        where = f"entry {number} ({entry.get('lesson')}, {entry.get('item')})"
        if set(entry) != FIELDS or not all(isinstance(value, str) for value in entry.values()):
            found.append(f"{where}: its fields must be {', '.join(sorted(FIELDS))}, all of them texts")
            continue
        path = dags / f"{entry['lesson']}.py"
        if entry["lesson"] not in lessons or not path.exists():
            found.append(f"{where}: there is no such lesson")
        elif entry["item"] not in lessons[entry["lesson"]]["checklist"]:
            found.append(f"{where}: the outline has no such item")
        elif (times := path.read_text().count(entry["find"])) != 1:
            found.append(f"{where}: what it looks for is there {times} times, not once")
        else:
            changed = path.read_text().replace(entry["find"], entry["replace"])
            try:
                if compile(changed, entry["lesson"], "exec") and changed == path.read_text():
                    found.append(f"{where}: it changes nothing")
            except SyntaxError as error:
                found.append(f"{where}: what it makes does not compile ({error})")
    return found


def missing(entries: list[dict[str, str]], dags: Path) -> list[str]:
    """Items of the lessons that are there for which no change is named."""
    named = {(entry.get("lesson"), entry.get("item")) for entry in entries}
    return [
        f"{dag_id}: {item}"
        for dag_id, lesson in checks.outline(REPO).items()
        if (dags / f"{dag_id}.py").exists()
        for item in lesson["checklist"]
        if (dag_id, item) not in named
    ]


class Tests:
    """Runs the tests of an item against a changed lesson, on a stack of its own that stays up between the runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dags = folder / "dags"
        self.dags.mkdir()
        # What a lesson finds beside its folder.
        for name in ("include", "deploy", "docker-compose.yaml"):
            (folder / name).symlink_to(REPO / name)
        self.environment = {
            **os.environ,
            "COURSE_TEST_STATE": str(folder / "state"),
            "PORT": str(free_port()),
            "KEYLESS_PORT": str(free_port()),
        }

    @contextmanager
    def stack(self) -> Iterator[None]:
        """PostgreSQL and keyless until the end of the block."""
        hold = "import sys; from stack.use import in_use; from stack.settings import Settings\nwith in_use(Settings.load()): print('up', flush=True); sys.stdin.read()"
        environment = {**self.environment, "COURSE_STATE": str(self.folder / "state"), "KEYLESS_KEEP_BODIES": "1"}
        environment["KEYLESS"] = "1"
        command = [sys.executable, "-c", hold]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=REPO, env=environment, stdin=pipe, stdout=pipe, text=True) as holder:
            assert holder.stdin and holder.stdout
            if not any(line.strip() == "up" for line in holder.stdout):
                raise StackError("The stack for the mutations did not start; what it said last is above.")
            yield
            holder.stdin.close()

    def run(self, dag_id: str, source: str, item: str = "") -> Verdict:
        """The item's tests, or all of the lesson's, with ``source`` in the lesson's place."""
        for old in self.dags.glob("*.py"):
            old.unlink()
        (self.dags / f"{dag_id}.py").write_text(source)
        report = self.folder / "report.xml"
        report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-x", "-p", "no:cacheprovider"]
        command += [f"--junitxml={report}", f"--dags={self.dags}", f"tests/lessons/test_{dag_id}.py"]
        if item:
            command.append(f"--item={item}")
        began = time.monotonic()
        try:
            subprocess.run(command, cwd=REPO, env=self.environment, capture_output=True, timeout=LONGEST, check=False)
        except subprocess.TimeoutExpired:
            return Verdict(False, "", f"no end after {LONGEST} s", LONGEST)
        seconds = time.monotonic() - began
        if not report.exists():
            return Verdict(False, "", "pytest did not run", seconds)
        return self._read(report, seconds)

    @staticmethod
    def _read(report: Path, seconds: float) -> Verdict:
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
        for case in cases:
            for outcome in (*case.findall("failure"), *case.findall("error")):
                message = outcome.get("message", "")
                lines = message.splitlines() or [""]
                # A fixture that fails is an error to pytest; what it says of the run may still be an assertion.
                asserted = "AssertionError" in message or lines[0].startswith(("assert", "Failed: DID NOT RAISE"))
                first = lines[0].removeprefix("failed on setup with ").strip('"')
                return Verdict(asserted, case.get("name", ""), first, seconds)
        return Verdict(False, "", "green" if cases else "no test carries the item's marker", seconds)


def chosen_from(entries: list[dict[str, str]], lessons: list[str], find: str = "") -> list[dict[str, str]]:
    """The entries of the lessons whose names begin with one of ``lessons``, or all, and of these the ones that change ``find``."""
    begins = tuple(lessons) or ("",)
    return [entry for entry in entries if entry["lesson"].startswith(begins) and find in entry["find"]]


def main(arguments: list[str] | None = None) -> int:
    """Try the changes that are wanted, or all. Exit status 1 when one turns no test red."""
    parser = argparse.ArgumentParser(prog="mutants.py", description=__doc__.split("\n", 1)[0])
    parser.add_argument("lessons", nargs="*", metavar="lesson", help="a lesson or its beginning, like 114_01_03")
    parser.add_argument("--find", default="", metavar="TEXT", help="only entries whose `find` has this text")
    args = parser.parse_args(arguments)
    wanted = [*args.lessons, args.find] if args.find else args.lessons
    dags = REPO / "dags"
    entries = mutations()
    chosen = chosen_from(entries, args.lessons, args.find)
    if problems := errors(chosen, dags):
        sys.stdout.write("\n".join(problems) + "\n")
        return 1
    if not chosen:
        sys.stdout.write(f"No mutation is named for {', '.join(wanted)}.\n")
        return 1
    lessons: queue.Queue[str] = queue.Queue()
    for dag_id in dict.fromkeys(entry["lesson"] for entry in chosen):
        lessons.put(dag_id)
    green: list[str] = []
    done, lock = 0, threading.Lock()

    def say(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def work() -> None:
        nonlocal done
        with tempfile.TemporaryDirectory(prefix="course-mutants-", dir="/tmp") as folder:
            tests = Tests(Path(folder))
            with tests.stack():
                while True:
                    try:
                        dag_id = lessons.get_nowait()
                    except queue.Empty:
                        return
                    source = (dags / f"{dag_id}.py").read_text()
                    whole = tests.run(dag_id, source)
                    unchanged = "" if whole.message == "green" else f"{whole.test}: {whole.message}"
                    for entry in (entry for entry in chosen if entry["lesson"] == dag_id):
                        if unchanged:
                            verdict = Verdict(False, "", f"red without a change ({unchanged})")
                        else:
                            changed = source.replace(entry["find"], entry["replace"])
                            verdict = tests.run(dag_id, changed, entry["item"])
                        with lock:
                            done += 1
                            report(entry, verdict)

    def report(entry: dict[str, str], verdict: Verdict) -> None:
        name = f"{entry['lesson']} · {entry['item']}"
        what = f"{verdict.test}: " if verdict.test else ""
        mark = "✓" if verdict.red else "✗"
        say(f"{done}/{len(chosen)} {mark} {name} · {what}{verdict.message[:160]} ({verdict.seconds:.0f} s)")
        if not verdict.red:
            green.append(f"{name}: {entry['symptom']}")

    # Daemons, so that Ctrl-C ends the command; the stacks end when their standard input closes.
    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(os.cpu_count() or 1, 4, lessons.qsize()))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    say(f"\n{done - len(green)} of {len(chosen)} mutations turned a test of their item red.")
    for line in green:
        say(f"still green: {line}")
    without = [] if wanted else missing(entries, dags)
    for line in without:
        say(f"no mutation: {line}")
    return int(bool(green or without or done < len(chosen)))


if __name__ == "__main__":
    sys.exit(main())
