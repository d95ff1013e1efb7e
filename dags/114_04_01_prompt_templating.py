"""
# 114.4.1 Prompt Templating

A prompt is a text that a program writes, so it deserves what programs have: one place for what is common, variables with
types, and an error when one is missing, before anything is paid. Lumen & Oak writes to customers about their orders. One
template does it for every status, on top of a frame that all letters of the house share.

| Checklist item | Tasks that show it |
|---|---|
| Jinja2 prompt templates | `describe_template`, `render_prompt`, `write_update` |
| Dynamic variable injection | `load_order`, `render_prompt`, `refuse_bad_values` |
| Template inheritance | `compare_with_frame` |
| Conditional prompt sections | `list_statuses`, `render_for_status`, `compare_sections` |

**Try it**: open the XCom of `render_prompt`, then trigger it with another *Order*, the tone `formal` or a *Question*: other
sections appear. Put `{{ var.value.secret }}` or `{% raw %}` into the question: it stays text. `compare_with_frame` shows which
lines of the prompt come from the frame, and `refuse_bad_values` four errors that cost nothing, as no call was made.

**In production**: give a template typed variables and never the whole context of a task. Values are data: they belong behind
the instructions and between marks, and a sandboxed template cannot be left by them; it cannot keep a model from obeying them,
which is what guardrails are for. Run `python -m llmkit.prompts.lint` in CI.
"""

import json
from datetime import timedelta
from pathlib import Path

from airflow.sdk import Param, dag, task

from llmkit import prompts
from llmkit.operators import OpenAIChatOperator

ORDERS = Path(__file__).parents[1] / "include" / "data" / "orders.json"
SHOP = "Lumen & Oak"


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=2)},
    params={
        "order_id": Param("4712", enum=["4711", "4712", "4713", "4714"], title="Order"),
        "tone": Param("friendly", enum=["friendly", "formal"], title="Tone"),
        "question": Param(
            None, type=["null", "string"], title="Question", description="What the customer asked, if anything."
        ),
    },
)
def prompt_templating() -> None:
    @task
    def describe_template() -> dict:
        """Jinja2 prompt templates: a file with front matter; its digest covers the templates that it is made of, too."""
        prompt = prompts.load("order_update")
        return {
            "what it is for": prompt.description,
            "variables": {name: schema.get("description") for name, schema in prompt.variables.items()},
            "settings": dict(prompt.settings),
            "digest": prompt.digest,
        }

    @task
    def load_order(params: dict) -> dict:
        """Dynamic variable injection: values come from a task before, here from our order system."""
        return next(order for order in json.loads(ORDERS.read_text()) if str(order["order_id"]) == params["order_id"])

    @task
    def render_prompt(order: dict, params: dict) -> str:
        """Jinja2 prompt templates: the text that the model gets. Dynamic variable injection: from the form and from XCom."""
        values = {"shop": SHOP, "order": order, "tone": params["tone"], "question": params["question"] or ""}
        return prompts.load("order_update").render(**values)

    @task
    def refuse_bad_values(order: dict) -> dict[str, str]:
        """Dynamic variable injection: what is missing, misspelled, of another type or hostile never reaches a model."""
        good = {"shop": SHOP, "order": order, "tone": "friendly", "question": ""}
        tries = {
            "missing": {name: value for name, value in good.items() if name != "order"},
            "misspelled": {**good, "qestion": "When?"},
            "of another type": {**good, "order": "4712"},
            "not one of the tones": {**good, "tone": "rude"},
        }
        refused = {}
        for why, values in tries.items():
            try:
                prompts.load("order_update").render(**values)
            except prompts.PromptError as error:
                refused[why] = str(error)
        # A hostile value is no template, so there is nothing to refuse: it comes out as it went in.
        attack = "{{ shop.__class__.__mro__ }} {% include '../../etc/passwd' %}"
        prompt = prompts.load("order_update").render(**{**good, "question": attack})
        return {**refused, "hostile": "stayed text" if attack in prompt else "was rendered"}

    @task
    def compare_with_frame(prompt: str) -> dict[str, list[str]]:
        """Template inheritance: lines that the frame gave to this prompt, and those that its blocks put in."""
        frame = (prompts.LIBRARY / "_house" / "v1.j2").read_text().replace("{{ shop }}", SHOP)
        lines = [line for line in prompt.splitlines() if line.strip()]
        return {
            "from the frame": [line for line in lines if line in frame],
            "from the template": [line for line in lines if line not in frame],
        }

    @task
    def list_statuses() -> list[dict]:
        """Conditional prompt sections: one order of each status, and the same template for all of them."""
        return list({order["status"]: order for order in json.loads(ORDERS.read_text())}.values())

    @task
    def render_for_status(order: dict) -> str:
        """Conditional prompt sections: what does not apply to an order is not in its prompt, and costs no tokens."""
        return prompts.load("order_update").render(shop=SHOP, order=order, tone="friendly", question="")

    @task
    def compare_sections(orders: list[dict], texts: list[str]) -> dict[str, dict]:
        """Conditional prompt sections: the tokens of each prompt, and whether it speaks of money or of production."""
        from llmkit import tokens

        return {
            order["status"]: {
                "tokens": tokens.count(text, "gpt-4o-mini").tokens,
                "money comes back": "money comes back" in text,
                "we write again": "we write again" in text,
            }
            for order, text in zip(orders, texts, strict=True)
        }

    order = load_order()
    prompt = render_prompt(order)
    settings = prompts.load("order_update").settings
    write = OpenAIChatOperator(
        task_id="write_update",
        doc_md="Jinja2 prompt templates: the settings of the call are kept beside the text that they were tuned for.",
        prompt=prompt,
        temperature=settings["temperature"],
        max_tokens=settings["max_tokens"],
    )
    describe_template() >> write
    compare_with_frame(prompt)
    refuse_bad_values(order)
    statuses = list_statuses()
    compare_sections(statuses, render_for_status.expand(order=statuses))


prompt_templating()
