"""Twenty pages as people send them, drawn here, so that the text on each is known to the letter."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFilter, ImageFont

Size = tuple[int, int]

LETTER = """Dear Ms Keller,

thank you for your letter of 12 March. We have looked into the
delay of your order and found that the parcel was held at the
border for nine days. It left the warehouse on Friday and should
reach you before the end of next week.

As an apology we have taken 15 percent off the invoice. If the
parcel has not arrived by 28 March, please call our office in
Bristol between nine and five; ask for extension 204.

Yours sincerely,
Jonathan Whitfield
Customer Relations"""
RECEIPT = """CORNER BAKERY
18 Mill Lane, York
Tel 01904 552 871
Espresso 2 x 2.80 5.60
Cinnamon roll 1 x 3.40 3.40
Rye bread 750 g 4.95
Orange juice 1 x 3.10 3.10
TOTAL GBP 17.05
Card ending 4412 17.05
14 Feb 2025 08:42
Thank you for your visit!"""
TERMINAL = """$ git status
On branch main
Your branch is ahead of 'origin/main' by 2 commits.
Changes not staged for commit:
  modified:   README.md
  modified:   src/server.py
$ python -m pytest -q
41 passed, 2 skipped in 6.83s
$ df -h /var
Filesystem  Size  Used  Avail  Use%  Mounted on
/dev/sda2   120G   87G    33G   73%  /var"""
CODE = """def average(values):
    total = 0
    for value in values:
        total += value
    if not values:
        raise ValueError("no values")
    return total / len(values)

print(average([3, 5, 10]))"""
EMAIL = """From: Priya Nair <priya.nair@example.com>
To: team@example.com
Subject: Move of the weekly meeting
Date: Tue, 4 Nov 2025 09:15

Hello everyone,

from next week on we meet on Thursdays at 14:00 in room B12.
Please send me your points by Wednesday noon.

Best wishes
Priya"""
SMALL = """General terms. The supplier delivers the goods within thirty days of the order. The buyer inspects the goods on
arrival and reports visible defects within seven days. Title passes to the buyer when the invoice has been paid in
full. Neither party is liable for delays that are caused by events beyond its control. Notices are given in writing
to the address on the first page. This agreement is governed by the laws of Ireland, and the courts of Dublin have
jurisdiction. If a clause is void, the others remain in force. Changes need the signature of both parties."""
LEFT = """Harbour bridge
closed in May

The bridge over the
old harbour will be
closed for repairs
from 5 to 23 May.
Buses take the road
along the river."""
RIGHT = """Library opens
on Sundays

From June on the
town library is open
on Sundays as well,
from noon to six.
Readers asked for it
in a survey."""
NUMBERS = """4081 7735 2096
1250.00 318.75
2025-06-30 17:45
+44 20 7946 0958"""
REPORT = """Quarterly report

Revenue rose to 4.2 million euros, which is 8 percent more
than a year ago. The northern region grew fastest. Costs were
held at 3.1 million euros. We expect a quiet summer and plan
to open two branches in autumn."""
NOTICE = """Notice to all tenants

The water will be turned off on Monday, 9 June, between
8:00 and 12:30 while the pipes in the cellar are replaced.
Please store enough water for the morning.

The caretaker, Mr Osei, answers questions: 555 0143."""


@dataclass(frozen=True)
class Page:
    """``data`` is a PNG, a JPEG or a PDF; ``text`` what is written on it."""

    name: str
    data: bytes
    text: str

    @property
    def is_pdf(self) -> bool:
        return self.data.startswith(b"%PDF")


@cache
def font(points: int, *names: str) -> ImageFont.FreeTypeFont:
    """The first of ``names`` that this machine has; else the one in Pillow."""
    for name in names:
        try:
            return ImageFont.truetype(name, points)
        except OSError:
            continue
    return ImageFont.load_default(points)  # type: ignore[return-value]


def mono(points: int) -> ImageFont.FreeTypeFont:
    return font(points, "DejaVuSansMono.ttf", "LiberationMono-Regular.ttf")


def serif(points: int) -> ImageFont.FreeTypeFont:
    return font(points, "LiberationSerif-Regular.ttf", "DejaVuSerif.ttf")


def sheet(
    text: str,
    size: Size,
    face: ImageFont.FreeTypeFont,
    ink: str = "black",
    paper: str = "white",
    at: tuple[int, int] = (70, 70),
) -> Image.Image:
    """``text`` on a sheet of paper."""
    picture = Image.new("RGB", size, paper)
    ImageDraw.Draw(picture).multiline_text(at, text, fill=ink, font=face, spacing=face.size * 0.45)
    return picture


def placed(
    size: Size, pieces: list[tuple[int, int, int, str]], ink: str = "black", paper: str = "white"
) -> Image.Image:
    """Pieces of text at (x, y), each with its size in pixels."""
    picture = Image.new("RGB", size, paper)
    pen = ImageDraw.Draw(picture)
    for x, y, points, text in pieces:
        pen.text((x, y), text, fill=ink, font=font(points))
    return picture


def png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def jpeg(picture: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def scanned(*pictures: Image.Image) -> bytes:
    """A PDF of pictures alone, as a scanner makes it: 150 dots an inch, no text layer."""
    out = io.BytesIO()
    pictures[0].save(out, "PDF", save_all=True, append_images=pictures[1:], resolution=150)
    return out.getvalue()


def typed(*pages: str) -> bytes:
    """A PDF with a text layer: each of ``pages`` in Helvetica, line by line."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for page in pages:
        lines = [line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") for line in page.splitlines()]
        shown = "\n".join(f"({line}) Tj T*" for line in lines)
        stream = f"BT /F1 12 Tf 16 TL 60 780 Td\n{shown}\nET".encode("latin-1")
        number = len(objects) + 1
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R"
            b" /Resources << /Font << /F1 3 0 R >> >> >>" % number
        )
        kids.append(b"%d 0 R" % (number + 1))
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(kids))
    return as_pdf(objects)


def as_pdf(objects: list[bytes], trailer: bytes = b"") -> bytes:
    """The file of these objects, numbered from 1, of which the first is the catalog."""
    out = bytearray(b"%PDF-1.7\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer << /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, table)
    return bytes(out)


def joined(*files: bytes) -> bytes:
    """One PDF of the pages of several."""
    import pypdfium2

    whole = pypdfium2.PdfDocument.new()
    for file in files:
        whole.import_pages(pypdfium2.PdfDocument(file))
    out = io.BytesIO()
    whole.save(out)
    return out.getvalue()


def _receipt() -> bytes:
    pieces = []
    for number, line in enumerate(RECEIPT.splitlines()):
        y = 40 + number * 44
        head, _, price = line.rpartition(" ")
        if "." in price and number > 2:
            pieces += [(40, y, 26, head), (440, y, 26, price)]
        else:
            pieces.append((40, y, 26, line))
    return png(placed((560, 560), pieces, ink="#222222", paper="#f7f5ee"))


def _invoice() -> Page:
    rows = [
        ("Desk lamp", "2", "49.90", "99.80"),
        ("Walnut shelf", "1", "129.00", "129.00"),
        ("Delivery", "1", "12.50", "12.50"),
    ]
    pieces = [
        (80, 60, 52, "INVOICE"),
        (80, 150, 28, "Invoice number: INV-20418"),
        (80, 195, 28, "Date: 3 June 2025"),
        (80, 240, 28, "Bill to: Greenfield Dental Practice, 7 Abbey Road, Leeds"),
    ]
    for column, x in zip(("Item", "Quantity", "Price", "Amount"), (80, 480, 700, 920), strict=True):
        pieces.append((x, 330, 28, column))
    for number, row in enumerate(rows):
        pieces += [(x, 385 + 50 * number, 28, cell) for cell, x in zip(row, (80, 480, 700, 920), strict=True)]
    pieces += [(700, 560, 28, "Total due"), (920, 560, 28, "EUR 241.30"), (80, 640, 28, "Please pay within 14 days.")]
    text = "\n".join(
        [
            *(p[3] for p in pieces[:4]),
            "Item Quantity Price Amount",
            *(" ".join(row) for row in rows),
            "Total due EUR 241.30",
            "Please pay within 14 days.",
        ]
    )
    return Page("invoice", png(placed((1240, 760), pieces)), text)


def _table() -> Page:
    rows = [
        ("City", "January", "April", "July", "October"),
        ("Lisbon", "11.6", "15.8", "23.7", "19.0"),
        ("Oslo", "-3.1", "5.4", "17.7", "6.8"),
        ("Cairo", "14.0", "21.5", "28.4", "24.1"),
        ("Toronto", "-3.7", "7.1", "22.3", "10.9"),
    ]
    xs = (60, 300, 480, 660, 840)
    picture = placed(
        (1040, 400),
        [
            (x + 15, 42 + 64 * number, 28, cell)
            for number, row in enumerate(rows)
            for cell, x in zip(row, xs, strict=True)
        ],
    )
    pen = ImageDraw.Draw(picture)
    for number in range(len(rows) + 1):
        pen.line((60, 26 + 64 * number, 1000, 26 + 64 * number), fill="black", width=2)
    for x in (*xs, 1000):
        pen.line((x, 26, x, 26 + 64 * len(rows)), fill="black", width=2)
    return Page("table", png(picture), "\n".join(" ".join(row) for row in rows))


def _columns() -> Page:
    picture = sheet(LEFT, (1100, 560), serif(34), at=(60, 50))
    ImageDraw.Draw(picture).multiline_text((600, 50), RIGHT, fill="black", font=serif(34), spacing=15)
    return Page("two columns", png(picture), f"{LEFT}\n{RIGHT}")


def _noisy() -> bytes:
    seed = random.Random(12)
    picture = sheet(NOTICE, (1100, 620), font(32)).convert("L")
    pixels = bytearray(picture.tobytes())
    for _ in range(len(pixels) // 50):
        pixels[seed.randrange(len(pixels))] = seed.choice((0, 255))
    return png(Image.frombytes("L", picture.size, bytes(pixels)))


def _ticket() -> Page:
    picture = placed(
        (1000, 420),
        [
            (50, 40, 44, "BOARDING PASS"),
            (50, 130, 26, "Passenger"),
            (50, 170, 34, "AMARA DIALLO"),
            (560, 130, 26, "Flight"),
            (560, 170, 34, "KL 1024"),
            (50, 270, 26, "From"),
            (50, 310, 34, "AMSTERDAM"),
            (380, 270, 26, "To"),
            (380, 310, 34, "LONDON"),
            (660, 270, 26, "Seat"),
            (660, 310, 34, "14C"),
        ],
        paper="#dfeaf7",
        ink="#10233f",
    )
    text = "BOARDING PASS\nPassenger Flight\nAMARA DIALLO KL 1024\nFrom To Seat\nAMSTERDAM LONDON 14C"
    return Page("ticket", png(picture), text)


def _label() -> Page:
    lines = ["HONEY", "from the hills of Samos", "Net weight 450 g", "Best before 11/2026", "Lot L2207"]
    sizes = [84, 34, 34, 34, 34]
    pieces = [
        (60, 40 + (0 if n == 0 else 80 + 60 * n), size, line)
        for n, (line, size) in enumerate(zip(lines, sizes, strict=True))
    ]
    return Page("label", png(placed((640, 460), pieces, ink="#3b2206", paper="#f3d27a")), "\n".join(lines))


def _form() -> Page:
    fields = [
        ("Name", "Tomasz Nowak"),
        ("Date of birth", "17.08.1986"),
        ("Street", "Lindenweg 4"),
        ("City", "Graz"),
        ("Phone", "0316 82 40 55"),
    ]
    picture = placed(
        (900, 520),
        [(60, 40, 40, "Registration form")]
        + [
            piece
            for n, (name, value) in enumerate(fields)
            for piece in ((60, 130 + 72 * n, 28, name), (340, 130 + 72 * n, 28, value))
        ],
    )
    pen = ImageDraw.Draw(picture)
    for number in range(len(fields)):
        pen.rectangle((325, 120 + 72 * number, 840, 172 + 72 * number), outline="#777777", width=2)
    return Page("form", png(picture), "\n".join(["Registration form", *(f"{name} {value}" for name, value in fields)]))


@cache
def pages() -> tuple[Page, ...]:
    """All twenty."""
    rotated = sheet(LETTER, (1240, 1000), serif(34)).rotate(1.5, Image.Resampling.BICUBIC, fillcolor="white")
    other_way = sheet(REPORT, (1240, 600), font(34)).rotate(-1.2, Image.Resampling.BICUBIC, fillcolor="white")
    blurred = sheet(LETTER, (1240, 1000), serif(32)).filter(ImageFilter.GaussianBlur(0.8))
    title = placed((1400, 700), [(70, 120, 170, "Summer Sale"), (70, 380, 120, "starts on 1 July")], ink="#8a1c1c")
    return (
        Page("receipt", _receipt(), RECEIPT),
        _invoice(),
        Page("letter", png(sheet(LETTER, (1240, 1000), serif(34))), LETTER),
        _table(),
        _columns(),
        Page("small print", png(sheet(SMALL, (900, 180), font(14), at=(20, 20))), SMALL),
        Page("dark background", png(sheet(NOTICE, (1100, 620), font(32), "#f2f2f2", "#1d2733")), NOTICE),
        Page("rotated", png(rotated), LETTER),
        Page("noise", _noisy(), NOTICE),
        Page("JPEG 40", jpeg(sheet(REPORT, (760, 360), font(22), at=(40, 40)), 40), REPORT),
        Page("scan", scanned(blurred), LETTER),
        Page("mixed PDF", joined(typed(EMAIL), scanned(other_way)), f"{EMAIL}\n{REPORT}"),
        Page("terminal", png(sheet(TERMINAL, (760, 420), mono(18), "#d8f5d0", "#0c0c0c", (16, 16))), TERMINAL),
        _ticket(),
        _label(),
        _form(),
        Page("low contrast", png(sheet(NOTICE, (1100, 620), font(32), "#8f8f8f", "#d6d6d6")), NOTICE),
        Page("large title", png(title), "Summer Sale\nstarts on 1 July"),
        Page("numbers", png(sheet(NUMBERS, (700, 420), font(40))), NUMBERS),
        Page("code", png(sheet(CODE, (820, 420), mono(22), at=(30, 30))), CODE),
    )


def right(read: str, text: str) -> float:
    """The share of characters that were read right: 1 less the edit distance for each character, white space made one blank."""
    a, b = " ".join(read.split()), " ".join(text.split())
    row = list(range(len(b) + 1))
    for i, one in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (one != other))
    return 1 - row[-1] / max(len(a), len(b), 1)
