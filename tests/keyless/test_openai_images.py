"""Images: drawn, edited, streamed, looked at; what is in the picture is what was asked for."""

from __future__ import annotations

import base64
import io

import httpx
import openai
import pytest
from PIL import Image
from shapes import valid

from keyless.mind import pictures

PROMPT = 'A poster in navy and gold, with the words "Summer Sale"'


def image_of(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def data_url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@pytest.fixture(scope="module")
def poster(openai_client) -> bytes:
    reply = openai_client.images.generate(model="gpt-image-1", prompt=PROMPT, size="512x256")
    valid(reply)
    return base64.b64decode(reply.data[0].b64_json)


def test_generated(poster, openai_client):
    assert image_of(poster).size == (512, 256) and image_of(poster).format == "PNG"
    described = pictures.describe(image_of(poster))
    assert "navy" in described and "Summer Sale" in described
    again = openai_client.images.generate(model="gpt-image-1", prompt=PROMPT, size="512x256", n=2)
    images = [base64.b64decode(d.b64_json) for d in again.data]
    assert images[0] == poster != images[1], "the same prompt gives the same image, further ones differ"
    assert again.usage.output_tokens == 2 * round(1056 * 512 * 256 / 1024**2)


@pytest.mark.parametrize("form", ["jpeg", "webp"])
def test_formats(openai_client, form):
    reply = openai_client.images.generate(model="gpt-image-1", prompt=PROMPT, size="256x256", output_format=form)
    data = base64.b64decode(reply.data[0].b64_json)
    assert image_of(data).format == form.upper() and "Summer Sale" in pictures.describe(image_of(data))


def test_by_address(openai_client):
    reply = openai_client.images.generate(model="dall-e-3", prompt=PROMPT, size="256x256")
    valid(reply)
    assert reply.data[0].b64_json is None
    fetched = httpx.get(reply.data[0].url, trust_env=False)
    assert fetched.headers["content-type"] == "image/png" and image_of(fetched.content).size == (256, 256)
    assert httpx.get(reply.data[0].url + "x", trust_env=False).status_code == 404


def test_edit_and_mask(openai_client, poster):
    whole = openai_client.images.edit(model="gpt-image-1", image=("p.png", poster, "image/png"), prompt="all red")
    valid(whole)
    assert image_of(base64.b64decode(whole.data[0].b64_json)).size == (512, 256)
    mask = Image.new("RGBA", (512, 256), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 100, 256))
    out = io.BytesIO()
    mask.save(out, "PNG")
    edited = openai_client.images.edit(
        model="gpt-image-1", image=poster, mask=("m.png", out.getvalue(), "image/png"), prompt="all red"
    )
    before, after = image_of(poster).convert("RGB"), image_of(base64.b64decode(edited.data[0].b64_json)).convert("RGB")
    assert before.getpixel((400, 20)) == after.getpixel((400, 20)), "kept where the mask is opaque"
    assert before.getpixel((20, 20)) != after.getpixel((20, 20)), "drawn anew where it is transparent"


def test_stream(openai_client, poster):
    events = list(
        openai_client.images.generate(model="gpt-image-1", prompt=PROMPT, size="512x256", stream=True, partial_images=2)
    )
    assert [e.type for e in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    for event in events:
        valid(event)
    assert base64.b64decode(events[-1].b64_json) == poster


def test_vision_says_what_was_measured(openai_client, poster):
    def look(question, url, **more):
        content = [{"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": url}}]
        return openai_client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": content}], **more
        )

    text = look("Describe this image.", data_url(poster)).choices[0].message.content
    assert "512 pixels wide" in text and "navy" in text and "Summer Sale" in text
    schema = {
        "type": "object",
        "properties": {
            "width": {"type": "integer", "description": "width in pixels"},
            "main_color": {"type": "string", "enum": ["navy", "red", "green"]},
        },
        "required": ["width", "main_color"],
    }
    form = {"type": "json_schema", "json_schema": {"name": "image", "schema": schema}}
    found = look("Describe this image.", data_url(poster), response_format=form).choices[0].message.content
    assert '"width": 512' in found and '"main_color": "navy"' in found
    reply = openai_client.responses.create(
        model="gpt-5",
        input=[
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What do you see?"},
                    {"type": "input_image", "image_url": data_url(poster), "detail": "auto"},
                ],
            }
        ],
    )
    assert "Summer Sale" in reply.output_text
    for url in ("https://example.com/cat.png", "data:image/png;base64,AAAA", "data:image/png;base64,%%%"):
        with pytest.raises(openai.BadRequestError, match="image"):
            look("Describe this image.", url)


def test_a_bomb_is_refused_before_it_is_unpacked(openai_client):
    out = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(out, "PNG")
    assert len(out.getvalue()) < 1_000_000
    with pytest.raises(openai.BadRequestError, match="30000x30000"):
        openai_client.images.edit(model="gpt-image-1", image=out.getvalue(), prompt="x")


def test_bad_requests(openai_client, poster):
    for wrong in ({"size": "9999x9999"}, {"size": "big"}, {"n": 0}, {"quality": "best"}):
        with pytest.raises(openai.BadRequestError, match=next(iter(wrong))):
            openai_client.images.generate(**{"model": "gpt-image-1", "prompt": "x", **wrong})
    with pytest.raises(openai.BadRequestError, match="could not be read"):
        openai_client.images.edit(model="gpt-image-1", image=b"not an image", prompt="x")
    with pytest.raises(openai.BadRequestError, match="prompt"):
        openai_client.images.edit(model="gpt-image-1", image=poster, prompt="")
