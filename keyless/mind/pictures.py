"""Pictures without a vision model: described from their pixels, and drawn from what a prompt names."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import re
import textwrap

from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin

from keyless.neutral import BadRequest

MAX_PIXELS = 40_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
COLOURS = {
    "black": (0, 0, 0), "white": (255, 255, 255), "gray": (128, 128, 128), "silver": (192, 192, 192), "red": (220, 30, 40),
    "maroon": (128, 0, 0), "orange": (245, 140, 30), "brown": (130, 80, 40), "gold": (225, 175, 30), "yellow": (250, 230, 60),
    "olive": (128, 128, 0), "green": (40, 160, 70), "dark green": (10, 80, 30), "teal": (0, 128, 128), "turquoise": (64, 210, 200),
    "light blue": (150, 205, 240), "blue": (40, 90, 220), "navy": (15, 25, 95), "purple": (120, 40, 150), "pink": (250, 150, 190),
    "beige": (235, 220, 190),
}  # fmt: skip
"""The colours that a description names, as sRGB."""

_COLOUR_NAME = re.compile(rf"\b({'|'.join(sorted(COLOURS, key=len, reverse=True))})\b", re.I)
# Pillow's own limit is a warning first and another exception then; `opened` looks before anything is unpacked.
Image.MAX_IMAGE_PIXELS = None
_TEXT_KEY = "keyless-text"
_EXIF_DESCRIPTION, _EXIF_SOFTWARE = 0x010E, 0x0131
_SOFTWARE = "keyless"


def opened(data: bytes, param: str = "image") -> Image.Image:
    """The picture in ``data``, turned as its EXIF data says. Raises ``BadRequest`` for what is none, or is larger than ``MAX_PIXELS``."""
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
        if picture.width * picture.height > MAX_PIXELS:
            message = f"The image has {picture.width}x{picture.height} pixels; at most {MAX_PIXELS} are read."
            raise BadRequest(message, kind="invalid_image", param=param)
        picture.load()
    except BadRequest:
        raise
    except Exception:
        # Pillow has an exception of its own for nearly every way in which a file can be broken.
        raise BadRequest(
            "The image could not be read: send a PNG, JPEG, WebP or GIF file.", kind="invalid_image", param=param
        ) from None
    with contextlib.suppress(Exception):
        # EXIF data may be broken where the pixels are not.
        ImageOps.exif_transpose(picture, in_place=True)
    return picture


def describe(picture: Image.Image) -> str:
    """What can be measured in a picture, in plain sentences, and the text that keyless itself drew into it."""
    width, height = picture.size
    small = picture.convert("RGBA").resize((48, 48), Image.Resampling.BOX)
    seen: dict[str, int] = {}
    light = 0.0
    solid = 0
    for red, green, blue, alpha in small.getdata():
        if alpha < 32:
            continue
        solid += 1
        light += (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255
        name = _nearest((red, green, blue))
        seen[name] = seen.get(name, 0) + 1
    shape = "square" if width == height else "in landscape format" if width > height else "in portrait format"
    sentences = [f"The image is {width} pixels wide and {height} pixels high, {shape}."]
    if solid:
        main = sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:3]
        shares = [f"{name} ({count / solid:.0%})" for name, count in main if count / solid >= 0.05]
        sentences.append(
            f"The main color is {shares[0]}." if len(shares) == 1 else f"The main colors are {', '.join(shares)}."
        )
        level = light / solid
        sentences.append(f"It is {'dark' if level < 0.33 else 'bright' if level > 0.66 else 'of medium brightness'}.")
    else:
        sentences.append("It is transparent.")
    if text := written_in(picture):
        sentences.append(f'The text in the image reads: "{text}".')
    return " ".join(sentences)


def _nearest(colour: tuple[int, int, int]) -> str:
    # Weights for how the eye tells colours apart, the usual cheap ones (ITU-R BT.601's order of green, red, blue).
    return min(
        COLOURS,
        key=lambda name: sum(w * (a - b) ** 2 for w, a, b in zip((3, 4, 2), colour, COLOURS[name], strict=True)),
    )


def written_in(picture: Image.Image) -> str:
    """The text that keyless itself drew into the picture: it is kept beside the pixels."""
    exif = picture.getexif()
    # Cameras and scanners write descriptions too.
    described = exif.get(_EXIF_DESCRIPTION, "") if exif.get(_EXIF_SOFTWARE) == _SOFTWARE else ""
    return str(picture.info.get(_TEXT_KEY) or described)[:2000]


def draw(prompt: str, size: tuple[int, int], *, number: int = 0, form: str = "PNG") -> bytes:
    """A picture for ``prompt``: the colours that it names, a few shapes, and its words; the same prompt gives the same one."""
    seed = random.Random(hashlib.sha256(f"{number}:{prompt}".encode()).digest())
    names = dict.fromkeys(name.lower() for name in _COLOUR_NAME.findall(prompt)) or seed.sample(sorted(COLOURS), 3)
    colours = [COLOURS[name] for name in names][:3]
    picture = Image.linear_gradient("L").resize(size)
    picture = ImageOps.colorize(picture, _mixed(colours[0], 255, 0.25), _mixed(colours[0], 0, 0.25))
    pen = ImageDraw.Draw(picture, "RGBA")
    width, height = size
    for index in range(6):
        colour = (*colours[(index + 1) % len(colours)], 220)
        radius = seed.uniform(0.06, 0.2) * min(size)
        x, y = seed.uniform(0, width), seed.uniform(0, height * 0.7)
        box = (x - radius, y - radius, x + radius, y + radius)
        if re.search(r"\b(?:square|box|building|house|window|screen|desk)s?\b", prompt, re.I):
            pen.rectangle(box, fill=colour)
        elif re.search(r"\b(?:triangle|mountain|tent|roof|tree)s?\b", prompt, re.I):
            pen.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=colour)
        else:
            pen.ellipse(box, fill=colour)
    return _finished(picture, _caption(prompt), form)


def edit(
    data: bytes, mask: bytes | None, prompt: str, size: tuple[int, int] | None, *, number: int = 0, form: str = "PNG"
) -> bytes:
    """The picture in ``data`` with ``prompt`` drawn over it, where ``mask`` is transparent. Raises ``BadRequest``."""
    picture = opened(data).convert("RGB")
    if size:
        picture = ImageOps.fit(picture, size)
    new = opened(draw(prompt, picture.size, number=number))
    if mask is None:
        picture = Image.blend(picture, new.convert("RGB"), 0.5)
    else:
        keep = opened(mask, "mask").convert("RGBA").getchannel("A").resize(picture.size)
        picture = Image.composite(picture, new.convert("RGB"), keep)
    return _finished(picture, _caption(prompt), form)


def _mixed(colour: tuple[int, int, int], with_: int, share: float) -> tuple[int, int, int]:
    red, green, blue = (round(c * (1 - share) + with_ * share) for c in colour)
    return red, green, blue


def _caption(prompt: str) -> str:
    """What is written into the picture: the words that the prompt quotes, else its beginning."""
    quoted = re.findall(r"[\"“”]([^\"“”]{1,200})[\"“”]|(?<!\w)'([^']{1,200})'(?!\w)", prompt)
    text = " ".join(a or b for a, b in quoted) or prompt
    return textwrap.shorten(text, 120, placeholder=" …")


def _finished(picture: Image.Image, text: str, form: str) -> bytes:
    """``picture`` with ``text`` in a band at its foot, as a file of format ``form``; the text is kept in the file too."""
    width, height = picture.size
    points = max(8, min(width, height) // 22)
    font = ImageFont.load_default(points)
    lines = textwrap.wrap(text, max(8, int(width / points * 1.7)))[:4]
    top = height - round((len(lines) + 1) * points * 1.25)
    pen = ImageDraw.Draw(picture, "RGBA")
    pen.rectangle((0, top, width, height), fill=(255, 255, 255, 215))
    for number, line in enumerate(lines):
        pen.text((points, top + points * (0.6 + 1.25 * number)), line, font=font, fill=(20, 20, 20, 255))
    out = io.BytesIO()
    if form == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt(_TEXT_KEY, text)
        picture.save(out, "PNG", pnginfo=info, compress_level=1)
    else:
        exif = Image.Exif()
        exif[_EXIF_DESCRIPTION], exif[_EXIF_SOFTWARE] = text, _SOFTWARE
        picture.save(out, form, exif=exif, quality=85)
    return out.getvalue()


def coarse(data: bytes, columns: int, form: str) -> bytes:
    """The picture in ``data`` in squares, ``columns`` of them beside each other, as an unfinished one is shown."""
    picture = opened(data).convert("RGB")
    small = picture.resize((columns, max(1, round(columns * picture.height / picture.width))), Image.Resampling.BOX)
    out = io.BytesIO()
    small.resize(picture.size, Image.Resampling.NEAREST).save(out, form)
    return out.getvalue()
