"""The server on stdin and stdout, as an MCP client starts it."""

import gc
import signal
import sys
from contextlib import suppress


def serve() -> None:
    """Run the server on stdin and stdout until the client closes them, or a signal ends it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the imports quietly, too
    gc.disable()  # the imports create many objects that stay: a collection meanwhile finds nothing
    wire, sys.stdout = sys.stdout, sys.stderr  # a library that prints must not reach the client
    import anyio
    from mcp.server.stdio import stdio_server

    from wan_mcp import logs
    from wan_mcp.server.app import create_server
    from wan_mcp.server.lines import Lines
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

    async def run() -> int | None:
        sys.stdout = wire  # from here on only the SDK uses it
        # The SDK's own way to serve stdio takes no stdin from us.
        lines, low = Lines(), server._lowlevel_server
        received: list[int] = []

        async def end_on_signal(scope: anyio.CancelScope) -> None:
            with suppress(NotImplementedError):  # on Windows the signal ends the process by itself
                with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    received.append(await anext(signals))
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
                scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(end_on_signal, group.cancel_scope)
            async with stdio_server(stdin=lines) as (incoming, lines.answers):
                await low.run(incoming, lines.answers, low.create_initialization_options())
            group.cancel_scope.cancel()
        return received[0] if received else None

    number = anyio.run(run)
    if number is not None:
        signal.raise_signal(number)  # a thread may still read stdin: only this ends the process
