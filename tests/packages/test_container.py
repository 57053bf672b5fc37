"""The container's files: a linter passes them, their numbers are the program's, their commands work.

No container engine runs where these tests do, so the image itself is not built here.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import obstore
import pytest
from obstore.store import S3Store

from tests.packages.facts import HOSTED_SETTINGS, PROJECT, ROOT, SETTINGS
from tests.server.http.live import live
from wan_mcp import __version__
from wan_mcp.cli.commands import commands
from wan_mcp.errors import SettingsError
from wan_mcp.sandbox import Sandbox
from wan_mcp.server.http import gate, serving, startup
from wan_mcp.settings import Settings
from wan_mcp.storage import stores

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
INSTRUCTIONS = re.findall(
    r"^([A-Z]+) (.+)$", re.sub(r"\\\n *", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M)), re.M
)
COMPOSE = (ROOT / "compose.yaml").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
REQUIRED = set(re.findall(r"\$\{(\w+):\?", COMPOSE))
PUBLIC = "https://wan.example.com"


def instructions(name: str) -> list[str]:
    """What follows each instruction of this name."""
    return [rest for found, rest in INSTRUCTIONS if found == name]


def composed() -> dict[str, Any]:
    """What compose.yaml says."""
    yaml = pytest.importorskip("yaml", reason="no reader of YAML is installed")
    return dict(yaml.safe_load(COMPOSE))


def service(name: str = "server") -> dict[str, Any]:
    """A service of compose.yaml."""
    return dict(composed()["services"][name])


def environment(name: str = "server") -> dict[str, str]:
    """The environment of a service, where .env has what compose.yaml requires."""
    values = dict.fromkeys(REQUIRED, "0123456789abcdef" * 2) | {"WAN_MCP_PUBLIC_URL": PUBLIC}
    given = service(name)["environment"]
    return {
        key: re.sub(r"\$\{(\w+):\?.+?\}", lambda found: values[found[1]], text) for key, text in given.items()
    }


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
    assert service("proxy")["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"'127.0.0.1', {port}, " in instructions("HEALTHCHECK")[0]
    startup.check(Settings.load({"WAN_MCP_PUBLIC_URL": PUBLIC}), host)
    with pytest.raises(SettingsError, match="WAN_MCP_PUBLIC_URL"):
        startup.check(Settings.load({}), host)


def test_compose_gives_the_servers_what_they_need_and_no_more() -> None:
    """Two of them, with settings that a server starts with, time to stop, and no rights."""
    given = service()
    settings = environment()
    loaded = Settings.load(settings)
    startup.check(loaded, "0.0.0.0")
    assert (loaded.serve_videos, loaded.database_url is None) == (True, False)
    own = {name for name in settings if not name.startswith("AWS_")}
    assert own <= {*SETTINGS, *HOSTED_SETTINGS, "FORWARDED_ALLOW_IPS"}
    assert given["deploy"] == {"replicas": 2}
    assert float(given["stop_grace_period"].removesuffix("s")) > serving.END
    assert (given["read_only"], "volumes" in given) == (True, False)
    assert [place.partition(":")[0] for place in given["tmpfs"]] == ["/tmp", *instructions("VOLUME")]
    assert given["env_file"] in (ROOT / ".gitignore").read_text("utf-8").split()


def test_readme_writes_each_variable_that_compose_requires() -> None:
    """Into the file that the servers read as well."""
    (block,) = re.findall(r"<!-- command: compose settings -->\n```sh\n(.*?)```", README, re.S)
    assert set(re.findall(r"^(\w+)=", block, re.M)) == REQUIRED
    assert f"cat > {service()['env_file']})" in block


def test_the_servers_share_the_database_and_the_store_of_compose(monkeypatch: pytest.MonkeyPatch) -> None:
    """They sign in as it is set up, by variables that the storage reads."""
    settings, database, storage = environment(), environment("database"), environment("storage")
    url = urlsplit(settings["WAN_MCP_DATABASE_URL"])
    assert (url.hostname, url.username, url.password) == (
        "database",
        database["POSTGRES_USER"],
        database["POSTGRES_PASSWORD"],
    )
    assert url.path == f"/{database['POSTGRES_DB']}"
    variables = {name: text for name, text in settings.items() if name.startswith("AWS_")}
    assert storage.items() <= variables.items()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    store = stores.opened(settings["WAN_MCP_STORAGE_URL"])
    assert isinstance(store, S3Store)
    link = urlsplit(obstore.sign(store, "GET", "key", timedelta(hours=1)))
    assert f"{link.scheme}://{link.netloc}" == variables["AWS_ENDPOINT_URL"]
    key, _, region, *_ = parse_qs(link.query)["X-Amz-Credential"][0].split("/")
    assert (key, region) == (variables["AWS_ACCESS_KEY_ID"], variables["AWS_REGION"])
    assert f"-bucket={store.config['bucket']}" in service("storage")["command"].split()


def test_the_proxy_knows_each_server_and_sends_no_call_twice() -> None:
    """It asks whether they are ready, and gives up idle connections before they do."""
    compose = composed()
    proxy = compose["configs"]["proxy"]["content"]
    count, (port,) = service()["deploy"]["replicas"], instructions("EXPOSE")
    named = [f"{compose['name']}-server-{number}:{port}" for number in range(1, count + 1)]
    assert re.findall(r"^ *reverse_proxy (.*) \{$", proxy, re.M) == [" ".join(named)]
    assert f"health_uri {gate.PROBES[1]}\n" in proxy
    (idle,) = re.findall(r"\bkeepalive (\d+)s$", proxy, re.M)
    assert int(idle) < serving.KEEP_ALIVE
    assert "lb_retry_match" not in proxy
    (network,) = compose["networks"]["callers"]["ipam"]["config"]
    assert f"trusted_proxies static {network['subnet']}\n" in proxy
    assert environment()["FORWARDED_ALLOW_IPS"] == network["subnet"]


def test_only_the_proxy_can_be_reached_and_nothing_has_rights_that_it_does_not_need() -> None:
    """The database and the store are in a network without a way out; other projects' images are pinned."""
    compose = composed()
    services = compose["services"]
    assert [name for name, given in services.items() if "ports" in given] == ["proxy"]
    assert compose["networks"]["inside"]["internal"]
    assert (services["database"]["networks"], services["storage"]["networks"]) == (["inside"], ["inside"])
    for name, given in services.items():
        assert (name, given["cap_drop"]) == (name, ["ALL"])
        assert given["security_opt"] == ["no-new-privileges:true"]
        assert "build" in given or re.search(r":\d", given["image"])
    waited_for = services["server"]["depends_on"]
    assert {name: given["condition"] for name, given in waited_for.items()} == {
        "database": "service_healthy",
        "storage": "service_healthy",
    }
    assert all("healthcheck" in services[name] for name in ("proxy", *waited_for))


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
