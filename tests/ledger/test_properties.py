"""What holds for any request and any history."""

import itertools
import re
import unicodedata
from datetime import datetime, time, timedelta
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.clock import EPOCH
from tests.ledger.rows import BODY, DAY, HOUR, Place, claimed, intent, lose, make, owned, posted, rules, task
from wan_mcp.errors import CapReached
from wan_mcp.ledger import DEFAULTS, Fingerprints, Intent, OwnerLedger, Post, fingerprint
from wan_mcp.ledger.fingerprints import TEXT_DEFAULTS

pytestmark = pytest.mark.anyio


patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
bodies = st.fixed_dictionaries(
    {"model": st.just("wan2.5-image-to-video"), "prompt": st.text(min_size=1, max_size=8)},
    optional={
        "duration": st.sampled_from([5, 10]),
        "quality": st.sampled_from(["480p", "720p", "1080p"]),
        "prompt_extend": st.booleans(),
        "callback_url": st.sampled_from(["https://a.example/b", "https://a.example/c"]),
        "take": st.sampled_from([1, 2]),
    },
)
pictures = st.sampled_from(["picture one", "picture two"])


def meaning(body: dict[str, Any], picture: str) -> dict[str, Any]:
    prompt = " ".join(unicodedata.normalize("NFC", body["prompt"]).split())
    return {**DEFAULTS, "take": 1, **body, "prompt": prompt, "picture": picture}


@patient
@given(bodies, pictures, st.randoms(), st.text(max_size=5))
def test_order_defaults_and_place_of_the_picture_do_not_matter(
    body: dict[str, Any], picture: str, chance: Any, address: str
) -> None:
    """However a request is written down, and wherever its picture is, it is the same request."""
    items = list(({**DEFAULTS, **body, "image_urls": [address]}).items())
    chance.shuffle(items)
    assert fingerprint(dict(items), picture) == fingerprint(body, picture)


@patient
@given(bodies, pictures, bodies, pictures)
def test_two_requests_are_the_same_only_if_all_of_them_is(
    one: dict[str, Any], one_picture: str, other: dict[str, Any], other_picture: str
) -> None:
    """Any field that differs, the picture included, makes another request."""
    same = fingerprint(one, one_picture) == fingerprint(other, other_picture)
    assert same is (meaning(one, one_picture) == meaning(other, other_picture))


@patient
@given(bodies, pictures, st.sampled_from([*DEFAULTS, "prompt", "callback_url", "take", "model"]))
def test_each_field_counts(body: dict[str, Any], picture: str, field: str) -> None:
    """Changing one field makes another request."""
    others = {
        "prompt": body["prompt"] + "!",
        "duration": 15 - body.get("duration", 5),
        "quality": "480p" if body.get("quality", "720p") != "480p" else "1080p",
        "prompt_extend": not body.get("prompt_extend", True),
        "callback_url": "https://a.example/d",
        "take": body.get("take", 1) + 1,
        "model": "wan2.6",
    }
    assert fingerprint(body | {field: others[field]}, picture) != fingerprint(body, picture)


def test_requests_with_a_picture_are_those_of_earlier_ledgers() -> None:
    """Whatever other requests there are by now: a ledger that is in use finds what was paid."""
    body = {"prompt": "The cat yawns.", "duration": 10, "model": "wan2.5-image-to-video", "take": 2}
    digest = "4d7c4a59b3e27d582c39c7dd078f269d938192118b4e50a68716a31eeb29fe4f"
    assert fingerprint(body | {"image_urls": ["cat.png"]}, "content") == digest


@patient
@given(bodies, pictures, st.sampled_from([None, "16:9", "1:1"]))
def test_a_request_without_a_picture_is_another_one(
    body: dict[str, Any], picture: str, ratio: str | None
) -> None:
    """Its default shape is the same whether or not it is given; the picture's request has none."""
    given_ratio = {} if ratio is None else {"aspect_ratio": ratio}
    alone = fingerprint(body | given_ratio, None)
    assert alone != fingerprint(body, picture)
    assert (alone == fingerprint({**TEXT_DEFAULTS, **body}, None)) is (ratio != "1:1")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("caf\u00e9", "cafe\u0301", True),
        ("A cat  yawns.", "A cat yawns.", True),
        ("A cat\n\tyawns.", " A cat yawns. ", True),
        ("A cat\u00a0yawns.", "A cat yawns.", True),
        ("A cat yawns.", "A catyawns.", False),
        ("A cat yawns.", "a cat yawns.", False),
        ("\ufb01sh", "fish", False),
    ],
)
def test_a_prompt_is_the_same_however_it_is_typed(one: str, other: str, same: bool) -> None:
    """Composed or not, and with any white space between the words; nothing else is the same."""
    prints = [fingerprint({"prompt": prompt}, "picture") for prompt in (one, other)]
    assert (prints[0] == prints[1]) is same


def test_the_first_take_is_that_of_ledgers_without_takes() -> None:
    """Each other take is another request."""
    plain, *takes = [fingerprint({"prompt": "a", **take}, "p") for take in ({}, {"take": 1}, {"take": 2})]
    assert takes[0] == plain != takes[1]


@pytest.mark.parametrize(
    ("one", "other", "same", "changed"),
    [
        (Fingerprints("a", "content"), Fingerprints("b", "content"), True, False),
        (Fingerprints("a", "content"), Fingerprints("a", "else"), False, True),
        (Fingerprints("a", "content"), Fingerprints("a", "content", "address"), True, False),
        (Fingerprints("a", "else", "address"), Fingerprints("b", "content", "address"), True, True),
        (Fingerprints("a", "else", "address"), Fingerprints("a", "content", "another"), False, True),
        (Fingerprints("a", None, "address"), Fingerprints("a", "content", "address"), True, False),
        (Fingerprints("a", "content", "address"), Fingerprints("a", None, "another"), False, False),
        (Fingerprints("a"), Fingerprints("a", "content"), True, False),
        (Fingerprints("a"), Fingerprints("b", "content"), False, False),
        (Fingerprints("a"), Fingerprints("a"), True, False),
    ],
)
def test_a_picture_is_the_same_by_its_content_or_else_by_its_address(
    one: Fingerprints, other: Fingerprints, same: bool, changed: bool
) -> None:
    """By its name only where it cannot be read; the same address may show another one by now."""
    assert one.same(other) is same
    assert one.changed_since(other) is changed
    assert one.changed_since(None) is False


gaps = st.sampled_from([0.0, 0.25, 1.0, HOUR, DAY / 2, DAY - 1, DAY - 0.25, DAY]) | st.integers(
    0, 100_000
).map(lambda quarters: quarters / 4)
estimates = st.sampled_from([12.75, 25.5, 42.59, 51.0, 85.17])
outcomes = st.sampled_from(["pending", "completed", "failed", "cancelled", "lost", "refused", "used"])
histories = st.lists(st.tuples(gaps, estimates, outcomes), max_size=6)


async def live(ledger: OwnerLedger, history: list[tuple[float, float, str]]) -> tuple[float, list[Any]]:
    """Let a history happen; the time after it, and a plain account of what was spent when."""
    now, spent = EPOCH, []
    for number, (gap, estimate, outcome) in enumerate(history):
        now += gap
        entry = await posted(ledger, str(number), now, estimate=estimate)
        if outcome == "refused":
            await ledger.drop_post(entry.number, guessed=False)
        if outcome in ("lost", "refused"):
            await ledger.release(entry.number)
        else:
            used = {"status": "completed", "credits_used": estimate / 2}
            facts = used if outcome == "used" else {"status": outcome, "credits_reserved": estimate}
            await ledger.mark_answered(entry.number, task(str(number), **facts), now)
        cost = {"failed": 0.0, "cancelled": 0.0, "refused": 0.0, "used": estimate / 2}.get(outcome, estimate)
        spent.append((now, Fraction(str(cost))))
    return now, spent


async def is_allowed(ledger: OwnerLedger, request: Intent, now: float, cap: float) -> str | None:
    """None if it is; else what the refusal advises. An allowed one is given up at once."""
    try:
        claim = await ledger.claim(request, rules(now, daily_credits=cap))
    except CapReached as refusal:
        return refusal.next_step
    assert claim.entry is not None
    await ledger.release(claim.entry.number)
    return None


async def follows_the_cap(
    place: Place, owner: str, history: list[tuple[float, float, str]], gap: float, estimate: float, cap: float
) -> None:
    async with owned(place, owner) as ledger:
        await compare_with_the_cap(ledger, history, gap, estimate, cap)


async def compare_with_the_cap(
    ledger: OwnerLedger, history: list[tuple[float, float, str]], gap: float, estimate: float, cap: float
) -> None:
    request = intent("last", estimate=estimate)
    now, spent = await live(ledger, history)
    now += gap
    total = sum(cost for moment, cost in spent if moment > now - DAY)
    advice = await is_allowed(ledger, request, now, cap)
    assert (advice is None) is (total + Fraction(str(estimate)) <= Fraction(str(cap)))
    if advice is not None and estimate > cap:
        assert "whoever runs this server can raise the cap" in advice
    elif advice is not None:
        found = re.search(r"from (today|tomorrow) (\S+) UTC\S* on", advice)
        assert found is not None
        day = datetime.fromtimestamp(now).date() + timedelta(days=found[1] == "tomorrow")
        free = datetime.combine(day, time.fromisoformat(found[2])).timestamp()
        assert await is_allowed(ledger, request, free - 60, cap) is not None
        assert await is_allowed(ledger, request, free, cap) is None


caps = st.integers(0, 16).map(lambda parts: parts * 12.75)


@pytest.mark.slow
@settings(patient, max_examples=40)
@given(histories, gaps, estimates, caps)
@example([(0.0, 42.59, "pending"), (1.0, 42.59, "pending")], 1.0, 42.59, 127.77)
@example([(0.25, 12.75, "pending"), (0.25, 42.59, "lost"), (0.0, 85.17, "used")], 1.0, 25.5, 25.5)
@example([(0.0, 25.5, "pending")], DAY, 25.5, 25.5)
def test_the_cap_counts_what_the_last_day_cost(
    history: list[tuple[float, float, str]], gap: float, estimate: float, cap: float
) -> None:
    """As plain arithmetic says, and there is room from the very minute on that a refusal names."""
    with TemporaryDirectory() as name:
        anyio.run(follows_the_cap, Path(name), "me", history, gap, estimate, cap)


OWNERS = map(str, itertools.count())


@pytest.mark.slow
@settings(patient, max_examples=10, suppress_health_check=list(HealthCheck))
@given(history=histories, gap=gaps, estimate=estimates, cap=caps)
def test_the_cap_on_postgres_counts_the_same(
    database_url: str, history: list[tuple[float, float, str]], gap: float, estimate: float, cap: float
) -> None:
    """Each history is one of a new owner in the same database."""
    anyio.run(follows_the_cap, database_url, next(OWNERS), history, gap, estimate, cap)


async def test_a_request_sent_again_counts_from_then_on(ledger: OwnerLedger) -> None:
    """It may be the second sending that was paid, so the day begins there."""
    await lose(ledger)
    later = EPOCH + 20 * HOUR
    claim = await ledger.claim(intent(), rules(later))
    assert claim.entry is not None
    await ledger.mark_posted(claim.entry.number, Post(later, 0.0), BODY)
    await ledger.mark_answered(claim.entry.number, task(credits_reserved=25.5), later)
    advice = await is_allowed(ledger, intent("dog"), EPOCH + DAY + 1, 30)
    assert advice is not None
    assert await is_allowed(ledger, intent("dog"), later + DAY - 1, 30) is not None
    assert await is_allowed(ledger, intent("dog"), later + DAY, 30) is None


async def test_what_is_being_prepared_counts_already(ledger: OwnerLedger) -> None:
    """Two requests at once cannot both have the last credits; a repeat and what is gone on with cost none."""
    entry = await claimed(ledger)
    assert await is_allowed(ledger, intent("dog"), EPOCH, 50) is not None
    await ledger.release(entry.number)
    assert await is_allowed(ledger, intent("dog"), EPOCH, 50) is None
    await lose(ledger)
    assert (await ledger.claim(intent(), rules(daily_credits=1, request_credits=1))).kind == "resume"


async def test_a_refusal_says_the_numbers(ledger: OwnerLedger) -> None:
    """What was spent, what this would cost, the cap and its setting, in credits and dollars."""
    await make(ledger, credits_reserved=25.5)
    with pytest.raises(CapReached) as raised:
        await ledger.claim(intent("dog"), rules(EPOCH + 1, daily_credits=30))
    for fact in (
        "30 credits ($0.44) (WAN_MCP_DAILY_CREDITS)",
        "25.5 credits ($0.38) were spent",
        "estimated at 25.5 credits ($0.38)",
    ):
        assert fact in raised.value.message
    assert raised.value.charged == "no"
