"""Pictures and PDFs are read, in every provider's form of them, once; what is broken or too much is refused in its words."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
import time
import zlib
from contextlib import suppress

import pages
import psutil
import pytest
from PIL import Image

from bench import quality
from keyless.mind import pages as pdf
from keyless.mind import pictures, reading, seeing
from keyless.mind.workers import Workers
from keyless.neutral import Attachment, BadRequest
from keyless.providers.bedrock import codec as bedrock
from keyless.providers.openai import codec as openai

KEYS = {"Authorization": "Bearer keyless", "x-api-key": "keyless", "x-goog-api-key": "keyless"}
LABEL = pages.png(pages.sheet("Ticket A-4471\nTotal 84.50 EUR", (600, 200), pages.font(36)))
OTHER = pages.png(pages.sheet("Ticket B-9902\nTotal 12.00 EUR", (600, 200), pages.font(36)))
SCAN = pages.scanned(pages.sheet("Ticket A-4471\nTotal 84.50 EUR", (900, 300), pages.font(54)))
TYPED = pages.typed("Ticket A-4471\nTotal 84.50 EUR")
BROKEN = b"\x89PNG\r\n\x1a\n and no more"


def encrypted() -> bytes:
    """A PDF that opens with a password only: the standard handler of 40 bits, with keys that fit none."""
    lock = b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>" % (b"41" * 32, b"42" * 32)
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 0 >>", lock]
    return pages.as_pdf(objects, b"/Encrypt 3 0 R /ID [<%s> <%s>]" % (b"43" * 16, b"43" * 16))


def bomb() -> bytes:
    """A PDF of some megabytes whose one page unpacks to gigabytes."""
    packed = zlib.compress(b"0 0 m " * 50_000_000, 9)
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents [%s] >>" % (b"4 0 R " * 60)
    stream = b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed)
    kids = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
    return pages.as_pdf([b"<< /Type /Catalog /Pages 2 0 R >>", kids, page, stream])


def huge() -> bytes:
    """A PNG of a few kilobytes that unpacks to more pixels than are read."""
    out = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(out, "PNG")
    return out.getvalue()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{b64(data)}"


Q = "What is written here?"
PDF = "application/pdf"
OPENAI = "/openai/v1/chat/completions"
CLAUDE = "/anthropic/v1/messages"
GEMINI = "/google/v1beta/models/gemini-2.5-flash:generateContent"
CONVERSE = "/bedrock/model/anthropic.claude-sonnet/converse"


def chat(part: dict) -> dict:
    return {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": Q}, part]}]}


def claude(part: dict) -> dict:
    return {**chat(part), "max_tokens": 400}


def responses(part: dict) -> dict:
    return {"model": "m", "input": [{"role": "user", "content": [{"type": "input_text", "text": Q}, part]}]}


def gemini(part: dict) -> dict:
    return {"contents": [{"role": "user", "parts": [{"text": Q}, part]}]}


def converse(block: dict) -> dict:
    return {"messages": [{"role": "user", "content": [{"text": Q}, block]}]}


def document(data: bytes, kind: str = "document", media: str = PDF) -> dict:
    return {"type": kind, "source": {"type": "base64", "media_type": media, "data": b64(data)}}


def of_openai(data: bytes) -> dict:
    return {"type": "file", "file": {"filename": "a.pdf", "file_data": url(data, PDF)}}


def of_bedrock(data: bytes) -> dict:
    return {"document": {"name": "a", "format": "pdf", "source": {"bytes": b64(data)}}}


def inline(data: bytes, kind: str) -> dict:
    return {"inlineData": {"mimeType": kind, "data": base64.urlsafe_b64encode(data).decode()}}


FORMS = {
    "openai image": (OPENAI, chat({"type": "image_url", "image_url": {"url": url(LABEL)}})),
    "openai typed PDF": (OPENAI, chat(of_openai(TYPED))),
    "openai scanned PDF": (OPENAI, chat(of_openai(SCAN))),
    "responses image": ("/openai/v1/responses", responses({"type": "input_image", "image_url": url(LABEL)})),
    "responses file": (
        "/openai/v1/responses",
        responses({"type": "input_file", "filename": "a.pdf", "file_data": url(SCAN, PDF)}),
    ),
    "anthropic image": (CLAUDE, claude(document(LABEL, "image", "image/png"))),
    "anthropic document": (CLAUDE, claude(document(SCAN))),
    "anthropic document of blocks": (
        CLAUDE,
        claude(
            {
                "type": "document",
                "source": {"type": "content", "content": [document(LABEL, "image", "image/png")]},
            }
        ),
    ),
    "gemini image": (GEMINI, gemini(inline(LABEL, "image/png"))),
    "gemini PDF": (GEMINI, gemini(inline(SCAN, PDF))),
    "bedrock image": (CONVERSE, converse({"image": {"format": "png", "source": {"bytes": b64(LABEL)}}})),
    "bedrock PDF": (CONVERSE, converse(of_bedrock(SCAN))),
    "bedrock invoke": (
        "/bedrock/model/anthropic.claude-sonnet/invoke",
        {**claude(document(SCAN)), "anthropic_version": "bedrock-2023-05-31"},
    ),
    "cohere image": ("/cohere/v2/chat", chat({"type": "image_url", "image_url": {"url": url(LABEL)}})),
    "ollama chat": (
        "/ollama/api/chat",
        {"model": "m", "stream": False, "messages": [{"role": "user", "content": Q, "images": [b64(LABEL)]}]},
    ),
    "ollama generate": ("/ollama/api/generate", {"model": "m", "stream": False, "prompt": Q, "images": [b64(LABEL)]}),
}


@pytest.mark.parametrize("form", FORMS)
def test_text_is_read_in_every_providers_form(http, form):
    path, body = FORMS[form]
    reply = http.post(path, json=body, headers=KEYS)
    assert reply.status_code == 200, reply.text
    assert "Ticket A-4471" in reply.text and "84.50" in reply.text


def test_uploaded_files_are_read(http, gemini_client):
    sent = http.post("/openai/v1/files", files={"file": ("a.pdf", SCAN)}, data={"purpose": "user_data"}, headers=KEYS)
    id = sent.json()["id"]
    for path, body in (
        (OPENAI, chat({"type": "file", "file": {"file_id": id}})),
        ("/openai/v1/responses", responses({"type": "input_file", "file_id": id})),
        ("/openai/v1/responses", responses({"type": "input_image", "file_id": id})),
    ):
        assert "A-4471" in http.post(path, json=body, headers=KEYS).text
    file = gemini_client.files.upload(file=io.BytesIO(SCAN), config={"mime_type": PDF})
    reply = gemini_client.models.generate_content(model="gemini-2.5-flash", contents=[Q, file])
    assert "A-4471" in reply.text


@pytest.mark.parametrize(
    "path, body, status",
    [
        (OPENAI, chat({"type": "file", "file": {"file_id": "file-none"}}), 404),
        (CLAUDE, claude({"type": "document", "source": {"type": "file", "file_id": "file_none"}}), 404),
        (CLAUDE, claude({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}), 400),
        (GEMINI, gemini({"fileData": {"fileUri": "gs://bucket/a.pdf"}}), 400),
        (GEMINI, gemini(inline(b"RIFF....WAVE\xff\xfe", "audio/wav")), 400),
    ],
)
def test_what_lies_elsewhere_is_refused(http, path, body, status):
    assert http.post(path, json=body, headers=KEYS).status_code == status


BAD = {"broken image": BROKEN, "huge image": huge(), "broken PDF": b"%PDF-1.7 none", "encrypted PDF": encrypted()}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_read_gets_the_providers_own_400(http, what):
    data, is_pdf = BAD[what], what.endswith("PDF")
    picture = {"type": "image_url", "image_url": {"url": url(data)}}
    bodies = {
        OPENAI: chat(of_openai(data) if is_pdf else picture),
        CLAUDE: claude(document(data) if is_pdf else document(data, "image", "image/png")),
        GEMINI: gemini(inline(data, PDF if is_pdf else "image/png")),
        CONVERSE: converse(
            of_bedrock(data) if is_pdf else {"image": {"format": "png", "source": {"bytes": b64(data)}}}
        ),
    }
    replies = {path: http.post(path, json=body, headers=KEYS) for path, body in bodies.items()}
    assert {r.status_code for r in replies.values()} == {400}
    assert replies[OPENAI].json()["error"]["code"] == ("invalid_file" if is_pdf else "invalid_image")
    assert replies[CLAUDE].json()["error"]["type"] == "invalid_request_error"
    assert replies[GEMINI].json()["error"]["status"] == "INVALID_ARGUMENT"
    assert replies[CONVERSE].headers["x-amzn-errortype"] == "ValidationException"
    if what == "encrypted PDF":
        assert "password" in replies[OPENAI].text


def test_a_pdf_gets_so_much_memory_time_and_pages_and_no_more(monkeypatch):
    with pytest.raises(pdf.Unreadable, match=f"more than {pdf.MAX_PAGES} pages"):
        pdf.pages_of(pages.typed(*["page"] * (pdf.MAX_PAGES + 1)))
    with pytest.raises(pdf.Unreadable, match="MiB to read"):
        pdf.pages_of(bomb())
    monkeypatch.setattr(pdf, "MAX_SECONDS", pdf._POLL_SECONDS)
    began = time.monotonic()
    with pytest.raises(pdf.Unreadable, match="seconds"):
        pdf.pages_of(pages.scanned(*[pages.sheet(pages.LETTER, (1240, 1000), pages.serif(34))] * 20))
    assert time.monotonic() - began < 5


def test_a_picture_gets_so_much_time_and_no_more(monkeypatch):
    page = Image.open(io.BytesIO(pages.pages()[2].data))
    with pytest.raises(reading.TooLong):
        reading.text_in(page, seconds=0.01)
    monkeypatch.setattr(reading, "text_in", lambda picture: (_ for _ in ()).throw(reading.TooLong))
    with pytest.raises(BadRequest) as refused:
        seeing.Eyes().look(Attachment(LABEL))
    assert refused.value.status == 400 and refused.value.kind == "invalid_image"


def test_a_picture_is_read_once(monkeypatch):
    read = []
    monkeypatch.setattr(reading, "text_in", lambda picture: read.append(picture.size) or "text " * 100)
    monkeypatch.setattr(seeing, "REMEMBERED_CHARACTERS", 2000)
    eyes = seeing.Eyes()
    others = [pages.png(Image.new("RGB", (40 + n, 40), "white")) for n in range(5)]
    assert eyes.look(Attachment(LABEL)) == eyes.look(Attachment(LABEL, param="other"))
    assert len(read) == 1
    for other in others:
        eyes.look(Attachment(other))
    eyes.look(Attachment(others[-1]))
    assert len(read) == 6, "the latest is still remembered"
    eyes.look(Attachment(LABEL))
    assert len(read) == 7, "the oldest had to go"


def test_reading_holds_up_nobody(http):
    """Dense pages are read by threads and processes: meanwhile the event loop answers others."""
    dense = pages.sheet("\n".join([pages.SMALL] * 6), (1000, 1200), pages.font(14), at=(20, 20))
    done = threading.Event()

    def send() -> None:
        try:
            http.post(
                OPENAI, json=chat({"type": "image_url", "image_url": {"url": url(pages.png(dense))}}), headers=KEYS
            )
        finally:
            done.set()

    thread = threading.Thread(target=send)
    thread.start()
    waits = []
    while not done.wait(0.05):
        began = time.monotonic()
        http.get("/openai/v1/models", headers=KEYS)
        waits.append(time.monotonic() - began)
    thread.join()
    assert len(waits) > 3 and sorted(waits)[len(waits) // 2] < 0.2, waits


def test_a_photo_is_held_as_its_exif_says():
    sheet = Image.open(io.BytesIO(LABEL))
    exif, out = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    sheet.rotate(90, expand=True).save(out, "JPEG", exif=exif)
    shown = seeing.Eyes().look(Attachment(out.getvalue()))
    assert "A-4471" in shown.text and "600 pixels wide and 200 pixels high, in landscape" in shown.description


def test_the_description_that_a_camera_writes_is_no_text_in_the_picture():
    exif, out = Image.Exif(), io.BytesIO()
    exif[0x010E] = "OLYMPUS DIGITAL CAMERA"
    Image.open(io.BytesIO(LABEL)).save(out, "JPEG", exif=exif)
    shown = seeing.Eyes().look(Attachment(out.getvalue()))
    assert "A-4471" in shown.text and "OLYMPUS" not in shown.description
    drawn = seeing.Eyes().look(Attachment(pictures.draw("a house 'Mill Lane'", (600, 400), form="JPEG")))
    assert drawn.text == "" and '"Mill Lane"' in drawn.description


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (3, 3), (40_000, 1), (1, 2_000_000)])
def test_a_picture_without_room_for_text(size):
    shown = seeing.Eyes().look(Attachment(pages.png(Image.new("RGB", size, "red"))))
    assert shown.text == "" and f"{size[0]} pixels wide" in shown.description


def test_attachments_stand_in_their_order():
    parts = [{"type": "image_url", "image_url": {"url": url(p)}} for p in (LABEL, OTHER)]
    image = {"image": {"format": "png", "source": {"bytes": b64(OTHER)}}}
    for asked in (
        openai.to_neutral(openai.ChatRequest(model="m", messages=[openai.ChatMessage(role="user", content=parts)])),
        bedrock.to_neutral(
            bedrock.ConverseRequest.model_validate(
                {"messages": [{"role": "user", "content": [of_bedrock(TYPED), image]}]}
            )
        ),
    ):
        (turn,) = seeing.Eyes().seen(asked).messages
        assert [p.text[:13] for p in turn.pictures] == ["Ticket A-4471", "Ticket B-9902"]


def test_what_has_no_text_is_described_by_its_pixels():
    shapes = Image.open(io.BytesIO(pictures.draw("blue circles", (800, 600)))).crop((0, 0, 800, 400))
    shown = seeing.Eyes().look(Attachment(pages.png(shapes)))
    assert shown.text == "" and "800 pixels wide" in shown.description and shown.material == shown.description


def test_a_computer_without_tesseract_says_that_it_does_not_read(monkeypatch):
    monkeypatch.setattr(reading, "IS_INSTALLED", False)
    shown = seeing.Eyes().look(Attachment(LABEL))
    assert shown.text == "" and "600 pixels wide" in shown.description
    assert shown.description.endswith("Text in it is not read on this computer.")
    monkeypatch.setattr(pdf, "pages_of", lambda data: ["", "typed"])
    shown = seeing.Eyes().look(Attachment(SCAN, "pdf"))
    assert (
        shown.text == "typed" and "No text of page 1: it has no text layer, and scans are not read" in shown.description
    )


def test_pages_are_read_one_by_one():
    assert pdf.pages_of(pages.joined(TYPED, SCAN)) == ["Ticket A-4471\nTotal 84.50 EUR"] * 2


def garbled() -> bytes:
    """A PDF whose font maps its letters to Unicode's private area, as those of some programs do."""
    shown = b"BT /F1 24 Tf 60 700 Td (Ticket A-4471) Tj ET"
    names = b"begincmap 1 begincodespacerange <00> <ff> endcodespacerange 1 beginbfrange <20> <7e> <e020> endbfrange endcmap"
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>"
    text, cmap = (b"<< /Length %d >>\nstream\n%s\nendstream" % (len(s), s) for s in (shown, names))
    kids = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
    return pages.as_pdf([b"<< /Type /Catalog /Pages 2 0 R >>", kids, page, text, font, cmap])


def test_a_text_layer_that_is_no_text_is_read_from_the_pages_picture():
    assert pdf.pages_of(garbled()) == ["Ticket A-4471"]


def test_a_client_that_leaves_ends_the_process_that_reads_its_pdf():
    def readers() -> list[psutil.Process]:
        return [p for p in psutil.Process().children() if p.is_running() and pdf.__name__ in p.cmdline()]

    async def main() -> None:
        workers = Workers(1)
        scans = pages.scanned(*[pages.sheet(pages.LETTER, (1240, 1000), pages.serif(34))] * 40)
        reading = asyncio.create_task(workers.run(lambda desk: pdf.pages_of(scans)))
        while not readers():
            await asyncio.sleep(0.05)
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        for _ in range(40):
            if not readers():
                return
            await asyncio.sleep(0.1)
        raise AssertionError("it reads on for nobody")

    asyncio.run(main())


def test_fields_choices_and_tools_use_the_text_of_a_picture(http):
    invoice = next(p for p in pages.pages() if p.name == "invoice")
    part = {"type": "image_url", "image_url": {"url": url(invoice.data)}}

    def asked(words: str, **more) -> dict:
        content = [{"type": "text", "text": words}, part]
        body = {"model": "m", "messages": [{"role": "user", "content": content}], **more}
        return http.post(OPENAI, json=body, headers=KEYS).json()["choices"][0]["message"]

    schema = {
        "type": "object",
        "properties": {
            "invoice_number": {"type": "string"},
            "date": {"type": "string", "format": "date"},
            "total_due": {"type": "number"},
        },
        "required": ["invoice_number", "date", "total_due"],
    }
    form = {"type": "json_schema", "json_schema": {"name": "invoice", "schema": schema}}
    filled = asked("Extract the data.", response_format=form)["content"]
    assert filled == '{"invoice_number": "INV-20418", "date": "2025-06-03", "total_due": 241.3}'
    options = "Classify the document. Answer with exactly one of: invoice, poem, weather report"
    assert asked(options)["content"] == "invoice"
    pay = {
        "name": "pay_invoice",
        "description": "Pay an invoice",
        "parameters": {
            "type": "object",
            "properties": {"invoice_number": {"type": "string"}, "total_due": {"type": "number"}},
            "required": ["invoice_number", "total_due"],
        },
    }
    (call,) = asked("Please pay this invoice.", tools=[{"type": "function", "function": pay}])["tool_calls"]
    assert call["function"]["arguments"] == '{"invoice_number": "INV-20418", "total_due": 241.3}'


def test_the_picture_in_a_tools_result_is_read(http):
    use = {"type": "tool_use", "id": "toolu_1", "name": "scan", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [document(LABEL, "image", "image/png")]}
    turns = [("user", "What is the total on the ticket?"), ("assistant", [use]), ("user", [result])]
    body = {"model": "m", "max_tokens": 200, "messages": [{"role": r, "content": c} for r, c in turns]}
    reply = http.post(CLAUDE, json=body, headers=KEYS)
    assert reply.status_code == 200 and "84.50" in reply.text


def test_the_share_of_characters_read_right(http):
    """The figure in README: at least 98 percent of all, and no page below 95."""
    score = quality.pages(http)
    assert score.total > 4000 and score.share >= 0.98, score.wrong
    assert all(float(page.rpartition(" ")[2]) >= 0.95 for page in score.wrong), score.wrong
