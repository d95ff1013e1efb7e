"""The heavy modules of lessons: whoever imports this before it forks saves each child 3 s of CPU."""

import importlib

for _name in (
    "airflow.providers.amazon.aws.operators.bedrock",
    "airflow.providers.anthropic.operators.batch",
    "airflow.providers.cohere.operators.embedding",
    "airflow.providers.cohere.operators.rerank",
    "airflow.providers.common.ai.decorators.llm",
    "airflow.providers.common.ai.operators.agent",
    "airflow.providers.google.cloud.operators.gen_ai",
    "airflow.providers.openai.operators.openai",
    "airflow.providers.standard.decorators.python",
    "airflow.sdk.definitions.decorators",
    "airflow.sdk.definitions.timetables.trigger",
    "jinja2.meta",
):
    importlib.import_module(_name)
