"""
# 114.3.1 Cohere Integration

Cohere's strength is search. Lumen & Oak's shop finds products by the words that a customer types, and so answers "typing is too
loud" with everything that has a *table* in it. The rerank model reads question and product together and puts what
helps on top. How much that is worth is measured here, on six searches whose right answer is known. The same connection also
writes texts and makes embeddings.

| Checklist item | Tasks that show it |
|---|---|
| Configure Cohere connection | `check_connection` |
| CohereGenerateOperator | `write_tagline`, `check_tagline` |
| CohereEmbedOperator | `embed_catalogue`, `find_similar` |
| Cohere reranking | `search_by_words`, `rerank_hits`, `measure_orders` |

**Try it**: `measure_orders` has one line a search: the rank of the right product before and after, and the mean reciprocal rank
(MRR) of both orders. One search becomes worse; that is why one measures. Trigger it with *Candidates* at 3: what the search by
words does not find, no reranking brings back.

**In production**: retrieve 50 to 100 candidates cheaply, rerank them, show ten. Rerank is billed by search, not by token: one
question with up to 100 documents. The embedding operator has a fixed model and always embeds documents; embed
questions with the hook's client and `input_type="search_query"`, or both ends do not fit together.
"""

import json
import re
from datetime import timedelta
from pathlib import Path

from airflow.providers.cohere.hooks.cohere import CohereHook
from airflow.providers.cohere.operators.embedding import CohereEmbeddingOperator
from airflow.providers.cohere.operators.rerank import CohereRerankOperator
from airflow.sdk import Context, ObjectStoragePath, Param, dag, task

from llmkit import prompts, storage
from llmkit.operators import CohereGenerateOperator

DATA = Path(__file__).parents[1] / "include" / "data"
CONN_ID = "cohere_default"


class EmbeddingsToFile(CohereEmbeddingOperator):
    """The provider's operator (CohereEmbedOperator in the outline), with a file in place of an XCom full of vectors."""

    def execute(self, context: Context) -> str:
        import numpy as np

        path = storage.run_folder(context) / "catalogue.npy"
        with path.open("wb") as file:
            np.save(file, np.asarray(super().execute(context), dtype=np.float32))
        return str(path)


def catalogue() -> dict[str, str]:
    """Product texts by article number."""
    return {row["sku"]: f"{row['name']}: {row['text']}" for row in json.loads((DATA / "products.json").read_text())}


def words(text: str) -> set[str]:
    """What a simple search looks at."""
    return set(re.findall(r"[a-z]{3,}", text.lower()))


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=2)},
    params={
        "product": Param("AUR-1", enum=list(catalogue()), title="Product", description="Gets a line for the window."),
        "candidates": Param(12, type="integer", title="Candidates", description="Try 3.", minimum=1, maximum=12),
    },
)
def cohere_integration() -> None:
    @task
    def check_connection() -> dict:
        """Configure Cohere connection: key and host; a list of models costs nothing, the Test button pays for a chat."""
        hook = CohereHook(conn_id=CONN_ID)
        models = [model.name for model in hook.get_conn().models.list().models]
        return {"host": hook.get_connection(CONN_ID).host or "https://api.cohere.com", "models": models}

    @task
    def write_prompt(params: dict) -> str:
        """CohereGenerateOperator: its prompt, from a file and the catalogue."""
        return prompts.load("product_tagline").render(product=catalogue()[params["product"]])

    tagline = CohereGenerateOperator(
        task_id="write_tagline",
        doc_md="CohereGenerateOperator: one completion, by the chat API that took the place of the generate endpoint.",
        conn_id=CONN_ID,
        prompt=write_prompt(),
        model="command-a-03-2025",
        temperature=0.3,
        max_tokens=40,
    )

    @task
    def check_tagline(text: str, finish_reason: str) -> dict:
        """CohereGenerateOperator: why it stopped is an XCom beside the text; MAX_TOKENS is half a sentence."""
        return {"text": text, "usable": finish_reason == "COMPLETE" and len(text) <= 200, "reason": finish_reason}

    embedded = EmbeddingsToFile(
        task_id="embed_catalogue",
        doc_md="CohereEmbedOperator: all products in one call, at most 96.",
        conn_id=CONN_ID,
        input_text=list(catalogue().values()),
    )

    @task
    def find_similar(path: str) -> dict[str, str]:
        """CohereEmbedOperator: for each product the one most like it, for the line *you may also like*."""
        import numpy as np

        with ObjectStoragePath(path).open("rb") as file:
            vectors = np.load(file)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        alike = vectors @ vectors.T - 2 * np.eye(len(vectors))
        return {sku: list(catalogue())[alike[n].argmax()] for n, sku in enumerate(catalogue())}

    @task
    def search_by_words(params: dict) -> list[dict]:
        """Cohere reranking: the first order, by the number of words in common."""
        found = []
        for search in json.loads((DATA / "searches.json").read_text()):
            asked = words(search["question"])
            hits = sorted(catalogue().values(), key=lambda text: -len(asked & words(text)))
            found.append({"query": search["question"], "documents": hits[: params["candidates"]]})
        return found

    searched = search_by_words()
    reranked = CohereRerankOperator.partial(
        task_id="rerank_hits",
        doc_md="Cohere reranking: one mapped task a search; question and product are read together.",
        conn_id=CONN_ID,
        model="rerank-v3.5",
    ).expand_kwargs(searched)

    @task
    def measure_orders(before: list[dict], after: list[dict]) -> str:
        """Cohere reranking: the rank of the right product in both orders, and the mean of the reciprocal ranks."""
        rows, reciprocal = [], []
        for search, hits, order in zip(json.loads((DATA / "searches.json").read_text()), before, after, strict=True):
            right, first = catalogue()[search["sku"]], hits["documents"]
            orders = first, [first[result["index"]] for result in order["results"]]
            ranks = [texts.index(right) + 1 if right in texts else None for texts in orders]
            reciprocal.append([1 / rank if rank else 0 for rank in ranks])
            rows.append(f"| {search['question']} | {ranks[0] or '–'} | {ranks[1] or '–'} |")
        means = [sum(column) / len(column) for column in zip(*reciprocal, strict=True)]
        head = ["| search | rank by words | reranked |", "|---|--:|--:|"]
        return "\n".join([*head, *rows, f"| MRR | {means[0]:.2f} | {means[1]:.2f} |"])

    check_connection()
    check_tagline(tagline.output, tagline.output["finish_reason"])
    find_similar(embedded.output)
    measure_orders(searched, reranked.output)


cohere_integration()
