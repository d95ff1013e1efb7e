"""Who spent what: one row in Postgres for each call to a model that a task makes, without a line of code in the task.

``llmkit_plugin`` says which task runs (`started`, `ended`), ``http_tap`` sees what it calls, ``replies`` and ``usage`` read what
came back. A row is first appended to a file of its own machine, the ``spool``, and brought to the ``table`` ``llm_calls`` when
the task ends. A database that is gone therefore costs a task nothing but one warning: its rows stay in the spool until it is
back. A row is stored once, however often its file is read.

``cost_usd`` is the list price of the model, by ``genai-prices``, whoever answered: NULL for a model without a known price,
never 0. Requests of OpenAI's and Anthropic's batches are rows (``batch_id``) once their results are fetched, at half the price.
"""

from llmkit.ledger.report import Spending, spending
from llmkit.ledger.spool import deliver
from llmkit.ledger.table import connect
from llmkit.ledger.tasks import ended, started, watch

__all__ = ["Spending", "connect", "deliver", "ended", "spending", "started", "watch"]
