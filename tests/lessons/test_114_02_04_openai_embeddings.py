from __future__ import annotations

import io
import json

import pandas as pd
import pytest

DAG = "114_02_04_openai_embeddings"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def table(path) -> pd.DataFrame:
    from airflow.sdk import ObjectStoragePath

    return pd.read_parquet(io.BytesIO(ObjectStoragePath(path).read_bytes()))


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.2.4", "OpenAIEmbeddingsOperator usage")
def test_one_text_is_one_vector(run, dagbag):
    from airflow.providers.openai.operators.openai import OpenAIEmbeddingOperator

    assert isinstance(dagbag.dags[DAG].get_task("embed_question"), OpenAIEmbeddingOperator)
    (row,) = table(run.xcoms["embed_question"]).to_dict("records")
    assert row["text"] == "a light for reading at night" and len(row["vector"]) == 1536


@pytest.mark.checklist("114.2.4", "Batch embedding generation")
def test_batches_are_mapped_calls(run):
    assert [len(table(path)) for path in run.xcoms["embed_batch"]] == [5, 5, 2]
    assert [path.rsplit("-", 1)[1] for path in run.xcoms["embed_batch"]] == [
        "000.parquet",
        "001.parquet",
        "002.parquet",
    ]
    assert [r["model"] for r in run.requests].count("text-embedding-3-small") == 1 + 3 + 1


@pytest.mark.checklist("114.2.4", "Model selection (ada, etc)")
def test_models_and_dimensions_are_a_choice(run, run_lesson):
    rows = [row.split("|")[1:5] for row in run.xcoms["compare_models"].splitlines()[2:]]
    assert [row[0].strip() for row in rows] == [
        "text-embedding-ada-002",
        "text-embedding-3-small",
        "text-embedding-3-large",
    ]
    assert float(rows[0][3]) == 5 * float(rows[1][3])
    small = run_lesson(DAG, dimensions=256, model="text-embedding-3-large", question="something for tired feet")
    assert len(table(small.xcoms["embed_question"])["vector"][0]) == 256
    assert small.xcoms["find_products"][0]["product"] == "Moss standing mat"
    old = run_lesson(DAG, model="text-embedding-ada-002", dimensions=256)
    assert len(table(old.xcoms["embed_question"])["vector"][0]) == 1536, "ada has one size"


@pytest.mark.checklist("114.2.4", "Vector output handling")
def test_vectors_are_in_files_and_only_paths_in_xcom(run):
    assert len(json.dumps(run.xcoms)) < 6000
    catalogue = table(run.xcoms["join_vectors"])
    assert len(catalogue) == 12 and list(catalogue["text"]) == sorted(catalogue["text"])
    vector = catalogue["vector"][0]
    assert vector.dtype == "float32" and abs(float((vector**2).sum()) - 1) < 1e-5
    assert set(catalogue["model"]) == {"text-embedding-3-small"}
    assert run.xcoms["find_products"][0]["product"] == "Lyra reading lamp"
