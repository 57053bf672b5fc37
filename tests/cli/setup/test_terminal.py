"""`wan-mcp setup` in a real terminal, wide and narrow: what a person reads, types unseen, and interrupts."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

from tests.cli.terminal import Terminal, serving
from wan_mcp.cli.sandbox import KEY

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("columns", [40, 80])]
BEFORE = '{\n  // mine\n  "theme": "One",\n}\n'
WRONG = "sk-canary-that-is-wrong"
ASKED = "Evolink API key:"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with Zed and Cursor in it."""
    for name in (".config/zed", ".cursor", "nothing"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".config/zed/settings.json").write_text(BEFORE)
    return tmp_path


@pytest.fixture
def api(home: Path) -> Iterator[dict[str, str]]:
    """The addresses of a sandbox, without its key."""
    with serving(home) as environ:
        yield {name: value for name, value in environ.items() if name != "EVOLINK_API_KEY"}


def setup(columns: int, home: Path, api: dict[str, str], *arguments: str) -> Terminal:
    places = {"HOME": str(home), "PATH": str(home / "nothing"), "XDG_CONFIG_HOME": str(home / ".config")}
    return Terminal(columns, "setup", *arguments, folder=home, **places, **api)


def files_with(home: Path, text: str) -> list[str]:
    """The files below the home in which a text is."""
    found = [path for path in home.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]
    return [str(path.relative_to(home)) for path in found]


def test_a_person_is_led_from_the_key_to_the_clients(columns: int, home: Path, api: dict[str, str]) -> None:
    """A wrong key is asked for again; no key is ever shown, and only the right one is kept."""
    terminal = setup(columns, home, api)
    terminal.until(ASKED)
    assert "Get a key at https://evolink.ai/dashboard/keys" in terminal.text
    terminal.type(f"{WRONG}\r")
    terminal.until(f"It is not kept. {ASKED}")
    terminal.type(f"{KEY}\r")
    terminal.until("Write this? [Y/n]:")
    assert "Cursor" in terminal.text
    terminal.type("\r")
    terminal.until("Done. Zed")
    terminal.type("\r")
    assert terminal.end() == 0
    assert "Now restart: Cursor, Zed. Then say to your agent:" in terminal.text
    for key in (KEY, WRONG):
        assert key.encode() not in terminal.transcript
    assert files_with(home, WRONG) == []
    assert files_with(home, KEY) == ["data/key.json"]
    assert "wan" in json.loads((home / ".cursor/mcp.json").read_text())["mcpServers"]
    assert "// mine" in (home / ".config/zed/settings.json").read_text()


@pytest.mark.parametrize("moment", [ASKED, "Write this? [Y/n]:"])
def test_ctrl_c_stops_at_any_question(columns: int, home: Path, api: dict[str, str], moment: str) -> None:
    """Nothing more is written, and that is said."""
    terminal = setup(columns, home, api)
    terminal.until(ASKED)
    if moment != ASKED:
        terminal.type("\r")
        terminal.until(moment)
    terminal.interrupt()
    assert terminal.end() == 130
    assert terminal.text.endswith("Stopped. What is said to be done above is done, and nothing else.")
    assert (home / ".config/zed/settings.json").read_text() == BEFORE
    assert not (home / ".cursor/mcp.json").exists()


def test_undo_can_be_read(columns: int, home: Path, api: dict[str, str]) -> None:
    """After a setup without questions, everything is asked for once, and is as before."""
    assert setup(columns, home, api | {"EVOLINK_API_KEY": KEY}, "--yes").end() == 0
    terminal = setup(columns, home, api, "--undo")
    for client in ("Cursor", "Zed"):
        terminal.until(client)
        terminal.until("Remove it? [Y/n]:")
        terminal.type("\r")
        terminal.until("A copy of the file before:")
    terminal.until("Remove it, too? [y/N]:")
    terminal.type("y\r")
    assert terminal.end() == 0
    assert files_with(home, KEY) == []
    after = (home / ".config/zed/settings.json").read_text()
    assert after == BEFORE.replace('"One",\n', '"One",\n  "context_servers": {},\n')
