"""
# 114.4.3 System Prompts and Personas

A system prompt decides who answers, so Lumen & Oak keeps three personas as files and asks each the same question. Two things then
fill the model's window: a long conversation and a long document. The conversation is trimmed, and a note keeps what its older part
said. The lease is shortened in three ways, and the same facts are asked of each text. A short text can be very much like the whole
and have lost the rent.

| Checklist item | Tasks that show it |
|---|---|
| Define system prompts | `write_system_prompts` |
| Create agent personas | `ask_persona` |
| Context window management | `trim_history`, `summarize_older`, `answer_in_window` |
| Prompt compression | `shorten_lease`, `read_terms`, `report_prompts` |

**Try it**: open the mapped task `ask_persona`: three answers to one question. *Trigger* the DAG with your own *Question*, and with
*Window* at 280: `trim_history`, *Storage → XCom*, keeps fewer messages. With *Lease* at 400 the beginning of the lease has rent and
deposit too. The text that is chosen by meaning then gives the advance for heating as the rent.

**You should see** (offline):

| who                                              | said                                                         |   limit |
|:-------------------------------------------------|:-------------------------------------------------------------|--------:|
| You are Ines from the accounting of Lumen & Oak. | We have a limited budget for this day, so I recommend orderi |      40 |
| You are Mara, who advises customers of Lumen & O | The choice is yours, my friend. I have just the latest shipm |      40 |
| You are Ole from the workshop of Lumen & Oak. Yo | The best way to start is with a good quality of furniture th |      40 |

- noted budget: 9000
- answer: We can't have a desk without it. It's not just any desk, it's a part of our business. So, we need to choose one.
- tokens: 290
- sent whole: context_length_exceeded

| of                       |   rent |   notice |   deposit |   floor_load |   likeness |
|:-------------------------|-------:|---------:|----------:|-------------:|-----------:|
| whole, 1134 tokens       |   2400 |        6 |      7200 |          750 |          1 |
| beginning, 176 tokens    |      – |        – |         – |           12 |       0.87 |
| by meaning, 199 tokens   |      – |        6 |         – |            5 |       0.94 |
| by questions, 198 tokens |   2400 |        6 |      7200 |            4 |        0.8 |

**SDK or own code?** Airflow does not shorten what you send. For agents, pydantic-ai has the capability
[`ProcessHistory`](https://pydantic.dev/docs/ai/core-concepts/message-history/); `llmkit.tokens` counts and cuts for any client, and
counting needs no call. [LLMLingua](https://github.com/microsoft/LLMLingua) drops single tokens; here whole sentences
stay. The typed answers come from
[`@task.llm`](https://airflow.apache.org/docs/apache-airflow-providers-common-ai/stable/operators/index.html).

**In production**: judge a compression by the questions that you will ask, not by how alike the texts are. What nobody asked for is
gone: see the floor load, for which the small model sometimes invents a number. *likeness* is the cosine of the mean vectors of two
texts. Make the note once, when messages leave the window, and keep it; a note can lose facts too, so keep those that matter in typed
fields. A persona is tone and duty, not access control: a user can talk a model out of its system prompt. The connection
`openai_small_context` stays offline, also with a real key. Its model has a window of 400 tokens and counts with another tokenizer than
`gpt-4o-mini`, so the form ends at 340. OpenAI refuses with the same error code. Judge a persona's tone
with a real key: offline a very small model answers.

**Builds on** [4.2 Prompt Versioning](114_04_02_prompt_versioning.py) · **Next** [4.4 Few-Shot Prompting](114_04_04_few_shot_prompting.py)
"""

import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Param, dag, task
from pydantic import BaseModel, Field

from llmkit import prompts, tables, tokens
from llmkit.operators import OpenAIChatOperator

log = logging.getLogger(__name__)
DATA = Path(__file__).parents[1] / "include" / "data"
MODEL, SHOP, QUESTION = "gpt-4o-mini", "Lumen & Oak", "Which desk should we order first, and why?"
ANSWER, NOTE = 40, 90  # tokens that stay free for the answer, and for the note on the messages that are left out
WINDOW_HELP = "260 to 340 tokens for all that is sent and the answer. A smaller window keeps fewer messages."
LEASE_HELP = "60 to 600 tokens: the most that each way to shorten may keep of the lease."


class Note(BaseModel):
    budget_eur: int | None = Field(None, description="The customer's budget in EUR")
    summary: str = Field(description="A summary in two sentences, with names, numbers and decisions")


class Terms(BaseModel):
    rent: float | None = Field(None, description="The monthly rent in EUR")
    deposit: float | None = Field(None, description="The deposit in EUR")
    notice: int | None = Field(None, description="The notice period in months")
    floor_load: float | None = Field(None, description="Kilograms that the floor bears on a square metre")


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.4.3 · System Prompts and Personas",
    doc_md=__doc__,
    jinja_environment_kwargs=prompts.rendered_once(),  # a customer's text is no template
    tags=["reference", "patterns", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=3)},
    params={
        "question": Param(QUESTION, type="string", title="Question", minLength=1, description="All personas get it."),
        "window": Param(330, type="integer", title="Window", description=WINDOW_HELP, minimum=260, maximum=340),
        "lease": Param(200, type="integer", title="Lease", description=LEASE_HELP, minimum=60, maximum=600),
    },
)
def system_prompts_personas() -> Any:
    @task
    def write_system_prompts(params: dict) -> list[dict[str, Any]]:
        """Define system prompts: a persona is a file that says who answers, how, and what never. The question is apart."""
        personas = [prompts.load(name) for name in prompts.names() if name.startswith("persona_")]
        return [{"system": each.render(shop=SHOP), "prompt": params["question"], **each.settings} for each in personas]

    @task
    def trim_history(params: dict) -> dict[str, Any]:
        """Context window management: the newest messages that fit beside system prompt, question, note and answer."""
        messages = json.loads((DATA / "conversation.json").read_text())
        system, question = prompts.load("persona_adviser").render(shop=SHOP), params["question"]
        budget = tokens.Budget(context=params["window"], answer=ANSWER + NOTE + tokens.PER_MESSAGE, model=MODEL)
        at = budget.fit(f"{system}\n{question}", history=[each["content"] for each in messages]).dropped["history"]
        return {"system": system, "older": messages[:at], "kept": messages[at:], "question": question}

    @task.llm(llm_conn_id="pydanticai_default", output_type=Note, serialize_output=True)
    def summarize_older(trimmed: dict[str, Any]) -> str:
        """Context window management: the messages that no longer fit become a typed note."""
        return prompts.load("summarize_conversation").render(messages=trimmed["older"])

    @task
    def answer_in_window(trimmed: dict[str, Any], note: dict[str, Any]) -> dict[str, Any]:
        """Context window management: a model with a small window refuses all messages, and answers those that fit."""
        from openai import BadRequestError

        kept = [*trimmed["kept"], {"role": "user", "content": trimmed["question"]}]
        chat, refused = OpenAIHook(conn_id="openai_small_context").conn.chat.completions, None
        settings = {"model": MODEL, "max_tokens": ANSWER, "temperature": 0}
        try:
            chat.create(messages=trimmed["older"] + kept, **settings)
        except BadRequestError as error:
            refused = error.code
        budget = "" if note["budget_eur"] is None else f"The customer's budget is {note['budget_eur']} EUR. "
        earlier = f"{budget}Earlier in this conversation: {note['summary']}"
        system = f"{trimmed['system']}\n\n{tokens.truncate(earlier, NOTE, MODEL).text}"
        reply = chat.create(messages=[{"role": "system", "content": system}, *kept], **settings)
        return {"sent whole": refused, "tokens": reply.usage.total_tokens, "answer": reply.choices[0].message.content}

    @task
    def shorten_lease(params: dict) -> dict[str, str]:
        """Prompt compression: cut off, or only the sentences that say most, or only those that the questions are about."""
        lease, embed = (DATA / "leases" / "lease.md").read_text(), tokens.remembering(OpenAIHook().create_embeddings)
        asked = [Terms.model_fields[name].description for name in ("rent", "deposit", "notice")]
        texts = {"whole": lease, "beginning": tokens.truncate(lease, params["lease"], MODEL).text}
        texts["by meaning"] = tokens.compress(lease, params["lease"], embed, MODEL).text
        texts["by questions"] = tokens.compress(lease, params["lease"], embed, MODEL, about=asked).text
        return texts

    @task.llm(llm_conn_id="pydanticai_default", output_type=Terms, serialize_output=True)
    def read_terms(lease: tuple[str, str]) -> str:
        """Prompt compression: the same questions to each text. Facts decide, and not the likeness that a method maximizes."""
        return prompts.load("read_terms").render(lease=lease[1])

    @task
    def report_prompts(told: list, said: list, note: dict, window: dict, leases: dict, terms: list) -> dict[str, Any]:
        """Prompt compression: tokens, likeness and facts of each text. The rest: what personas said, and what fitted."""
        rows, embed = [], tokens.remembering(OpenAIHook().create_embeddings)
        for (name, text), found in zip(leases.items(), terms, strict=True):
            size, like = tokens.count(text, MODEL).tokens, tokens.likeness(leases["whole"], text, embed)
            rows.append({"of": f"{name}, {size} tokens", **found, "likeness": round(like, 2)})
        pairs = zip(told, said, strict=True)
        personas = [{"who": one["system"][:48], "said": text[:60], "limit": one["max_tokens"]} for one, text in pairs]
        return tables.logged(log, {"personas": personas, "noted budget": note["budget_eur"], **window, "leases": rows})

    told, trimmed, leases = write_system_prompts(), trim_history(), shorten_lease()
    about = "Create agent personas: the same question and the same model, another system prompt."
    said = OpenAIChatOperator.partial(task_id="ask_persona", doc_md=about, model=MODEL).expand_kwargs(told).output
    note = summarize_older(trimmed)
    return report_prompts(told, said, note, answer_in_window(trimmed, note), leases, read_terms.expand(lease=leases))


system_prompts_personas()
