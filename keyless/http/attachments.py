"""Pictures and files as requests carry them: base64 or the id of a file that was uploaded before."""

from __future__ import annotations

from collections.abc import Callable

from keyless.http import bodies
from keyless.neutral import Attachment, BadRequest

Find = Callable[[str], bytes]
"""The content of the uploaded file of this id. Raises ``BadRequest`` when there is none."""

_TEXTS = ("application/json", "application/xml", "application/yaml", "application/x-yaml", "application/csv")


def no_files(id: str) -> bytes:
    """For APIs without uploads. Raises ``BadRequest`` (404)."""
    raise BadRequest(f"File not found: {id}", status=404, kind="not_found", param="file_id")


def image(sent: str, param: str = "image") -> Attachment:
    """A picture in base64 or as a data: URL. Raises ``BadRequest``."""
    return Attachment(bodies.from_base64(sent, param), "image", param)


def file(data: bytes, media_type: str = "", param: str = "file") -> Attachment | str:
    """A file: a PDF, a picture, or a text, which is a part of the message like any other.

    What it is stands in its first bytes; ``media_type`` tells texts. Raises ``BadRequest`` for anything else.
    """
    if b"%PDF-" in data[:1024]:
        return Attachment(data, "pdf", param)
    kind = media_type.partition(";")[0].strip().lower()
    if kind == "application/pdf":
        raise BadRequest("The PDF could not be read: it is damaged, or no PDF.", kind="invalid_file", param=param)
    if kind.startswith("image/"):
        return Attachment(data, "image", param)
    if kind in _TEXTS or kind.startswith("text/"):
        return data.decode("utf-8", "replace")
    for begins, after in ((b"\x89PNG", b""), (b"\xff\xd8\xff", b""), (b"GIF8", b""), (b"RIFF", b"WEBP")):
        if data.startswith(begins) and data[8:12].startswith(after):
            return Attachment(data, "image", param)
    if not kind or kind == "application/octet-stream":
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass
    message = (
        f"Unsupported file type{f' {kind}' * bool(kind)}: keyless reads PDF, PNG, JPEG, WebP and GIF files, and texts."
    )
    raise BadRequest(message, kind="unsupported_file", param=param)


def sent_file(sent: str, media_type: str = "", param: str = "file") -> Attachment | str:
    """``file`` of base64 or a data: URL, which tells its media type. Raises ``BadRequest``."""
    if sent.startswith("data:"):
        media_type = sent[5:].partition(",")[0].partition(";")[0] or media_type
    return file(bodies.from_base64(sent, param), media_type, param)


def sorted_out(sent: list[Attachment | str]) -> tuple[list[str], tuple[Attachment, ...]]:
    """The texts among them, and the rest."""
    return [s for s in sent if isinstance(s, str)], tuple(s for s in sent if isinstance(s, Attachment))
