"""What the attachments of a conversation show: each is looked at once, and what it showed is remembered for its next turn."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from keyless.mind import pages, pictures, reading
from keyless.mind.workers import check
from keyless.neutral import Attachment, BadRequest, Request, Shown

REMEMBERED_CHARACTERS = 8_000_000


class Eyes:
    """Looks at attachments. What the latest showed is remembered, up to ``REMEMBERED_CHARACTERS``."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, bytes], Shown] = OrderedDict()
        self._room = REMEMBERED_CHARACTERS
        self._lock = threading.Lock()

    def seen(self, request: Request) -> Request:
        """``request`` with what its attachments show in their place. Raises ``BadRequest`` for one that cannot be read."""
        messages = tuple(
            replace(m, pictures=(*m.pictures, *map(self.look, m.attachments)), attachments=()) if m.attachments else m
            for m in request.messages
        )
        return replace(request, messages=messages)

    def look(self, attachment: Attachment) -> Shown:
        """What ``attachment`` shows. Raises ``BadRequest`` when it cannot be read."""
        check()
        key = attachment.kind, hashlib.sha256(attachment.data).digest()
        with self._lock:
            if key in self._seen:
                self._seen.move_to_end(key)
                return self._seen[key]
        shown = _LOOKS[attachment.kind](attachment)
        with self._lock:
            if key not in self._seen:
                self._seen[key] = shown
                self._room -= _size(shown)
            while self._room < 0:
                self._room += _size(self._seen.popitem(last=False)[1])
        return shown


def _size(shown: Shown) -> int:
    return len(shown.description) + len(shown.text)


def _image(attachment: Attachment) -> Shown:
    picture = pictures.opened(attachment.data, attachment.param)
    if pictures.written_in(picture):
        # keyless drew it: what is written in it stands beside the pixels.
        return Shown(pictures.describe(picture))
    if not reading.IS_INSTALLED:
        return Shown(f"{pictures.describe(picture)} Text in it is not read on this computer.")
    try:
        return Shown(pictures.describe(picture), reading.text_in(picture))
    except reading.TooLong:
        message = f"The image takes more than {reading.MAX_SECONDS:.0f} seconds to read."
        raise BadRequest(message, kind="invalid_image", param=attachment.param) from None


def _pdf(attachment: Attachment) -> Shown:
    try:
        found = pages.pages_of(attachment.data)
    except pages.Unreadable as error:
        raise BadRequest(str(error), kind="invalid_file", param=attachment.param) from None
    empty = [str(number) for number, text in enumerate(found, 1) if not text]
    description = f"The PDF has {len(found)} page{'s' * (len(found) != 1)}."
    if empty:
        why = "has no text" if reading.IS_INSTALLED else "has no text layer, and scans are not read on this computer"
        description += f" No text of page {', '.join(empty)}: it {why}."
    return Shown(description, "\n\n".join(filter(None, found)))


_LOOKS: dict[str, Callable[[Attachment], Shown]] = {"image": _image, "pdf": _pdf}
