"""What of the logs a reader does not see: keys in URLs, nowhere; Airflow's own housekeeping, in ``airflow dags test``."""

from __future__ import annotations

import logging
import os
import re
import warnings

_KEY = re.compile(r"([?&](?:api[-_]?key|key|access_token|token)=)[^&\s\"']+", re.IGNORECASE)

HOUSEKEEPING = (
    "airflow.settings",
    "airflow.dag_processing.bundles.manager",
    "airflow.dag_processing.dagbag",
    "airflow.serialization.definitions.dag",
    "airflow.models.dag",
    "airflow.api_fastapi.execution_api.routes",
    # Marks that fold the log in the UI, and "Pushing xcom"; errors of a task come through.
    "task",
)
"""Loggers that speak of all lessons, or of Airflow's own calls, while one lesson is tested."""


def without_keys(record: logging.LogRecord) -> bool:
    """A logging filter that masks the value of ``?key=`` and its like; lets every record pass."""
    said = record.getMessage()
    masked = _KEY.sub(r"\1***", said)
    if masked != said:
        record.msg, record.args = masked, None
    return True


def mask_keys_in_urls() -> None:
    """Mask them in the lines of the HTTP clients, which log each request's whole URL."""
    for client in ("httpx", "httpx2", "urllib3.connectionpool"):
        logging.getLogger(client).addFilter(without_keys)


def quiet_housekeeping() -> None:
    """Let ``airflow dags test`` log the tasks' own lines and warnings; the reader's own levels, if set, are kept."""
    levels = " ".join(f"{name}=WARNING" for name in HOUSEKEEPING)
    os.environ.setdefault("AIRFLOW__LOGGING__NAMESPACE_LEVELS", levels)
    warnings.filterwarnings("ignore", "Could not import graphviz", UserWarning)
    warnings.filterwarnings("ignore", "GitWildMatchPattern", DeprecationWarning)
