"""Into which column a run belongs, and whether its answer is of use."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from bench.examples.one import Ran
from stack.settings import Settings


@dataclass
class Row:
    """``column`` is "succeeded", "want" or "keyless"; ``tools`` and ``answer`` what is wrong with them, "" for nothing."""

    dag_id: str
    column: str
    reason: str
    tools: str
    answer: str
    checked: bool
    ran: Ran

    @property
    def of_use(self) -> bool:
        return self.column == "succeeded" and self.checked and not self.tools and not self.answer


PACKAGE = re.compile(r"No module named '([\w.]+)'|AirflowOptionalProviderFeatureException: (.+)")
SERVICES = {
    "Modal, a sandbox in the cloud": re.compile(r"modal\.\w+\.\w*Error|ModalSandbox|Token missing|modal token", re.I),
    "sbx, a sandbox program that needs KVM": re.compile(r"\bsbx\b.*(not found|CLI|No such file|PATH)", re.I),
    "a web search that the provider runs": re.compile(r"Hosted tool '\w+' is not supported"),
    "a Git repository on github.com": re.compile(r"git clone|GitCommandError|github\.com/my-org", re.I),
}
AWAY = re.compile(
    r"(?:host='|https?://)(?!127\.|localhost)([\w.-]+\.\w+)[^\n]*(?:NameResolution|resolve|Max retries|refused|unreachable)",
    re.I,
)
"""A host beyond this machine that could not be reached."""
UNKNOWN = re.compile(r"Name or service not known|name resolution|nodename nor servname", re.I)
AIRFLOW = re.compile(
    r"(cannot serialize|Object of type .* is not|is not JSON serializable|not found in allow list for deserialization|LLMFileAnalysisMultimodalRequiredError|"
    r"but a Pydantic AI hook needs one of)",
    re.I,
)


def want(ran: Ran) -> str:
    """What a failed run lacked that no model can give; "" when nothing of the kind is in its errors."""
    for error in ran.errors:
        if found := PACKAGE.search(error):
            return f"package {found[1] or found[2]}"
        if found := AWAY.search(error):
            return f"service: {found[1]}"
        if UNKNOWN.search(error):
            return "service: a host beyond this machine, whose name is not known here"
        for name, pattern in SERVICES.items():
            if pattern.search(error):
                return f"service: {name}"
        if AIRFLOW.search(error):
            return f"this Airflow: {error[:150]}"
    return ""


def column_of(ran: Ran, expected: str, missing: str = "") -> tuple[str, str]:
    """The column of a run that was expected to end ``expected``, and why."""
    if ran.state == expected:
        return "succeeded", ""
    if lacked := want(ran):
        return "want", lacked
    if missing and any("/opt/airflow" in e for e in ran.errors):
        return "want", missing
    last = ran.errors[-1] if ran.errors else f"the run ended {ran.state}"
    return "keyless", "; ".join([*dict.fromkeys(ran.refused), last])[:300]


def judge(ran: Ran, missing: str, settings: Settings) -> Row:
    """One run with its checks."""
    from bench.examples.expected import EXPECTED

    expected = EXPECTED.get(ran.dag_id)
    column, reason = column_of(ran, expected.outcome if expected else "success", missing)
    tools = answer = ""
    if column == "succeeded" and expected:
        tools = first_wrong(expected.tools, ran, settings)
        answer = first_wrong(expected.answers, ran, settings)
    return Row(ran.dag_id, column, reason, tools, answer, bool(expected and (expected.tools or expected.answers)), ran)


def first_wrong(checks: tuple, ran: Ran, settings: Settings) -> str:
    """What the first check that is not met says; "" when all are met. A check that breaks is not met."""
    for check in checks:
        try:
            if wrong := check(ran, settings):
                return wrong[:300]
        except Exception as error:
            return f"cannot be checked: {type(error).__name__}: {error}"[:300]
    return ""


def line(row: Row) -> str:
    """A row for the eye."""
    if row.column != "succeeded":
        return f"✗ {row.dag_id} ({row.ran.seconds} s): {'fails by keyless' if row.column == 'keyless' else 'for want of'}: {row.reason}"
    if not row.checked:
        return f"? {row.dag_id} ({row.ran.seconds} s): no check"
    wrong = "; ".join(f"{n}: {w}" for n, w in (("tools", row.tools), ("answer", row.answer)) if w)
    return f"{'✓' if row.of_use else '~'} {row.dag_id} ({row.ran.seconds} s){': ' if wrong else ''}{wrong}"


def table(rows: list[Row]) -> str:
    """The counts."""
    count = Counter(r.column for r in rows)
    use = sum(r.of_use for r in rows)
    with_tools = [r for r in rows if r.column == "succeeded" and r.ran.calls]
    return "\n".join(
        [
            "",
            f"{len(rows)} examples: {count['succeeded']} succeeded, {count['want']} failed for want of a service, package or person, {count['keyless']} failed by keyless.",
            f"Of those that succeeded {use} gave an answer of use, {count['succeeded'] - use} did not; {len(with_tools)} called tools, {sum(not r.tools for r in with_tools)} of them sensibly.",
        ]
    )
