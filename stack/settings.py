"""Where things are and on which ports: all of it from environment variables with documented defaults."""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

# Where a hook takes no address from its connection, its SDK reads it from the environment.
_ADDRESSES = {"GOOGLE_VERTEX_BASE_URL": "google", "GOOGLE_GEMINI_BASE_URL": "google", "CO_BASE_URL": "cohere"}

REPO = Path(__file__).resolve().parents[1]


class StackError(RuntimeError):
    """Something the reader can mend; its text is one sentence that says how."""


@dataclass(frozen=True)
class Settings:
    """Every setting of the stack. ``state`` holds all that it writes."""

    state: Path
    port: int
    keyless_port: int
    keyless: bool
    dags: Path
    model: str = ""
    """The reader's own model for keyless, as ``MODEL`` names it; ``stack.provider.find_model`` makes it a path."""

    @classmethod
    def load(cls) -> Settings:
        """From ``COURSE_STATE``, ``PORT``, ``KEYLESS_PORT``, ``KEYLESS``, ``COURSE_DAGS`` and ``MODEL``. Raises ``StackError``."""
        return cls(
            state=Path(os.environ.get("COURSE_STATE") or REPO / ".state").expanduser().resolve(),
            port=_port("PORT", 11480),
            keyless_port=_port("KEYLESS_PORT", 11400),
            keyless=os.environ.get("KEYLESS", "1") not in ("0", "no", "false"),
            dags=Path(os.environ.get("COURSE_DAGS") or REPO / "dags").expanduser().resolve(),
            model=os.environ.get("MODEL", ""),
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def keyless_url(self) -> str:
        return f"http://127.0.0.1:{self.keyless_port}"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def pgdata(self) -> Path:
        return self.state / "pg"

    def prepare(self) -> None:
        """Make the state folder and its secrets. Raises ``StackError`` when it cannot be written."""
        try:
            for folder in (self.state, self.logs, self.state / "airflow", self.state / "secrets"):
                folder.mkdir(parents=True, exist_ok=True)
            (self.state / "secrets").chmod(0o700)
            probe = self.state / f".writable-{os.getpid()}"
            probe.write_bytes(b"x" * 65536)
            probe.unlink(missing_ok=True)
            self._secret("fernet", lambda: Fernet.generate_key().decode())
            self._secret("jwt", lambda: secrets.token_hex(32))
            self._secret("google.pem", _private_key)
        except OSError as error:
            raise StackError(
                f"The state folder {self.state} cannot be written ({error.strerror}): free some space or set COURSE_STATE to another folder."
            ) from None

    @property
    def google_private_key(self) -> str:
        """The key of the service account that keyless is asked with; it opens nothing. Raises ``StackError``."""
        return self._secret("google.pem")

    def _secret(self, name: str, make: object = None) -> str:
        """A secret of this checkout, made once and readable by its owner alone."""
        path = self.state / "secrets" / name
        if not path.exists() or not path.read_text():
            if make is None:
                raise StackError(f"{path} is missing: run `make up` once.")
            new = path.with_name(f"{name}.{os.getpid()}")
            new.touch(mode=0o600)
            new.write_text(make())  # type: ignore[operator]
            if path.exists() and not path.read_text():
                path.unlink(missing_ok=True)
            try:
                # Whole or not at all, and of two that make it at once the first one's stays.
                os.link(new, path)
            except FileExistsError:
                pass
            finally:
                new.unlink()
        return path.read_text()

    def environment(self, socket_dir: str) -> dict[str, str]:
        """What Airflow's processes and a reader's shell need in their environment."""
        airflow = {
            "AIRFLOW_HOME": str(self.state / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPO / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "8",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__FERNET_KEY": self._secret("fernet"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__SECRET_KEY": self._secret("jwt"),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": self._secret("jwt"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://postgres:@/airflow?host={socket_dir}",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.logs / "tasks"),
            "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(self.logs / "dag_processor_files"),
            # An edited file is read again at once, a new one within half a minute; the rest may rest.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
            "AIRFLOW__SCHEDULER__ENABLE_TRACEMALLOC": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "ORT_DISABLE_TELEMETRY": "1",
            "AIRFLOW_CONN_LLM_DB": f"postgres://postgres:@/llm?host={socket_dir.replace('/', '%2F')}",
            "PYTHONPATH": os.pathsep.join([str(REPO / "config"), str(REPO)]),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "COURSE_STATE": str(self.state),
            "KEYLESS": str(int(self.keyless)),
            # Airflow renames its processes; without this that erases the environment by which ours are known.
            "SPT_NOENV": "1",
        }
        if self.keyless:
            for name, path in _ADDRESSES.items():
                # An address of the reader's own stays; one of an earlier start, perhaps on another port, does not.
                if (
                    os.environ.get(name, "").startswith(("http://127.0.0.1:", "http://localhost:"))
                    or name not in os.environ
                ):
                    airflow[name] = f"{self.keyless_url}/{path}"
        return airflow


def _private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _port(name: str, default: int) -> int:
    value = os.environ.get(name) or str(default)
    if not value.isdigit() or not 1024 <= int(value) <= 65535:
        raise StackError(f"{name}={value} is no port: give a number from 1024 to 65535.")
    return int(value)
