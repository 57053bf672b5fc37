"""README, changelog and the other documents: what they say is what the package does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packages.facts import HOSTED_SETTINGS, REGISTERED, ROOT, SETTINGS, files
from wan_mcp import __version__
from wan_mcp.cli.commands import commands
from wan_mcp.evolink import prices

README = (ROOT / "README.md").read_text("utf-8")


def command(name: str) -> str:
    """The command of the README that stands under a marker."""
    found = re.findall(rf"^<!-- command: {name} -->\n```sh\n(.*?)\n```$", README, re.M | re.S)
    assert len(found) == 1, f"README.md has {len(found)} commands {name}"
    return str(found[0])


@pytest.mark.parametrize("name", ["demo", "test"])
def test_a_marked_command_stands_alone(name: str) -> None:
    """It checks Python, makes its own environment and installs into it, in one line, and is not silent."""
    steps = command(name).split(" && ")
    assert len(steps) == 4
    assert steps[0].startswith("python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and ")
    assert steps[1] == "python3 -m venv .venv"
    assert steps[2].startswith(".venv/bin/pip install ")
    assert steps[3].startswith(".venv/bin/")
    assert "quiet" not in command(name)


def test_an_old_python_is_refused_in_words() -> None:
    """Before anything is made: what is needed."""
    check = command("demo").split(" && ")[0].removeprefix("python3 -c ").strip("'")
    imitated = "import sys; sys.version_info = (3, 9, 18); "
    old = subprocess.run(
        [sys.executable, "-c", imitated + check], capture_output=True, text=True, check=False
    )
    assert (old.returncode, old.stdout) == (1, "")
    assert old.stderr == "Python 3.11 or newer is needed.\n"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_the_commands_that_the_readme_shows_exist() -> None:
    """Whatever follows `wan-mcp` in a code span or block is a command of the program."""
    code = "\n".join(re.findall(r"^```.*?^```|`[^`\n]+`", README, re.M | re.S))
    assert set(re.findall(r"\bwan-mcp ([a-z]+)", code)) <= set(commands.commands)


def test_the_variables_that_the_readme_names_are_settings() -> None:
    """No row or example speaks of a setting that the program does not read."""
    assert set(re.findall(r"\b(?:EVOLINK|WAN_MCP)_[A-Z_]+\b", README)) <= {*SETTINGS, *HOSTED_SETTINGS}


def test_the_readme_claims_the_name_of_the_manifest() -> None:
    """A registry believes a package only if its README holds the server's name."""
    assert re.findall(r"<!-- mcp-name: (\S+) -->", README) == [REGISTERED]


def test_the_readme_dates_the_prices() -> None:
    """The day of the price list is the one of the prices that the program reckons with."""
    assert f"price list of {prices.AS_OF}" in README


def test_the_readme_begins_with_the_prices_of_the_code() -> None:
    """Two of them stand in its first sentences, outside of the generated table."""
    usual, dearest = (prices.dollars(prices.estimate(*of)) for of in ((5, "720p"), (10, "1080p")))
    assert f"about {usual} for five seconds at 720p,\n[{dearest} for ten at 1080p]" in README


def test_the_changelog_begins_with_the_version() -> None:
    """The version that the package has is the newest one that is described."""
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert headings[0] == __version__


def documents() -> list[Path]:
    return [path for path in files() if path.suffix == ".md"]


def prose(document: Path) -> str:
    """A document without its code, in which brackets are no links."""
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", document.read_text("utf-8"), flags=re.M | re.S)


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(document: Path) -> None:
    """Each names a file of the repository, and a heading of it where it has an anchor."""
    targets = re.findall(r"\]\(([^)\s]+)|(?:src|srcset|href)=\"([^\"]+)\"", prose(document))
    for target in (first or second for first, second in targets):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = document.parent / name if name else document
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_no_file_names_the_host_of_a_package_registry() -> None:
    """Where packages come from is the reader's own configuration."""
    pieces = [("pyp", "i.org"), ("python", "hosted.org"), ("npm", "js.org"), ("npm", "js.com")]
    hosts = ["".join(piece) for piece in [*pieces, ("registry.yarn", "pkg.com"), ("deb.", "debian.org")]]
    naming = [
        path.relative_to(ROOT).as_posix()
        for path in files()
        if any(host in path.read_text("utf-8", errors="ignore").lower() for host in hosts)
    ]
    assert naming == []
