"""The person whom some examples wait for: approves what is shown, and sends forms with what stands in them."""

from __future__ import annotations

import threading
from typing import Any

WHO = {"id": "reader", "name": "reader"}


def answer_forms(dag_id: str) -> int:
    """Answer every open request of the DAG's tasks as the UI's button does. How many there were."""
    from airflow.api_fastapi.core_api.routes.public.hitl import handle_event_submit
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk import timezone
    from airflow.triggers.base import TriggerEvent
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import select

    count = 0
    with create_session() as session:
        waiting = (TaskInstanceState.AWAITING_INPUT, TaskInstanceState.DEFERRED)
        open_ = select(HITLDetail, TaskInstance).join(TaskInstance, TaskInstance.id == HITLDetail.ti_id)
        open_ = open_.where(TaskInstance.dag_id == dag_id, HITLDetail.responded_at.is_(None))
        for form, ti in session.execute(open_).all():
            if ti.state not in waiting:
                continue
            form.responded_by, form.responded_at = WHO, timezone.utcnow()
            form.chosen_options = [choice(list(form.options or []), list(form.defaults or []))]
            form.params_input = {name: shown(value) for name, value in (form.params or {}).items()}
            if ti.state == TaskInstanceState.AWAITING_INPUT:
                handle_event_submit(TriggerEvent(form.as_resume_event_payload()), task_instance=ti, session=session)
            count += 1
    return count


def choice(options: list[str], defaults: list[str]) -> str:
    """The option that a person who agrees would choose."""
    agreeing = [o for o in options if o.lower() in ("approve", "ok", "yes", "submit", "accept")]
    return (agreeing or defaults or options or ["OK"])[0]


def shown(param: Any) -> Any:
    """What stands in a form's field."""
    return param["value"] if isinstance(param, dict) and "value" in param else param


def answer_reviews(dag_id: str) -> int:
    """Ask once for a change of an agent's output, then approve it, as the plugin's page does. How many were answered."""
    from airflow.models.xcom import XComModel
    from airflow.providers.common.ai.utils.hitl_review import XCOM_AGENT_SESSION, XCOM_HUMAN_ACTION, AgentSessionData
    from airflow.utils.session import create_session
    from sqlalchemy import select

    count = 0
    with create_session() as session:
        of_dag = select(XComModel).where(XComModel.dag_id == dag_id, XComModel.key == XCOM_AGENT_SESSION)
        for row in session.scalars(of_dag).all():
            review = AgentSessionData.model_validate(XComModel.deserialize_value(row))
            if review.status.value != "pending_review":
                continue
            first = review.iteration == 1
            action = {
                "action": "changes_requested" if first else "approve",
                "feedback": "Shorter, please." if first else "",
                "iteration": review.iteration,
            }
            there = {"key": XCOM_HUMAN_ACTION, "run_id": row.run_id, "task_id": row.task_id, "dag_id": dag_id}
            session.query(XComModel).filter_by(map_index=row.map_index, **there).delete()
            session.add(XComModel(dag_run_id=row.dag_run_id, value=action, map_index=row.map_index, **there))
            count += 1
    return count


def attend(dag_id: str, answered: list[str]) -> threading.Event:
    """A thread that answers whatever a run of the DAG asks a person, until the event is set."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            for ask in (answer_forms, answer_reviews):
                try:
                    answered.extend([ask.__name__] * ask(dag_id))
                except Exception as error:
                    answered.append(f"{ask.__name__}: {error!r}")

    threading.Thread(target=watch, daemon=True).start()
    return done
