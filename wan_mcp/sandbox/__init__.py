"""An imitation of the Evolink HTTP API, for tests, a demo and development: no money, real videos."""

from wan_mcp.sandbox.accounts import Account
from wan_mcp.sandbox.app import create_app
from wan_mcp.sandbox.faults import Fault
from wan_mcp.sandbox.sandbox import Sandbox
from wan_mcp.sandbox.serving import running, serve

__all__ = ["Account", "Fault", "Sandbox", "create_app", "running", "serve"]
