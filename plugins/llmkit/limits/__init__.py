"""Requests and tokens per minute, shared by all tasks on all workers."""

from llmkit.limits.rate_limit import CONN_ID, LimitTimeout, RateLimit, retry_after

__all__ = ["CONN_ID", "LimitTimeout", "RateLimit", "retry_after"]
