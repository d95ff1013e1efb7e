"""
# 114.2.5 OpenAI Vision and Images

Models read images and draw them. Lumen & Oak uses both: vision sorts the pictures of its catalogue, and an advertisement is made
from a brief, its copy and its mock-up in parallel, by two models that know nothing of each other. So a review closes the
pipeline: it reads copy and picture back into the same type, compares the two, and only a consistent pair is published.

| Checklist item | Tasks that show it |
|---|---|
| GPT-4 Vision integration | `describe_picture` |
| Image analysis tasks | `list_pictures`, `analyse_picture` |
| DALL-E image generation | `draw_mockup` |
| Multi-modal pipelines | `write_copy`, `draw_mockup`, `review_mockup`, `decide` |

**Try it**: `draw_mockup` returns the path of a PNG below the state folder: open it. Then trigger it with *Colour of the mock-up* set to
another colour than the brief's, as a careless agency would: `decide` turns from `publish` to `redo`, and names the field
that differs. Offline the pictures are described from their pixels and from the caption that was drawn into them.

**In production**: send images as small as the task allows, because they are billed by size (`detail: low` is the cheapest), and
by address rather than inline where the provider can reach your storage. `gpt-4-vision-preview` and DALL·E are gone; every
gpt-4o and later model sees, and the gpt-image family draws. Generated pictures belong in object storage, never in XCom.
"""

import base64
from datetime import timedelta
from pathlib import Path
from typing import Literal

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import ObjectStoragePath, Param, dag, task
from pydantic import BaseModel, Field

from llmkit import prompts, storage
from llmkit.operators import OpenAIImageOperator

PICTURES = Path(__file__).parents[1] / "include" / "data" / "images"
COLOURS = ["orange", "green", "brown", "navy", "beige", "white", "red", "gold"]
VISION_MODEL = "gpt-4o"


class Shown(BaseModel):
    """What is advertised: copy and picture are both read into this, so that they can be compared."""

    product: Literal["lamp", "desk", "mat"] = Field(description="Which product it is about")
    colour: Literal[*COLOURS] = Field(description="The main colour")


class Copy(BaseModel):
    headline: str = Field(description="A short headline", max_length=80)
    text: str = Field(description="The text, with product and colour", max_length=300)


def look_at(path: str) -> list[dict]:
    """A message with the picture in it, as base64."""
    image = base64.b64encode(ObjectStoragePath(path).read_bytes()).decode()
    return [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": prompts.load("look_at_picture").render(shop="Lumen & Oak")},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}", "detail": "low"}},
            ],
        }
    ]


def read_as_shown(messages: list[dict]) -> dict:
    """The answer as a `Shown`: the SDK sends its schema, and checks what comes back."""
    chat = OpenAIHook(conn_id="openai_default").conn.chat.completions
    return (
        chat.parse(model=VISION_MODEL, messages=messages, response_format=Shown).choices[0].message.parsed.model_dump()
    )


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    # The brief is a text, not a template.
    jinja_environment_kwargs=prompts.rendered_once(),
    schedule=None,
    catchup=False,
    tags=["reference", "patterns", "advanced", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=3)},
    params={
        "product": Param("Aurora lamp", type="string", title="Product", minLength=1),
        "colour": Param("orange", enum=COLOURS, title="Colour", description="What the brief says."),
        "mockup_colour": Param("orange", enum=COLOURS, title="Colour of the mock-up", description="Try another one."),
    },
)
def openai_vision_images() -> None:
    @task
    def list_pictures() -> list[str]:
        """Image analysis tasks: the pictures are files; a path is what goes from task to task."""
        return [f"file://{path}" for path in sorted(PICTURES.glob("*.png"))]

    @task
    def describe_picture(paths: list[str]) -> str:
        """GPT-4 Vision integration: a picture is one more part of a user message, beside its text."""
        chat = OpenAIHook(conn_id="openai_default").conn.chat.completions
        return chat.create(model=VISION_MODEL, messages=look_at(paths[0]), max_tokens=120).choices[0].message.content

    @task
    def analyse_picture(path: str) -> dict:
        """Image analysis tasks: data instead of a description, one mapped task a picture."""
        return {"picture": Path(path).name, **read_as_shown(look_at(path))}

    @task
    def write_brief(params: dict) -> str:
        """Multi-modal pipelines: one brief is what both branches start from."""
        return f"Our {params['colour']} {params['product']} is new. It is {params['colour']} like the evening sky."

    @task.llm(llm_conn_id="pydanticai_default", output_type=Copy, serialize_output=True)
    def write_copy(brief: str) -> str:
        """Multi-modal pipelines: the words, by a model that sees no picture."""
        return prompts.load("mockup_copy").render(brief=brief)

    @task
    def plan_mockup(params: dict, **context) -> dict:
        """DALL-E image generation: prompt and place of the picture; a second try writes the same file."""
        prompt = prompts.load("mockup_image").render(product=params["product"], colour=params["mockup_colour"])
        return {"prompt": prompt, "path": str(storage.run_folder(context) / "mockup.png")}

    plan = plan_mockup()
    mockup = OpenAIImageOperator(
        task_id="draw_mockup",
        doc_md="DALL-E image generation: by the successor of DALL·E; the picture is saved, its path is returned.",
        prompt=plan["prompt"],
        path=plan["path"],
        model="gpt-image-1",
        settings={"quality": "low"},
    )

    @task
    def review_mockup(words: dict, path: str) -> dict[str, dict]:
        """Multi-modal pipelines: picture and copy are read back, each without sight of the other."""
        copy = [{"role": "user", "content": f"{words['headline']} {words['text']}"}]
        return {"copy": read_as_shown(copy), "picture": read_as_shown(look_at(path))}

    @task
    def decide(review: dict[str, dict]) -> dict:
        """Multi-modal pipelines: the consistency is the share of fields on which both agree; below 1.0 nobody publishes."""
        differing = [name for name in Shown.model_fields if review["copy"][name] != review["picture"][name]]
        score = 1 - len(differing) / len(Shown.model_fields)
        return {"consistency": score, "verdict": "redo" if differing else "publish", "differing": differing}

    pictures = list_pictures()
    describe_picture(pictures)
    analyse_picture.expand(path=pictures)
    decide(review_mockup(write_copy(write_brief()), mockup.output))


openai_vision_images()
