"""``wan-mcp`` and ``python -m wan_mcp``: without arguments, the server on stdin and stdout."""

import sys


def main() -> None:
    """Serve, or run the command that the arguments name."""
    if len(sys.argv) == 1:
        from wan_mcp.server.stdio import serve

        serve()
    else:
        from wan_mcp.cli.commands import commands

        commands(prog_name="wan-mcp")


if __name__ == "__main__":
    main()
