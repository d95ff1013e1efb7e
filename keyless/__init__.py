"""keyless: the APIs of LLM providers on loopback, answered by small local models.

Start it alone with ``python -m keyless --port 11400``. It needs no key and no network; the SDKs of
OpenAI, Anthropic, Cohere, Google, Amazon Bedrock and Ollama talk to it by their base URL. It imports neither Airflow nor ``llmkit``.
"""
