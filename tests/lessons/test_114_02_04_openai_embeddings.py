from __future__ import annotations

import io
import json
import math

import pandas as pd
import pytest

DAG = "114_02_04_openai_embeddings"
MODELS = ["text-embedding-ada-002", "text-embedding-3-small", "text-embedding-3-large"]


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def other(run_lesson):
    """Every form field has another value."""
    return run_lesson(DAG, question="something for tired feet", model=MODELS[2], batch_size=12)


def table(path) -> pd.DataFrame:
    from airflow.sdk import ObjectStoragePath

    return pd.read_parquet(io.BytesIO(ObjectStoragePath(path).read_bytes()))


def embedded(run, texts: int) -> list[dict]:
    """Bodies of the calls that embedded so many texts."""
    return [r["body"] for r in run.requests if len(r["asked"]["texts"]) == texts]


def test_it_ends_as_the_outline_says(run, other):
    for each in run, other:
        assert each.state == "success", each.log[-3000:]
        assert set(each.tasks.values()) == {"success"}


@pytest.mark.checklist("114.2.4", "OpenAIEmbeddingsOperator usage")
def test_one_text_is_one_vector(run, other, dagbag):
    from airflow.providers.openai.operators.openai import OpenAIEmbeddingOperator

    assert isinstance(dagbag.dags[DAG].get_task("embed_question"), OpenAIEmbeddingOperator)
    for each, question, model, dimensions in (
        (run, "a light for reading at night", MODELS[1], 1536),
        (other, "something for tired feet", MODELS[2], 3072),
    ):
        (row,) = table(each.xcoms["embed_question"]).to_dict("records")
        assert (row["text"], row["model"], len(row["vector"])) == (question, model, dimensions)
        assert [(body["input"], body["model"]) for body in embedded(each, 1)] == [([question], model)]


@pytest.mark.checklist("114.2.4", "Batch embedding generation")
def test_each_batch_is_one_call(run, other):
    names = [path.rsplit("/", 1)[1] for path in run.xcoms["embed_batch"]]
    assert names == ["embed_batch-000.parquet", "embed_batch-001.parquet", "embed_batch-002.parquet"]
    assert [len(table(path)) for path in run.xcoms["embed_batch"]] == [5, 5, 2]
    assert (len(embedded(run, 5)), len(embedded(run, 2)), len(embedded(run, 12))) == (2, 1, 0)
    assert len(other.xcoms["embed_batch"]) == 1
    assert [body["model"] for body in embedded(run, 5)] == [MODELS[1]] * 2
    assert [body["model"] for body in embedded(other, 12)] == [MODELS[2]]


@pytest.mark.checklist("114.2.4", "Model selection (ada, etc)")
def test_models_are_compared_by_price_and_size(run):
    rows = run.result["models"]
    assert [(row["model"], row["dimensions"]) for row in rows] == [
        (MODELS[0], 1536),
        (MODELS[1], 1536),
        (MODELS[1], 256),
        (MODELS[2], 3072),
    ]
    assert [row["bytes a vector"] for row in rows] == [6144, 6144, 1024, 12288]
    assert [row["USD for a million tokens"] for row in rows] == [0.1, 0.02, 0.02, 0.13]
    sent = [(body["model"], body.get("dimensions")) for body in embedded(run, 18)]
    assert sorted(sent, key=str) == sorted(
        [(MODELS[0], None), (MODELS[1], None), (MODELS[1], 256), (MODELS[2], None)], key=str
    ), "ada has one size, and refuses to be asked for another"


@pytest.mark.checklist("114.2.4", "Model selection (ada, etc)")
def test_what_a_model_finds_is_counted(run, embedder):
    """Offline each name is the same model, so the counts must be what that model finds, whole and cut to 256 numbers."""
    import numpy as np

    texts = embedded(run, 18)[0]["input"]
    right = [
        "Lyra reading lamp",
        "Moss standing mat",
        "Tide cable tray",
        "Bay folding desk",
        "Aurora lamp",
        "Moss desk mat",
    ]

    def found(numbers: int) -> str:
        vectors = np.asarray(embedder.embed(texts))[:, :numbers]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        first = (vectors[:6] @ vectors[6:].T).argmax(axis=1)
        nearest = [texts[6 + n].split(":")[0] for n in first]
        return f"{sum(one == other for one, other in zip(nearest, right, strict=True))} of 6"

    whole = found(384)
    assert whole not in ("0 of 6", "6 of 6"), "or the test could not tell a count from a constant"
    assert [row["right product first"] for row in run.result["models"]] == [whole, whole, found(256), whole]


@pytest.mark.checklist("114.2.4", "Model selection (ada, etc)")
def test_a_long_vector_is_not_a_near_one(lesson_module, monkeypatch, settings):
    """Each product's vector has an angle of its own and is longer than the one before; a search has its product's angle."""
    module = lesson_module(DAG)
    skus = list(module.products())
    searches = json.loads((settings.dags.parent / "include" / "data" / "searches.json").read_text())
    numbers = [*(skus.index(search["sku"]) for search in searches), *range(len(skus))]
    vectors = [[(1 + n) * math.cos(n / 10), (1 + n) * math.sin(n / 10)] for n in numbers]
    monkeypatch.setattr(module.OpenAIHook, "create_embeddings", lambda self, texts, **_: vectors)
    row = module.openai_embeddings().get_task("try_model").python_callable("text-embedding-3-small")
    assert row["right product first"] == "6 of 6"


@pytest.mark.checklist("114.2.4", "Vector output handling")
def test_vectors_are_in_files_and_only_paths_in_xcom(run, other):
    assert len(json.dumps(run.xcoms)) < 4000
    for each, model, numbers in (run, MODELS[1], 18_432), (other, MODELS[2], 36_864):
        catalogue = pd.concat([table(path) for path in each.xcoms["embed_batch"]])
        assert len(catalogue) == 12 and set(catalogue["model"]) == {model}
        assert sum(len(vector) for vector in catalogue["vector"]) == numbers
        for vector in catalogue["vector"]:
            assert vector.dtype == "float32" and abs(float((vector**2).sum()) - 1) < 1e-5


@pytest.mark.checklist("114.2.4", "Vector output handling")
def test_the_nearest_products_answer_the_question(run, other):
    for each, product in (run, "Lyra reading lamp"), (other, "Moss standing mat"):
        question = table(each.xcoms["embed_question"])["vector"][0]
        catalogue = pd.concat([table(path) for path in each.xcoms["embed_batch"]])
        scored = [(float(row.vector @ question), row.text.split(":")[0]) for row in catalogue.itertuples()]
        nearest = [f"{name} ({score:.3f})" for score, name in sorted(scored, reverse=True)[:3]]
        assert each.result["nearest products"] == nearest
        assert nearest[0].startswith(product)
