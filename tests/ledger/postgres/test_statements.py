"""Values that the statements pass to PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from tests.clock import EPOCH
from tests.ledger.rows import API, HOUR, claimed, intent, make, owned, posted, prints, rules, shared, task
from wan_mcp.errors import LedgerError
from wan_mcp.ledger import Claim, OwnerLedger, Post

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[OwnerLedger]:
    async with owned(database_url) as ledger:
        yield ledger


async def test_a_character_that_the_database_does_not_have_is_replaced(ledger: OwnerLedger) -> None:
    """The request is not refused for it, and is the same when it is made again."""
    odd = intent(prompt="A cat\0yawns.", fingerprints=prints("a\0b", content="c\0d"))
    entry = (await ledger.claim(odd, rules())).entry
    assert entry is not None
    assert entry.prompt == "A cat\ufffdyawns."
    sent = await ledger.mark_posted(entry.number, Post(EPOCH, 0.0), {"prompt": "A cat\0yawns."})
    assert sent.body == {"prompt": "A cat\0yawns."}
    assert await ledger.claim(odd, rules()) == Claim("busy", sent)
    done = await ledger.mark_answered(entry.number, task(prompt="\0"), EPOCH)
    assert await ledger.claim(odd, rules(EPOCH + 1)) == Claim("repeat", done)


@pytest.mark.parametrize("text", ["?", "100 %", "%s", "'; DROP TABLE entries; --", "\U0001f600 ?"])
async def test_signs_of_the_language_are_text(ledger: OwnerLedger, text: str) -> None:
    """In whatever a caller gives."""
    entry = await claimed(ledger, prompt=text)
    sent = await ledger.mark_posted(entry.number, Post(EPOCH, 0.0), {"prompt": text})
    assert (sent.prompt, sent.body) == (text, {"prompt": text})
    assert await ledger.find(text) is None
    await ledger.record_upload(text, f"https://files/{text}", EPOCH + 24 * HOUR)
    assert await ledger.find_upload(text, EPOCH) == f"https://files/{text}"


@pytest.mark.parametrize("name", ["0", "#0", str(2**31), str(2**63 - 1), f"#{2**63}", "9" * 40, "\u0664"])
async def test_a_number_that_no_row_has_names_none(ledger: OwnerLedger, database_url: str, name: str) -> None:
    """However large it is."""
    await make(ledger)
    async with shared(database_url) as all_owners:
        assert await all_owners.named(name) == []


async def test_of_equal_requests_the_database_itself_lets_one_be_open(
    ledger: OwnerLedger, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the lock of the owner failed, the second claim would be an error, and nothing would be sent."""
    await posted(ledger)
    monkeypatch.setattr("wan_mcp.ledger.sql.claims._equal_rows", lambda *given: [])
    async with shared(database_url) as other:
        mine = other.for_owner(API, "me")
        with pytest.raises(LedgerError, match="unique constraint"):
            await claimed(mine)
    assert len(await ledger.rivals()) == 1
