"""``wan-mcp`` and ``python -m wan_mcp``: without arguments, the server on stdin and stdout."""

import shutil
import signal
import sys


def main() -> None:
    """Serve, or run the command that the arguments name."""
    if len(sys.argv) == 1:
        from wan_mcp.server.stdio import serve

        serve()
    else:
        handler = signal.getsignal(signal.SIGINT)
        if handler is signal.default_int_handler:  # else whoever started this wants another handler
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the imports quietly, too
        from wan_mcp.cli.commands import commands

        signal.signal(signal.SIGINT, handler)
        # click would assume that a terminal is at least 50 characters wide.
        width = min(shutil.get_terminal_size().columns, 80)
        commands(prog_name="wan-mcp", terminal_width=width - 2)


if __name__ == "__main__":
    main()
