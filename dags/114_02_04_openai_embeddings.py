"""
# 114.2.4 OpenAI Embeddings

An embedding turns a text into a list of numbers, so that texts of like meaning lie close together. Lumen & Oak embeds its
catalogue to find products by what customers describe. Vectors are many and large: 12 short texts are 18,432 numbers. So they
are made in batches, kept as normalized float32 in Parquet files on object storage, and only the files' paths go through XCom.

| Checklist item | Tasks that show it |
|---|---|
| OpenAIEmbeddingsOperator usage | `embed_question` |
| Batch embedding generation | `make_batches`, `embed_batch` |
| Model selection (ada, etc) | `try_model`, `compare_models` |
| Vector output handling | `embed_batch`, `join_vectors`, `find_products` |

**Try it**: the XCom of each task that makes vectors is a path of a hundred characters. `find_products` lists the three products
nearest to the *Question*; ask for *something for tired feet*. Trigger it with *Dimensions* at 256: each
vector has a sixth of the numbers, and the order mostly stays. `compare_models` shows what the older `ada` costs.

**In production**: keep the model's name beside the vectors, as the Parquet files here do, because vectors of two models cannot
be compared. Re-embed by new files, not in place. Normalized once, a dot product is the cosine. When all must be searched often,
load the files into a vector store (lesson 114.6.2).
"""

import json
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

from airflow.providers.openai.operators.openai import OpenAIEmbeddingOperator
from airflow.sdk import Context, ObjectStoragePath, Param, dag, task

from llmkit import storage

CATALOGUE = Path(__file__).parents[1] / "include" / "data" / "products.json"
MODELS = ["text-embedding-ada-002", "text-embedding-3-small", "text-embedding-3-large"]


class EmbeddingsToParquet(OpenAIEmbeddingOperator):
    """The provider's operator, whose result would be an XCom of all vectors, with a file in place of that.

    The outline calls it OpenAIEmbeddingsOperator; today its name is OpenAIEmbeddingOperator.
    """

    template_fields = (*OpenAIEmbeddingOperator.template_fields, "model", "embedding_kwargs")

    def execute(self, context: Context) -> str:
        import numpy as np
        import pandas as pd

        texts = [self.input_text] if isinstance(self.input_text, str) else self.input_text
        # The first models have one size; for the others the size is a choice.
        size = (
            {} if self.model == "text-embedding-ada-002" else {"dimensions": int(self.embedding_kwargs["dimensions"])}
        )
        self.input_text, self.embedding_kwargs = texts, size
        vectors = np.asarray(super().execute(context), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        ti = context["ti"]
        path = storage.run_folder(context) / f"{ti.task_id}-{max(ti.map_index, 0):03}.parquet"
        table = pd.DataFrame({"text": texts, "model": self.model, "vector": list(vectors)})
        path.write_bytes(table.to_parquet(compression="zstd"))
        return str(path)


def read(path: str) -> Any:
    """One file of vectors as a pandas table."""
    import pandas as pd

    return pd.read_parquet(BytesIO(ObjectStoragePath(path).read_bytes()))


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=2)},
    params={
        "question": Param("a light for reading at night", type="string", title="Question", minLength=1),
        "model": Param(
            "text-embedding-3-small", enum=MODELS, title="Model", description="ada has 1536 dimensions, always."
        ),
        "dimensions": Param(1536, type="integer", title="Dimensions", minimum=8, maximum=3072),
        "batch_size": Param(
            5, type="integer", title="Batch size", description="Texts a call.", minimum=1, maximum=2048
        ),
    },
)
def openai_embeddings() -> None:
    settings = {"conn_id": "openai_default", "embedding_kwargs": {"dimensions": "{{ params.dimensions }}"}}
    question = EmbeddingsToParquet(
        task_id="embed_question",
        doc_md="OpenAIEmbeddingsOperator usage: one text, one vector.",
        input_text="{{ params.question }}",
        model="{{ params.model }}",
        **settings,
    )

    @task
    def make_batches(params: dict) -> list[list[str]]:
        """Batch embedding generation: one call takes up to 2,048 texts, and fewer calls are faster and hit fewer limits."""
        texts = [f"{product['name']}: {product['text']}" for product in json.loads(CATALOGUE.read_text())]
        return [texts[n : n + params["batch_size"]] for n in range(0, len(texts), params["batch_size"])]

    batches = EmbeddingsToParquet.partial(
        task_id="embed_batch",
        doc_md="Batch embedding generation: one mapped task a batch; one that fails is the only one to run again.",
        model="{{ params.model }}",
        **settings,
    ).expand(input_text=make_batches())

    @task
    def join_vectors(paths: list[str], **context) -> str:
        """Vector output handling: the batches as one file, sorted, so that a second run writes the same bytes."""
        import pandas as pd

        table = pd.concat([read(path) for path in paths]).sort_values("text", ignore_index=True)
        path = storage.run_folder(context) / "catalogue.parquet"
        path.write_bytes(table.to_parquet(compression="zstd"))
        return str(path)

    @task
    def find_products(question: str, catalogue: str) -> list[dict]:
        """Vector output handling: files are read where they are needed; of unit vectors the dot product is the cosine."""
        import numpy as np

        table = read(catalogue)
        scores = np.stack(table["vector"]) @ read(question)["vector"][0]
        return [
            {"product": table["text"][n].split(":")[0], "score": round(float(scores[n]), 3)}
            for n in (-scores).argsort()[:3]
        ]

    tried = EmbeddingsToParquet.partial(
        task_id="try_model",
        doc_md="Model selection (ada, etc): the same text by each model.",
        input_text="{{ params.question }}",
        conn_id="openai_default",
        embedding_kwargs={"dimensions": 1536},
    ).expand(model=MODELS)

    @task
    def compare_models(paths: list[str]) -> str:
        """Model selection (ada, etc): size on disk and price; the older one is dearer and no better."""
        from llmkit import prices

        rows = []
        for path in paths:
            row = read(path).iloc[0]
            cost = prices.cost("openai", row["model"], input_tokens=1_000_000)
            rows.append(f"| {row['model']} | {len(row['vector'])} | {row['vector'].nbytes} | {cost} |")
        return "\n".join(["| model | dimensions | bytes | USD for a million tokens |", "|---|--:|--:|--:|", *rows])

    find_products(question.output, join_vectors(batches.output))
    compare_models(tried.output)


openai_embeddings()
