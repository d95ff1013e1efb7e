"""
# 114.7.4 Hardcoded Prompts

This run is expected to end *failed*. Lumen & Oak sorts its messages by one prompt, which was pasted into three tasks, one for each
channel. Later one copy was improved, and another one got the shop's name by `str.format`. Now some messages go to two teams, and
a message with a brace in it breaks a task. The good way has one template, in a file, and each answer carries its digest.

| Checklist item | Tasks that show it |
|---|---|
| Difficult iteration | `bad_way.sort_mail`, `bad_way.sort_phone`, `bad_way.call_back`, `compare_ways` |
| No versioning | `bad_way.sort_chat`, `trace_answers` |
| External prompt storage | `good_way.load_prompt`, `trace_answers` |
| Prompt templating | `good_way.sort_channel` |

**Try it**: open the task `compare_ways` and look at *Storage → XCom*. Then trigger the DAG with *Prompt version* 1: the three
channels of the good way all send the older text, and they still agree. Trigger it with a *Last message* without braces:
`bad_way.sort_phone` succeeds, and so does the run, but the channels of the bad way still disagree. The log of `bad_way.sort_phone`
ends in one sentence that says what broke and what it cost.

**You should see** (offline):

| way      |   calls |   tokens |      usd |   seconds | lost             |
|:---------|--------:|---------:|---------:|----------:|:-----------------|
| bad_way  |      66 |     5119 |  0.00082 |       3.2 | 17 of 51 answers |
| good_way |      51 |     5505 | 0.000862 |       0.6 | 0 of 51 answers  |

- bad_way: messages that went to two teams: 7 of 17
- bad_way: answers whose prompt is known: 0 of 34
- good_way: messages that went to two teams: 0 of 17
- good_way: answers whose prompt is known: 51 of 51
- verdict: The bad way paid 0.000820 USD and lost 17 of 51 answers. The good way paid 0.000862 USD and lost 0 of 51 answers.

**SDK or own code?** An f-string leaves the braces of a value alone, too; but it cannot live in a file. A prompt in a file needs a
template: here Jinja's (`llmkit.prompts`, lesson 4.1). With a Git bundle ([Dag
bundles](https://airflow.apache.org/docs/apache-airflow/3.3.0/administration-and-deployment/dag-bundles.html)) Airflow keeps the
commit of each run; commit and task id then lead to the text. With a local folder, as here, an edited prompt leaves no trace. In
both cases the answer in your table carries neither. Calls go through the
[OpenAIHook](https://airflow.apache.org/docs/apache-airflow-providers-openai/stable/_api/airflow/providers/openai/hooks/index.html).

**In production**: keep the digest beside each answer. It tells you months later what the model was told, as long as nobody edits a
file that was used: add a v3. The good way may cost more, as here: all its channels send the longer prompt. Check in CI that no
prompt is in the code. This course's check finds texts longer than a line. It sees one of the three copies here; a short prompt
passes it. A real model may disagree about other messages, or about fewer: measure it before you change a prompt.

**Builds on** [4.2 Prompt Versioning](114_04_02_prompt_versioning.py) · **Next** [7.5 Single Provider Dependency](114_07_05_single_provider_antipattern.py)
"""

import json
import logging
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Param, TriggerRule, XComArg, dag, task, task_group

from llmkit import prompts, tables
from llmkit.course import side_by_side

TICKETS = Path(__file__).parents[1] / "include" / "data" / "tickets.json"
WANTED = 3 * 17  # Three channels sort 16 tickets and the message of the form.
ONE_WORD = {"temperature": 0, "max_tokens": 5}
BRACE = "A single brace, as in {SPRING-10}, breaks sort_phone. {shop} breaks nothing there: it becomes our name."
MESSAGE = "The discount {SPRING-10} was not taken off my invoice."


def sort_messages(params: dict, prompt_for: Callable[[str], str], **settings: float) -> list[dict]:
    """The team for every third ticket and for the form's message; one call each."""
    tickets, hook, answers = json.loads(TICKETS.read_text()), OpenAIHook(), []
    for message in [*(ticket["text"] for ticket in tickets[::3]), params["message"]]:
        reply = hook.create_chat_completion([{"role": "user", "content": prompt_for(message)}], **settings)
        answers.append({"message": message, "team": reply[0].message.content.strip(" .\n").lower()})
    return answers


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.7.4 · Hardcoded Prompts (fails on purpose)",
    doc_md=__doc__,
    tags=["reference", "anti-pattern", "beginner", "failure"],
    default_args={"retries": 1, "retry_delay": timedelta(seconds=2), "execution_timeout": timedelta(minutes=2)},
    params={
        "message": Param(MESSAGE, type="string", title="Last message", description=BRACE),
        "version": Param(2, enum=[1, 2], title="Prompt version", description="1 or 2: what the good way sends."),
    },
)
def hardcoded_prompts_antipattern() -> XComArg:
    @task_group
    def bad_way() -> list:
        @task
        def sort_mail(params: dict) -> list[dict]:
            """Difficult iteration: the one copy that was improved. Its author did not know of the other two."""
            prompt = """Sort this message of a customer. Answer with one word: support, sales or accounting.

- support: something is broken, missing or damaged
- sales: questions about products, prices and delivery before an order
- accounting: invoices, payments and refunds"""
            return sort_messages(params, lambda text: f"{prompt}\n\n<message>\n{text}\n</message>", **ONE_WORD)

        @task
        def sort_chat(params: dict) -> list[dict]:
            """No versioning: the copy as it was pasted first. Nothing in an answer says that it came from this text."""
            prompt = "Sort this message of a customer. Answer with one word: support, sales or accounting.\n"
            return sort_messages(params, lambda text: f"{prompt}\n<message>\n{text}\n</message>", **ONE_WORD)

        @task(on_failure_callback=side_by_side.last_line("the phone's answers were lost"))
        def sort_phone(params: dict) -> list[dict]:
            """Difficult iteration: this copy is formatted when the customer's words are already in it."""
            prompt = "Sort this message to {shop}. Answer with one word: support, sales or accounting.\n\n"
            return sort_messages(params, lambda text: (prompt + text).format(shop="Lumen & Oak"), **ONE_WORD)

        phone = sort_phone()
        EmptyOperator(task_id="call_back", doc_md="Waits for the phone's teams. It never starts.").set_upstream(phone)
        return [sort_mail(), sort_chat(), phone]

    @task_group
    def good_way() -> XComArg:
        @task
        def load_prompt(params: dict) -> str:
            """External prompt storage: one file for all channels, known by the digest of its text."""
            return prompts.load("sort_ticket", params["version"]).digest

        @task
        def sort_channel(channel: str, digest: str, params: dict) -> list[dict]:
            """Prompt templating: one template for all channels. The message is a value, and its braces stay text."""
            prompt = prompts.load("sort_ticket", digest=digest)
            answers = sort_messages(params, lambda text: prompt.render(ticket=text), **prompt.settings)
            return [{**answer, "channel": channel, "version": prompt.version, "digest": digest} for answer in answers]

        return sort_channel.partial(digest=load_prompt()).expand(channel=["mail", "chat", "phone"])

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def trace_answers(bad: list, good: list) -> dict[str, dict]:
        """No versioning: which text did an answer come from? External prompt storage: its digest finds the file."""
        known = {prompt.digest: prompt for prompt in prompts.versions("sort_ticket")}
        ways = {}
        for way, channels in (("bad_way", bad), ("good_way", good)):
            answers = []
            for channel in channels:
                answers += channel or []
            texts = [known[a["digest"]].render(ticket=a["message"]) for a in answers if a.get("digest") in known]
            ways[way] = {"answers": answers, "texts": texts}
        return ways

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def compare_ways(ways: dict[str, dict], **context) -> dict:
        """Difficult iteration: the same messages, sorted by three copies and by one file."""
        rows, facts = side_by_side.rows(context, bad_way="bad_way", good_way="good_way"), {}
        for row in rows:
            name, answers = row["way"], ways[row["way"]]["answers"]
            pairs = {(answer["message"], answer["team"]) for answer in answers}
            teams = Counter(message for message, _ in pairs)
            row["lost"] = f"{WANTED - len(answers)} of {WANTED} answers"
            facts[f"{name}: messages that went to two teams"] = f"{sum(n > 1 for n in teams.values())} of {len(teams)}"
            facts[f"{name}: answers whose prompt is known"] = f"{len(ways[name]['texts'])} of {len(answers)}"
            del row["refused"]
        bad, good = ("paid {usd:.6f} USD and lost {lost}.".format(**row) for row in rows)
        found = {"ways": rows, **facts, "verdict": f"The bad way {bad} The good way {good}"}
        return tables.logged(logging.getLogger(__name__), found)

    return compare_ways(trace_answers(bad_way(), good_way()))


hardcoded_prompts_antipattern()
