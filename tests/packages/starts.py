"""Run by the Python of an environment with an installed package: does its server start and list its tools?"""

import json
import subprocess
import sys
from threading import Timer

from wan_mcp import __version__
from wan_mcp.server.tools import TOOLS

SECONDS = 60
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "ci", "version": "1"}}


def line(**message: object) -> str:
    return json.dumps({"jsonrpc": "2.0", **message}) + "\n"


def main() -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "wan_mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    deadline = Timer(SECONDS, server.kill)
    deadline.start()
    try:
        server.stdin.write(line(id=1, method="initialize", params=HELLO))
        server.stdin.write(line(method="notifications/initialized"))
        server.stdin.write(line(id=2, method="tools/list"))
        server.stdin.flush()
        answers = [json.loads(server.stdout.readline())["result"] for _ in range(2)]
        rest, _ = server.communicate()  # closes stdin, by which the server ends
    finally:
        deadline.cancel()
        server.kill()
    assert answers[0]["serverInfo"]["version"] == __version__, answers[0]
    names = [tool["name"] for tool in answers[1]["tools"]]
    assert names == [tool.name for tool in TOOLS], names
    assert (server.returncode, rest) == (0, ""), (server.returncode, rest)
    sys.stdout.write(f"initialize and tools/list over stdio: {', '.join(names)}\n")


if __name__ == "__main__":
    main()
