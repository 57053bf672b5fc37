"""What the clients start: this installation, if it is there to stay."""

import sys
from pathlib import Path

import pytest

from tests.cli.setup.homes import (
    run,
    snapshot,
    words,
)
from tests.world import KEY
from wan_mcp.cli import installation
from wan_mcp.cli.installation import is_own, own_command


def test_a_temporary_installation_is_not_written_anywhere(
    everything: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to do instead is said, with the folder and not with a bare name."""
    (tmp_path / "cache" / "archive" / "x").mkdir(parents=True)
    (tmp_path / "cache" / "CACHEDIR.TAG").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "cache" / "archive" / "x"))
    before = snapshot(everything)
    result = run("--yes", EVOLINK_API_KEY=KEY)
    assert result.exit_code == 1
    assert "uv tool install FOLDER or pipx install FOLDER" in words(result)
    assert snapshot(everything) == before


def test_the_folder_of_a_lasting_installation_may_be_marked_as_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As uv does with the environments of its tools."""
    (tmp_path / "CACHEDIR.TAG").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert not installation.is_temporary()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "pipx" / ".cache" / "a"))
    assert installation.is_temporary()


def test_without_a_script_the_module_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By this Python."""
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert own_command() == [sys.executable, "-m", "wan_mcp"]
    assert is_own(sys.executable, ["-m", "wan_mcp"])


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("npx", ["wan-mcp"]),
        ("wan-mcp-other", []),
        ("uvx", ["wan-mcp-other"]),
        ("python", ["wan_mcp"]),
        ("python", ["other.py", "-m", "wan_mcp"]),
        ("node", ["-m", "wan_mcp"]),
        (7, []),
        (None, None),
    ],
)
def test_other_programs_are_not_ours(command: object, args: object) -> None:
    """However alike they look."""
    assert not is_own(command, args)
