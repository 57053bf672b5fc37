"""``wan-mcp`` and ``python -m wan_mcp``: without arguments, the server on stdin and stdout."""

import shutil
import sys


def main() -> None:
    """Serve, or run the command that the arguments name."""
    if len(sys.argv) == 1:
        from wan_mcp.server.stdio import serve

        serve()
    else:
        from wan_mcp.cli.commands import commands

        # By itself, click takes a terminal for at least 50 characters wide.
        width = min(shutil.get_terminal_size().columns, 80)
        commands(prog_name="wan-mcp", terminal_width=width - 2)


if __name__ == "__main__":
    main()
