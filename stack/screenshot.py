"""``make screenshot``: the README's picture, of the home page's banner and the list of all lessons, from a running ``make up``.

It needs Debian's packages ``chromium`` and ``chromium-driver``, and drives them by the WebDriver protocol, which is HTTP.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stack.settings import REPO, Settings, StackError

PICTURE = REPO / "docs" / "ui.png"
LESSONS = "lessons"
"""The PNG's text field that names the lessons in the picture, so that a test sees when they are others."""

_WIDTH = 1300
_ROW = 54
_LINK = "a[href*='/dags/114_']"
_BANNERS = "return [...document.querySelectorAll('[role=alert], .chakra-alert__root')].map(a => a.getBoundingClientRect().bottom)"
_ROWS = f'return [...new Set([...document.querySelectorAll("{_LINK}")].map(a => a.getBoundingClientRect().bottom))]'


def lessons() -> list[str]:
    """The ids of the lessons that are there."""
    return sorted(path.stem for path in (REPO / "dags").glob("*.py"))


@contextmanager
def browser(port: int = 11499) -> Iterator[httpx.Client]:
    """A headless Chromium: a client whose paths are those of a WebDriver session. Raises ``StackError`` without one."""
    if not (shutil.which("chromedriver") and shutil.which("chromium")):
        raise StackError("A picture needs a browser: apt-get install chromium chromium-driver.")
    url = f"http://127.0.0.1:{port}"
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            _until(lambda: _answers(client), "chromedriver does not start.")
            options = {"args": ["--headless=new", "--no-sandbox", "--hide-scrollbars", f"--window-size={_WIDTH},900"]}
            wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
            session = client.post("/session", json=wanted).raise_for_status().json()["value"]["sessionId"]
            client.base_url = f"{url}/session/{session}"
            yield client
            client.delete("")
    finally:
        driver.terminate()
        driver.wait(timeout=10)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/status").json()["value"]["ready"]
    except httpx.HTTPError:
        return False


def _until(done: Any, otherwise: str) -> None:
    deadline = time.monotonic() + 60
    while not done():
        if time.monotonic() > deadline:
            raise StackError(otherwise)
        time.sleep(0.3)


def _script(client: httpx.Client, script: str) -> Any:
    return client.post("/execute/sync", json={"script": script, "args": []}).raise_for_status().json()["value"]


def _shot(client: httpx.Client) -> Image.Image:
    return Image.open(io.BytesIO(b64decode(client.get("/screenshot").raise_for_status().json()["value"]))).convert(
        "RGB"
    )


def take(settings: Settings) -> Image.Image:
    """The home page's banners, and below them the list of all lessons. Raises ``StackError`` when either does not show."""
    there = lessons()
    with browser() as client:
        if client.post("/url", json={"url": settings.url}).is_error:
            raise StackError(f"Nothing answers at {settings.url}: run `make up` in another terminal.")
        _until(lambda: _script(client, _BANNERS), "The home page shows no banner.")
        banner = _shot(client).crop((66, 0, _WIDTH, round(max(_script(client, _BANNERS))) + 12))
        # Airflow's list is of cards unless this browser has chosen the table, which is shorter.
        _script(client, "localStorage.setItem('dags_list_display', JSON.stringify('table'))")
        client.post("/window/rect", json={"width": _WIDTH, "height": 720 + _ROW * len(there)}).raise_for_status()
        client.post("/url", json={"url": f"{settings.url}/dags?limit=100"}).raise_for_status()
        _until(lambda: len(_script(client, _ROWS)) >= len(there), f"The list does not show all {len(there)} lessons.")
        # The rows are there before their last run and tags are.
        time.sleep(2)
        listed = _shot(client)
        listed = listed.crop((0, 0, _WIDTH, round(max(_script(client, _ROWS))) + _ROW // 2))
    picture = Image.new("RGB", (_WIDTH, banner.height + listed.height), "white")
    picture.paste(banner, (66, 0))
    picture.paste(listed, (0, banner.height))
    return picture


def save(picture: Image.Image) -> None:
    """Write it with few colors, which is small, and with the lessons that it shows."""
    info = PngInfo()
    info.add_text(LESSONS, " ".join(lessons()))
    picture.quantize(64).save(PICTURE, optimize=True, pnginfo=info)


def main() -> int:
    """Exit status."""
    try:
        save(take(Settings.load()))
    except StackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{PICTURE.relative_to(REPO)}: {PICTURE.stat().st_size // 1024} KB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
