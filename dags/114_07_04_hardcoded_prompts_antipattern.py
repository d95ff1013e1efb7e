"""
# 114.7.4 Hardcoded Prompts

A prompt was pasted into three tasks, one for each channel. Months later somebody improved one of them, another was put together by
`str.format`, and nobody remembers which text was in use last Tuesday. Now the same message goes to two teams, and one with a brace in it
breaks the task. The good way has one template, in a file, with a version that each answer carries.

| Checklist item | Tasks that show it |
|---|---|
| Difficult iteration | `bad_way.sort_mail`, `bad_way.sort_chat`, `bad_way.sort_phone`, `bad_way.compare_channels` |
| No versioning | `bad_way.ask_which_version` |
| External prompt storage | `good_way.load_prompt`, `good_way.change_prompt` |
| Prompt templating | `good_way.sort_channel` |

**Try it**: the run ends *failed*, as it should: the log of `bad_way.sort_phone` ends in `KeyError: 'SPRING-10'`, which is the customer's text.
`bad_way.compare_channels` has two teams for one message, `good_way.sort_channel` has one. Trigger it with a *Message* without braces: the
error is gone, and the drift is still there. `good_way.change_prompt` is what an improvement should be: another version, for all.

**In production**: have a check in CI that finds a prompt in the code; this course has one (`tests/checks.py`), and this file is its only
exception. Keep the digest beside each answer: it is how you find out, months later, why the model said that.
"""

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Param, TriggerRule, dag, task, task_group

from llmkit import prompts

SHOP = "Lumen & Oak"
MESSAGE = "The discount {SPRING-10} was not taken off my invoice."


def ask(prompt: str) -> str:
    """The model's one word."""
    messages = [{"role": "user", "content": prompt}]
    reply = OpenAIHook().create_chat_completion(messages, model="gpt-4o-mini", temperature=0, max_tokens=5)
    return reply[0].message.content.strip().lower()


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["reference", "anti-pattern", "beginner", "failure"],
    default_args={"retries": 1, "retry_delay": timedelta(seconds=2), "execution_timeout": timedelta(minutes=2)},
    params={"message": Param(MESSAGE, type="string", title="Message", description="Of a customer.", minLength=1)},
)
def hardcoded_prompts_antipattern() -> None:
    @task
    def read_message(params: dict) -> str:
        """Prompt templating: the same message for all channels and both ways; a brace in it is the customer's."""
        return params["message"]

    @task_group
    def bad_way(message: str):
        @task
        def sort_mail(message: str) -> dict[str, str]:
            """Difficult iteration: the prompt as it was pasted first."""
            prompt = f"""Sort this message of a customer. Answer with one word: support, sales or accounting.

<message>
{message}
</message>"""
            return {"team": ask(prompt), "prompt": prompt}

        @task
        def sort_chat(message: str) -> dict[str, str]:
            """Difficult iteration: its copy, improved by somebody who did not know of the others."""
            prompt = f"""Sort this message of a customer. Answer with one word: helpdesk, sales or billing.

- helpdesk: something is broken, missing or damaged
- billing: invoices, payments and refunds

<message>
{message}
</message>"""
            return {"team": ask(prompt), "prompt": prompt}

        @task
        def sort_phone(message: str) -> dict[str, str]:
            """Difficult iteration: a copy that is put together first and formatted then, with whatever the customer wrote."""
            prompt = "Sort this message to {shop}. Answer with one word: support, sales or accounting.\n\n" + message
            prompt = prompt.format(shop=SHOP)
            return {"team": ask(prompt), "prompt": prompt}

        @task
        def call_back(answer: dict[str, str]) -> str:
            """Difficult iteration: nobody calls back, because nobody knows whose turn it is."""
            return answer["team"]

        @task
        def compare_channels(mail: dict[str, str], chat: dict[str, str]) -> dict[str, str]:
            """Difficult iteration: one message, two channels, and two teams of which one does not exist."""
            return {"mail": mail["team"], "chat": chat["team"]}

        @task
        def ask_which_version(mail: dict[str, str], chat: dict[str, str]) -> dict[str, str | None]:
            """No versioning: the hash of each text that was sent, and the version in our library that it is: none."""
            known = {prompt.digest: prompt.version for name in prompts.names() for prompt in prompts.versions(name)}
            hashes = [hashlib.sha256(answer["prompt"].encode()).hexdigest()[:12] for answer in (mail, chat)]
            return {digest: known.get(digest) for digest in hashes}

        mail, chat, phone = sort_mail(message), sort_chat(message), sort_phone(message)
        compare_channels(mail, chat)
        ask_which_version(mail, chat)
        call_back(phone)
        return phone

    @task_group
    def good_way(message: str):
        @task
        def load_prompt() -> dict[str, Any]:
            """External prompt storage: one file, which says what it is for, and is known by its digest."""
            prompt = prompts.load("sort_ticket", 1)
            return {"name": prompt.name, "version": prompt.version, "digest": prompt.digest}

        @task
        def sort_channel(channel: str, prompt: dict[str, Any], message: str) -> dict[str, Any]:
            """Prompt templating: one template for all channels; the message is a value, and its braces are braces."""
            text = prompts.load(prompt["name"], prompt["version"]).render(ticket=message)
            return {"channel": channel, "team": ask(text), **prompt}

        @task
        def change_prompt(answers: list[dict[str, Any]], message: str) -> dict[str, Any]:
            """External prompt storage: an improvement is a new version, and all channels have it at once."""
            prompt = prompts.load("sort_ticket", 2)
            return {
                "before": answers[0]["team"],
                "after": ask(prompt.render(ticket=message)),
                "version": prompt.version,
            }

        channels = sort_channel.partial(prompt=load_prompt(), message=message).expand(channel=["mail", "chat", "phone"])
        return change_prompt(channels, message)

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def compare_ways(**context) -> str:
        """Prompt templating: as many calls, and answers that can be relied on."""
        from llmkit.course import side_by_side

        return side_by_side.table(context, bad_way="bad_way.sort_phone", good_way="good_way.change_prompt")

    message = read_message()
    [bad_way(message), good_way(message)] >> compare_ways()


hardcoded_prompts_antipattern()
