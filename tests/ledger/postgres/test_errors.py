"""A database that cannot be used: one sentence says why, without the password, and what to do."""

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from pydantic import SecretStr

from tests.ledger.rows import API, claimed, opened, owned, shared
from tests.postgres import Postgres
from wan_mcp.errors import LedgerError
from wan_mcp.ledger.postgres import connections
from wan_mcp.ledger.postgres.store import PostgresLedger

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PASSWORD = "hush"


async def refusal(url: str) -> LedgerError:
    """How a claim fails."""
    async with owned(url) as ledger:
        with pytest.raises(LedgerError) as raised:
            await claimed(ledger)
    assert raised.value.charged == "no"
    assert raised.value.next_step == connections.AGAIN
    assert raised.value.__cause__ is None
    assert "\n" not in raised.value.message
    return raised.value


@pytest.fixture
def with_password(database_url: str, postgres: Postgres) -> Iterator[str]:
    """The address for a user whose password the server asks for, without it."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        (name,) = admin.execute("SHOW hba_file").fetchone() or ("",)
        before = Path(name).read_text()
        admin.execute(f"CREATE ROLE locked LOGIN SUPERUSER PASSWORD '{PASSWORD}'".encode())
        Path(name).write_text(f"local all locked scram-sha-256\n{before}")
        admin.execute("SELECT pg_reload_conf()")
        try:
            yield database_url.replace("//postgres@", "//locked:{}@")
        finally:
            Path(name).write_text(before)
            admin.execute("SELECT pg_reload_conf()")
            admin.execute("DROP OWNED BY locked; DROP ROLE locked")


async def test_a_wrong_password_is_refused_and_not_shown(with_password: str) -> None:
    """The right one is accepted."""
    wrong = await refusal(with_password.format(quote("wrong secret")))
    assert "password authentication failed for user" in wrong.message
    assert "secret" not in str(wrong)
    async with owned(with_password.format(PASSWORD)) as ledger:
        await claimed(ledger)


async def test_a_port_that_nobody_listens_at_refuses_the_connection() -> None:
    """The sentence has the host and the port, as an operator needs them."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = await refusal(f"postgresql://user:{PASSWORD}@127.0.0.1:{port}/name")
    assert error.message.startswith("The ledger's database cannot be used: connection failed: connection to ")
    assert f"port {port} failed: Connection refused" in error.message
    assert PASSWORD not in str(error)


async def test_a_host_that_is_not_known_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever way the machine's resolver says it."""

    def unknown(*given: object, **named: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = await refusal(f"postgresql://user:{PASSWORD}@database.invalid/name")
    assert "database.invalid" in error.message
    assert PASSWORD not in str(error)


async def test_a_database_that_does_not_exist_is_named(database_url: str) -> None:
    """The server is there, and says so."""
    error = await refusal(database_url.replace("/database_", "/no_database_"))
    assert 'database "no_database_' in error.message
    assert "does not exist" in error.message


async def test_a_user_who_may_not_create_tables_is_refused(database_url: str) -> None:
    """The right is missing in the database, and is named."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("CREATE ROLE visitor LOGIN; GRANT USAGE ON SCHEMA public TO visitor")
        try:
            error = await refusal(database_url.replace("//postgres@", "//visitor@"))
        finally:
            admin.execute("DROP OWNED BY visitor; DROP ROLE visitor")
    assert error.message == ("The ledger's database cannot be used: permission denied for schema public.")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hush@[::1/name",
        "postgresql://user:hu%zzsh@host/name",
        "postgresql://user:hush@host/name?colour=hush",
        "postgresql://user:@hush@host/name",
        "postgresql://user:a/hush@host/name",
        "postgresql://user:1/hush@host/name",
        "postgresql://user:hush@host:hush/name",
    ],
)
async def test_an_address_that_cannot_be_read_is_not_quoted(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password with characters that separate parts of an address would be shown in part."""

    def unknown(*given: object, **named: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = await refusal(url)
    assert error.message == (
        "The ledger's database cannot be used: WAN_MCP_DATABASE_URL cannot be read; write it like "
        "postgresql://user:password@host:5432/name, with %40 and %2F in place of @ and / in the password."
    )


async def test_a_server_that_goes_away_is_named_with_its_reason(
    database_url: str, postgres: Postgres
) -> None:
    """What was there a moment ago refuses connections now; afterwards all goes on."""
    async with owned(database_url) as ledger:
        entry = await claimed(ledger)
        postgres.stop()
        try:
            with pytest.raises(LedgerError, match="connection to server on socket") as raised:
                await claimed(ledger, "dog")
        finally:
            postgres.start()
        assert raised.value.next_step == connections.AGAIN
        assert (await claimed(ledger, "dog")).number > entry.number


async def test_a_lock_that_is_never_free_is_given_up(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that stands still in the middle of a transaction; nothing was written."""
    monkeypatch.setitem(connections.SESSION, "lock_timeout", "50ms")
    async with shared(database_url) as ledger:
        mine = ledger.for_owner(API, "me")
        digest = await mine.digest()
        with opened(database_url) as database:
            name = f"wan-mcp owner {digest}"
            database.execute("SELECT pg_advisory_lock(hashtextextended(?, 0))", (name,))
            with pytest.raises(LedgerError, match="lock timeout"):
                await claimed(mine)
        assert (await claimed(mine)).posts == ()


def test_the_address_is_in_no_representation() -> None:
    """Of the ledger or of what it is made of."""
    ledger = PostgresLedger(SecretStr(f"postgresql://user:{PASSWORD}@host/name"), follows_at=API)
    parts = [ledger, *vars(ledger).values(), *vars(ledger._postgres).values()]
    assert not any(PASSWORD in repr(part) for part in parts)
