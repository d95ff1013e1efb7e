"""
# 114.2.5 OpenAI Vision and Images

Models read pictures and draw them. Lumen & Oak makes an advertisement with both: a vision model describes the product's photograph
for the copywriter, and a text model writes the copy while an image model draws a mock-up. Neither of these two sees what the other makes.
So a review reads mock-up and copy back into one type, and compares each with the brief before anybody publishes.

| Checklist item | Tasks that show it |
|---|---|
| GPT-4 Vision integration | `describe_picture`, `write_copy` |
| Image analysis tasks | `analyse_picture` |
| DALL-E image generation | `draw_mockup` |
| Multi-modal pipelines | `write_brief`, `write_copy`, `read_copy`, `review_mockup` |

**Try it**: trigger it with *Colour of the mock-up* set to green, as a careless agency would draw it: the decision turns to `redo:
mock-up`. Then set only *Colour* to green: the mock-up is still drawn in orange, and the copywriter is told of an orange photograph. The
result is under *Storage → XCom* of `review_mockup`; *agrees* is the share of product and colour that is as in the brief. It has the
path of the PNG; the log has it too. Airflow's UI shows no files of a disk, so open the path in a terminal: `xdg-open`, or `open` on a
Mac.

**You should see** (offline):

- decision: publish

| what    | colour   | product   | differs in   |   agrees |
|:--------|:---------|:----------|:-------------|---------:|
| mock-up | orange   | lamp      | –            |        1 |
| copy    | orange   | lamp      | –            |        1 |

- picture: …/mockup.png

**SDK or own code?** `LLMFileAnalysisOperator` of the [common-ai provider](https://airflow.apache.org/docs/apache-airflow-providers-common-ai/stable/operators/index.html)
reads a file from any storage and sends it with a typed question. It has no setting for `detail`, so `describe_picture` calls the SDK by
[OpenAIHook](https://airflow.apache.org/docs/apache-airflow-providers-openai/stable/index.html). No provider has an operator that draws; `OpenAIImageOperator` is llmkit's.

**In production**: OpenAI bills pictures by size; `detail: low` is the cheapest. `gpt-4-vision-preview`, DALL·E and gpt-image-1 are
gone: gpt-4o and later models see, and the newer gpt-image models draw, in up to a minute. gpt-4o follows on 14 January 2027: change
`VISION_MODEL`. OpenAI may ask to verify your organization before it draws. Set `LLMKIT_STORAGE` to a bucket;
`ObjectStoragePath(path).sign()` then makes a link for a browser. Offline, text in a picture is
read, and the rest is described from its pixels.

**Builds on** [2.4 OpenAI Embeddings](114_02_04_openai_embeddings.py) · **Next** [3.1 Cohere Integration](114_03_01_cohere_integration.py)
"""

import base64
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from airflow.providers.common.ai.operators.llm_file_analysis import LLMFileAnalysisOperator
from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import ObjectStoragePath, Param, dag, task
from pydantic import BaseModel, Field

from llmkit import prompts, storage, tables
from llmkit.operators import OpenAIImageOperator

log = logging.getLogger(__name__)
PICTURES = Path(__file__).parents[1] / "include" / "data" / "images"
KINDS = {"Aurora lamp": "lamp", "Fjord standing desk": "desk", "Moss desk mat": "mat"}
COLOURS = ["orange", "green", "brown", "blue", "red", "white", "gold"]
VISION_MODEL = "gpt-4o"


class Shown(BaseModel):
    """What is advertised. Pictures and copy are all read into this type, so that they can be compared."""

    product: Literal["lamp", "desk", "mat"] = Field(description="Which product it is about")
    colour: Literal[*COLOURS] = Field(description="The main colour")


class Copy(BaseModel):
    headline: str = Field(description="A short headline", max_length=60)
    text: str = Field(description="One sentence with product and colour", max_length=120)


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.2.5 · OpenAI Vision and Images",
    doc_md=__doc__,
    jinja_environment_kwargs=prompts.rendered_once(),  # what a model wrote is text, not a template
    tags=["reference", "patterns", "advanced", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=3)},
    params={
        "product": Param("Aurora lamp", enum=list(KINDS), title="Product", description="What is advertised."),
        "colour": Param("orange", enum=COLOURS, title="Colour", description="The colour that the brief asks for."),
        "drawn": Param("orange", enum=COLOURS, title="Colour of the mock-up", description="What the drawing shows."),
    },
)
def openai_vision_images() -> Any:
    as_shown = {"llm_conn_id": "pydanticai_default", "output_type": Shown, "serialize_output": True}

    @task
    def write_brief(params: dict, **context) -> dict[str, str]:
        """Multi-modal pipelines: one brief, from which copy and mock-up are made in parallel."""
        product = params["product"]
        return {
            "brief": f"Our {product} is new, and it is {params['colour']}.",
            "question": prompts.load("look_at_picture").render(shop="Lumen & Oak"),
            "photograph": f"file://{PICTURES / product.split()[0].lower()}.png",
            "mockup_prompt": prompts.load("mockup_image").render(product=product, colour=params["drawn"]),
            "mockup_path": str(storage.run_folder(context) / "mockup.png"),
        }

    @task
    def describe_picture(path: str, question: str) -> str:
        """GPT-4 Vision integration: a picture is one more part of a user message, beside the text."""
        picture = base64.b64encode(ObjectStoragePath(path).read_bytes()).decode()
        parts = [
            {"type": "text", "text": question},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}", "detail": "low"}},
        ]
        chat = OpenAIHook(conn_id="openai_default").conn.chat.completions
        reply = chat.create(model=VISION_MODEL, messages=[{"role": "user", "content": parts}], max_tokens=120)
        return reply.choices[0].message.content or "no description"

    @task.llm(llm_conn_id="pydanticai_default", output_type=Copy, serialize_output=True)
    def write_copy(brief: str, photograph: str) -> str:
        """Multi-modal pipelines: this model sees no picture. It gets the brief, and what the vision model saw."""
        return prompts.load("mockup_copy").render(brief=brief, photograph=photograph)

    brief = write_brief()
    mockup = OpenAIImageOperator(
        task_id="draw_mockup",
        doc_md="DALL-E image generation: the successor of DALL·E draws one picture. It is saved; its path is the result.",
        prompt=brief["mockup_prompt"],
        path=brief["mockup_path"],
        model="gpt-image-2.5-flare",
        settings={"quality": "low"},
    )
    shown = LLMFileAnalysisOperator(
        task_id="analyse_picture",
        doc_md="Image analysis tasks: data instead of a description. The file is read from storage and sent with the question.",
        prompt=brief["question"],
        file_path=mockup.output,
        model_id=f"openai-chat:{VISION_MODEL}",
        multi_modal=True,
        **as_shown,
    )

    @task.llm(**as_shown)
    def read_copy(copy: dict) -> str:
        """Multi-modal pipelines: the copy is read into the same type as the picture."""
        return f"{copy['headline']} {copy['text']}"

    @task
    def review_mockup(picture: dict, copy: dict, path: str, params: dict) -> dict[str, Any]:
        """Multi-modal pipelines: each field is compared with the brief; one that differs stops the publication."""
        wanted = {"product": KINDS[params["product"]], "colour": params["colour"]}
        rows = []
        for what, read in {"mock-up": picture, "copy": copy}.items():
            wrong = [field for field in wanted if read[field] != wanted[field]]
            rows.append({"what": what, **read, "differs in": ", ".join(wrong), "agrees": 1 - len(wrong) / len(wanted)})
        redo = [row["what"] for row in rows if row["differs in"]]
        decision = f"redo: {', '.join(redo)}" if redo else "publish"
        return tables.logged(log, {"decision": decision, "materials": rows, "picture": path.removeprefix("file://")})

    copy = write_copy(brief["brief"], describe_picture(brief["photograph"], brief["question"]))
    return review_mockup(shown.output, read_copy(copy), mockup.output)


openai_vision_images()
