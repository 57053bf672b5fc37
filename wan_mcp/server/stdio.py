"""The server on stdin and stdout, as an MCP client starts it."""

import gc
import signal
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from mcp.server import MCPServer

ENDS = (signal.SIGINT, signal.SIGTERM)


def serve() -> None:
    """Run the server on stdin and stdout until the client closes them, or a signal ends it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the imports quietly, too
    gc.disable()  # the imports create many objects that stay: a collection would find nothing
    wire, sys.stdout = sys.stdout, sys.stderr  # a library that prints must not reach the client
    import anyio

    from wan_mcp import logs
    from wan_mcp.server.app import create_server
    from wan_mcp.settings import Settings

    settings = Settings.load()
    if sys.stdin.isatty():
        sys.stderr.write(  # in lines for a narrow terminal
            "This is an MCP server: an MCP client\n"
            "starts it, and talks to it. Ctrl-C\n"
            "ends it. For people: wan-mcp --help\n"
        )
    logs.configure(settings.log_level)
    server = create_server(settings)
    gc.freeze()
    gc.enable()
    number = anyio.run(_run, server, wire)
    if number is not None:
        signal.raise_signal(number)  # a thread may still read stdin: only this ends the process


async def _run(server: "MCPServer[Any]", wire: TextIO) -> int | None:
    """Serve. Return the number of the signal that ended the server, if one did."""
    import anyio
    from mcp.server.stdio import stdio_server

    from wan_mcp.server.lines import Lines

    received = None

    async def end_on_signal() -> None:
        nonlocal received
        try:
            with anyio.open_signal_receiver(*ENDS) as signals:
                received = await anext(signals)
        except NotImplementedError:  # on Windows the signal ends the process by itself
            return
        for number in ENDS:
            signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
        group.cancel_scope.cancel()

    sys.stdout = wire  # from now on, only the SDK uses it
    # The SDK's own way to serve stdio takes no stdin from us.
    lines, low = Lines(), server._lowlevel_server
    async with anyio.create_task_group() as group:
        group.start_soon(end_on_signal)
        async with stdio_server(stdin=lines) as (incoming, lines.answers):
            await low.run(incoming, lines.answers, low.create_initialization_options())
        group.cancel_scope.cancel()
    return received
