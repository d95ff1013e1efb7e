"""Runs a lesson once for all tests that look at the run."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def run_lesson(run_dag, settings):
    """``run_lesson(dag_id, **params)`` runs a lesson like ``airflow dags test``; the same call is run once."""
    return lambda dag_id, **params: run_dag(settings.dags, dag_id, **params)
