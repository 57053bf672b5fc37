"""The developer's day: ``nox`` checks style, types and the fast tests, ``nox -s ci`` everything.

``check``, ``style``, ``types`` and ``test`` use the environment ``.venv``, which the README's test command
makes. The others make environments of their own.
"""

import os
import re
import shutil
import sys
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.sessions = ["check"]
nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False

ROOT = Path(__file__).parent
SCRIPTS = "Scripts" if sys.platform == "win32" else "bin"
PYTHON = str(ROOT / ".venv" / SCRIPTS / "python")
DIST = ROOT / "dist"
PACKAGES = ROOT / "tests" / "packages"
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


@nox.session(venv_backend="none")
def check(session: nox.Session) -> None:
    """Style, types and the fast tests: under a minute, before each commit."""
    style(session)
    types(session)
    session.run(PYTHON, "-m", "pytest", "-n", "auto", "-m", "not slow", external=True)


@nox.session(venv_backend="none")
def style(session: nox.Session) -> None:
    """Ruff: rules and format."""
    session.run(PYTHON, "-m", "ruff", "check", ".", external=True)
    session.run(PYTHON, "-m", "ruff", "format", "--check", ".", external=True)


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Mypy, strict, over package and tests."""
    session.run(PYTHON, "-m", "mypy", external=True)


@nox.session(venv_backend="none")
def test(session: nox.Session) -> None:
    """The README's test command as it stands: it makes ``.venv`` and runs all tests, with coverage."""
    found = re.search(
        r"<!-- command: test -->\n```sh\n(.+?)\n```", (ROOT / "README.md").read_text("utf-8"), re.S
    )
    if found is None:
        session.error("README.md has no test command.")
    # The session browser has the tests in a browser.
    session.run(
        "bash",
        "-euo",
        "pipefail",
        "-c",
        found[1],
        env={"WAN_MCP_BROWSER": "0", "WAN_MCP_REQUIRE_POSTGRES": "1"},
        external=True,
    )


@nox.session(venv_backend="none")
def manifests(session: nox.Session) -> None:
    """Write the manifests of the packages, and the parts of README and skill that are made from the code."""
    session.run(PYTHON, "-m", "tests.packages.ecosystems", external=True)


@nox.session
def clients(session: nox.Session) -> None:
    """The official conformance suite, real clients, and the packages made for them. Needs npm."""
    tools = _node_tools(session)
    session.install("-r", "tests/clients/requirements.txt")  # fastmcp needs an mcp of its own
    commands = tools / "commands"
    commands.mkdir(exist_ok=True)
    for name in ("fastmcp", "uv"):  # and nothing else of that environment
        (commands / name).unlink(missing_ok=True)
        (commands / name).symlink_to(Path(session.bin) / name)
    env = {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "WAN_MCP_NODE_TOOLS": str(tools),
        "WAN_MCP_REQUIRE_NODE": "1",
    }
    session.run(PYTHON, "-m", "tests.clients.programs", env=env, external=True)
    # They wait more than they compute, so three at once take half the time on two cores.
    parts = ("tests/conformance", "tests/clients")
    session.run(PYTHON, "-m", "pytest", "-n", "3", "-rsP", *parts, env=env, external=True)


@nox.session(venv_backend="none")
def programs(session: nox.Session) -> None:
    """Install what ``clients`` and ``browser`` need, which then have it: the CI does so while tests run."""
    _node_tools(session)
    _chromium(session)


@nox.session(venv_backend="none")
def browser(session: nox.Session) -> None:
    """The card in Chromium, also with the Inspector as its host. Needs npm, and chromium or root and apt."""
    _chromium(session)
    env = {"WAN_MCP_NODE_TOOLS": str(_node_tools(session)), "WAN_MCP_REQUIRE_NODE": "1"}
    session.run(PYTHON, "-m", "pytest", "-n", "auto", "tests/browser", env=env, external=True)


@nox.session
def build(session: nox.Session) -> None:
    """The wheel and the source distribution, into ``dist``; the wheel holds nothing but the package.

    pip makes the same wheel, byte for byte, of the source distribution: what is said of one holds for both.
    """
    shutil.rmtree(DIST, ignore_errors=True)
    session.install("hatchling")
    session.run("hatchling", "build", "-d", str(DIST))
    wheel = _built("*.whl")
    session.run("python", str(PACKAGES / "contents.py"), str(wheel))
    again = Path(session.create_tmp())
    session.run("pip", "wheel", "--quiet", "--no-deps", "-w", str(again), str(_built("*.tar.gz")))
    if (again / wheel.name).read_bytes() != wheel.read_bytes():
        session.error("The source distribution makes another wheel.")


@nox.session(python=PYTHONS)
def packages(session: nox.Session) -> None:
    """The wheel alone in an empty environment, for each Python that is here."""
    session.install(str(_built("*.whl")))
    _start(session)


@nox.session
def oldest(session: nox.Session) -> None:
    """The wheel with the oldest libraries that it allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    session.install(
        str(_built("*.whl")), *(re.sub(r">=([\d.]+)[^;]*", r"==\1", one) for one in project["dependencies"])
    )
    _start(session)


@nox.session(venv_backend="none")
def ci(session: nox.Session) -> None:
    """All of it, beginning with a new ``.venv``."""
    if Path(sys.prefix) != ROOT / ".venv":
        shutil.rmtree(ROOT / ".venv", ignore_errors=True)
    alone = [f"packages-{python}" for python in PYTHONS]
    for name in ("test", "style", "types", "clients", "browser", "build", *alone, "oldest"):
        session.notify(name)


def _chromium(session: nox.Session) -> None:
    if shutil.which("chromium") is None and shutil.which("apt-get") is not None:
        session.run("apt-get", "update", "-qq", external=True)
        session.run("apt-get", "install", "-qq", "--no-install-recommends", "chromium", external=True)


def _node_tools(session: nox.Session) -> Path:
    """What ``tests/clients/package.json`` names, installed outside of the tree."""
    tools = session.cache_dir.resolve() / "node_tools"  # one folder for the sessions that need them
    tools.mkdir(exist_ok=True)
    wanted, installed = ROOT / "tests" / "clients" / "package.json", tools / "installed.json"
    if installed.exists() and installed.read_bytes() == wanted.read_bytes():
        return tools
    shutil.copy(wanted, tools)
    install = ("npm", "install", "--no-audit", "--no-fund", "--loglevel=error")
    # An agent that needs a newer node than the system's is left out, until that node is there.
    newer = f"{tools / 'node_modules' / '.bin'}{os.pathsep}{os.environ['PATH']}"
    with session.chdir(tools):
        session.run(*install, external=True)
        session.run(*install, env={"PATH": newer}, external=True)
    shutil.copy(wanted, installed)
    return tools


def _built(pattern: str) -> Path:
    found = sorted(DIST.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"dist has {len(found)} files {pattern}: run nox -s build first.")
    return found[0]


def _start(session: nox.Session) -> None:
    """Outside of the tree, so that the installed package starts; its demo leaves a video that plays."""
    session.chdir(session.create_tmp())
    session.run("wan-mcp", "--version")
    session.run("python", "-m", "wan_mcp", "--help", silent=True)
    session.run("python", str(PACKAGES / "starts.py"))
    session.run("python", str(PACKAGES / "opens.py"))
    session.run("wan-mcp", "demo", "--seconds", "1", "--output", "demo.mp4", silent=True)
    session.run("python", str(PACKAGES / "plays.py"), "demo.mp4")
