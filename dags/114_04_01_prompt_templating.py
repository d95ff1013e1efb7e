"""
# 114.4.1 Prompt Templating

Lumen & Oak writes to customers about their orders. Prompts that are glued together from strings break in three ways: a value
is missing, a rule is changed in one prompt and not in the others, and a customer's text is run as code. Here prompts are
template files. One template serves every status of an order, and all letters share one frame. A bad value fails before a call
is paid.

| Checklist item | Tasks that show it |
|---|---|
| Jinja2 prompt templates | `render_prompt`, `write_update` |
| Dynamic variable injection | `load_order`, `render_prompt`, `refuse_bad_values` |
| Template inheritance | `change_frame` |
| Conditional prompt sections | `report_templates` |

**Try it**: open the task instance `render_prompt`, *Storage → XCom*: `prompt` is the text that the model gets. `temperature` and
`max_tokens` come from the same file. *Trigger* the DAG with another *Order*, with *Tone* `formal`, and with
`{{ var.value.secret }}` as *Question*: the prompt gets other sections, and the question stays text. `refuse_bad_values` has the
error for each bad value, and `change_frame` the digests of three prompts before and after one edit of the frame. One of them does
not extend it.

**You should see** (offline):

|   order | status        | section                                                    |   prompt tokens |
|--------:|:--------------|:-----------------------------------------------------------|----------------:|
|    4711 | shipped       | –                                                          |              93 |
|    4712 | in production | Note: the order is not finished. Say that we write again … |             116 |
|    4713 | delivered     | –                                                          |              97 |
|    4714 | cancelled     | Note: the order is cancelled. Say that the money comes …   |             114 |

- bad values refused: 4 of 4
- a hostile question: stayed text
- prompts that one edit of the frame changed: 2 of 3
- calls to a model: 1
- the letter begins: We're excited about your new addition to our business! … (finish reason: length)

**SDK or own code?** Airflow [renders Jinja](https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/operators.html) in
an operator's fields, with the whole context (`params`, `var`, `conn`) in reach. `llmkit.prompts` gives a template only the
variables that it declares, checks their types, and keeps the settings beside the text. The language is Jinja2, with its
[inheritance](https://jinja.palletsprojects.com/en/stable/templates/#template-inheritance) and its
[sandbox](https://jinja.palletsprojects.com/en/stable/sandbox/).

**In production**: a value is never read as a template, so it cannot run code. The sandbox limits what the template itself may
reach. Neither keeps a model from obeying a value. Put values between marks and behind the instructions, remove the closing mark
from the value, and use guardrails. A bad value stays bad: raise `AirflowFailException` for a `PromptError`, so that it is not
tried again. An edit of the frame reaches every prompt that extends it at once. A task that asks for a digest (lesson 4.2) stops
with an error until the new text is released. So change the frame in a pull request, and run `python -m llmkit.prompts.lint` in CI.
Offline the letter is off the point, and 60 tokens cut it off. With a real key it is better; raise `max_tokens` in the prompt's file.

**Builds on** [1.4 AI SDK Task Decorator](114_01_04_ai_sdk_task_decorator.py) · **Next** [4.2 Prompt Versioning](114_04_02_prompt_versioning.py)
"""

import json
import logging
import shutil
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten
from typing import Any

from airflow.sdk import Param, dag, task

from llmkit import ledger, prompts, tables, tokens
from llmkit.operators import OpenAIChatOperator

ORDERS = Path(__file__).parents[1] / "include" / "data" / "orders.json"
SHOP, IDS, TONES = "Lumen & Oak", ["4711", "4712", "4713", "4714"], ["friendly", "formal"]
OLD_RULE, NEW_RULE = "Write two friendly sentences.", "Write one friendly sentence."  # in the frame of all letters
ASKED = "What the customer asked. Leave it empty, and the prompt has no section for it."
ATTACK = "{{ shop.__class__.__mro__ }} {% include '../../etc/passwd' %}"


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.4.1 · Prompt Templating",
    doc_md=__doc__,
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=2)},
    params={
        "order_id": Param("4712", enum=IDS, title="Order", description="Its status decides the prompt's sections."),
        "tone": Param("friendly", enum=TONES, title="Tone", description="Formal adds one rule to the prompt."),
        "question": Param(None, type=["null", "string"], title="Question", description=ASKED),
    },
)
def prompt_templating() -> Any:
    @task
    def load_order(params: dict) -> dict[str, Any]:
        """Dynamic variable injection: the first value comes from another task, here from a file of orders."""
        return next(order for order in json.loads(ORDERS.read_text()) if str(order["order_id"]) == params["order_id"])

    @task
    def render_prompt(order: dict[str, Any], params: dict) -> dict[str, Any]:
        """Jinja2 prompt templates: one file holds the text and the model's settings. Its variables come from XCom and form."""
        template = prompts.load("order_update")
        form = {"tone": params["tone"], "question": params["question"] or ""}
        return {"prompt": template.render(shop=SHOP, order=order, **form), **template.settings}

    @task
    def refuse_bad_values(order: dict[str, Any]) -> dict[str, str]:
        """Dynamic variable injection: a value that is missing, misspelled or of a wrong type fails before any call."""
        template = prompts.load("order_update")
        good = {"shop": SHOP, "order": order, "tone": "friendly", "question": ATTACK}
        tries = {
            "missing": {"shop": SHOP, "tone": "friendly", "question": ATTACK},
            "misspelled": {**good, "qestion": "When?"},
            "of a wrong type": {**good, "order": "4712"},
            "not in the list": {**good, "tone": "rude"},
        }
        errors = {}
        for why, values in tries.items():
            try:
                template.render(**values)
            except prompts.PromptError as error:
                errors[why] = str(error)
        # A value is never read as a template: it must come out exactly as it went in.
        return {"tried": len(tries), "errors": errors, "hostile stayed text": ATTACK in template.render(**good)}

    @task
    def change_frame(order: dict[str, Any]) -> list[dict[str, Any]]:
        """Template inheritance: one edit of the frame, in a copy of the library, changes every prompt that extends it."""
        values = {"shop": SHOP, "order": order, "tone": "friendly", "question": "", "ticket": "My lamp is dark."}
        rows = []
        with TemporaryDirectory() as folder:
            library = shutil.copytree(prompts.LIBRARY, Path(folder) / "prompts")
            frame = library / "_house" / "v1.j2"
            rules = frame.read_text()
            if OLD_RULE not in rules:
                raise ValueError(f"The frame has no rule {OLD_RULE!r} any more, so there is nothing to change.")
            frame.write_text(rules.replace(OLD_RULE, NEW_RULE))
            for name in ("order_update", "delivery_notice", "sort_ticket"):  # the last one does not extend the frame
                before, after = prompts.load(name), prompts.load(name, library=library)
                text = after.render(**{variable: values[variable] for variable in after.variables})
                row = {"prompt": name, "digest before": before.digest, "digest after": after.digest}
                rows.append(row | {"has the new rule": NEW_RULE in text})
        return rows

    @task
    def report_templates(bad: dict, frame: list[dict], letter: str, ended: str, **context) -> dict[str, Any]:
        """Conditional prompt sections: one template, and an order's prompt has only the section that applies to it."""
        rows = []
        for order in json.loads(ORDERS.read_text()):
            text = prompts.load("order_update").render(shop=SHOP, order=order, tone="friendly", question="")
            notes = [line for line in text.splitlines() if line.startswith("Note: ")]
            section = shorten(" ".join(notes), 60, placeholder=" …")
            row = {"order": order["order_id"], "status": order["status"], "section": section}
            rows.append(row | {"prompt tokens": tokens.count(text).tokens})
        changed = [row for row in frame if row["has the new rule"] and row["digest before"] != row["digest after"]]
        found = {
            "orders": rows,
            "bad values refused": f"{len(bad['errors'])} of {bad['tried']}",
            "a hostile question": "stayed text" if bad["hostile stayed text"] else "was run as a template",
            "prompts that one edit of the frame changed": f"{len(changed)} of {len(frame)}",
            "calls to a model": sum(spent.calls for spent in ledger.spending(run_id=context["run_id"])),
            "the letter begins": f"{shorten(letter, 60, placeholder=' …')} (finish reason: {ended})",
        }
        return tables.logged(logging.getLogger(__name__), found)

    order = load_order()
    rendered = render_prompt(order)
    letter = OpenAIChatOperator(
        task_id="write_update",
        doc_md="Jinja2 prompt templates: the model gets the rendered text, with the settings of the same file.",
        prompt=rendered["prompt"],
        temperature=rendered["temperature"],
        max_tokens=rendered["max_tokens"],
    ).output
    return report_templates(refuse_bad_values(order), change_frame(order), letter, letter["finish_reason"])


prompt_templating()
