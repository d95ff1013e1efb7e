"""Results as tables, in a log and on a page."""

from __future__ import annotations

import logging

from llmkit import tables

ROWS = [
    {"way": "in a hurry", "calls": 117, "usd": 0.000012, "kept": False, "note": None},
    {"way": "a|b", "calls": 60, "usd": 0.5, "kept": True, "note": "x " * 60},
]


def test_rows_are_columns_with_numbers_to_the_right():
    head, rule, first, second = tables.markdown(ROWS).splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["way", "calls", "usd", "kept", "note"]
    assert [cell.endswith(":") for cell in rule.strip("|").split("|")] == [False, True, True, False, False]
    assert "in a hurry" in first and "0.000012" in first and " no " in first and " – " in first
    assert "a\\|b" in second, "a bar in a cell is no border"
    assert second.rstrip("| ").endswith("…")


def test_facts_and_rows_together_keep_their_order():
    shown = tables.text(
        {"asked": 3, "rows": ROWS[:1], "verdict": "The good way kept all.", "states": {"a": 1, "b": [2, 3]}}
    )
    parts = shown.split("\n\n")
    assert parts[0] == "asked: 3" and parts[1].split()[0] == "way"
    assert parts[2] == "verdict: The good way kept all.\nstates: a 1, b 2, 3"


def test_a_text_is_one_line_and_what_is_long_is_cut():
    assert tables.text("two\nlines") == "two lines"
    assert len(tables.markdown({"draft": "word " * 100})) <= len("- draft: ") + tables.LONGEST_FACT


def test_a_log_has_one_message_a_line(caplog):
    log = logging.getLogger("lesson")
    with caplog.at_level(logging.INFO):
        assert tables.logged(log, ROWS) is ROWS
    assert len(caplog.messages) == 4 and all("\n" not in message for message in caplog.messages)
    assert "in a hurry" in caplog.messages[2]


def test_nothing_is_a_dash_and_no_zero_is_negative():
    for nothing in (None, "", "  \n", [], (), {}):
        assert tables.cell(nothing) == "–", repr(nothing)
    assert [tables.cell(number) for number in (-1e-9, -0.0, 0.0, 100.0, -2.5)] == ["0", "0", "0", "100", "-2.5"]


def test_a_bar_in_the_name_of_a_column_is_no_border():
    assert tables.markdown([{"a|b": 1}]).splitlines()[0] == "|   a\\|b |"
