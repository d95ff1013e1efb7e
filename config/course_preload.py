"""The heavy modules of lessons: whoever imports this before it forks saves each child 3 s of CPU."""

import airflow.providers.amazon.aws.operators.bedrock
import airflow.providers.anthropic.operators.batch
import airflow.providers.cohere.operators.embedding
import airflow.providers.cohere.operators.rerank
import airflow.providers.common.ai.decorators.llm
import airflow.providers.common.ai.operators.agent
import airflow.providers.google.cloud.operators.gen_ai
import airflow.providers.openai.operators.openai  # noqa: F401
