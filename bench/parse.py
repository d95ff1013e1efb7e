"""How long a DAG file takes to be read, warm, as in a process that Airflow forks from one with the AI provider imported.

Run as a script with folders of DAG files as arguments; prints one JSON object, file to median milliseconds.
"""

from __future__ import annotations

import json
import runpy
import statistics
import sys
import time
from pathlib import Path

EMPTY = '''"""Two empty tasks."""

from airflow.sdk import dag, task


@dag(schedule=None)
def empty_{n}():
    @task
    def first():
        pass

    @task
    def second():
        pass

    first() >> second()


empty_{n}()
'''


def milliseconds(path: Path, rounds: int = 7) -> float | None:
    """Median of ``rounds`` readings after a first one that imports; ``None`` for a file that defines no DAG here."""
    from airflow.sdk import DAG

    made: list[str] = []
    original = DAG.__exit__
    DAG.__exit__ = lambda self, *error: made.append(self.dag_id) or original(self, *error)  # type: ignore[method-assign]
    try:
        runpy.run_path(str(path), run_name="dag_file")
    except BaseException:  # an example may want a package that is not installed
        return None
    finally:
        DAG.__exit__ = original  # type: ignore[method-assign]
    if not made:
        return None
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        runpy.run_path(str(path), run_name="dag_file")
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def main() -> None:
    """Measure the files of the folders given."""
    import airflow.providers.common.ai.decorators.llm  # noqa: F401

    found = {}
    for folder in sys.argv[1:]:
        for path in sorted(Path(folder).glob("*.py")):
            if path.name != "__init__.py" and (took := milliseconds(path)) is not None:
                found[str(path)] = took
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
