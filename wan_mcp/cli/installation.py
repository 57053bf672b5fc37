"""How this installation is started by other programs, and whether it will still be there tomorrow."""

import os
import sys
import sysconfig
from itertools import pairwise, takewhile
from pathlib import Path


def own_command() -> list[str]:
    """The command of this installation, by absolute paths: programs with windows know no shell's PATH."""
    name = "wan-mcp.exe" if os.name == "nt" else "wan-mcp"
    script = Path(sysconfig.get_path("scripts"), name)
    return [str(script)] if script.is_file() else [sys.executable, "-m", "wan_mcp"]


def is_temporary() -> bool:
    """Whether it was made by ``uvx`` or ``pipx run``, in a cache that is emptied at any time."""
    folder = Path(sys.prefix)
    # The environment of a tool that uv installed has this file, too, so only the folders above it count.
    return any((parent / "CACHEDIR.TAG").exists() for parent in folder.parents) or (
        "pipx" in folder.parts and ".cache" in folder.parts
    )


def is_own(command: object, args: object) -> bool:
    """Whether a command of a configuration starts wan-mcp, in this installation or in another one."""
    if not isinstance(command, str):
        return False
    words = [word for word in args if isinstance(word, str)] if isinstance(args, list) else []
    program = command.replace("\\", "/").rpartition("/")[2].lower().removesuffix(".exe")
    if program == "wan-mcp":
        return True
    if program in ("uvx", "uv", "pipx"):
        return "wan-mcp" in words or ("-m", "wan_mcp") in pairwise(words)
    options = list(takewhile(lambda word: word.startswith("-"), words))
    is_python = program.startswith("python") or program == "py"
    return is_python and words[len(options) - 1 :][:2] == ["-m", "wan_mcp"]
