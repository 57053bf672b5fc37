"""The proxy of the tests in front of PostgreSQL: connections break exactly where they are told to."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.database_proxy import DatabaseProxy, When, database_proxy
from tests.postgres import Postgres

pytestmark = pytest.mark.slow
INSERT = "INSERT INTO words VALUES (%s)"


@pytest.fixture
def proxy(database_url: str) -> Iterator[DatabaseProxy]:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE words (word text)")
    with database_proxy(database_url) as proxy:
        yield proxy


@pytest.fixture
def url(proxy: DatabaseProxy, database_url: str) -> str:
    return proxy.url(database_url)


def words(url: str) -> list[str]:
    with psycopg.connect(url, autocommit=True) as connection:
        return [word for (word,) in connection.execute("SELECT word FROM words ORDER BY word")]


def add(url: str, *added: str) -> None:
    """One transaction, with a request for its begin, each word, and its commit."""
    with psycopg.connect(url, connect_timeout=30) as connection:
        for word in added:
            connection.execute(INSERT, [word])


def test_statements_go_through_and_are_counted(proxy: DatabaseProxy, url: str) -> None:
    """Large ones, too; to connect does not count."""
    add(url, "a", "b" * 1_000_000)
    assert proxy.requests == 4
    assert words(url) == ["a", "b" * 1_000_000]
    proxy.pass_all()
    assert proxy.requests == 0


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("request_number", [1, 2, 3, 4])
def test_a_connection_is_cut_in_the_request_that_was_named(
    proxy: DatabaseProxy, url: str, request_number: int, when: When
) -> None:
    """Only that one; what a commit did before its answer was lost stays done."""
    proxy.cut_after(request_number, when)
    with pytest.raises(psycopg.OperationalError):
        add(url, "a", "b")
    assert words(url) == (["a", "b"] if (request_number, when) == (4, "after") else [])
    assert proxy.cuts == 1
    assert proxy.requests == request_number + 1


def test_requests_are_counted_over_all_connections(proxy: DatabaseProxy, url: str) -> None:
    """The connection that sends the request is cut, the other one is not."""
    with psycopg.connect(url, autocommit=True) as first, psycopg.connect(url, autocommit=True) as second:
        proxy.cut_after(2)
        first.execute(INSERT, ["a"])
        with pytest.raises(psycopg.OperationalError):
            second.execute(INSERT, ["b"])
        first.execute(INSERT, ["c"])
    assert words(url) == ["a", "c"]


def test_cuts_at_random_are_the_same_for_the_same_seed(proxy: DatabaseProxy, url: str) -> None:
    """Until all is passed again."""

    def outcomes(seed: int) -> list[bool]:
        proxy.cut_at_random(seed, 0.3)
        done = []
        for number in range(12):
            try:
                add(url, str(number))
            except psycopg.OperationalError:
                done.append(False)
            else:
                done.append(True)
        return done

    once = outcomes(1)
    assert set(once) == {True, False}
    assert outcomes(1) == once
    proxy.pass_all()
    assert len(words(url)) >= 2 * sum(once)


def test_an_outage_breaks_all_connections_until_it_is_over(proxy: DatabaseProxy, url: str) -> None:
    """New ones are closed at once."""
    with psycopg.connect(url) as connection:
        proxy.refuse()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            words(url)
    proxy.accept()
    assert words(url) == []


def test_in_a_silent_network_nothing_arrives_until_it_speaks_again(
    proxy: DatabaseProxy, url: str, database_url: str
) -> None:
    """What a client sent arrives late, as it does in a network."""
    with psycopg.connect(url, autocommit=True) as connection, ThreadPoolExecutor(1) as threads:
        proxy.silence()
        answer = threads.submit(connection.execute, INSERT, ["late"])
        with pytest.raises(TimeoutError):
            answer.result(0.2)
        assert words(database_url) == []
        proxy.accept()
        assert answer.result(30).rowcount == 1
    assert words(database_url) == ["late"]


def test_notices_go_through(url: str) -> None:
    """A client that listens gets them without asking."""
    with psycopg.connect(url, autocommit=True) as listening, psycopg.connect(url, autocommit=True) as other:
        listening.execute("LISTEN news")
        other.execute("NOTIFY news, 'a'")
        assert [notice.payload for notice in listening.notifies(timeout=30, stop_after=1)] == ["a"]


def test_a_client_that_prefers_encryption_goes_on_without(url: str) -> None:
    """As with a server that has no certificate."""
    assert words(url.replace("sslmode=disable", "sslmode=prefer")) == []


def test_while_the_server_is_stopped_connections_are_closed(url: str, postgres: Postgres) -> None:
    """They work again, at the same address, after it was started."""
    postgres.stop()
    with pytest.raises(psycopg.OperationalError):
        words(url)
    postgres.start()
    assert words(url) == []
