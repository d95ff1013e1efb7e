"""Read a lesson's file, which needs neither the database nor keyless."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from unittest.mock import patch

from stack.settings import Settings, StackError

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag


def parsed(settings: Settings, dag_id: str) -> DagBag:
    """Airflow's bag with the one DAG in it. Raises ``StackError`` when the file does not define it."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(settings.dags / f"{dag_id}.py"), bundle_path=settings.dags, bundle_name="dags-folder")
    if bag.import_errors:
        raise StackError(next(iter(bag.import_errors.values())).strip().splitlines()[-1])
    if dag_id not in bag.dags:
        raise StackError(f"{dag_id}.py defines no DAG of that id")
    return bag


def instead_of_all(bag: DagBag) -> AbstractContextManager[object]:
    """While it is entered, `dag.test` registers the DAGs of ``bag``, and does not read every lesson's file before its own run.

    That takes most of a lesson's time. It is there for DAGs that trigger others, which lessons do not.
    """
    return patch("airflow.dag_processing.dagbag.BundleDagBag", lambda **_: bag)
