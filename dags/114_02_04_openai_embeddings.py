"""
# 114.2.4 OpenAI Embeddings

An embedding turns a text into a list of numbers, so that texts of like meaning lie close together. Lumen & Oak embeds its catalogue
to find products by what customers describe. Vectors are large: 12 short texts are 18,432 numbers. So this pipeline makes them in
batches, keeps them in Parquet files on object storage, and sends only the files' paths through XCom.

| Checklist item | Tasks that show it |
|---|---|
| OpenAIEmbeddingsOperator usage | `embed_question` |
| Batch embedding generation | `make_batches`, `embed_batch` |
| Model selection (ada, etc) | `try_model`, `compare_models` |
| Vector output handling | `embed_batch`, `find_products` |

**Try it**: trigger it with the *Question* "something for tired feet" and *Batch size* 12: `embed_batch` is one mapped task and one call, and
another product comes first. Under *Storage → XCom*, `embed_question` and `embed_batch` have a file's path and no vectors. The table
counts for how many of six searches the right product comes first. Its third row is the small model, asked for shorter vectors.

**You should see** (offline):

| model                  |   dimensions |   bytes a vector | right product first   |   USD for a million tokens |
|:-----------------------|-------------:|-----------------:|:----------------------|---------------------------:|
| text-embedding-ada-002 |         1536 |             6144 | 4 of 6                |                        0.1 |
| text-embedding-3-small |         1536 |             6144 | 4 of 6                |                       0.02 |
| text-embedding-3-small |          256 |             1024 | 4 of 6                |                       0.02 |
| text-embedding-3-large |         3072 |            12288 | 4 of 6                |                       0.13 |

- nearest products: Lyra reading lamp (0.663), Lyra clip lamp (0.499), Aurora lamp (0.485)

**SDK or own code?** [OpenAIEmbeddingOperator](https://airflow.apache.org/docs/apache-airflow-providers-openai/stable/operators/openai.html)
makes the call but returns all vectors as an XCom, so the class below adds a file. The [object storage XCom backend](https://airflow.apache.org/docs/apache-airflow-providers-common-io/stable/xcom_backend.html)
does that for every task without code, as JSON.

**In production**: keep the model's name beside the vectors, as these files do: vectors of two models cannot be compared, so a new model
means new files. Embed only texts that are new or changed; here each run embeds the whole catalogue. Choose the model on your own
searches; six are too few. Offline all three names are one small model whose vectors are padded or cut to the size asked for, so full
sizes find the same. Only a real key tells the models apart.

**Builds on** [2.3 OpenAI Function Calling](114_02_03_openai_function_calling.py) · **Next** [2.5 OpenAI Vision and Images](114_02_05_openai_vision_images.py)
"""

import json
import logging
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.providers.openai.operators.openai import OpenAIEmbeddingOperator
from airflow.sdk import Context, ObjectStoragePath, Param, dag, task

from llmkit import similarity, storage, tables

log = logging.getLogger(__name__)
DATA = Path(__file__).parents[1] / "include" / "data"
QUESTION = "a light for reading at night"
ADA, SMALL, LARGE = MODELS = ["text-embedding-ada-002", "text-embedding-3-small", "text-embedding-3-large"]


class EmbeddingsToParquet(OpenAIEmbeddingOperator):
    """The provider's operator with a file in place of an XCom of vectors. The outline calls it OpenAIEmbeddingsOperator."""

    template_fields = (*OpenAIEmbeddingOperator.template_fields, "model")

    def execute(self, context: Context) -> str:
        import numpy as np
        import pandas as pd

        vectors = np.asarray(super().execute(context), dtype=np.float32)
        # Vectors of length 1: their dot product is the cosine.
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        table = pd.DataFrame({"text": self.input_text, "model": self.model, "vector": list(vectors)})
        path = storage.run_folder(context) / f"{self.task_id}-{max(context['ti'].map_index, 0):03}.parquet"
        path.write_bytes(table.to_parquet(compression="zstd"))
        return str(path)


def products() -> dict[str, str]:
    """The texts to embed, by article number."""
    return {row["sku"]: f"{row['name']}: {row['text']}" for row in json.loads((DATA / "products.json").read_text())}


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.2.4 · OpenAI Embeddings",
    doc_md=__doc__,
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=2)},
    params={
        "question": Param(QUESTION, type="string", minLength=1, title="Question", description="Finds three products."),
        "model": Param(SMALL, enum=MODELS, title="Model", description="Embeds the question and the catalogue."),
        "batch_size": Param(5, type="integer", title="Batch size", description="Texts a call.", minimum=1, maximum=12),
    },
)
def openai_embeddings() -> Any:
    settings = {"conn_id": "openai_default", "model": "{{ params.model }}"}
    question = EmbeddingsToParquet(
        task_id="embed_question",
        doc_md="OpenAIEmbeddingsOperator usage: one text, one vector.",
        input_text=["{{ params.question }}"],
        **settings,
    )

    @task
    def make_batches(params: dict) -> list[list[str]]:
        """Batch embedding generation: fewer calls meet fewer limits. OpenAI takes 2,048 texts and 300,000 tokens a call."""
        texts, size = list(products().values()), params["batch_size"]
        return [texts[n : n + size] for n in range(0, len(texts), size)]

    batches = EmbeddingsToParquet.partial(
        task_id="embed_batch",
        doc_md="Batch embedding generation: one mapped task a batch. One that fails runs again alone.",
        **settings,
    ).expand(input_text=make_batches())

    @task
    def find_products(question: str, batches: list[str]) -> list[str]:
        """Vector output handling: a task reads files where it needs them. These are the three nearest products."""
        import numpy as np
        import pandas as pd

        files = [BytesIO(ObjectStoragePath(path).read_bytes()) for path in [question, *batches]]
        table = pd.concat(map(pd.read_parquet, files), ignore_index=True)
        scores = np.stack(table["vector"]) @ table["vector"][0]
        # The first row is the question, which is nearest to itself.
        nearest = (-scores).argsort()[1:4]
        return [f"{table['text'][n].split(':')[0]} ({scores[n]:.3f})" for n in nearest]

    @task
    def try_model(model: str, dimensions: int | None = None) -> dict[str, Any]:
        """Model selection (ada, etc): each model embeds six searches whose right product is known, and the catalogue."""
        import numpy as np

        from llmkit import prices

        searches, catalogue = json.loads((DATA / "searches.json").read_text()), products()
        texts = [search["question"] for search in searches] + list(catalogue.values())
        shorter = {"dimensions": dimensions} if dimensions else {}
        vectors = np.asarray(OpenAIHook(conn_id="openai_default").create_embeddings(texts, model=model, **shorter))
        first = similarity.cosine(vectors[: len(searches)], vectors[len(searches) :]).argmax(axis=1)
        right = [list(catalogue)[n] == search["sku"] for n, search in zip(first, searches, strict=True)]
        return {
            "model": model,
            "dimensions": vectors.shape[1],
            "bytes a vector": vectors.shape[1] * 4,
            "right product first": f"{sum(right)} of {len(right)}",
            "USD for a million tokens": float(prices.cost("openai", model, input_tokens=1_000_000)),
        }

    @task
    def compare_models(models: list[dict], nearest: list[str]) -> dict[str, Any]:
        """Model selection (ada, etc): what each costs, how large its vectors are, and what it finds."""
        return tables.logged(log, {"models": list(models), "nearest products": nearest})

    tried = [{"model": ADA}, {"model": SMALL}, {"model": SMALL, "dimensions": 256}, {"model": LARGE}]
    return compare_models(try_model.expand_kwargs(tried), find_products(question.output, batches.output))


openai_embeddings()
