"""Questions about tables become one query that only reads, and names no column that is not there."""

from __future__ import annotations

import json
import sqlite3
import time

import pytest
import sqlglot

from keyless.mind.decisions import Decider
from keyless.mind.sql import requests, statement
from keyless.mind.sql.query import checked
from keyless.mind.sql.requests import asks_for_sql
from keyless.mind.sql.tables import tables_in
from keyless.neutral import Message

SCHEMA = "Table: customers\nColumns: id INT, name TEXT\n\nTable: orders\nColumns: id INT, customer_id INT, total DECIMAL, created_at TIMESTAMP"
TABLES = {
    "customers": {"id": "number", "name": "text"},
    "orders": {"id": "number", "customer_id": "number", "total": "number"},
}


@pytest.fixture(scope="module")
def alike(embedder):
    return Decider(embedder).alike


@pytest.mark.parametrize(
    "material",
    [
        "Table: customers\nColumns: id INT, name TEXT\n\nTable: orders\nColumns: id INT, customer_id INT, total DECIMAL(10, 2)",
        "Table: customers\nColumns: id: int64\nname: string\n\nTable: orders\nColumns: id: int64\ncustomer_id: int64\ntotal: double",
        "CREATE TABLE customers (id INT PRIMARY KEY, name TEXT);\nCREATE TABLE orders (id INT, customer_id INT REFERENCES customers(id), total NUMERIC);",
        "customers: id (int), name (text)\norders: id (int), customer_id (int), total (numeric)",
        "- customers(id int, name text)\n- orders(id int, customer_id int, total real)",
        "Write SQL over the tables customers(id int, name text) and orders(id int, customer_id int, total real), please.",
        json.dumps({"customers": {"id": "int", "name": "text"}, "orders": {"id": "int", "customer_id": "int", "total": "float"}}),
        json.dumps({"tables": [{"name": t, "columns": [{"name": c, "type": "int" if k == "number" else "text"} for c, k in cs.items()]} for t, cs in TABLES.items()]}),
        "Table: customers\n" + json.dumps({"columns": [{"name": "id", "type": "INTEGER"}, {"name": "name", "type": "TEXT"}], "column_count": 2})
        + "\nTable: orders\n" + json.dumps({"columns": [{"name": c, "type": "INTEGER"} for c in TABLES["orders"]], "column_count": 3}),
    ],
)  # fmt: skip
def test_tables_are_read_in_the_forms_that_prompts_have(material):
    found = tables_in(material)
    assert {t.name: {c.name: c.kind for c in t.columns} for t in found} == TABLES
    assert found[1].links == {"customer_id": ("customers", "id")}


@pytest.mark.parametrize(
    "text",
    [
        "Rules:\n- Generate only SELECT queries (including CTEs, JOINs, subqueries, UNION)\n- Never INSERT, UPDATE, DELETE",
        "Write a poem about the sea: calm, blue, wide.",
        "The executors (CeleryExecutor, LocalExecutor) are enabled.",
        "",
    ],
)
def test_prose_describes_no_tables(text):
    assert tables_in(text) == []


@pytest.mark.parametrize("dialect", [None, "sqlite", "postgres", "mysql", "duckdb", "snowflake", "bigquery"])
@pytest.mark.parametrize(
    "question",
    [
        "Find the top 10 customers by total revenue",
        "Total revenue by month",
        "Average order total by day of week",
        "Orders of the last 30 days",
        "Total revenue of the last quarter",
        "How many orders were created yesterday?",
    ],
)
def test_each_dialect_gets_what_it_can_parse(question, dialect, alike):
    sql = statement(question, SCHEMA, dialect, alike=alike)
    assert sql is not None and "orders" in sql.lower()
    parsed = sqlglot.parse_one(sql, read=dialect or "postgres")
    assert parsed.sql(dialect or "postgres") == sql
    if dialect == "sqlite":
        with sqlite3.connect(":memory:") as database:
            database.executescript(
                "CREATE TABLE customers (id, name); CREATE TABLE orders (id, customer_id, total, created_at);"
            )
            database.execute(sql)


@pytest.mark.parametrize(
    ("question", "material"),
    [
        ("Delete the orders of 2023", SCHEMA),
        ("Please drop all tables", SCHEMA),
        ("What is the weather in Paris tomorrow?", SCHEMA),
        ("Find the top 10 customers by total revenue", "There are no tables here."),
    ],
)
def test_nothing_is_written_where_nothing_fits(question, material, alike):
    assert statement(question, material, alike=alike) is None


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM orders",
        "SELECT orders.total FROM orders; DROP TABLE orders",
        "SELECT orders.price FROM orders",
        "SELECT price FROM orders",
        "SELECT secrets.total FROM orders JOIN secrets ON secrets.id = orders.id",
        "SELECT COUNT(*) FROM secrets",
        "WITH gone AS (DELETE FROM orders RETURNING orders.id) SELECT COUNT(*) FROM orders",
        "SELECT orders.total INTO orders FROM orders",
        "SELECT orders.total FROM orders FOR UPDATE",
        "SELECT pg_sleep(10) FROM orders",
        "SELECT lo_export(orders.id, '/tmp/x') FROM orders",
        "SELECT orders.total FROM orders WHERE orders.total = '\\'",
        "PRAGMA writable_schema = 1",
        "COPY orders TO '/tmp/x'",
    ],
)
def test_only_queries_of_known_columns_pass(sql):
    tables = tables_in(SCHEMA)
    assert checked("SELECT orders.total AS t FROM orders ORDER BY t", tables) and not checked(sql, tables)


@pytest.mark.parametrize(
    ("question", "columns"),
    [
        ("How many orders; DROP TABLE orders", []),
        ("Show the orders where 1=1; DELETE FROM orders --", []),
        ("WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone", []),
        ("Show orders -- and /* comment */ DROP TABLE orders", []),
        ("Show orders; PRAGMA writable_schema = 1", []),
        ("Show orders and run load_extension('x')", []),
        ('Show orders whose note is "x\' OR 1=1 --"', ["note"]),
        ('Show orders whose note contains "\'; DELETE FROM orders; --"', ["note"]),
        ("Show orders whose note is \"'); ATTACH 'x' AS y; --\"", ["note"]),
        ("Select orders into outfile '/tmp/x'", ["note"]),
        ("Count the orders union select sql from sqlite_master", []),
        ("Show the evil of orders", ['evil"; DROP TABLE orders; --']),
        ("Show the evil of orders", ["evil`; DROP TABLE orders; --"]),
        ("Show the evil of orders", ["evil */ x /*"]),
        ("Total of load_extension of orders", ["load_extension('x')"]),
        ("Show the order and group of orders", ["order", "group", "select"]),
    ],
)
def test_hostile_words_and_names_are_only_read(question, columns, alike):
    columns = ["id", *columns]
    sql = statement(question, json.dumps({"orders": dict.fromkeys(columns, "text")}), "sqlite", alike=alike)
    assert sql is not None
    with sqlite3.connect(":memory:") as database:
        names = ", ".join('"{}"'.format(name.replace('"', '""')) for name in columns)
        database.execute(f"CREATE TABLE orders ({names})")

        def allowed(action, first, second, *_):
            reads = action == sqlite3.SQLITE_READ and first == "orders"
            calls = action == sqlite3.SQLITE_FUNCTION and second in ("count", "sum", "like")
            return sqlite3.SQLITE_OK if reads or calls or action == sqlite3.SQLITE_SELECT else sqlite3.SQLITE_DENY

        database.set_authorizer(allowed)
        database.execute(sql).fetchall()


def test_a_quoted_value_stays_whole(alike):
    material = json.dumps({"orders": {"total": "int", "note": "text"}})
    assert "'say 1=1 twice'" in statement('Show orders whose note is "say 1=1 twice"', material, alike=alike)


def test_names_that_need_quotation_marks_have_them_everywhere(alike):
    material = (
        "Table: Orders\nColumns: id INT, customer_id INT, amount INT\n\nTable: Customers\nColumns: id INT, name TEXT"
    )
    sql = statement("Total amount by Customer name", material, alike=alike)
    assert 'ON "Orders".customer_id = "Customers".id' in sql
    assert statement("How many users", "Table: user\nColumns: id INT, name TEXT", alike=alike).endswith('FROM "user"')


@pytest.mark.parametrize("day", ["9999-12-31", "Q4 9999", "december 9999", "0000-00-00", "2023-02-30"])
def test_days_that_do_not_exist_break_nothing(day, alike):
    assert statement(f"Orders after {day}", SCHEMA, alike=alike).startswith("SELECT * FROM orders")


@pytest.mark.parametrize(("said", "number"), [("5k", "5000"), ("5K", "5000"), ("1.5k", "1500.0"), ("1,200", "1200")])
def test_thousands(said, number, alike):
    assert statement(f"Show orders with a total above {said}", SCHEMA, alike=alike).endswith(f"orders.total > {number}")


@pytest.mark.parametrize("unit", ["a(b,", ",", "a(", "<a>", "create table ", "- a(b, ", "return sql ", "no prose "])
def test_a_conversation_is_searched_for_its_question_in_linear_time(unit):
    began = time.process_time()
    requests._question(f"a({unit * (24_000 // len(unit))}")
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "unit",
    ["top ", "more than 5 ", "without a ", "'a' ", "A B C ", "by each per ", "in 2024 ", "how many ", "the most ", "sum of ", "x", "-", "last 5 days ",
     "contains 'x' ", "1 ", " ", "(", '{"a":', "create table ", "Table: a\n", "a(b, c", "a: b, c\n"],
)  # fmt: skip
def test_hostile_questions_and_schemas_end(unit, alike):
    statement("How many orders", SCHEMA, alike=alike)
    began = time.process_time()
    statement(unit * 20_000, SCHEMA, alike=alike)
    statement("How many orders", f"{SCHEMA}\n{unit * 20_000}", alike=alike)
    assert time.process_time() - began < 2


TELL = "You are a SQL expert. Generate a single SQL query based on the user's request.\nReturn ONLY the SQL query, no explanation or markdown.\n"
COUNTED = "SELECT COUNT(*) AS count_orders FROM orders"


def ask(http, messages, **more):
    body = {"model": "m", "messages": messages, **more}
    reply = http.post("/openai/v1/chat/completions", json=body, headers={"Authorization": "Bearer any"})
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]["message"]


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": f"{TELL}\nAvailable schema:\n{SCHEMA}"}, {"role": "user", "content": "How many orders are there?"}],
        [{"role": "user", "content": f"{SCHEMA}\n\nQuestion: How many orders are there?\n\nAnswer with one SQL statement and nothing else."}],
        [{"role": "user", "content": "Given the table orders(id, total), write a SQL query that counts the orders. Return only the SQL."}],
    ],
)  # fmt: skip
def test_a_request_for_sql_gets_sql(messages, http):
    assert ask(http, messages)["content"] == COUNTED


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Return ONLY the SQL query.", True),
        ("Answer with one SELECT statement.", True),
        ("Translate this question into SQL: how many orders are there?", True),
        (
            "Read the ticket, then answer and select one label.\nbilling: invoices, payments\nsales: offers, prices",
            False,
        ),
        ("Write a sentence about the SQL server.", False),
        ("Explain why people write SQL.", False),
    ],
)
def test_what_asks_for_sql(text, asks):
    assert asks_for_sql((Message("user", text),)) is asks


def test_asking_takes_linear_time():
    began = time.process_time()
    for unit in ("write ", "write a ", "SQL ", "write a select ", "x"):
        asks_for_sql((Message("user", unit * 50_000),))
    assert time.process_time() - began < 3


def test_words_about_sql_stay_words(http):
    said = ask(http, [{"role": "user", "content": "Explain in one sentence what an SQL injection is."}], max_tokens=20)
    assert not said["content"].upper().startswith("SELECT")


def test_a_field_and_a_parameter_that_are_sql(http):
    field = {"type": "object", "properties": {"query": {"type": "string", "description": "The SQL to run"}}, "required": ["query"]}  # fmt: skip
    told = {"type": "string", "description": "What the SQL does, and why"}
    both = {"type": "object", "properties": {"sql": {"type": "string"}, "note": told}, "required": ["sql", "note"]}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": field}}
    asked = {"role": "user", "content": "How many orders are there?"}
    filled = ask(http, [{"role": "system", "content": SCHEMA}, asked], response_format=form)
    assert json.loads(filled["content"]) == {"query": COUNTED}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": both}}
    filled = json.loads(ask(http, [{"role": "system", "content": SCHEMA}, asked], response_format=form)["content"])
    assert filled["sql"] == COUNTED and filled["note"] != COUNTED
    # As an agent goes: the columns come from a tool, asked for by the table's name.
    tool = {"type": "function", "function": {"name": "run", "description": "Run SQL.", "parameters": field}}
    call = {"id": "a", "type": "function", "function": {"name": "get_schema", "arguments": '{"table_name": "orders"}'}}
    columns = json.dumps({"columns": [{"name": "id", "type": "INTEGER"}, {"name": "total", "type": "NUMERIC"}]})
    history = [
        asked,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": columns},
    ]
    called = ask(http, history, tools=[tool], tool_choice="required")["tool_calls"][0]["function"]
    assert json.loads(called["arguments"]) == {"query": COUNTED}
