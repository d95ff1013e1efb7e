"""``make examples``: run the provider's example DAGs and say what became of each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from stack.ports import free_port
from stack.settings import REPO, Settings, StackError

HERE = Path(__file__).parent
LIMIT = float(os.environ.get("EXAMPLE_LIMIT", "60"))
"""Seconds that an example may take."""


def packages(settings: Settings) -> Path:
    """The folder of what the examples want beside the course's own packages, installed if it is not there. Raises ``StackError``."""
    own = os.environ.get("EXAMPLES_PACKAGES")
    folder = Path(own) if own else settings.state / "examples-packages"
    wanted = (HERE / "requirements.txt").read_text()
    done = folder / ".installed"
    if own or (done.exists() and done.read_text() == wanted):
        return folder
    sys.stderr.write("Installing what the examples want beside the course's packages (500 MB on disk, once) …\n")
    uv = shutil.which("uv") or str(REPO / ".uv" / "bin" / "uv")
    command = [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", str(folder)]
    if subprocess.run([*command, "-r", str(HERE / "requirements.txt")], check=False).returncode:
        raise StackError("The examples' packages could not be installed; what uv said stands above.")
    done.write_text(wanted)
    return folder


def main(wanted: str, model: str) -> int:
    """Run the examples whose id has ``wanted`` in it, or all. Exit status 1 when keyless failed one."""
    own = Settings.load()
    own.prepare()
    os.environ["EXAMPLES_PACKAGES"] = str(packages(own))
    # Behind the course's own packages: what both have is the course's.
    site.addsitedir(os.environ["EXAMPLES_PACKAGES"])
    report = own.state / "examples.json"
    logs = own.logs / "examples"
    logs.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="course-examples-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        os.environ.update(COURSE_STATE=f"{folder}/.state", PORT=str(free_port()), KEYLESS_PORT=str(free_port()))
        os.environ["KEYLESS_KEEP_BODIES"] = "1"
        return _all(Settings.load(), wanted, model, report, logs)


def _all(settings: Settings, wanted: str, model: str, report: Path, logs: Path) -> int:
    from bench.examples import one, services, verdict, world
    from stack.database import socket_dir
    from stack.use import in_use

    with in_use(settings):
        s3 = f"http://127.0.0.1:{free_port()}"
        moto = _s3_server(s3)
        try:
            missing = world.write_files(settings)
            service = services.serve(settings.state / "opt" / "data" / "airflow-user-survey-2025.csv")
            url = f"http://127.0.0.1:{service.server_port}"
            september = world.make_tables(settings)
            world.write_buckets(s3, world.objects(september))
            socket = str(socket_dir(settings))
            os.environ.update(
                # Object storage without a connection asks the environment.
                AWS_ACCESS_KEY_ID="keyless-needs-no-key",
                AWS_SECRET_ACCESS_KEY="keyless-needs-no-secret",
                AWS_DEFAULT_REGION="us-east-1",
                AWS_ENDPOINT_URL_S3=s3,
                # The examples' own classes in XComs: what a reader allows to use these.
                AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES="airflow.* unusual_prefix_* llama_index.*",
                ANTHROPIC_BASE_URL=f"{settings.keyless_url}/anthropic",
                OPENAI_BASE_URL=f"{settings.keyless_url}/openai/v1",
                CO_API_URL=f"{settings.keyless_url}/cohere",
                GITHUB_TOKEN="github-needs-no-token",
                # The vocabulary that LangChain's embeddings want, and tiktoken would fetch: LlamaIndex brings it.
                TIKTOKEN_CACHE_DIR=f"{os.environ['EXAMPLES_PACKAGES']}/llama_index/core/_static/tiktoken_cache",
                MODAL_CONFIG_PATH="/nonexistent",
            )
            import airflow.providers.common.ai.example_dags as examples
            from airflow.dag_processing.dagbag import DagBag

            home = Path(examples.__file__).parent
            local = "airflow.dag_processing.bundles.local.LocalDagBundle"
            os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps(
                [{"name": "dags-folder", "classpath": local, "kwargs": {"path": str(home)}}]
            )
            world.write_connections(world.connections(settings, socket, s3, url, model))
            bag = DagBag(dag_folder=str(home), bundle_path=home, bundle_name="dags-folder")
            warm()
            for path, error in bag.import_errors.items():
                sys.stdout.write(f"{path}: {error.strip().splitlines()[-1]}\n")
            chosen = [d for d in ordered(bag.dags) if not wanted or any(w in d for w in wanted.split(","))]
            rows = []
            for number, dag_id in enumerate(chosen, 1):
                with world.connection_of(dag_id, model):
                    ran = one.run(settings, bag, dag_id, world.CONF.get(dag_id), url, logs / f"{dag_id}.log", LIMIT)
                row = verdict.judge(ran, missing, settings)
                rows.append(row)
                sys.stdout.write(f"[{number}/{len(chosen)}] {verdict.line(row)}\n")
                sys.stdout.flush()
                report.write_text(json.dumps([asdict(r) for r in rows], indent=1, default=str))
            service.shutdown()
        finally:
            moto.terminate()
            moto.wait()
            # Another run may have put its own there since.
            if world.DATA.is_symlink() and world.DATA.readlink() == settings.state / "opt":
                world.DATA.unlink()
    sys.stdout.write(verdict.table(rows) + f"\nThe whole story: {report}, logs: {logs}\n")
    return int(any(r.column == "keyless" for r in rows))


def warm() -> None:
    """Import what every run imports, once for all that are forked from here."""
    import importlib

    from airflow import plugins_manager
    from airflow.providers_manager import ProvidersManager

    for name in (
        "airflow.api_fastapi.execution_api.app",
        "airflow.api_fastapi.core_api.routes.public.hitl",
        "airflow.sdk.execution_time.supervisor",
        "airflow.sdk.execution_time.task_runner",
        "airflow.jobs.triggerer_job_runner",
        "pydantic_ai.models.openai",
        "pydantic_ai.models.anthropic",
        "pydantic_ai.ui",
    ):
        importlib.import_module(name)
    from airflow.sdk.execution_time.supervisor import in_process_api_server

    # Without its thread, which would not survive the fork: each run starts that for itself.
    app = in_process_api_server().app
    if hasattr(app, "_cadwyn_initialize"):
        app._cadwyn_initialize()
    plugins_manager.integrate_macros_plugins()
    ProvidersManager().initialize_providers_hooks()


def ordered(dag_ids: object) -> list[str]:
    """By name, but what builds an index before what reads it."""
    builds = ("_index", "_embed", "_index_pdf")
    return sorted(dag_ids, key=lambda d: (not d.endswith(builds), d))  # type: ignore[call-overload]


def _s3_server(url: str) -> subprocess.Popen:
    import time

    import httpx

    program = "import site, sys; site.addsitedir(sys.argv[1]); from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[2]])"
    port = url.rsplit(":", 1)[1]
    command = [sys.executable, "-c", program, os.environ["EXAMPLES_PACKAGES"], port]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(300):
        try:
            httpx.get(url, timeout=2, trust_env=False)
            return server
        except httpx.HTTPError:
            time.sleep(0.2)
    server.kill()
    raise StackError("The S3 server (moto) did not start.")


if __name__ == "__main__":
    try:
        # Ended from outside, it stops what it started too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        sys.exit(main(os.environ.get("EXAMPLE_DAG", ""), os.environ.get("EXAMPLE_MODEL", "")))
    except StackError as problem:
        sys.exit(str(problem))
