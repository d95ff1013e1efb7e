"""What Airflow registers for this course alone: its API and UI answer under the names of this machine and no other.

The course runs without a login. A hostile web page whose name is made to point to 127.0.0.1 (DNS rebinding) would be
of the same origin as Airflow, read an admin's token and send connections, keys and all, elsewhere. Its requests carry its own name.
A deployment with a login needs no such list, which is why this is no part of ``llmkit_plugin.py``.
"""

from __future__ import annotations

import os

from airflow.plugins_manager import AirflowPlugin
from starlette.middleware.trustedhost import TrustedHostMiddleware


def allowed_hosts() -> list[str]:
    """Loopback and the names in ``COURSE_HOSTS``, a list with commas; ``*.example.com`` stands for all names below it."""
    more = os.environ.get("COURSE_HOSTS", "").split(",")
    return ["127.0.0.1", "localhost", *(name.strip().lower() for name in more if name.strip())]


class CoursePlugin(AirflowPlugin):
    name = "course"
    fastapi_root_middlewares = [  # noqa: RUF012
        {
            "name": "Names that Airflow answers to",
            "middleware": TrustedHostMiddleware,
            "kwargs": {"allowed_hosts": allowed_hosts(), "www_redirect": False},
        }
    ]
