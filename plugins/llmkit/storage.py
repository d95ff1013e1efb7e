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
    # A run's id holds a time with colons and a plus, which some storages and shells do not like.
    name = re.sub(r"[^\w.-]+", "_", context["run_id"])
    folder = ObjectStoragePath(root) / context["dag"].dag_id / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
