"""How long a DAG file takes to be read, warm, as in a process that Airflow forks from one with the AI providers imported.

Run as a script with folders of DAG files as arguments; prints one JSON object, file to milliseconds.
"""

from __future__ import annotations

import json
import runpy
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


def defines_a_dag(path: Path) -> bool:
    """Read ``path`` once, imports and all, and say whether that made a DAG; an example may want what is not installed."""
    from airflow.sdk import DAG

    made: list[str] = []
    original = DAG.__exit__
    DAG.__exit__ = lambda self, *error: made.append(self.dag_id) or original(self, *error)  # type: ignore[method-assign]
    try:
        runpy.run_path(str(path), run_name="dag_file")
    except BaseException:
        return False
    finally:
        DAG.__exit__ = original  # type: ignore[method-assign]
    return bool(made)


def main(rounds: int = 15) -> None:
    """Measure the files of the folders given: the best of ``rounds``, all files in turn, so that a busy moment hits all."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "config"))
    import course_preload  # noqa: F401

    files = [p for folder in sys.argv[1:] for p in sorted(Path(folder).glob("*.py")) if p.name != "__init__.py"]
    best = {str(path): float("inf") for path in files if defines_a_dag(path)}
    for _ in range(rounds):
        for path in best:
            began = time.perf_counter()
            runpy.run_path(path, run_name="dag_file")
            best[path] = min(best[path], (time.perf_counter() - began) * 1000)
    sys.stdout.write("\n" + json.dumps(best) + "\n")


if __name__ == "__main__":
    main()
