"""The machine's own PostgreSQL, which is another version than the one of the tests."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from tests.clock import EPOCH
from tests.ledger.rows import API, HOUR, intent, make, opened, posted, rules, task
from tests.postgres import running_postgres, system_binaries
from wan_mcp.ledger import Claim
from wan_mcp.ledger.postgres.store import PostgresLedger

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def own_url() -> Iterator[str]:
    binaries = system_binaries()
    if binaries is None:
        pytest.skip("this machine has no PostgreSQL of its own")
    with running_postgres(binaries) as server, server.database() as url:
        yield url


async def test_a_ledger_with_its_jobs_works_on_it(own_url: str) -> None:
    """Requests are paid once, what is open is found again by another program, and each task has its job."""
    first, second = (PostgresLedger(SecretStr(own_url), follows_at=API) for _ in range(2))
    mine, same = (ledger.for_owner(API, "me") for ledger in (first, second))
    cat = await make(mine)
    assert await same.claim(intent(), rules(EPOCH + HOUR - 1)) == Claim("repeat", cat)
    dog = await posted(mine, "dog")
    assert (await same.claim(intent("dog"), rules())).kind == "busy"
    await first.aclose()
    assert await second.abandoned(API) == [(await same.digest(), dog.number)]
    assert await same.take_over(dog.number) == dog
    seen = await same.observe(task(status="completed", results=("https://a/b.mp4",)), EPOCH + 60)
    assert await same.unkept(since=EPOCH) == [seen]
    await second.aclose()
    with opened(own_url) as database:
        jobs = database.execute("SELECT args FROM procrastinate_jobs").fetchall()
    assert [args["task_id"] for (args,) in jobs] == ["task-unified-cat"]
