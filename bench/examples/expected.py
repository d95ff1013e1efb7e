"""For each example, how its run ends, what its tool calls must be and what its answer must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.examples.checks import (
    Check,
    branch,
    called,
    each_gives,
    equals,
    gives,
    holds,
    never,
    queried,
    says,
    sentences,
    sql_uses,
    tells,
)


@dataclass(frozen=True)
class Expected:
    """``outcome`` is the state in which the run is meant to end."""

    tools: tuple[Check, ...] = ()
    answers: tuple[Check, ...] = ()
    outcome: str = "success"


def answer(*checks: Check, tools: tuple[Check, ...] = (), outcome: str = "success") -> Expected:
    """An example by its answer's checks."""
    return Expected(tools, checks, outcome)


TOP_CUSTOMERS = "SELECT c.name, count(*) FROM orders o JOIN customers c ON c.id = o.customer_id GROUP BY c.name ORDER BY 2 DESC, 1 LIMIT {n}"
SPENT = "SELECT c.name, sum(o.total) FROM orders o JOIN customers c ON c.id = o.customer_id GROUP BY c.name ORDER BY 2 DESC LIMIT {n}"
SPENT_BY_ID = "SELECT c.id, sum(o.total) FROM orders o JOIN customers c ON c.id = o.customer_id GROUP BY c.id ORDER BY 2 DESC LIMIT {n}"
BY_ID = "SELECT customer_id, count(*) FROM orders GROUP BY customer_id ORDER BY 2 DESC LIMIT {n}"
MONTHS = "SELECT date_trunc('month', created_at), sum(total) FROM orders {where} GROUP BY 1"
MONTH_NUMBERS = "SELECT extract(month FROM created_at), sum(total) FROM orders {where} GROUP BY 1"
LAST_MONTH = "SELECT sum(total) FROM orders WHERE created_at >= date_trunc('month', now()) - interval '1 month' AND created_at < date_trunc('month', now())"
QUARTER = "date_trunc('quarter', now())"
LAST_QUARTER = f"created_at >= {QUARTER} - interval '3 months' AND created_at < {QUARTER}"
SEPTEMBER = "SELECT sum(total) FROM orders WHERE created_at >= '2026-09-01' AND created_at < '2026-10-01'"
REGION = "SELECT region, count(*) FROM orders GROUP BY region ORDER BY 2 DESC LIMIT 1"
LAST_WEEK = (
    "SELECT region, sum(total) FROM orders WHERE created_at >= date_trunc('week', now()) - interval '7 days' "
    "AND created_at < date_trunc('week', now()) GROUP BY region"
)
SEVEN_DAYS = "SELECT region, sum(total) FROM orders WHERE created_at >= now() - interval '7 days' GROUP BY region"
COUNTS = "SELECT count(*) FROM customers UNION ALL SELECT count(*) FROM orders"


def top(task: str, n: int = 5) -> Expected:
    """The customers with most orders, asked of the database."""
    return answer(
        tells(task, TOP_CUSTOMERS.format(n=n)), tools=(queried(TOP_CUSTOMERS.format(n=n), BY_ID.format(n=n)),)
    )


def revenue(task: str) -> Expected:
    """Last month's revenue."""
    return answer(tells(task, LAST_MONTH), tools=(queried(LAST_MONTH),))


def tables(task: str) -> Expected:
    """Which tables there are, and how many rows each has."""
    count = (queried("SELECT count(*) FROM orders", COUNTS), queried("SELECT count(*) FROM customers", COUNTS))
    return answer(says(task, "customers", "orders"), tells(task, COUNTS), tools=(called("list_tables"), *count))


def report(task: str) -> Expected:
    """The report was read, the table was asked, and they agree."""
    read = called("read_file", "the report", lambda a: "report" in str(a.values()))
    agree = says(task, "revenue", ("match", "agree", "equal", "the same", "yes"))
    return answer(agree, tells(task, SEPTEMBER), tools=(read, queried(SEPTEMBER)))


def september(task: str, read: str) -> Expected:
    """The report's own figures, after it was read."""
    opened = called(read, "the report", lambda a: "2026" in str(a.values()))
    return answer(says(task, ("615", "revenue"), ("shipping", "9 percent")), tools=(opened,))


def summary(task: str, *words: Any, most: int = 0) -> Expected:
    """Prose about its subject."""
    return answer(says(task, *words), *((sentences(task, most),) if most else ()))


def with_keys(task: str, **wanted: Any) -> Check:
    """A dict with these values; of a tuple one is enough, and a string may stand anywhere in the value."""

    def met(found: Any) -> bool:
        for key, right in wanted.items():
            options = right if isinstance(right, tuple) else (right,)
            have = found[key]
            if not any(r.lower() in str(have).lower() if isinstance(r, str) else have == r for r in options):
                return False
        return True

    return holds(task, str(wanted), met)


def _sentiments(found: Any) -> bool:
    return found == {"positive": 2, "negative": 1, "neutral": 1}


def _drift(found: Any) -> bool:
    text = str(found).lower()
    return found["compatible"] is False and "email" in text and "loyalty_level" in text


def _entities(found: Any) -> bool:
    return sorted(found["names"]) == ["Alice", "Bob"] and sorted(found["locations"]) == ["London", "Paris"]


def _tickets(found: Any) -> bool:
    kinds = [t["category"].lower() for t in found]
    urgent = found[0]["priority"].lower()
    own = all(len(t["summary"].split()) > 4 and t["summary"] != t["suggested_action"] for t in found)
    return (
        kinds[0] == "bug"
        and kinds[1] in ("question", "feature_request")
        and kinds[2] in ("performance", "bug")
        and urgent in ("critical", "high")
        and own
    )


def _sub_questions(found: Any) -> bool:
    each = found["sub_questions"]
    return {q["ticker"] for q in each} == {"AAPL", "MSFT", "UBER", "LYFT", "AMZN"} and len(
        {q["sub_question"] for q in each}
    ) == len(each) == 5


def _survey(found: Any) -> bool:
    def has(rows: list[dict], *pairs: tuple[str, int]) -> bool:
        values = [set(map(str, row.values())) for row in rows]
        return all(any({name, str(n)} <= v for v in values) for name, n in pairs) and len(values) == len(pairs)

    return (
        has(found["deployment"], ("Helm chart", 30), ("Docker Compose", 15))
        and has(found["cloud"], ("AWS", 30), ("Azure", 15))
        and has(found["airflow_version"], ("3.1", 30), ("2.10", 15))
    )


def _versions(found: Any) -> bool:
    return "40" in str(found) and "20" in str(found) and "3.1" in str(found) and "2.10" in str(found)


def _keywords(found: Any) -> bool:
    return bool(found) and found["counts"]["succeeded"] == 4


BILLING = branch("handle_billing", skipped=("handle_auth", "handle_general"))
AUTH = branch("handle_auth", skipped=("handle_billing", "handle_general"))
SCHEMA_DRIFT = holds("detect_schema_drift", "an incompatibility that names email and loyalty_level", _drift)
EARNINGS = ("earnings", "report", "revenue", "q4", "quarter")
AIRFLOW = ("airflow", ("workflow", "platform", "pipeline", "orchestrat", "schedul"))

EXPECTED: dict[str, Expected] = {
    "example_adk_agent": tables("run_adk_agent"),
    "example_agent_capabilities_composed": answer(
        says("analyst", "customer"), tools=(queried(TOP_CUSTOMERS.format(n=5), BY_ID.format(n=5), SPENT.format(n=5)),)
    ),
    "example_agent_capabilities_input_guard": summary("guarded_agent", ("support", "request", "customer")),
    "example_agent_capabilities_thinking": summary("reasoner", ("55", "34"), "fibonacci"),
    "example_agent_capabilities_web_search": answer(
        # Without a search nothing is known of the latest release: an answer of use says so, or was searched for.
        says("researcher", "airflow", ("cannot search", "not search", "no access", "unable to"))
    ),
    "example_agent_chain": answer(
        says("send_report", "order"),
        tools=(
            queried(
                MONTHS.format(where=f"WHERE {LAST_QUARTER}"),
                f"SELECT count(*) FROM orders WHERE {LAST_QUARTER}",
                f"SELECT sum(total) FROM orders WHERE {LAST_QUARTER}",
            ),
        ),
    ),
    "example_agent_decorator": revenue("analyze"),
    "example_agent_durable_decorator": revenue("analyze"),
    "example_airflow_durability_capability": revenue("analyze"),
    "example_agent_durable_operator": top("durable_analyst"),
    "example_agent_dynamic_system_prompt": summary("draft_reply", "order", ("ship", "deliver")),
    "example_agent_memory": answer(
        says("triage_failures", ("load_orders", "connect"), ("sync_crm", "429")), tools=(called("memory", "a note"),)
    ),
    "example_agent_memory_per_customer": summary("answer_ticket", ("export", "sync", "minutes")),
    "example_agent_operator_code_mode": answer(
        tells("code_mode_analyst", SPENT.format(n=3)), tools=(called("run_code"),)
    ),
    "example_agent_operator_hitl_review": summary("summarize_with_review", ("sales", "q4", "report")),
    "example_agent_operator_hook": answer(
        says("api_explorer", "/status", "ok"),
        tools=(called("run", "/status", lambda a: "status" in str(a.get("endpoint"))),),
    ),
    "example_agent_operator_sql": top("analyst"),
    "example_agent_recovery": answer(
        tells("investigate_orders", REGION), tools=(queried(REGION, REGION.replace(" LIMIT 1", "")),)
    ),
    "example_agent_self_hosted": answer(
        says("list_models", "qwen3-8b", "llama-3.3-70b"),
        tools=(called("run", "/v1/models", lambda a: "models" in str(a.get("endpoint"))),),
    ),
    "example_agent_session": summary("ask", ("first", "no earlier", "not", "nothing", "haven't", "ask")),
    "example_agent_skills_local": answer(
        tells("reporter", TOP_CUSTOMERS.format(n=5)),
        tools=(called("load_skill", "sql-reporting", lambda a: "sql-reporting" in str(a.values())),),
    ),
    "example_agent_skills_restricted": answer(
        says("report_writer", ("select *", "column", "name the columns")),
        tools=(called("load_skill", "sql-reporting", lambda a: "sql-reporting" in str(a.values())),),
    ),
    "example_agent_structured_output": answer(
        with_keys("analyze", top_items=("lamp", "desk", "chair", "shelf")), tools=(called("query"),)
    ),
    "example_agent_tool_approval": answer(
        says("handle_ticket", "7", ("refund", "lost")),
        tools=(called("lookup_order", "order 7", lambda a: a.get("order_id") == 7),),
    ),
    "example_agent_tool_judge": answer(
        says("handle_ticket", "7", ("refund", "lost")),
        tools=(
            called("lookup_order", "order 7", lambda a: a.get("order_id") == 7),
            called(
                "refund_order", "42 dollars for order 7", lambda a: a.get("order_id") == 7 and a.get("amount") == 42
            ),
        ),
    ),
    "example_aip_progress_tracker": answer(
        holds(
            "collect_analyses",
            "AIP-76 with its three deliverables",
            lambda f: f[0]["aip_number"] == 76 and f[0]["total_count"] == len(f[0]["deliverables"]) == 3,
        ),
        says("build_review_body", "76"),
    ),
    "example_aip_progress_tracker_skills": answer(
        says("track_aip_progress", "76", "partition"),
        tools=(
            called("load_skill", "aip-tracker", lambda a: "aip-tracker" in str(a.values())),
            called("fetch_confluence_page", "the page's id", lambda a: a.get("page_id") == "311626969"),
        ),
    ),
    "example_anthropic_tool_runner": tables("ask_the_warehouse"),
    "example_custom_toolset": answer(
        says("check_package", "1.0.0", "3.10"),
        tools=(called("get_package", "the package", lambda a: a.get("name") == "apache-airflow-providers-common-ai"),),
    ),
    "example_datafusion_toolset_restricted": answer(
        says("returns_by_region", "south", least=1), tools=(called("query"),)
    ),
    "example_decision_model_branch": answer(
        branch("grant_bucket_write", skipped=("restore_deleted_bucket", "wait_and_retry"))
    ),
    "example_decision_model_confidence": answer(with_keys("classify", category="resource")),
    "example_defer_loading": answer(
        says("answer_from_reports", ("shipping", "revenue")),
        tools=(called("search_tools"), called("s3_read_key", "the report", lambda a: "2026/09" in str(a.values()))),
    ),
    "example_defer_loading_some": answer(
        says("answer_from_reports", ("shipping", "revenue")),
        tools=(called("s3_list_keys"), called("s3_read_key", "the report", lambda a: "2026/09" in str(a.values()))),
    ),
    "example_document_loader_basic": answer(holds("count_chunks", "one or more", lambda n: n >= 1)),
    "example_document_loader_bytes": answer(holds("load_docs", "a document", bool)),
    "example_document_loader_cloud_uri": answer(says("load_docs", "churn")),
    "example_document_loader_directory": answer(with_keys("summarise", files=2)),
    "example_document_loader_json_field": answer(
        holds("load_docs", "two records", lambda d: len(d) == 2 and "lamp" in d[0]["text"])
    ),
    "example_hook_toolset_restricted": september("read_reports", "s3_read_key"),
    "example_langchain_10k_analysis": answer(
        holds("decompose_question", "one question for each ticker", _sub_questions), says("format_report", "apple")
    ),
    "example_langchain_10k_index": answer(holds("build_index", "five indexes", lambda v: len(v) == 5)),
    "example_langchain_chat": summary("summarize", *AIRFLOW),
    "example_langchain_chat_and_embedding": answer(with_keys("use_both", answer="airflow", embedding_dim=1536)),
    "example_langchain_different_conns": answer(with_keys("use_separate_conns", answer="airflow", embedding_dim=1536)),
    "example_langchain_embedding": answer(equals("embed_documents", 1536)),
    "example_langchain_tool_agent": answer(
        says("format_report", "kubernetes", ("66.7", "40 of 60", "%")),
        tools=(
            called("search_knowledge_base"),
            called("query_survey_data", "Kubernetes", lambda a: "kubernetes" in str(a).lower()),
        ),
    ),
    "example_langchain_toolset_bridge": tables("run_sql_agent"),
    "example_llamaindex_10k_analysis": answer(
        holds("decompose_question", "one question for each ticker", _sub_questions), says("format_report", "apple")
    ),
    "example_llamaindex_10k_index": answer(holds("build_index", "five indexes", lambda v: len(v) == 5)),
    "example_llamaindex_cloud_persist": answer(holds("embed", "an index", bool)),
    "example_llamaindex_embed": answer(holds("embed", "an index", bool)),
    "example_llamaindex_index_pdf": answer(holds("build_index", "an index", bool)),
    "example_llamaindex_multi_source": answer(holds("embed_all", "an index", bool)),
    "example_llamaindex_query": summary("synthesize", ("12 percent", "4.2 million", "12%", "churn")),
    "example_llamaindex_rag_pipeline": summary("answer", "scheduler", ("executor", "worker", "web server")),
    "example_llamaindex_retrieve": answer(says("retrieve", "scheduler")),
    "example_llm_analysis_pipeline": answer(
        holds("analyze_ticket", "three tickets, each with its own fields", _tickets)
    ),
    "example_llm_approval": summary("draft_release_note", ("webhook", "deliver"), ("retr", "three"), most=1),
    "example_llm_batch_operator": answer(holds("summarize_manifest", "2 positive, 1 negative, 1 neutral", _sentiments)),
    "example_llm_batch_decorator": answer(
        holds("summarize_manifest", "2 positive, 1 negative, 1 neutral", _sentiments)
    ),
    "example_llm_batch_provider_params": answer(
        holds("extract_keywords_openai", "four answers", _keywords),
        holds("extract_keywords_anthropic", "four answers", _keywords),
    ),
    "example_llm_batch_per_request_overrides": answer(
        holds("build_summary_requests", "three answers", lambda m: m["counts"]["succeeded"] == 3)
    ),
    "example_llm_branch_operator": answer(AUTH),
    "example_llm_branch_descriptions": answer(AUTH),
    "example_llm_branch_decision_policy": answer(branch("rerun", skipped=("page_oncall", "ignore"))),
    "example_llm_branch_multi": answer(branch("handle_positive", "handle_shipping", "handle_packaging", skipped=())),
    "example_llm_branch_decorator": answer(BILLING),
    "example_llm_branch_decorator_multi": answer(
        branch("handle_positive", "handle_shipping", skipped=("handle_packaging",))
    ),
    "example_llm_branch_approval": answer(BILLING),
    "example_llm_classification": answer(
        holds("classify_incident", "critical or high", lambda v: v in ("critical", "high"))
    ),
    "example_llm_decorator": summary("summarize", *AIRFLOW),
    "example_llm_decorator_structured": answer(holds("extract", "Alice and Bob, Paris and London", _entities)),
    "example_llm_fallback": summary("summarize_through_the_chain", EARNINGS),
    "example_llm_fallback_operator_argument": summary("summarize_with_an_operator_owned_chain", EARNINGS),
    "example_llm_fallback_explicit_chain": answer(
        holds("classify_with_an_explicit_chain", "yes", lambda v: v.strip(" .!").lower() in ("yes", "bird", "true"))
    ),
    "example_llm_file_analysis_basic": summary(
        "analyze_error_logs", ("timeout", "timeouterror"), ("payment", "deploy", "10:05")
    ),
    "example_llm_file_analysis_prefix": summary(
        "summarize_partitioned_logs",
        ("timeout", "timeouterror", "payment"),
        ("dt=2024-01-15", "region=eu", "eu", "2024-01-15"),
    ),
    "example_llm_file_analysis_multimodal": summary(
        "validate_dashboards", ("chart", "dashboard", "image", "picture", "red")
    ),
    "example_llm_file_analysis_structured": answer(
        with_keys("analyze_parquet_quality", truncated_inputs=False, findings=("email", "null", "none", "missing"))
    ),
    "example_llm_file_analysis_approval": summary(
        "analyze_contract_with_approval", ("terminat", "without notice"), ("30 days", "five days", "vendor")
    ),
    "example_llm_file_analysis_decorator": summary(
        "review_quarterly_report", ("revenue", "12 percent"), ("churn", "supplier", "risk")
    ),
    "example_llm_operator": summary("summarize", EARNINGS),
    "example_llm_operator_approval": summary("summarize_with_approval", ("financial", "report", "quarter")),
    "example_llm_operator_model_settings": answer(
        says("creative_writing", ("data", "pipeline", "flow", "stream")),
        holds("creative_writing", "three lines", lambda t: len([x for x in t.strip().splitlines() if x.strip()]) == 3),
    ),
    "example_llm_operator_structured": answer(
        holds("extract_entities", "empty lists, as there is no article", lambda f: f == {"names": [], "locations": []})
    ),
    "example_llm_operator_templated_usage_limits": summary("capped_summary", ("queue", "message"), ("http", "direct")),
    "example_llm_operator_usage_limits": summary("capped_summary", ("design", "document", "doc")),
    "example_llm_schema_compare_basic": answer(SCHEMA_DRIFT),
    "example_llm_schema_compare_basic_context": answer(SCHEMA_DRIFT),
    "example_llm_schema_compare_with_object_storage": answer(
        holds(
            "compare_s3_vs_db",
            "an incompatibility that names loyalty_level",
            lambda f: f["compatible"] is False and "loyalty_level" in str(f).lower(),
        )
    ),
    "example_llm_schema_compare_decorator": answer(holds("check_migration_readiness", "an incompatibility", _drift)),
    "example_llm_schema_compare_approval": answer(
        holds(
            "detect_schema_drift_with_approval",
            "an incompatibility",
            lambda f: "email" in str(f) and "loyalty_level" in str(f),
        )
    ),
    "example_llm_schema_compare_conditional": answer(branch("notify_team", skipped=("run_etl",))),
    "example_llm_sql_basic": answer(gives("generate_sql", SPENT.format(n=10), SPENT_BY_ID.format(n=10))),
    "example_llm_sql_approval": answer(
        gives(
            "generate_sql_with_approval",
            SPENT.format(n=10).replace("GROUP BY", f"WHERE {LAST_QUARTER} GROUP BY"),
            SPENT_BY_ID.format(n=10).replace("GROUP BY", f"WHERE {LAST_QUARTER} GROUP BY"),
        )
    ),
    "example_llm_sql_schema_introspection": answer(
        sql_uses(
            "generate_sql",
            {"orders"},
            {"id", "customer_id", "product", "region", "total", "created_at", "name", "email"},
            {"total", "created_at"},
        )
    ),
    "example_llm_sql_decorator": answer(
        sql_uses("build_churn_query", {"users"}, {"id", "name", "signup_date"}, {"signup_date"})
    ),
    "example_llm_sql_expand": answer(
        each_gives(
            "generate_sql",
            MONTHS.format(where=""),
            BY_ID.format(n=10),
            "SELECT extract(dow FROM created_at), avg(total) FROM orders GROUP BY 1",
        )
    ),
    "example_llm_sql_with_object_storage": answer(
        sql_uses("generate_sql", {"sales_data"}, {"product", "region", "amount", "month"}, {"product", "amount"})
    ),
    "example_llm_survey_agentic": answer(
        holds("collect_results", "the counts of the survey", _survey),
        says("synthesize_answer", ("helm", "aws", "kubernetes", "3.1")),
    ),
    "example_llm_survey_interactive": answer(
        holds("extract_data", "counts for Airflow 2 and 3", lambda t: "3.1" in t and "2.10" in t)
    ),
    "example_llm_survey_scheduled": answer(holds("extract_data", "40 on 3.1 and 20 on 2.10", _versions)),
    "example_mcp_toolset": answer(says("mcp_agent", "hello from the mcp server"), tools=(called("hello"),)),
    "example_mcp_multiple_servers": answer(
        says("multi_mcp_agent", "rain", "1024"),
        tools=(
            called("get_forecast", "London", lambda a: "london" in str(a).lower()),
            called("run_python", "2**10", lambda a: "2**10" in str(a).replace(" ", "")),
            never("delete_station"),
        ),
    ),
    "example_mcp_filtered_tools": answer(
        says("forecast_agent", "rain"),
        tools=(called("get_forecast", "London", lambda a: "london" in str(a).lower()), never("delete_station")),
    ),
    "example_mcp_stdio_env_provider": answer(
        says("stdio_env_agent", ("502", "checkout", "payment")), tools=(called("get_ticket"),)
    ),
    "example_object_storage_toolset": september("summarize_month", "read_file"),
    "example_object_storage_toolset_restricted": september("read_finance_reports", "reports_read_file"),
    "example_openai_agents_agent": tables("run_openai_agent"),
    "example_openai_agents_durable": tables("run_durable_openai_agent"),
    "example_pydantic_ai_agent": report("run_pydantic_ai_agent"),
    "example_pydantic_ai_hook": summary("generate_summary", *AIRFLOW),
    "example_pydantic_ai_spec_file": answer(
        says("summarize_from_spec", *AIRFLOW),
        says("summarize_with_additional_instructions", *AIRFLOW),
        sentences("summarize_with_additional_instructions", 1),
    ),
    "example_pydantic_ai_structured_output": answer(
        holds(
            "generate_sql",
            "a query that orders customers by revenue",
            lambda f: (
                "select" in f["query"].lower()
                and "limit 10" in f["query"].lower()
                and len(f["explanation"].split()) > 4
            ),
        )
    ),
    "example_sql_toolset_restricted": answer(
        tells("revenue_by_region", LAST_WEEK), tools=(queried(LAST_WEEK, SEVEN_DAYS),)
    ),
    "example_strands_agent": tables("run_strands_agent"),
    "example_strands_durable": tables("run_durable_strands_agent"),
    "example_task_with_toolsets": answer(
        tells("analyze_revenue", SPENT.format(n=5)), tools=(queried(SPENT.format(n=5)),)
    ),
    "example_why_common_ai": report("check_report"),
    "quickstart_llm": summary(
        "summarize", ("retry", "policy"), ("heartbeat", "python 3.9", "crash", "database"), most=2
    ),
}


def _policy(tries: dict[str, int]) -> Check:
    def check(ran: Any, settings: Any) -> str:
        wrong = {task: ran.tries.get(task) for task, right in tries.items() if ran.tries.get(task) != right}
        return f"tries {wrong}, not {tries}" if wrong else ""

    return check


EXPECTED["example_llm_retry_policy"] = answer(
    _policy({"task_auth_error": 1, "task_rate_limit": 4, "task_data_error": 1, "task_missing_table": 4}),
    outcome="failed",
)
EXPECTED["example_llm_retry_policy_classifier"] = answer(
    _policy({"task_warehouse_suspended": 4, "task_schema_drift": 1}), outcome="failed"
)
