"""The server on stdin and stdout, as an MCP client starts it."""

import gc
import sys


def serve() -> None:
    """Run the server on stdin and stdout until the client closes them."""
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
        sys.stderr.write(
            "wan-mcp speaks MCP on stdin and stdout; an MCP client starts it. "
            "For people: wan-mcp --help, wan-mcp doctor, wan-mcp demo.\n"
        )
    logs.configure(settings.log_level)
    server = create_server(settings)
    gc.freeze()
    gc.enable()

    async def run() -> None:
        sys.stdout = wire  # from here on only the SDK uses it
        # The SDK's own way to serve stdio takes no stdin from us.
        lines, low = Lines(), server._lowlevel_server
        async with stdio_server(stdin=lines) as (incoming, lines.answers):
            await low.run(incoming, lines.answers, low.create_initialization_options())

    anyio.run(run)
