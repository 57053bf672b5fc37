"""Credits and dollars, wherever a model or a user decides about money."""

import pytest

from tests.calls import ARGUMENTS, answer, call, text
from tests.clock import now
from tests.world import World
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio

USUAL = "about 25.5 credits ($0.38) for 5 s at 720p"


async def test_the_price_is_said_before_anything_is_requested(world: World) -> None:
    """In the tool's description, the instructions and the prompt."""
    async with world.client() as client:
        tools = {tool.name: tool.description or "" for tool in (await client.list_tools()).tools}
        prompt = await client.get_prompt("animate_image", {"image": "~/cat.png", "idea": "it yawns"})
        assert USUAL in tools["generate_video"]
        assert USUAL in (client.instructions or "")
        assert USUAL in str(prompt.messages[0].content)


@pytest.mark.parametrize(
    ("quality", "said"), [("480p", "12.75 credits ($0.19)"), ("1080p", "42.59 credits ($0.63)")]
)
async def test_answers_lists_and_the_balance_say_both(world: World, quality: str, said: str) -> None:
    """Reserved at first, used at the end."""
    async with world.client() as client:
        asked = await call(client, "generate_video", **ARGUMENTS, quality=quality)
        assert asked.structured_content is not None
        assert f"{said} reserved" in text(asked)
        for _ in range(3):
            done = await call(client, "wait_for_task", task_id=asked.structured_content["id"])
        listed = await call(client, "list_tasks")
        balance = await call(client, "get_credits")
    assert f"It cost {said}." in text(done)
    assert said in text(listed)
    for result in (asked, done):
        assert (result.structured_content or {})["dollars"] in said
    assert "credits ($14." in text(balance)
    assert (balance.structured_content or {})["dollars"].startswith("$14.")


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (
            "insufficient_quota",
            "the user can add credits in the Evolink dashboard, https://evolink.ai/dashboard",
        ),
        ("INSUFFICIENT_USER_QUOTA", "in the Evolink dashboard, https://evolink.ai/dashboard"),
        (
            "key_quota_exhausted",
            "the user can raise it in the Evolink dashboard, https://evolink.ai/dashboard",
        ),
        (
            "key_daily_quota_exhausted",
            "wait until tomorrow, or ask the user to raise it in the Evolink",
        ),
        ("something_else", "in the Evolink dashboard, https://evolink.ai/dashboard"),
    ],
)
async def test_out_of_credits_says_what_is_needed_what_is_left_and_where_to_get_more(
    world: World, code: str, advice: str
) -> None:
    """Nothing was charged, and the same request works once there are enough."""
    world.sandbox.faults.add(Fault("submit", "status", status=402, code=code))
    async with world.client() as client:
        refused = await call(client, "generate_video", **ARGUMENTS, duration=10, quality="480p")
        assert refused.is_error
        assert "This video needs about 25.5 credits ($0.38)." in text(refused)
        assert "The account has 1000 credits ($14.71) left." in text(refused)
        assert advice in text(refused)
        assert text(refused).endswith("Nothing was charged.")
        assert [call.at for call in world.records.calls].count("credits") == 1
        again = await answer(client, "generate_video", **ARGUMENTS, duration=10, quality="480p")
    assert again["status"] == "pending"
    assert len(world.records.paid) == 1


@pytest.mark.parametrize(
    ("code", "key", "advice"),
    [
        ("", {"remaining_credits": 2}, "This key's own limit is used up: the user can raise it"),
        (
            "quota_exceeded",
            {"remaining_credits": 2},
            "This key's own limit is used up: the user can raise it",
        ),
        ("key_daily_quota_exhausted", {"remaining_credits": 2}, "wait until tomorrow"),
        ("", {"remaining_credits": 2, "unlimited_credits": True}, "the user can add credits"),
    ],
)
async def test_where_the_key_has_too_little_credits_are_not_what_to_add(
    world: World, code: str, key: dict[str, object], advice: str
) -> None:
    """Also where the refusal does not say which limit is reached, but the balance shows it."""
    world.sandbox.faults.add(Fault("submit", "status", status=402, code=code))
    body = {"data": {"user": {"remaining_credits": 1000}, "token": key}}
    world.sandbox.faults.add(Fault("credits", "patch", body=body))
    async with world.client() as client:
        refused = await call(client, "generate_video", **ARGUMENTS)
    assert advice in text(refused)
    assert ("add credits" in text(refused)) == ("add credits" in advice)


@pytest.mark.parametrize("kind", ["dropped", "garbage", "slow", "status"])
async def test_a_balance_that_cannot_be_read_is_left_out(world: World, kind: str) -> None:
    """The refusal still comes, a few seconds later at most."""
    details = {"status": 500} if kind == "status" else {"seconds": 60} if kind == "slow" else {}
    world.sandbox.faults.add(Fault("submit", "status", status=402, code="insufficient_quota"))
    world.sandbox.faults.add(Fault("credits", kind, times=None, **details))
    async with world.client() as client:
        began = now()
        refused = await call(client, "generate_video", **ARGUMENTS)
    assert now() - began < 10
    assert "This video needs about 25.5 credits ($0.38). (request id" in text(refused)
    assert "left" not in text(refused)
    assert "https://evolink.ai/dashboard" in text(refused)
    assert text(refused).endswith("Nothing was charged.")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "WAN_MCP_REQUEST_CREDITS",
            "A request may cost 20 credits ($0.29) at most (WAN_MCP_REQUEST_CREDITS), and this video is "
            "estimated at 25.5 credits ($0.38).",
        ),
        (
            "WAN_MCP_DAILY_CREDITS",
            "The daily cap of 20 credits ($0.29) (WAN_MCP_DAILY_CREDITS) would be exceeded: 0 credits "
            "($0.00) were spent in the last 24 hours, and this video is estimated at 25.5 credits ($0.38).",
        ),
    ],
)
async def test_a_cap_says_both_numbers_and_what_fits(world: World, setting: str, said: str) -> None:
    """Nothing was sent, and the model knows what it may request instead."""
    async with world.client(**{setting: "20"}) as client:
        refused = text(await call(client, "generate_video", **ARGUMENTS))
    assert refused == (
        f"{said} 5 s at 480p would cost 12.75 credits ($0.19). Or whoever runs this server can raise the cap "
        "and restart it. Nothing was sent or charged."
    )
    assert world.records.posts == 0
