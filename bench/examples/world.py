"""What the examples name: connections, tables, files and buckets, made anew in a state folder of their own."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stack.database import connected
from stack.settings import REPO, Settings, StackError

DATA = Path("/opt/airflow")
"""Where the examples look for their files; a link to the state folder for the time of the run."""

CUSTOMERS = ("Ana Costa", "Tom Berg", "Eva Lind", "Ida Holm", "Leo Maas", "Max Ruiz", "Zoe Park")
REGIONS, PRODUCTS = ("North", "South", "West"), ("lamp", "desk", "chair", "shelf")
AI = "Are you using AI/LLM (ChatGPT/Cursor/Claude etc) to assist you in writing Airflow code?"
VERSION = "Which version of Airflow do you currently use?"
DEPLOY = "How do you deploy Airflow?"
CLOUD = "Which of the following is your company's primary cloud provider for Airflow?"
EXECUTORS = ("CeleryExecutor", "KubernetesExecutor", "LocalExecutor")
BUCKETS = ("acme-reports", "my-bucket", "logs", "monitoring", "analytics", "legal", "data-lake")
NOTES = (
    "The scheduler decides when tasks run. The executor runs tasks. The web server shows the user interface. "
    "The metadata database keeps the state. The Dag processor parses Dag files. Workers execute tasks.\n"
)
REPORT = "Quarterly report. Key findings: revenue rose 12 percent to 4.2 million EUR. Churn fell to 3 percent. Risk: one supplier.\n"
FINANCE = "September finance report\nRevenue: {total} EUR\nBiggest change: shipping costs fell by 9 percent.\n"


def orders(now: datetime) -> list[tuple]:
    """Rows of the table ``orders``: more for the first customers, from a year ago to now, and some in September 2026."""
    rows, number = [], 0
    for place, _ in enumerate(CUSTOMERS, 1):
        for n in range(2 * (len(CUSTOMERS) + 1 - place)):
            number += 1
            region = REGIONS[0] if number % 2 else REGIONS[number % 3]
            at = now - timedelta(days=(n * 11 + place) % 180, hours=1)
            rows.append((number, place, PRODUCTS[(n * place) % 4], region, 20 + 5 * n + place, at))
    for n in range(6):
        number += 1
        rows.append((number, 1 + n, "lamp", "South", 100 + n, datetime(2026, 9, 3 + n)))
    return rows


def survey() -> str:
    """The survey's CSV with the columns that the examples name."""
    from airflow.providers.common.ai.example_dags.example_llm_survey_analysis import SURVEY_SCHEMA

    names = [line.split('"')[1] for line in SURVEY_SCHEMA.strip().splitlines() if '"' in line]
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    for n in range(60):
        row = dict.fromkeys(names, "")
        row |= {
            VERSION: "3.1" if n % 3 else "2.10",
            AI: ("Yes", "No", "Yes", "Sometimes")[n % 4],
            DEPLOY: ("Helm chart", "Docker Compose")[n % 2],
            CLOUD: ("AWS", "GCP", "AWS", "Azure")[n % 4],
        }
        row |= {e: "Yes" if (n + at) % 3 else "" for at, e in enumerate(EXECUTORS)}
        writer.writerow(row)
    return text.getvalue()


def _pdf(text: str) -> bytes:
    """A page with a line of text."""
    lines = "".join(f"({line}) Tj 0 -16 Td " for line in text.replace("(", "").replace(")", "").splitlines())
    stream = f"BT /F1 11 Tf 50 780 Td {lines}ET".encode()
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out, at = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        at.append(len(out))
        out += b"%d 0 obj%s endobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % a for a in at)
    return (
        out
        + b"xref\n0 6\n0000000000 65535 f \n"
        + table
        + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % len(out)
    )


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pandas

    out = io.BytesIO()
    pandas.DataFrame(rows).to_parquet(out, index=False)
    return out.getvalue()


def _chart() -> bytes:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (320, 200), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((10, 10), "Orders per day, last update 2026-11-01", fill="black")
    draw.line([(10, 180), (100, 120), (200, 130), (300, 20)], fill="red", width=3)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


AGREEMENT = (
    "Vendor agreement between Nord Parcel and Acme Ltd.\nThe vendor delivers within five days.\n"
    "The customer pays within 30 days.\nTermination: the vendor may end this agreement at any time without notice.\n"
)
ERRORS = "2024-01-15 10:02 deploy of release 7 began\n2024-01-15 10:05 ERROR payment-service TimeoutError\n" * 3


def objects(september: float) -> dict[str, bytes]:
    """What lies in the buckets, by ``bucket/key``."""
    finance = FINANCE.format(total=f"{september:.2f}").encode()
    customers = [{"id": n, "name": c, "email": None if n == 2 else f"{n}@example.org"} for n, c in enumerate(CUSTOMERS)]
    sales = [
        {"product": p, "region": r, "amount": 10.0 * n + 7 * m, "month": 9}
        for n, p in enumerate(PRODUCTS)
        for m, r in enumerate(REGIONS)
    ]
    returns = "region,returned,month\nNorth,1,9\nSouth,9,9\nWest,2,9\n"
    return {
        "acme-reports/finance/2026-09/report.txt": finance,
        "acme-reports/2026/09/finance.txt": finance,
        "acme-reports/finance/sales/part.parquet": _parquet(sales),
        "acme-reports/finance/returns/part.csv": returns.encode(),
        "my-bucket/reports/quarter.pdf": _pdf(REPORT),
        "my-bucket/library/notes.pdf": _pdf(NOTES),
        "my-bucket/data/sales/part.parquet": _parquet(sales),
        "logs/app/2024-01-15/app.log": ERRORS.encode(),
        "logs/app/dt=2024-01-15/region=eu/app.log": ERRORS.encode(),
        "monitoring/dashboards/latest.png": _chart(),
        "analytics/warehouse/customers/part.parquet": _parquet(customers),
        "analytics/reports/quarterly.pdf": _pdf(REPORT),
        "legal/contracts/vendor-agreement.pdf": _pdf(AGREEMENT),
        "data-lake/customers/part.parquet": _parquet(customers),
    }


def files() -> dict[str, bytes]:
    """What lies below ``/opt/airflow``."""
    from airflow.providers.common.ai.example_dags.example_langchain_tool_agent import SAMPLE_DOCUMENTS

    articles = [
        {"title": "Lamps", "author": "Ana", "body": "A lamp gives light."},
        {"title": "Desks", "author": "Tom", "body": "A desk is flat."},
    ]
    data = {
        "articles/sample.md": NOTES.encode(),
        "articles.json": json.dumps(articles).encode(),
        "library/a/notes.md": NOTES.encode(),
        "library/b/report.pdf": _pdf(REPORT),
        "knowledge_base/airflow.txt": NOTES.encode(),
        "reports/q3.pdf": _pdf(REPORT),
        "products.csv": b"name,price\nlamp,20\ndesk,180\n",
        "documentation/lamp.md": b"The lamp can be dimmed.\n",
        "airflow-user-survey-2025.csv": survey().encode(),
    }
    data |= {f"rag_documents/{name}": text.encode() for name, text in SAMPLE_DOCUMENTS.items()}
    return {f"data/{name}": content for name, content in data.items()}


def write_files(settings: Settings) -> str:
    """Write them; what stands in the way, as a sentence, or ""."""
    own = settings.state / "opt"
    shutil.rmtree(own, ignore_errors=True)
    for name, content in files().items():
        path = own / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (own / "agent-memory").mkdir()
    if DATA.is_symlink() and "examples" in str(DATA.readlink()):
        DATA.unlink()
    try:
        DATA.symlink_to(own)
    except OSError as error:
        return f"{DATA} cannot be made ({error.strerror}): sudo ln -s {own} {DATA}"
    sandbox = Path("/tmp/airflow-sandbox-example")
    sandbox.mkdir(exist_ok=True)
    (sandbox / "orders.csv").write_text("Order Ref,Customer\nA-1,Acme\n")
    shutil.rmtree("/tmp/airflow_agent_sessions", ignore_errors=True)
    return ""


def write_buckets(endpoint: str, content: dict[str, bytes]) -> None:
    """Fill the buckets of the S3 server at ``endpoint``."""
    import boto3

    s3 = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    for bucket in BUCKETS:
        s3.create_bucket(Bucket=bucket)
    for name, body in content.items():
        bucket, _, key = name.partition("/")
        s3.put_object(Bucket=bucket, Key=key, Body=body)


DATABASES = {
    # The warehouse that is compared with it has drifted: a wider id, no e-mail, and one column more.
    "shop": "CREATE TABLE customers (id INT PRIMARY KEY, name TEXT NOT NULL, email TEXT)",
    "drifted": "CREATE TABLE customers (id BIGINT PRIMARY KEY, name TEXT NOT NULL, loyalty_level TEXT)",
    "memory": "CREATE TABLE nothing (id INT)",
}


def make_tables(settings: Settings) -> float:
    """The databases of the examples, anew. What the orders of September sum to."""
    rows = orders(datetime.now(UTC).replace(tzinfo=None))
    with connected(settings, "airflow") as server:
        server.autocommit = True
        for name in DATABASES:
            server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            server.execute(f"CREATE DATABASE {name}")
    for name, statement in DATABASES.items():
        with connected(settings, name) as database:
            database.execute(statement)
            if name == "memory":
                continue
            column = "email" if name == "shop" else "loyalty_level"
            database.execute(
                "CREATE TABLE orders (id INT PRIMARY KEY, customer_id INT REFERENCES customers, product TEXT, region TEXT, "
                "total NUMERIC(10, 2), created_at TIMESTAMP)"
            )
            with database.cursor() as cursor:
                people = [(n, c, f"{c.split()[0].lower()}@example.org") for n, c in enumerate(CUSTOMERS, 1)]
                cursor.executemany(f"INSERT INTO customers (id, name, {column}) VALUES (%s, %s, %s)", people)
                cursor.executemany("INSERT INTO orders VALUES (%s, %s, %s, %s, %s, %s)", rows)
    return sum(r[4] for r in rows if (r[5].year, r[5].month) == (2026, 9))


def connections(settings: Settings, socket: str, s3: str, service: str, model: str = "") -> dict[str, dict[str, Any]]:
    """Those that the examples name and the course does not have, and pydantic-ai's with ``model`` where one is given."""
    url = settings.keyless_url
    base = {
        "openai": f"{url}/openai/v1",
        "openai-chat": f"{url}/openai/v1",
        "anthropic": f"{url}/anthropic",
        "google": f"{url}/google",
    }

    if model and model.split(":")[0] not in base:
        raise StackError(f"MODEL={model}: give one of {', '.join(f'{name}:…' for name in base)}")

    def chat(model: str, **more: Any) -> dict[str, Any]:
        fields = {"conn_type": "pydanticai", "host": base[model.split(":")[0]], "password": "keyless-needs-no-key"}
        return {**fields, "extra": {"model": model}, **more}

    def shop(name: str = "shop") -> dict[str, Any]:
        return {"conn_type": "postgres", "host": socket, "login": "postgres", "schema": name}

    def mcp(name: str) -> dict[str, Any]:
        program = {
            "transport": "stdio",
            "command": sys.executable,
            "args": [str(REPO / "bench" / "examples" / "mcp_server.py"), name],
            "env": {"PYTHONPATH": os.environ["EXAMPLES_PACKAGES"], "PATH": os.environ["PATH"]},
            "timeout": 30,
        }
        return {"conn_type": "mcp", "extra": program}

    aws = {
        "conn_type": "aws",
        "login": "keyless-needs-no-key",
        "password": "keyless-needs-no-secret",
        "extra": {"region_name": "us-east-1", "region": "us-east-1", "endpoint": s3, "endpoint_url": s3},
    }
    http = {"conn_type": "http", "host": service}
    down = {"host": "http://127.0.0.1:9/v1"}
    usual = model or "openai-chat:gpt-4o-mini"
    found = {
        **{name: chat(usual) for name in ("pydanticai_default", "pydantic_ai_default")},
        "llm_primary": chat("openai:gpt-5-mini"),
        "llm_standby": chat("anthropic:claude-sonnet-5"),
        "llm_primary_down": chat(
            "openai:gpt-5-mini", **down, extra={"model": "openai:gpt-5-mini", "fallback_conn_ids": ["llm_fallback"]}
        ),
        "llm_primary_down_no_chain": chat("openai:gpt-5-mini", **down),
        "llm_fallback": chat("anthropic:claude-haiku-4-5-20251001"),
        "decision_default": {
            "conn_type": "pydanticai",
            "host": f"{url}/systemone",
            "password": "keyless-needs-no-key",
            "extra": {"model": "system-one:jev-1.13.0"},
        },
        **{
            n: shop()
            for n in (
                "postgres_default",
                "sql_default",
                "warehouse",
                "warehouse_agent_reader",
                "my_database",
                "postgres_source",
            )
        },
        **{n: shop("drifted") for n in ("snowflake_default", "snowflake_target")},
        "agent_memory_db": shop("memory"),
        **{n: aws for n in ("aws_default", "aws_reports_reader")},
        **{n: http for n in ("my_api", "pypi", "airflow_website")},
        "splunk_default": {"conn_type": "generic", "password": "splunk-needs-no-key"},
        "my_mcp_server": mcp("hello"),
        "weather_mcp": mcp("weather"),
        "code_runner_mcp": mcp("code"),
        "splunk_tools_mcp": mcp("splunk"),
    }
    for name in ("langchain_default", "llamaindex_default", "openai_chat", "openai_embed"):
        kind = "llamaindex" if name.startswith("llama") else "langchain"
        more = {"extra": {"model": "openai:gpt-5"}} if name == "langchain_default" else {}
        found[name] = {"conn_type": kind, "host": base["openai"], "password": "keyless-needs-no-key", **more}
    return found


def write_connections(found: dict[str, dict[str, Any]]) -> None:
    """Put them into Airflow in place of those of the same name."""
    from airflow.models import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.execute(delete(Connection).where(Connection.conn_id.in_(found)))
        for name, fields in found.items():
            extra = fields.get("extra")
            session.add(Connection(conn_id=name, **{**fields, "extra": json.dumps(extra) if extra else None}))


CONF: dict[str, dict[str, str]] = {
    "example_aip_progress_tracker": {"aip_numbers": "76"},
    "example_aip_progress_tracker_skills": {"aip_numbers": "76"},
    "example_llamaindex_retrieve": {"query": "What does the scheduler do?"},
}
"""What a reader gives some runs: one AIP of five, and a query where the example has none."""

OTHER: dict[str, tuple[str, str | None]] = {
    # Ask another provider with the same connection: it has no host, so each SDK asks its own address.
    "example_llm_batch_decorator": ("", ""),
    "example_llm_batch_provider_params": ("", ""),
    # Search the web, which OpenAI's chat completions cannot: the responses API.
    "example_agent_capabilities_web_search": ("openai:gpt-5-mini", None),
    "example_agent_capabilities_composed": ("openai:gpt-5-mini", None),
}
"""Examples that want another ``pydanticai_default``: its model ("" for the same) and its host (None for the same)."""


@contextmanager
def connection_of(dag_id: str, model: str = "") -> Iterator[None]:
    """For the time of the block, the connection as this example wants it; a ``model`` that was asked for stays."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    def change(extra: str, host: str | None) -> tuple[str, str | None]:
        with create_session() as session:
            row = session.query(Connection).filter_by(conn_id="pydanticai_default").one()
            before = row.extra, row.host
            row.extra, row.host = extra or row.extra, row.host if host is None else host or None
        return before

    if dag_id not in OTHER:
        yield
        return
    other, host = OTHER[dag_id]
    before = change(json.dumps({"model": other}) if other and not model else "", host)
    try:
        yield
    finally:
        change(before[0], before[1])
