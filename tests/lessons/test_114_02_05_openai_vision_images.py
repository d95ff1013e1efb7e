from __future__ import annotations

import base64
from pathlib import Path

import pytest

DAG = "114_02_05_openai_vision_images"
PICTURES = Path(__file__).parents[2] / "include" / "data" / "images"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def careless(run_lesson):
    """Every form field has another value: photograph and brief are green, the mock-up is blue."""
    return run_lesson(DAG, product="Moss desk mat", colour="green", drawn="blue")


def with_pictures(run) -> list[tuple[dict, dict]]:
    """Requests that carry a picture: the request, and the picture's part of the message."""
    found = []
    for request in run.requests:
        if request["path"] != "/v1/chat/completions":
            continue
        for message in request["body"]["messages"]:
            parts = message["content"] if isinstance(message["content"], list) else []
            found += [(request, part["image_url"]) for part in parts if part["type"] == "image_url"]
    return found


def picture_of(part: dict) -> bytes:
    return base64.b64decode(part["url"].removeprefix("data:image/png;base64,"))


def asked_of_copywriter(run) -> str:
    (request,) = [r for r in run.requests if "One sentence with product" in str(r["asked"].get("tools"))]
    assert request["model"] == "gpt-4o-mini"
    return request["asked"]["messages"][-1]["text"]


def test_it_ends_as_the_outline_says(run, careless):
    for each in run, careless:
        assert each.state == "success", each.log[-3000:]
        assert set(each.tasks.values()) == {"success"}


@pytest.mark.checklist("114.2.5", "GPT-4 Vision integration")
def test_the_photograph_is_part_of_the_message_and_its_description_reaches_the_copywriter(run, careless):
    for each, file in (run, "aurora.png"), (careless, "moss.png"):
        sent = [found for found in with_pictures(each) if found[1].get("detail") == "low"]
        assert len(sent) == 1
        request, part = sent[0]
        assert picture_of(part) == (PICTURES / file).read_bytes()
        assert request["model"] == "gpt-4o" and request["asked"]["max_tokens"] == 120
        (message,) = request["body"]["messages"]
        assert "Which product does it show" in message["content"][0]["text"]
        assert each.xcoms["describe_picture"] in asked_of_copywriter(each)
    assert "orange (" in run.xcoms["describe_picture"] and "green (" in careless.xcoms["describe_picture"]


@pytest.mark.checklist("114.2.5", "Image analysis tasks")
def test_the_mockup_becomes_data(run, careless):
    assert run.xcoms["analyse_picture"] == {"product": "lamp", "colour": "orange"}
    assert careless.xcoms["analyse_picture"] == {"product": "mat", "colour": "blue"}
    for each in run, careless:
        analysed = [found for found in with_pictures(each) if found[1].get("detail") != "low"]
        assert len(analysed) == 1
        request, part = analysed[0]
        assert picture_of(part) == Path(each.result["picture"]).read_bytes(), "the picture that was drawn"
        assert request["model"] == "gpt-4o"
        assert "Which product does it show" in request["asked"]["messages"][-1]["text"]
        assert "The main colour" in str(request["asked"]["tools"]), "the type goes with the question"


@pytest.mark.checklist("114.2.5", "DALL-E image generation")
def test_a_picture_is_drawn_and_saved_where_a_person_can_open_it(run, careless):
    from PIL import Image

    for each, product, colour in (run, "Aurora lamp", "orange"), (careless, "Moss desk mat", "blue"):
        (request,) = [r for r in each.requests if r["path"] == "/v1/images/generations"]
        assert f"The {product} in {colour}," in request["asked"]["prompt"]
        assert f'only these words into the picture: "{product}"' in request["asked"]["prompt"]
        assert request["body"]["quality"] == "low" and request["model"] == "gpt-image-2.5-flare"
        path = each.result["picture"]
        assert path.startswith("/") and path.endswith("/mockup.png"), "a plain path, not an address"
        assert f"picture: {path}" in each.log
        with Image.open(path) as picture:
            assert picture.size == (1024, 1024)
            assert picture.text["keyless-text"] == product, "the caption"


@pytest.mark.checklist("114.2.5", "Multi-modal pipelines")
def test_mockup_and_copy_are_compared_with_the_brief(run, careless, dagbag):
    row = {"product": "lamp", "colour": "orange", "differs in": "", "agrees": 1.0}
    assert run.result["decision"] == "publish"
    assert run.result["materials"] == [{"what": "mock-up", **row}, {"what": "copy", **row}]
    assert careless.result["decision"] == "redo: mock-up"
    assert careless.result["materials"] == [
        {"what": "mock-up", "product": "mat", "colour": "blue", "differs in": "colour", "agrees": 0.5},
        {"what": "copy", "product": "mat", "colour": "green", "differs in": "", "agrees": 1.0},
    ]
    dag = dagbag.dags[DAG]
    assert "write_copy" not in dag.get_task("draw_mockup").get_flat_relative_ids(upstream=True), "they run in parallel"
    assert "draw_mockup" not in dag.get_task("write_copy").get_flat_relative_ids(upstream=True)


@pytest.mark.checklist("114.2.5", "Multi-modal pipelines")
def test_a_copy_that_strays_from_the_brief_stops_the_publication(dagbag):
    review = dagbag.dags[DAG].get_task("review_mockup").python_callable
    right, wrong = {"product": "lamp", "colour": "orange"}, {"product": "desk", "colour": "red"}
    found = review(right, wrong, "file:///mockup.png", {"product": "Aurora lamp", "colour": "orange"})
    assert found["decision"] == "redo: copy"
    assert [row["differs in"] for row in found["materials"]] == ["", "product, colour"]


@pytest.mark.checklist("114.2.5", "Multi-modal pipelines")
def test_the_copy_is_written_from_the_brief_and_read_back(run, careless):
    assert "Our Aurora lamp is new, and it is orange." in asked_of_copywriter(run)
    assert "Our Moss desk mat is new, and it is green." in asked_of_copywriter(careless)
    for each in run, careless:
        asked = [r["asked"]["messages"][-1]["text"] for r in each.requests if r["asked"].get("messages")]
        copy = each.xcoms["write_copy"]
        assert f"{copy['headline']} {copy['text']}" in asked


@pytest.mark.checklist("114.2.5", "GPT-4 Vision integration")
def test_a_refused_picture_leaves_the_copywriter_without_a_description(lesson_module, monkeypatch):
    from types import SimpleNamespace

    module = lesson_module(DAG)
    refused = SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content=None, refusal="No."))])
    completions = SimpleNamespace(create=lambda **asked: refused)
    hook = SimpleNamespace(conn=SimpleNamespace(chat=SimpleNamespace(completions=completions)))
    monkeypatch.setattr(module, "OpenAIHook", lambda conn_id: hook)
    describe = module.openai_vision_images().get_task("describe_picture").python_callable
    assert describe(f"file://{PICTURES / 'aurora.png'}", "What is it?") == "no description"
