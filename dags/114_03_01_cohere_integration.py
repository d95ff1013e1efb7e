"""
# 114.3.1 Cohere Integration

Cohere's strength is search. The shop of Lumen & Oak finds products by the words that a customer types, and so answers "typing is too
loud on my table" with everything that has a *table* in it. The rerank model reads question and product together and puts what helps on
top. This run measures how much that is worth, on six searches whose right answer is known. The same connection writes texts and makes embeddings.

| Checklist item | Tasks that show it |
|---|---|
| Configure Cohere connection | `check_connection` |
| CohereGenerateOperator | `write_tagline`, `check_tagline` |
| CohereEmbedOperator | `embed_catalogue`, `find_similar` |
| Cohere reranking | `search_by_words`, `rerank_hits`, `measure_orders` |

**Try it**: the result under *Storage → XCom* of `measure_orders` has the rank of the right product before and after, and the mean
reciprocal rank (MRR) of both orders: 1 is best, and a product that is not found counts 0. Not every search improves. Trigger it with
*Candidates* at 3: reranking cannot bring back what the search by words did not find. Set *Tokens* to 3: the line is cut off, and
`check_tagline` calls it unusable.

**You should see** (offline):

| search                                                     |   by words |   reranked |
|:-----------------------------------------------------------|-----------:|-----------:|
| I want to read at night while my husband sleeps            |          4 |          1 |
| my feet hurt when I work on my legs all day                |          2 |          1 |
| where can I put the mess of wires under my table           |          5 |          1 |
| I have no space for a desk, it must go away in the evening |          4 |          4 |
| cosy light for dinner that is not too bright               |          1 |          2 |
| typing is too loud on my table                             |          3 |          1 |

- MRR by words: 0.42
- MRR reranked: 0.79
- line: Aurora Lamp: A glowing, luminescent table lamp in the shape of a starry night sky.
- reason: COMPLETE
- usable: yes
- you may also like: AUR-2

**SDK or own code?** [CohereEmbeddingOperator and CohereRerankOperator](https://airflow.apache.org/docs/apache-airflow-providers-cohere/stable/index.html)
are the provider's. The first returns its vectors as an XCom, which 12 of them fit; 2.4 shows files. The provider has no operator for
texts: `CohereGenerateOperator` is llmkit's, on Cohere's chat API, which replaced the generate endpoint. `@task.llm` speaks to Cohere too.

**In production**: find 50 to 100 candidates cheaply, rerank them, show ten. Rerank is billed by search, not by token: one question with
up to 100 documents. The embedding operator always embeds documents; embed a question with the hook's client and
`input_type="search_query"`, or the two do not fit together. Cohere embeds at most 96 texts a call, and the operator does not split a
longer list. The search by words here counts even *the* and *for*; a search engine gives rare words more weight. Six searches show the
method; a decision needs hundreds. Offline a small sentence model ranks.

**Builds on** [2.5 OpenAI Vision and Images](114_02_05_openai_vision_images.py) · **Next** [3.2 Anthropic Claude Integration](114_03_02_anthropic_claude_integration.py)
"""

import json
import logging
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.cohere.hooks.cohere import CohereHook
from airflow.providers.cohere.operators.embedding import CohereEmbeddingOperator
from airflow.providers.cohere.operators.rerank import CohereRerankOperator
from airflow.sdk import Param, dag, task

from llmkit import prompts, tables
from llmkit.operators import CohereGenerateOperator

log = logging.getLogger(__name__)
DATA = Path(__file__).parents[1] / "include" / "data"


def catalogue() -> dict[str, str]:
    """Product texts by article number."""
    return {row["sku"]: f"{row['name']}: {row['text']}" for row in json.loads((DATA / "products.json").read_text())}


def words(text: str) -> set[str]:
    """What a simple search looks at."""
    return set(re.findall(r"[a-z]{3,}", text.lower()))


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.3.1 · Cohere Integration",
    doc_md=__doc__,
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=2)},
    params={
        "product": Param("AUR-1", enum=["AUR-1", "FJO-1", "MOS-1"], title="Product", description="It gets a line."),
        "max_tokens": Param(40, type="integer", title="Tokens", description="A small value cuts it off.", minimum=1),
        "candidates": Param(
            12, type="integer", title="Candidates", description="Hits to rerank, 1 to 12.", minimum=1, maximum=12
        ),
    },
)
def cohere_integration() -> Any:
    @task
    def check_connection() -> dict[str, Any]:
        """Configure Cohere connection: key, host and models. This list costs nothing; the UI's Test button pays for a chat."""
        hook = CohereHook()
        models = [model.name for model in hook.get_conn().models.list(page_size=1000).models]
        return {"host": hook.get_connection(hook.conn_id).host or "https://api.cohere.com", "models": models}

    @task
    def prepare_texts(params: dict) -> dict[str, Any]:
        """CohereGenerateOperator: the prompt, from a file and the catalogue, and all texts to embed."""
        prompt = prompts.load("product_tagline").render(product=catalogue()[params["product"]])
        return {"prompt": prompt, "texts": list(catalogue().values())}

    prepared = prepare_texts()
    tagline = CohereGenerateOperator(
        task_id="write_tagline",
        doc_md="CohereGenerateOperator: one completion.",
        prompt=prepared["prompt"],
        max_tokens="{{ params.max_tokens }}",
    )

    @task
    def check_tagline(text: str, finish_reason: str) -> dict[str, Any]:
        """CohereGenerateOperator: why it stopped is an XCom beside the text. MAX_TOKENS means half a sentence."""
        return {"line": text, "usable": finish_reason == "COMPLETE", "reason": finish_reason}

    embedded = CohereEmbeddingOperator(
        task_id="embed_catalogue", doc_md="CohereEmbedOperator: all products in one call.", input_text=prepared["texts"]
    )

    @task
    def find_similar(vectors: list[list[float]], params: dict) -> str:
        """CohereEmbedOperator: the product that is most like the chosen one, after itself, for *you may also like*."""
        import numpy as np

        chosen, unit = list(catalogue()).index(params["product"]), np.asarray(vectors)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        return list(catalogue())[(unit @ unit[chosen]).argsort()[-2]]

    @task
    def search_by_words(params: dict) -> list[dict[str, Any]]:
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
        doc_md="Cohere reranking: one mapped task a search. It reads question and product together.",
    ).expand_kwargs(searched)

    @task
    def measure_orders(before: list[dict], after: list[dict], tagline: dict, similar: str) -> dict[str, Any]:
        """Cohere reranking: the rank of the right product in both orders, and the mean of the reciprocal ranks."""
        rows, sums = [], {"by words": 0.0, "reranked": 0.0}
        for search, hits, order in zip(json.loads((DATA / "searches.json").read_text()), before, after, strict=True):
            right, row = catalogue()[search["sku"]], {"search": search["question"]}
            found = [hits["documents"][result["index"]] for result in order["results"]]
            for name, texts in {"by words": hits["documents"], "reranked": found}.items():
                row[name] = texts.index(right) + 1 if right in texts else None
                sums[name] += 1 / row[name] if row[name] else 0
            rows.append(row)
        means = {f"MRR {name}": round(total / len(rows), 2) for name, total in sums.items()}
        return tables.logged(log, {"searches": rows, **means, **tagline, "you may also like": similar})

    check_connection() >> [prepared, searched]
    line = check_tagline(tagline.output, tagline.output["finish_reason"])
    return measure_orders(searched, reranked.output, line, find_similar(embedded.output))


cohere_integration()
