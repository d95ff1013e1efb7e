"""One small HTTP service in place of those that the examples name: an API, a package index, SEC EDGAR, GitHub, a wiki, a survey."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

STANDS_IN_FOR = ("www.sec.gov", "data.sec.gov", "api.github.com", "cwiki.apache.org")

COMPANIES = {
    "AAPL": (320193, "Apple Inc.", "391 billion dollars", "supply chains in Asia"),
    "MSFT": (789019, "Microsoft Corp", "245 billion dollars", "cyberattacks on its cloud"),
    "UBER": (1543151, "Uber Technologies", "44 billion dollars", "the classification of drivers"),
    "LYFT": (1759509, "Lyft, Inc.", "6 billion dollars", "dependence on the United States and Canada"),
    "AMZN": (1018724, "Amazon.com", "638 billion dollars", "competition in retail and cloud"),
}


def _filing(cik: int) -> str:
    name, revenue, risk = next(c[1:] for c in COMPANIES.values() if c[0] == cik)
    risks = f"{name} faces a concentrated risk from {risk}. " * 4
    return (
        f"<html><p>Item 1A Risk Factors. {risks}</p><p>Item 1B none</p>"
        f"<p>Item 7 Management discussion. Revenue of {name} rose to {revenue} in the last year, ten percent more than in "
        "the year before. Costs rose more slowly than revenue, and the margin grew for the third year in a row.</p>"
        "<p>Item 8 Statements</p></html>"
    )


def answer(host: str, path: str, survey: str = "") -> tuple[int, str]:
    """Status and body for a path of a service."""
    if host.endswith("sec.gov"):
        if path.endswith("company_tickers.json"):
            rows = {str(n): {"ticker": t, "cik_str": c[0], "title": c[1]} for n, (t, c) in enumerate(COMPANIES.items())}
            return 200, json.dumps(rows)
        if found := re.search(r"/submissions/CIK0*(\d+)", path):
            recent = {
                "form": ["8-K", "10-K"],
                "accessionNumber": ["0-1", "0-2"],
                "primaryDocument": ["a.htm", f"{found[1]}.htm"],
                "filingDate": ["2026-02-01", "2026-01-30"],
            }
            return 200, json.dumps({"filings": {"recent": recent}})
        if found := re.search(r"/data/(\d+)/", path):
            return 200, _filing(int(found[1]))
    if host == "api.github.com":
        if "/git/trees/" in path:
            files = ["airflow-core/src/airflow/models/asset.py", "airflow-core/src/airflow/state/base.py"]
            return 200, json.dumps({"truncated": False, "tree": [{"path": p, "type": "blob"} for p in files]})
        if "/search/issues" in path:
            item = {
                "number": 50123,
                "title": "Add PartitionMapper for asset partitions",
                "state": "closed",
                "pull_request": {"merged_at": "2026-03-02T10:00:00Z"},
            }
            return 200, json.dumps({"items": [item]})
        if "/search/commits" in path:
            item = {"sha": "a1b2c3d4e5", "commit": {"message": "Add partition mappers to asset triggers (#50123)"}}
            return 200, json.dumps({"items": [item]})
        return 200, "[]"
    if host == "cwiki.apache.org":
        body = (
            "<h1>Status</h1><p>Accepted</p><h2>Deliverables</h2><p>1. PartitionMapper class. "
            "2. Asset partition key in the run. 3. UI for partitions.</p>"
        )
        page = {
            "title": "AIP-76 Asset Partitions",
            "version": {"when": "2026-04-01T00:00:00Z"},
            "body": {"storage": {"value": body}},
        }
        return 200, json.dumps(page)
    if path.startswith("/survey/"):
        return 200, survey
    if found := re.fullmatch(r"/pypi/([^/]+)(?:/([^/]+))?/json", path):
        if found[1] != "apache-airflow-providers-common-ai":
            return 404, "{}"
        info = {
            "name": found[1],
            "version": found[2] or "1.0.0",
            "summary": "AI for Airflow",
            "requires_python": ">=3.10",
            "requires_dist": ["apache-airflow>=2.11.0"],
            "yanked": False,
        }
        return 200, json.dumps({"info": info, "urls": [{"upload_time_iso_8601": "2026-10-01T00:00:00Z"}]})
    known = {
        "/": {"endpoints": ["/status", "/v1/models", "/orders"]},
        "/status": {"status": "ok", "version": "2.7.1"},
        "/v1/models": {"data": [{"id": "qwen3-8b"}, {"id": "llama-3.3-70b"}]},
        "/orders": {"orders": 40},
    }
    return (200, json.dumps(known[path])) if path in known else (404, json.dumps({"error": f"no {path}"}))


def serve(survey: Path) -> ThreadingHTTPServer:
    """The service on a free port of loopback, in a thread of this process."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlparse(self.path)
            host = self.headers.get("x-stands-in-for", "")
            status, body = answer(host, asked.path, survey.read_text() if asked.path.startswith("/survey/") else "")
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class _Elsewhere(urllib.request.HTTPSHandler):
    """urllib's requests to the hosts that the service stands in for go to it."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def https_open(self, request: urllib.request.Request):
        if request.host not in STANDS_IN_FOR:
            return super().https_open(request)
        moved = urllib.request.Request(self._url + request.selector, headers={"x-stands-in-for": request.host})
        return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(moved, timeout=10)


def redirect(url: str) -> None:
    """From now on in this process, urllib asks the service at ``url`` for what those hosts have."""
    urllib.request.install_opener(urllib.request.build_opener(_Elsewhere(url)))
