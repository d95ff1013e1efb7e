"""Where a run keeps what is too big for XCom: one folder a run, on any storage that Airflow's object storage knows."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath


def run_folder(context: Mapping[str, Any]) -> ObjectStoragePath:
    """The folder of this run, made if it is missing: ``<root>/<dag_id>/<run_id>``.

    ``LLMKIT_STORAGE`` is the root, such as ``s3://conn_id@bucket/genai``; it must be one that all workers reach. The
    default is a folder on this machine. A task that runs again finds what it wrote before, in the same place.
    """
    from airflow.sdk import ObjectStoragePath

    root = os.environ.get("LLMKIT_STORAGE") or f"file://{os.environ.get('AIRFLOW_HOME', '/tmp')}/storage"
    folder = ObjectStoragePath(root) / context["dag"].dag_id / folder_name(context["run_id"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def folder_name(run_id: str) -> str:
    """``run_id`` without the colons and the plus of its time, which some storages and shells do not like."""
    return re.sub(r"[^\w.-]+", "_", run_id)
