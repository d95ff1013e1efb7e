"""The small MCP servers that the examples name, over stdio: ``python mcp_server.py weather``."""

from __future__ import annotations

import sys

from mcp.server.mcpserver import MCPServer


def hello() -> str:
    """Say hello."""
    return "Hello from the MCP server!"


def get_forecast(city: str) -> str:
    """Get the weather forecast for a city."""
    return f"{city}: rain tomorrow, 11 degrees, 90 % chance of rain"


def get_alerts(city: str) -> str:
    """Get the active weather alerts for a city."""
    return f"{city}: no active alerts"


def delete_station(station_id: str) -> str:
    """Delete a weather station for good."""
    return f"station {station_id} deleted"


def run_python(code: str) -> str:
    """Run a Python expression and return its value."""
    allowed = set("0123456789+-*/(). ")
    return str(eval(code)) if code and set(code) <= allowed else f"SyntaxError: {code!r} is no arithmetic expression"


def get_ticket() -> str:
    """Read the ticket that is to be investigated."""
    return "Ticket 4711: checkout returns 502 since 09:40; customers cannot pay."


def search_logs(query: str) -> str:
    """Search the logs for a word."""
    return f"3 events for {query!r}: payment-gateway refused the connection, 09:41, 09:42, 09:44"


SERVERS = {
    "hello": (hello,),
    "weather": (get_forecast, get_alerts, delete_station),
    "code": (run_python,),
    "splunk": (get_ticket, search_logs),
}

if __name__ == "__main__":
    server = MCPServer(sys.argv[1])
    for function in SERVERS[sys.argv[1]]:
        server.add_tool(function)
    server.run("stdio")
