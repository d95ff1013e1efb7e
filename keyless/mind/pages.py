"""The text of a PDF, page by page: its text layer, and for a page without one what can be read in its picture.

PDFium and Tesseract work on a stranger's file in a process of their own, which has so much memory and time and no more;
it ends with the file. ``python -m keyless.mind.pages`` is that process: it takes the file and gives its pages as JSON.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
from pathlib import Path
from unicodedata import category

import pypdfium2

from keyless.mind import reading
from keyless.mind.workers import check

MAX_PAGES = 100
MAX_SECONDS = 120
MAX_MEMORY = 2 * 1024**3
_DOTS_AN_INCH = 200
_POLL_SECONDS = 0.5
_ENCRYPTED, _BROKEN, _TOO_MANY, _TOO_MUCH = "encrypted", "broken", "pages", "much"


class Unreadable(Exception):
    """The PDF cannot be read; the message says why, in a sentence."""


_REASONS = {
    _ENCRYPTED: "The PDF is protected by a password: send it without one.",
    _BROKEN: "The PDF could not be read: it is damaged, or no PDF.",
    _TOO_MANY: f"The PDF has more than {MAX_PAGES} pages.",
    _TOO_MUCH: f"The PDF takes more than {MAX_SECONDS} seconds or {MAX_MEMORY // 1024**2} MiB to read.",
}


def pages_of(pdf: bytes) -> list[str]:
    """The text of each page, ``""`` for a page without any. Raises ``Unreadable``, and ``Abandoned`` when its client has left."""
    reader = subprocess.Popen(
        [sys.executable, "-m", __name__],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with reader:
        try:
            written = _told(reader, pdf)
        finally:
            reader.kill()
    answer = json.loads(written) if reader.returncode == 0 and written else _TOO_MUCH
    if isinstance(answer, str):
        raise Unreadable(_REASONS[answer])
    return answer


def _told(reader: subprocess.Popen[bytes], pdf: bytes) -> bytes:
    sent: bytes | None = pdf
    for _ in range(round(MAX_SECONDS / _POLL_SECONDS)):
        try:
            return reader.communicate(sent, timeout=_POLL_SECONDS)[0]
        except subprocess.TimeoutExpired:
            sent = None
            check()
    return b""


def main() -> None:
    """Write the pages of the PDF on standard input, or why there are none, as JSON."""
    with contextlib.suppress(ValueError):
        # macOS knows no such limit.
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    json.dump(_read(sys.stdin.buffer.read()), sys.stdout)


def _read(pdf: bytes) -> list[str] | str:
    try:
        document = pypdfium2.PdfDocument(pdf)
        if len(document) > MAX_PAGES:
            return _TOO_MANY
        return [_text(page) for page in document]
    except pypdfium2.PdfiumError as error:
        return _ENCRYPTED if error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD else _BROKEN
    except (MemoryError, reading.TooLong):
        return _TOO_MUCH


def _text(page: pypdfium2.PdfPage) -> str:
    text = page.get_textpage().get_text_range().replace("\r\n", "\n").strip()
    if _is_garbage(text):
        text = ""
    if text or not reading.IS_INSTALLED:
        return text
    width, height = page.get_size()
    # A page may claim to be as large as a house.
    scale = min(_DOTS_AN_INCH / 72, (reading.MAX_PIXELS / max(width * height, 1)) ** 0.5)
    return reading.text_in(page.render(scale=scale, grayscale=True).to_pil())


def _is_garbage(text: str) -> bool:
    """Whether half of a text layer and more is no character: so it is where the fonts do not say which letters theirs are."""
    letters = [c for c in text if c not in " \n"]
    return 2 * sum(c == "\ufffd" or category(c).startswith("C") for c in letters) > len(letters)


if __name__ == "__main__":
    main()
