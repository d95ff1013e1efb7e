from airflow.sdk import dag, task


@dag(dag_id="114_01_03_basic_llm_task", schedule=None)
def x():
    @task.llm(llm_conn_id="pydanticai_default")
    def ask():
        return "Say hello"

    ask()


x()
