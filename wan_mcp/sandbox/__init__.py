"""An imitation of the Evolink HTTP API, for tests, a demo and development: no money, real videos."""

from wan_mcp.sandbox.app import create_app
from wan_mcp.sandbox.faults import Fault
from wan_mcp.sandbox.running import running, serve
from wan_mcp.sandbox.sandbox import Sandbox

__all__ = ["Fault", "Sandbox", "create_app", "running", "serve"]
