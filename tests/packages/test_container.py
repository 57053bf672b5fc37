"""The container's files: a linter passes them, their numbers are the program's, their commands work.

No container engine runs where these tests do, so the image itself is not built here.
"""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from tests.packages.facts import HOSTED_SETTINGS, PROJECT, ROOT, SETTINGS
from tests.server.http.live import live
from wan_mcp import __version__
from wan_mcp.cli.commands import commands
from wan_mcp.errors import SettingsError
from wan_mcp.sandbox import Sandbox
from wan_mcp.server.http import gate, serving, startup
from wan_mcp.settings import Settings

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
INSTRUCTIONS = re.findall(
    r"^([A-Z]+) (.+)$", re.sub(r"\\\n *", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M)), re.M
)
PUBLIC = "https://wan.example.com"


def instructions(name: str) -> list[str]:
    """What follows each instruction of this name."""
    return [rest for found, rest in INSTRUCTIONS if found == name]


def service() -> dict[str, Any]:
    """The one service of compose.yaml."""
    yaml = pytest.importorskip("yaml", reason="no reader of YAML is installed")
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    (found,) = compose["services"].values()
    return dict(found)


def test_the_linter_has_nothing_to_say() -> None:
    """With all its rules."""
    hadolint = shutil.which("hadolint", path=sysconfig.get_path("scripts"))
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    said = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_the_image_has_the_version_of_the_program() -> None:
    """Its label says it; both stages are of the same Python, which the program supports."""
    assert instructions("ARG") == [f"VERSION={__version__}"]
    assert 'org.opencontainers.image.version="${VERSION}"' in instructions("LABEL")[0]
    (base,) = {line.split()[0] for line in instructions("FROM")}
    (python,) = re.findall(r"^python:(3\.\d+)-slim$", base)
    assert f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]


def test_what_is_built_is_what_the_package_needs() -> None:
    """The files that the build reads are copied, and let through by .dockerignore; nothing else is."""
    copied = {word for line in instructions("COPY")[:2] for word in line.split()[:-1]}
    assert copied == {"pyproject.toml", PROJECT["readme"], *PROJECT["license-files"], "wan_mcp"}
    everything, *rules = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert everything == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == copied


def test_it_runs_as_a_user_who_owns_nothing_but_the_data() -> None:
    """With bytecode that was compiled before, since it cannot write any."""
    build, user = instructions("RUN")
    assert "--invalidation-mode unchecked-hash" in build
    (number,) = set(re.findall(r"--(?:uid|gid|owner|group)[ =](\d+)", user))
    assert instructions("USER") == [f"{number}:{number}"]
    assert instructions("VOLUME") == ["/data"]
    assert "WAN_MCP_DATA_DIR=/data" in instructions("ENV")[0]


def test_the_command_starts_a_server_only_behind_an_https_address() -> None:
    """It listens where other machines can reach it; the port is the one that is published and checked."""
    (entry,), (arguments,) = instructions("ENTRYPOINT"), instructions("CMD")[-1:]
    assert json.loads(entry) == [*PROJECT["scripts"]]
    name, *options = json.loads(arguments)
    given = commands.commands[name].make_context(name, options).params
    host, port = given["host"], str(given["port"])
    assert instructions("EXPOSE") == [port]
    assert service()["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"'127.0.0.1', {port}, " in instructions("HEALTHCHECK")[0]
    startup.check(Settings.load({"WAN_MCP_PUBLIC_URL": PUBLIC}), host)
    with pytest.raises(SettingsError, match="WAN_MCP_PUBLIC_URL"):
        startup.check(Settings.load({}), host)


def test_compose_gives_the_server_what_it_needs_and_no_more() -> None:
    """One of it, with a volume where its data is, time to stop, and no rights."""
    given = service()
    assert set(given["environment"]) <= {*SETTINGS, *HOSTED_SETTINGS, "FORWARDED_ALLOW_IPS"}
    assert given["environment"]["WAN_MCP_PUBLIC_URL"].startswith("${WAN_MCP_PUBLIC_URL:?")
    assert given["volumes"] == [f"data:{instructions('VOLUME')[0]}"]
    assert given["deploy"] == {"replicas": 1}
    assert float(given["stop_grace_period"].removesuffix("s")) > serving.END
    assert (given["read_only"], given["cap_drop"]) == (True, ["ALL"])
    assert given["security_opt"] == ["no-new-privileges:true"]
    assert [place.partition(":")[0] for place in given["tmpfs"]] == ["/tmp"]
    assert given["env_file"] in (ROOT / ".gitignore").read_text("utf-8").split()


@pytest.mark.anyio
@pytest.mark.slow
class TestWithAServer:
    """The health check itself, beside the program."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    async def test_the_health_check_tells_whether_a_server_is_ready(self, tmp_path: Path) -> None:
        """It does not ask a proxy, and fails once nobody listens."""
        (_, command) = instructions("HEALTHCHECK")[0].split("CMD ")
        python, option, program = json.loads(command)
        assert (python, option, gate.PROBES[1] in program) == ("python", "-c", True)

        def check(port: int) -> int:
            run = [sys.executable, option, program.replace("8000", str(port))]
            return subprocess.run(
                run, env={"HTTP_PROXY": "http://127.0.0.1:9"}, stderr=subprocess.DEVNULL, check=False
            ).returncode

        async with live(Sandbox(key="sk-sandbox"), tmp_path) as server:
            assert check(server.port) == 0
            server.stop()
            assert await server.ended() == 0
            assert check(server.port) == 1
