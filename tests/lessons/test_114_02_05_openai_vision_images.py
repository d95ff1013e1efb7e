from __future__ import annotations

import pytest

DAG = "114_02_05_openai_vision_images"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.2.5", "GPT-4 Vision integration")
def test_a_picture_is_part_of_the_message(run):
    assert "orange" in run.xcoms["describe_picture"] and "Aurora lamp" in run.xcoms["describe_picture"]
    assert [r["model"] for r in run.requests].count("gpt-4o") == 1 + 3 + 2


@pytest.mark.checklist("114.2.5", "Image analysis tasks")
def test_pictures_become_data(run):
    found = {row["picture"]: (row["product"], row["colour"]) for row in run.xcoms["analyse_picture"]}
    assert found == {"aurora.png": ("lamp", "orange"), "fjord.png": ("desk", "brown"), "moss.png": ("mat", "green")}


@pytest.mark.checklist("114.2.5", "DALL-E image generation")
def test_a_picture_is_drawn_and_saved(run):
    from airflow.sdk import ObjectStoragePath
    from PIL import Image

    path = run.xcoms["draw_mockup"]
    assert path == run.xcoms["plan_mockup"]["path"] and path.endswith("/mockup.png")
    with ObjectStoragePath(path).open("rb") as file:
        assert Image.open(file).size == (1024, 1024)
    (request,) = [r for r in run.requests if r["path"] == "/v1/images/generations"]
    assert request["completion_tokens"] == 272, "quality low"


@pytest.mark.checklist("114.2.5", "Multi-modal pipelines")
def test_copy_and_picture_are_checked_against_each_other(run, run_lesson, dagbag):
    assert run.xcoms["decide"] == {"consistency": 1.0, "verdict": "publish", "differing": []}
    assert (
        run.xcoms["review_mockup"]["copy"]
        == run.xcoms["review_mockup"]["picture"]
        == {"product": "lamp", "colour": "orange"}
    )
    careless = run_lesson(DAG, mockup_colour="green")
    assert careless.state == "success"
    assert careless.xcoms["decide"] == {"consistency": 0.5, "verdict": "redo", "differing": ["colour"]}
    dag = dagbag.dags[DAG]
    assert dag.get_task("review_mockup").upstream_task_ids == {"write_copy", "draw_mockup"}
    assert "write_copy" not in dag.get_task("draw_mockup").get_flat_relative_ids(upstream=True), "they run in parallel"
