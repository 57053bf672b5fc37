"""A client's own command, run for ``wan-mcp setup``: it never gets the key, and ends within bounds."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from wan_mcp.cli.clients import KEY
from wan_mcp.errors import ConfigurationError
from wan_mcp.evolink.redaction import tidy

COMMAND_SECONDS = 60
"""How long a client's own command may take."""


def run_command(command: Sequence[str]) -> None:
    """Run a client's own command. A Ctrl-C waits until it ends, so that it leaves a whole file.

    Raises:
        ConfigurationError: when it fails, with its own message.
    """
    pressed: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        code, out, err = _run(command)
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"its command did not end within {COMMAND_SECONDS} seconds") from None
    except OSError as error:
        raise ConfigurationError(f"its command could not be started ({error.strerror})") from error
    finally:
        signal.signal(signal.SIGINT, handler)
    if pressed:
        raise KeyboardInterrupt
    if code:
        said = tidy((err.strip() or out.strip()).decode(errors="replace"))
        raise ConfigurationError(f"its command failed and said: {said or 'nothing'}")


def _run(command: Sequence[str]) -> tuple[int, bytes, bytes]:
    """Its exit code, and what it printed."""
    with subprocess.Popen(
        command,
        env={**{name: value for name, value in os.environ.items() if name != KEY}, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            if sys.platform == "win32":
                process.kill()
            else:  # with what it started: that would write the file later
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, out, err
