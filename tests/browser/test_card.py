"""The card in a real browser, before a host that answers as each test says."""

import math
from typing import Any

import pytest

from tests.browser import states
from tests.browser.browser import DOMAINS, READS
from tests.browser.conftest import MakeHost
from tests.browser.media import ALWAYS, Media
from tests.browser.states import (
    LINK,
    NO_POSTER,
    OTHER_LINK,
    PARENT,
    PROMPT,
    SAVED,
    TASK,
    completed,
    dead,
    failed,
    part,
    refused,
    saved,
    working,
)
from wan_mcp.generation.owners import OWN_KEYS
from wan_mcp.server.results import TaskView

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

NEVER_PLAYS = {LINK: ALWAYS, OTHER_LINK: ALWAYS}
WITHOUT: dict[str, dict[str, Any]] = {
    key: {name: {} for name in states.ABLE if name != key} for key in states.ABLE
}
"""What a host can do that lacks one of them."""


def answer(result: dict[str, Any]) -> dict[str, Any]:
    return {"result": result}


# Hosted


async def test_the_card_of_a_hosted_server_offers_only_what_that_server_can_do(host: MakeHost) -> None:
    """It waits until the video is kept, keeps it on request, and says of no file that it is missing."""
    async with host(deployment=OWN_KEYS) as at:
        await at.begin(completed(**part()))
        await at.shows("The video is ready", "The link works until")
        await at.passes(5)
        assert await at.buttons() == ["Another take", "Continue", "Join the parts", "Open", "Save*"]
        assert len(await at.sent("wait_for_task")) == 1
    async with host(deployment=OWN_KEYS) as at:
        await at.begin(completed(kept_until=states.UNTIL))
        await at.passes(5)
        assert await at.buttons() == ["Another take", "Continue", "Open*"]
        assert await at.sent("wait_for_task") == []
    async with host(deployment=OWN_KEYS) as at:
        await at.script(READS, answer(dead()))
        await at.begin(dead(**part()))
        await at.shows("The link no longer works", "The video is gone.")
        assert "saved" not in await at.text()
        assert await at.buttons() == ["Another take*"]


# Following


async def test_the_card_follows_a_task_and_plays_its_video(host: MakeHost, media: Media) -> None:
    """It reads when the answer says, half a second after the server itself, and stops at the end."""
    async with host() as at:
        await at.script("resources/read", states.poster())
        await at.script(READS, answer(working(70, next_read=5, left=30)), answer(saved()))
        await at.begin(working(40, next_read=8, left=80))
        await at.shows("Making the video", "40 %", "About 80 s left.", "25.5 credits ($0.38) reserved")
        await at.passes(8.4)
        assert await at.sent(READS) == []
        await at.passes(0.2)
        read = await at.asked(READS)
        assert read["params"] == {"name": READS, "arguments": {"task_id": TASK}}
        await at.shows("70 %", "About 30 s left.")
        await at.passes(6)
        await at.shows(
            "The video is ready",
            f"Saved at {SAVED}",
            "5.04 s · 640\u00d7360 · 2.13 MB · 25.5 credits ($0.38)",
        )
        await at.shows("The link works until 22 Sept 2026, 12:53.")
        await at.plays()
        assert await at.card.evaluate("() => document.querySelector('video').videoWidth") > 0
        assert await at.card.evaluate("() => document.querySelector('video').paused")
        await at.passes(3600)
        assert len(await at.sent(READS)) == 2
        assert await at.buttons() == ["Another take", "Continue", "Open*"]


async def test_the_poster_is_drawn_without_any_address(host: MakeHost) -> None:
    """Its bytes come as a resource; where they are missing at first, they are asked for once more."""
    async with host(domains="") as at:
        await at.script("resources/read", NO_POSTER, states.poster())
        await at.script(READS, answer(working(50)))
        await at.begin(working())
        await at.shows(PROMPT)
        await at.passes(11)
        await at.card.wait_for_function("() => document.getElementById('poster').width === 640")
        colour = await at.card.evaluate(
            "() => [...document.getElementById('poster').getContext('2d').getImageData(320, 150, 1, 1).data]"
        )
        assert colour[0] > 240
        assert PROMPT not in await at.text()
        assert len(await at.sent("resources/read")) == 2


async def test_percentages_never_fall_and_the_time_left_does_not_jump(host: MakeHost) -> None:
    """Small corrections upwards are not shown; large ones are."""
    async with host() as at:
        later = [working(30, left=75), working(55, left=60), working(60, left=600, next_read=300)]
        await at.script(READS, *map(answer, later))
        await at.begin(working(50, left=80))
        await at.passes(11)
        await at.shows("50 %", "About 70 s left.")
        await at.passes(11)
        await at.shows("55 %", "About 60 s left.")
        await at.passes(11)
        await at.shows("60 %", "About 10 min left.")
        await at.passes(301)
        await at.shows("About 10 min left.")


@pytest.mark.parametrize("pace", [None, "soon", -4, math.nan, math.inf, {}])
async def test_without_a_usable_pace_it_reads_every_ten_seconds(host: MakeHost, pace: Any) -> None:
    """Also before a host that leaves out what is for hosts."""
    running = working() | {"_meta": {"wan-mcp/next_read_seconds": pace, "wan-mcp/time_left_seconds": pace}}
    async with host() as at:
        await at.script(READS, answer(running))
        await at.begin(running)
        await at.passes(10.4)
        assert await at.sent(READS) == []
        await at.passes(0.2)
        await at.asked(READS)


async def test_a_pace_of_zero_reads_at_most_once_in_a_second(host: MakeHost) -> None:
    """Whatever the answers say."""
    async with host() as at:
        await at.script(READS, answer(working(next_read=0)))
        await at.begin(working(next_read=0))
        await at.passes(5)
        assert len(await at.sent(READS)) <= 5


async def test_a_conversation_that_is_opened_again_reads_at_once(host: MakeHost) -> None:
    """What the old answer says may have changed; a fresh one is not read again so soon."""
    async with host() as at:
        await at.script(READS, answer(saved()))
        await at.begin(working(created=states.NOW - 3600))
        await at.passes(0.1)
        await at.shows("The video is ready")
        assert len(await at.sent(READS)) == 1


async def test_a_video_that_is_saved_a_moment_later_is_said_to_be(host: MakeHost) -> None:
    """By one wait, which causes no other read, even if the host repeats its answer."""
    async with host() as at:
        await at.script(READS, answer(completed()))
        await at.script("wait_for_task", answer(saved()))
        await at.begin(working(90, next_read=1))
        await at.passes(2)
        await at.shows("The video is ready")
        assert await at.buttons() == ["Another take", "Continue", "Open", "Save*"]
        await at.notify("tool-result", completed())
        await at.passes(1.1)
        await at.shows(f"Saved at {SAVED}")
        await at.passes(3600)
        assert len(await at.sent(READS)) == len(await at.sent("wait_for_task")) == 1


# Faults of reads


async def test_reads_that_fail_become_rare_and_are_said(host: MakeHost) -> None:
    """After 10, 20, 40 seconds and so on; what is known stays."""
    faults = [
        {"error": {"code": -32000, "message": "no <b>connection</b>"}},
        answer(refused("The API does not answer.")),
        answer({"structuredContent": {"id": "task-other", "status": "completed"}}),
        answer({}),
        {"error": None},
        answer(working(80)),
    ]
    async with host() as at:
        await at.script(READS, *faults)
        await at.begin(working(40, left=None))
        await at.passes(11)
        await at.shows("40 %", "The last read failed: no <b>connection</b>. Trying again after 10 s.")
        for seconds, words in (
            (10, "The API does not answer. Trying again after 20 s"),
            (20, "40 s"),
            (40, "80 s"),
            (80, "160 s"),
        ):
            await at.passes(seconds + 0.1)
            await at.shows(words)
        await at.passes(160.1)
        await at.shows("80 %")
        assert "failed" not in await at.text()
        assert len(await at.sent(READS)) == 6


async def test_a_card_whose_reads_always_fail_gives_up(host: MakeHost) -> None:
    """The user denies each call, or the task is unknown: the card then says to ask in the chat."""
    async with host() as at:
        await at.script(READS, {"error": {"code": -32000, "message": "user denied"}})
        await at.begin(working(40, left=30))
        for delay in (10, 10, 20, 40, 80, 160, 320, 640):
            await at.passes(delay + 0.6)
        await at.shows("ask in the chat how it is going. The last read failed: user denied.")
        assert await at.buttons() == ["Ask how it is going*"]
        await at.passes(1300)
        assert len(await at.sent(READS)) == 8
        assert "left" not in await at.text()
        assert "Almost" not in await at.text()


async def test_a_read_after_the_end_that_fails_is_not_worth_a_word(host: MakeHost) -> None:
    """The video plays, and nothing else is missing."""
    async with host() as at:
        await at.script("wait_for_task", {"error": {"code": -32000, "message": "user denied"}})
        await at.begin(completed())
        await at.passes(2)
        assert len(await at.sent("wait_for_task")) == 1
        assert "denied" not in await at.text()
        assert await at.buttons() == ["Another take", "Continue", "Open", "Save*"]


async def test_an_answer_without_its_envelope_is_understood(host: MakeHost) -> None:
    """Some hosts answer a call with the structured content alone."""
    async with host() as at:
        await at.script(READS, answer(saved()["structuredContent"]))
        await at.begin(working(40, next_read=1))
        await at.passes(2)
        await at.shows("The video is ready", SAVED)


async def test_a_read_that_is_never_answered_is_given_up_before_the_next(host: MakeHost) -> None:
    """No two are under way at the same time."""
    async with host() as at:
        await at.begin(working(40))
        await at.passes(11)
        first = await at.asked(READS)
        await at.passes(59)
        assert len(await at.sent(READS)) == 1
        await at.passes(1)
        await at.shows("The last read failed: the chat did not answer.")
        given_up = [message["params"]["requestId"] for message in await at.sent("notifications/cancelled")]
        assert first["id"] in given_up
        await at.passes(11)
        assert len(await at.sent(READS)) == 2


async def test_after_the_teardown_nothing_is_read(host: MakeHost) -> None:
    """Also in the middle of a read, whose answer comes too late."""
    async with host() as at:
        await at.begin(working(40))
        await at.passes(11)
        read = await at.asked(READS)
        await at.post(
            {"jsonrpc": "2.0", "id": "end", "method": "ui/resource-teardown", "params": {"reason": "x"}}
        )
        await at.settled()
        before = await at.page.evaluate("() => sent.filter(message => message.method)")
        assert {"jsonrpc": "2.0", "id": "end", "result": {}} in await at.page.evaluate("() => sent")
        await at.post({"jsonrpc": "2.0", "id": read["id"], "result": completed()})
        await at.notify("tool-result", completed())
        await at.passes(7200)
        assert await at.page.evaluate("() => sent.filter(message => message.method)") == before
        assert await at.card.locator("video").count() == 0


# The video


async def test_a_link_that_fails_once_plays_after_a_fresh_read(host: MakeHost, media: Media) -> None:
    """One read, and the video is there."""
    media.broken = {LINK: 1}
    async with host() as at:
        await at.script(READS, answer(saved()))
        await at.begin(saved())
        await at.plays()
        assert len(await at.sent(READS)) == 1
        assert media.requests[LINK] >= 2


async def test_every_link_is_tried(host: MakeHost, media: Media) -> None:
    """The second plays where the first never does."""
    media.broken = {LINK: ALWAYS}
    async with host() as at:
        await at.script(READS, answer(saved(results=[LINK, OTHER_LINK])))
        await at.begin(saved(results=[LINK, OTHER_LINK]))
        await at.plays()
        assert await at.card.evaluate("() => document.querySelector('video').src") == OTHER_LINK


@pytest.mark.parametrize("domains", [DOMAINS, ""], ids=["dead", "undeclared"])
async def test_where_no_link_works_the_poster_and_the_buttons_stay(
    host: MakeHost, media: Media, domains: str
) -> None:
    """One fresh read and no more, a sentence, and buttons that lead to the video."""
    media.broken = dict(NEVER_PLAYS)
    async with host(domains=domains) as at:
        await at.script("resources/read", states.poster())
        await at.script(READS, answer(completed(results=[LINK, OTHER_LINK])))
        await at.begin(completed(results=[LINK, OTHER_LINK]))
        await at.shows("The video does not play in this chat.")
        await at.card.wait_for_function("() => !document.getElementById('poster').hidden")
        assert await at.card.locator("#poster").is_visible()
        assert await at.buttons() == ["Another take", "Continue", "Open*", "Save"]
        in_order = await at.card.locator("#buttons button:visible").all_inner_texts()
        assert in_order == ["Open", "Save", "Continue", "Another take"]
        await at.passes(3600)
        assert await at.card.locator("video").count() == 0
        assert len(await at.sent(READS)) == 1


async def test_links_that_never_answer_are_given_up(host: MakeHost, media: Media) -> None:
    """Each after 20 seconds; the links are read again only once, even if there are many."""
    links = [f"https://results.evolink.ai/{number}.mp4" for number in range(5)]
    media.silent = set(links)
    async with host() as at:
        await at.script(READS, answer(saved(results=links)))
        await at.begin(saved(results=links))
        for _ in range(10):
            await at.passes(20.1)
        await at.shows("The video does not play in this chat.")
        assert len(await at.sent(READS)) == 1


async def test_addresses_that_are_not_of_the_web_are_never_used(host: MakeHost) -> None:
    """Neither played nor opened."""
    links = ["javascript:alert(1)", "data:video/mp4;base64,AAAA", "file:///etc/passwd", 7, None, {"a": 1}]
    async with host() as at:
        await at.begin(completed(results=links, expires_at=states.UNTIL))
        await at.shows("The link no longer works")
        assert await at.card.locator("video").count() == 0
        assert await at.buttons() == ["Another take*"]


# A day later


@pytest.mark.parametrize(
    ("view", "said", "buttons"),
    [
        (dead(saved_to=SAVED), f"Saved at {SAVED}", ["Another take", "Continue*"]),
        (dead(**part()), "it is gone", ["Another take*"]),
    ],
)
async def test_a_day_later_the_card_says_where_the_video_is(
    host: MakeHost, view: dict[str, Any], said: str, buttons: list[str]
) -> None:
    """The link is dead, and the file is named, or that there is none; then nothing can go on from it."""
    async with host() as at:
        await at.script(READS, answer(view))
        await at.begin(completed(created=states.NOW - 2 * 86400, expires_at=states.EXPIRED))
        await at.passes(0.1)
        await at.shows("The link no longer works", said, "The link worked until 20 Sept 2026, 12:53.", PROMPT)
        assert await at.card.locator("video").count() == 0
        assert await at.buttons() == buttons


async def test_a_link_past_its_end_is_not_offered_though_no_read_succeeds(host: MakeHost) -> None:
    """The card knows the end; it neither plays nor opens the link, and says where the file is."""
    async with host() as at:
        await at.script(READS, answer(refused("The API does not answer.")))
        await at.begin(saved(created=states.NOW - 2 * 86400, expires_at=states.EXPIRED))
        await at.passes(0.1)
        await at.shows("The link no longer works", f"Saved at {SAVED}", "The API does not answer.")
        assert await at.card.locator("video").count() == 0
        assert await at.buttons() == ["Another take", "Continue*"]


# Failed, refused, interrupted


async def test_a_failed_task_says_why_and_what_it_cost(host: MakeHost) -> None:
    """No player, nothing charged, and one thing to do."""
    async with host() as at:
        await at.script(READS, answer(failed()))
        await at.begin(working(40, next_read=1))
        await at.passes(2)
        await at.shows(
            "The video could not be made",
            "a person whose face cannot be used",
            "content_policy_violation",
            "Nothing was charged.",
        )
        assert await at.card.locator("video").count() == 0
        assert await at.card.locator("#bar").is_hidden()
        assert await at.buttons() == ["Ask what to change*"]
        await at.passes(600)
        assert len(await at.sent(READS)) == 1


async def test_a_refused_call_is_shown_in_its_own_words(host: MakeHost) -> None:
    """Only text comes with it."""
    async with host() as at:
        await at.begin(refused("The prompt is empty. Nothing was sent or charged."))
        await at.shows("No video yet", "The prompt is empty. Nothing was sent or charged.")
        assert await at.buttons() == []
        assert await at.card.locator("#bar").is_hidden()


async def test_a_cancelled_call_does_not_claim_that_the_video_is_cancelled(host: MakeHost) -> None:
    """Cancelling a call does not cancel the request."""
    async with host() as at:
        await at.ready()
        await at.notify("tool-cancelled", {"reason": "user action"})
        await at.shows("The call was interrupted", "it is made")


# Hosts that lack something


async def test_where_no_tool_can_be_called_the_card_says_to_ask(host: MakeHost) -> None:
    """The state of the answer stays, and no read is tried."""
    async with host(capabilities=WITHOUT["serverTools"]) as at:
        await at.begin(working(40))
        await at.shows("40 %", "ask in the chat how it is going")
        await at.passes(600)
        assert await at.sent(READS) == []
        assert await at.buttons() == ["Ask how it is going*"]


async def test_an_old_answer_says_no_time_left(host: MakeHost) -> None:
    """It was an estimate of that time."""
    async with host(capabilities=WITHOUT["serverTools"]) as at:
        await at.begin(working(40, left=80, created=states.NOW - 86400))
        await at.shows("40 %", "ask in the chat how it is going")
        assert "left" not in await at.text()


async def test_without_links_nothing_is_offered_to_open(host: MakeHost, media: Media) -> None:
    """Where it does not play either, the card says where the video is."""
    media.broken = dict(NEVER_PLAYS)
    async with host(capabilities=WITHOUT["openLinks"]) as at:
        await at.script(READS, answer(saved()))
        await at.begin(saved())
        await at.shows("The video does not play in this chat. Open the saved file.")
        assert await at.buttons() == ["Another take", "Continue*"]


async def test_without_messages_nothing_is_offered_to_ask(host: MakeHost) -> None:
    """Neither after a success nor after a failure."""
    async with host(capabilities=WITHOUT["message"]) as at:
        await at.begin(saved())
        await at.shows("The video is ready")
        assert await at.buttons() == ["Open*"]


async def test_without_resources_the_prompt_is_shown(host: MakeHost) -> None:
    """No poster is asked for."""
    async with host(capabilities=WITHOUT["serverResources"]) as at:
        await at.begin(working())
        await at.shows(PROMPT)
        assert await at.sent("resources/read") == []


async def test_the_card_says_that_its_host_never_answers(host: MakeHost) -> None:
    """After some seconds; it still shows an answer that arrives."""
    async with host(silent=True) as at:
        await at.passes(5.1)
        await at.shows("This card cannot follow the video here")
        await at.notify("tool-result", working(40))
        await at.shows("40 %")
        await at.notify("tool-result", saved())
        await at.shows("The video is ready", SAVED)
        await at.passes(600)
        assert await at.sent(READS) == []


async def test_the_card_follows_the_task_once_a_late_host_answers(host: MakeHost) -> None:
    """The card no longer waits for it then."""
    async with host(silent=True) as at:
        await at.passes(6)
        await at.notify("tool-result", working(40))
        (hello,) = await at.sent("ui/initialize")
        await at.post({"jsonrpc": "2.0", "id": hello["id"], "result": {"hostCapabilities": states.ABLE}})
        await at.ready()
        await at.passes(11)
        await at.asked(READS)


# What others wrote


HOSTILE = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


async def test_what_others_wrote_stays_text(host: MakeHost) -> None:
    """In the prompt, an error, a file's name, a refusal and a failed read."""
    async with host() as at:
        await at.script(READS, {"error": {"code": 1, "message": HOSTILE}}, answer(failed(HOSTILE)))
        await at.begin(working(quality=HOSTILE), prompt=HOSTILE)
        await at.shows("onerror='window.hacked")
        await at.passes(11)
        await at.shows("The last read failed: <script>")
        await at.passes(11)
        await at.shows("The video could not be made", "<script>window.hacked = 1</script>")
        assert await at.card.evaluate("() => window.hacked") is None
        assert await at.card.locator("main img, main script").count() == 0


NOT_OURS: list[Any] = [None, [], "text", 7, {}, {"content": None}, {"content": [None, 7, {"type": "image"}]}]
STRUCTURES: list[Any] = [None, [], "x", {"tasks": []}, {"id": 7}]
STRUCTURES += [{"id": TASK, "status": odd} for odd in ("toString", "constructor", None, 7)]
NOT_OURS += [{"structuredContent": structure} for structure in STRUCTURES]


@pytest.mark.parametrize("result", NOT_OURS, ids=str)
async def test_an_answer_that_is_not_ours_is_not_shown_as_a_video(host: MakeHost, result: Any) -> None:
    """A sentence, and nothing is read."""
    async with host() as at:
        await at.begin(result)
        await at.shows("No video yet", "The answer has no video to show.")
        await at.passes(600)
        assert await at.sent(READS) == []
        await at.notify("tool-result", working(40))
        await at.shows("40 %")
        await at.notify("tool-result", result)
        await at.settled()
        assert "40 %" in await at.text()


ODD = [math.nan, math.inf, -math.inf, -5, 1e300, "7", None, [], {}, True]


@pytest.mark.parametrize("odd", ODD, ids=str)
async def test_odd_values_are_left_out(host: MakeHost, odd: Any) -> None:
    """No field breaks the card, whatever is in it."""
    fields = (
        "progress",
        "duration",
        "quality",
        "credits",
        "dollars",
        "file",
        "expires_at",
        "saved_to",
        "image",
        "error",
    )
    view = dict.fromkeys((*fields, "created", "results", "take"), odd)
    numbers = {
        "credits": {"used": odd, "reserved": odd},
        "file": {"bytes": odd, "seconds": odd, "width": odd, "height": odd},
    }
    async with host() as at:
        errors: list[str] = []
        at.page.on("pageerror", lambda error: errors.append(str(error)))
        await at.begin(working(), prompt=odd)
        for status in ("processing", "completed"):
            for more in ({}, numbers):
                result = {"structuredContent": {"id": TASK, "status": status} | view | more}
                await at.notify("tool-result", result)
                text = await at.text()
                assert not {"NaN", "Infinity", "undefined", "null", "[object"} & set(text.split()), text
                assert "NaN" not in text
                assert "object" not in text
        assert errors == []
        await at.shows("The link no longer works")


@pytest.mark.parametrize(
    "task_id", ["task-../x", "task-", "x", "task-a b", "task-" + "a" * 200, "task-<b>", ""]
)
async def test_an_id_that_no_task_has_goes_nowhere(host: MakeHost, task_id: str) -> None:
    """It is not read, not put into an address and not into the chat."""
    async with host() as at:
        await at.begin(completed(id=task_id))
        await at.shows("The video is ready")
        await at.passes(600)
        assert await at.buttons() == ["Open*"]
        assert await at.sent(READS) == await at.sent("resources/read") == []


async def test_an_answer_about_another_task_changes_nothing(host: MakeHost) -> None:
    """A card follows one task; and an old answer does not undo the end."""
    async with host() as at:
        await at.begin(saved())
        await at.shows("The video is ready")
        await at.notify("tool-result", working(id="task-another"))
        await at.notify("tool-result", working(10))
        assert "The video is ready" in await at.text()


async def test_messages_of_other_windows_are_ignored(host: MakeHost) -> None:
    """Only the window that embeds the card speaks to it."""
    async with host() as at:
        await at.ready()
        await at.page.evaluate(
            """message => new Promise(resolve => {
                const other = document.body.appendChild(document.createElement("iframe"));
                const words = `parent.frames[0].postMessage(${JSON.stringify(message)}, "*")`;
                other.srcdoc = `<script>${words}</` + "script>";
                other.onload = resolve;
            })""",
            {"jsonrpc": "2.0", "method": "ui/notifications/tool-result", "params": saved()},
        )
        assert "Starting the video" in await at.text()


@pytest.mark.parametrize(
    "message",
    [None, 7, "x", [], {}, {"jsonrpc": "1.0", "method": "ping", "id": 1}, {"jsonrpc": "2.0"}]
    + [{"jsonrpc": "2.0", "id": 99, "result": {}}, {"jsonrpc": "2.0", "method": 7}]
    + [
        {"jsonrpc": "2.0", "method": f"ui/notifications/{name}"}
        for name in ("tool-input", "tool-result", "x")
    ]
    + [
        {
            "jsonrpc": "2.0",
            "method": "ui/notifications/host-context-changed",
            "params": {"theme": 7, "styles": 7},
        }
    ],
    ids=str,
)
async def test_malformed_messages_are_ignored(host: MakeHost, message: Any) -> None:
    """The card goes on."""
    async with host() as at:
        errors: list[str] = []
        at.page.on("pageerror", lambda error: errors.append(str(error)))
        await at.ready()
        await at.post(message)
        await at.notify("tool-result", working(40))
        await at.shows("40 %")
        assert errors == []


async def test_a_request_that_the_card_does_not_know_is_refused(host: MakeHost) -> None:
    """With the error that JSON-RPC has for it."""
    async with host() as at:
        await at.post({"jsonrpc": "2.0", "id": "odd", "method": "tools/list"})
        await at.settled()
        refusal = {"jsonrpc": "2.0", "id": "odd", "error": {"code": -32601, "message": "Method not found"}}
        assert refusal in await at.page.evaluate("() => sent")


# The buttons


async def test_the_save_button_saves(host: MakeHost) -> None:
    """Once, however often it is pressed; then the path is shown and has the focus."""
    async with host() as at:
        await at.begin(completed())
        await at.press("Save")
        call = await at.asked("save_video")
        assert call["params"]["arguments"] == {"task_id": TASK}
        await at.shows("Saving…")
        await at.press_again("Saving…")
        await at.post({"jsonrpc": "2.0", "id": call["id"], "result": saved()})
        await at.shows(f"Saved at {SAVED}")
        assert len(await at.sent("save_video")) == 1
        assert await at.buttons() == ["Another take", "Continue", "Open*"]
        assert await at.card.evaluate("() => document.activeElement.id") == "place"


async def test_a_save_that_fails_says_why(host: MakeHost) -> None:
    """And it can be tried again."""
    async with host() as at:
        await at.script(
            "save_video", answer(refused("The disk is full. Nothing was charged.")), answer(saved())
        )
        await at.begin(completed())
        await at.press("Save")
        await at.shows("The disk is full. Nothing was charged.")
        await at.press("Save")
        await at.shows(f"Saved at {SAVED}")
        assert "disk" not in await at.text()


async def test_the_open_button_opens_the_link(host: MakeHost) -> None:
    """And says so where the host does not open it."""
    async with host() as at:
        await at.script(
            "ui/open-link", answer({}), answer({"isError": True}), {"error": {"code": 1, "message": "No."}}
        )
        await at.begin(saved())
        await at.shows("The video is ready")
        await at.press("Open")
        assert (await at.asked("ui/open-link"))["params"] == {"url": LINK}
        await at.press("Open")
        await at.shows("The chat did not allow it.")
        await at.press("Open")
        await at.shows("No.")


@pytest.mark.parametrize(
    ("result", "button", "text"),
    [
        (
            saved(**part()),
            "Another take",
            f"Make another take of the video of task {TASK}: the same, with the next take.",
        ),
        (
            saved(),
            "Continue",
            f"Continue the video of task {TASK}: make the next part from its last frame. "
            "Ask me what should happen in it.",
        ),
        (
            saved(**part()),
            "Join the parts",
            f"Join the video of task {TASK} and the parts that it continues, in order, into one video.",
        ),
        (
            failed(HOSTILE),
            "Ask what to change",
            f"The video of task {TASK} could not be made. What should be changed?",
        ),
    ],
    ids=["take", "next", "join", "change"],
)
async def test_what_is_asked_in_the_chat_has_fixed_words(
    host: MakeHost, result: dict[str, Any], button: str, text: str
) -> None:
    """Without a word that others wrote, and only once; no tool is called."""
    async with host() as at:
        await at.script("ui/message", answer({}))
        await at.begin(result, prompt=HOSTILE)
        await at.press(button)
        message = await at.asked("ui/message")
        assert message["params"] == {"role": "user", "content": [{"type": "text", "text": text}]}
        await at.shows("Asked in the chat.")
        await at.press_again(button)
        assert len(await at.sent("ui/message")) == 1
        assert await at.sent("tools/call") == []


async def test_each_question_is_asked_once(host: MakeHost) -> None:
    """A button that was pressed is disabled; one that failed can be pressed again; the others stay."""
    disabled = (
        "() => [...document.querySelectorAll('[aria-disabled=true]')].map(button => button.textContent)"
    )
    async with host() as at:
        await at.begin(saved(**part()))
        await at.press("Continue")
        first = await at.asked("ui/message")
        await at.press("Join the parts")
        assert await at.card.evaluate(disabled) == ["Continue", "Join the parts"]
        _, second = await at.sent("ui/message")
        await at.post({"jsonrpc": "2.0", "id": first["id"], "result": {}})
        await at.post({"jsonrpc": "2.0", "id": second["id"], "result": {"isError": True}})
        await at.shows("The chat did not allow it.")
        assert await at.card.evaluate(disabled) == ["Continue"]
        assert await at.buttons() == ["Another take", "Continue", "Join the parts", "Open*"]


# Chains


@pytest.mark.parametrize("result", [working(**part()), saved(**part()), failed(**part())])
def test_the_server_has_the_fields_of_these_answers(result: dict[str, Any]) -> None:
    """So that no test tries a card for a server that does not exist."""
    view = result["structuredContent"]
    assert TaskView.model_validate(view, strict=True).model_dump(exclude_none=True).items() >= view.items()


@pytest.mark.parametrize(
    "result",
    [working(**part()), saved(**part()), dead(**part()), failed(**part())],
    ids=["running", "completed", "gone", "failed"],
)
async def test_a_part_says_its_place_and_what_it_continues(host: MakeHost, result: dict[str, Any]) -> None:
    """While it is made, when it is there, when it is gone, and when it failed."""
    async with host() as at:
        await at.begin(result)
        await at.shows(f"Part 3, continues {PARENT}")


async def test_a_completed_part_can_be_continued_and_joined(host: MakeHost) -> None:
    """In the order in which they are wanted; what keeps the video comes first."""
    async with host() as at:
        await at.begin(completed(**part()))
        await at.shows("The video is ready")
        in_order = await at.card.locator("#buttons button:visible").all_inner_texts()
        assert in_order == ["Save", "Open", "Continue", "Join the parts", "Another take"]
        assert "Save*" in await at.buttons()


@pytest.mark.parametrize("status", ["running", "failed"])
async def test_what_is_not_completed_is_neither_continued_nor_joined(host: MakeHost, status: str) -> None:
    """There is no last frame, and no part to join."""
    result = working(**part()) if status == "running" else failed(**part())
    async with host(capabilities=WITHOUT["serverTools"]) as at:
        await at.begin(result)
        await at.shows("Part 3")
        assert not {"Continue", "Continue*", "Join the parts"} & set(await at.buttons())


async def test_a_parent_that_no_task_can_be_is_not_shown_and_not_used(host: MakeHost) -> None:
    """The video is then one without parts."""
    words = ["", "x", "task-", "task-../x", "task-a b", "task-a\n", "<b>task-a</b>", "task-" + "a" * 200]
    others: list[Any] = [7, -1, True, None, {}, {"id": PARENT}, [PARENT], [[PARENT]]]
    async with host() as at:
        await at.begin(saved(**part()))
        await at.shows(f"continues {PARENT}")
        for continues in words + others:
            await at.notify("tool-result", saved(**part(continues)))
            seen = await at.text()
            assert "ontinues" not in seen, continues
            assert "Part" not in seen, continues
            assert await at.buttons() == ["Another take", "Continue", "Open*"], continues


async def test_a_place_that_no_part_has_is_left_out(host: MakeHost) -> None:
    """What the video continues is said all the same."""
    numbers = [0, 1, -3, 2.5, 1000, 1e300, math.nan, math.inf]
    others: list[Any] = [None, "3", "<b>3</b>", True, [3], {"a": 3}]
    async with host() as at:
        await at.begin(saved(**part()))
        await at.shows("Part 3")
        for place in numbers + others:
            await at.notify("tool-result", saved(**part(place=place)))
            seen = await at.text()
            assert f"Continues {PARENT}" in seen, place
            assert "Part" not in seen.replace("Join the parts", ""), place


async def test_a_video_without_a_picture_shows_its_prompt(host: MakeHost) -> None:
    """As generate_video_from_text makes it: there is never a poster, and nothing speaks of a picture."""
    async with host() as at:
        await at.script("resources/read", NO_POSTER)
        await at.script(READS, answer(working(70, next_read=1)), answer(saved()))
        await at.begin(working(40, next_read=1))
        await at.shows("40 %", PROMPT)
        await at.passes(2)
        await at.shows("70 %", PROMPT)
        await at.passes(2)
        await at.plays()
        assert PROMPT not in await at.text()
        assert await at.card.get_by_role("img").count() == 0
        assert await at.buttons() == ["Another take", "Continue", "Open*"]


# The host's style


async def test_the_card_follows_the_host(host: MakeHost) -> None:
    """Its theme, variables, insets and height, also when they change."""
    shown = {
        "theme": "dark",
        "styles": {"variables": {"--color-text-primary": "rgb(1, 2, 3)"}},
        "safeAreaInsets": {"top": 5, "right": 6, "bottom": 7, "left": 8},
    }
    applied = """() => {
        const style = getComputedStyle(document.body);
        return [style.colorScheme, getComputedStyle(document.querySelector("main")).color, style.padding];
    }"""
    async with host(shown=shown) as at:
        await at.begin(working())
        await at.shows("40 %")
        assert await at.card.evaluate(applied) == ["dark", "rgb(1, 2, 3)", "5px 6px 7px 8px"]
        await at.notify("host-context-changed", {"theme": "light"})
        await at.settled()
        assert await at.card.evaluate(applied) == ["light", "rgb(1, 2, 3)", "5px 6px 7px 8px"]


async def test_the_host_is_told_the_height(host: MakeHost) -> None:
    """All that the card shows fits into it, before and after the poster."""
    async with host() as at:
        await at.script("resources/read", states.poster())
        await at.begin(working())
        await at.card.wait_for_function("() => !document.getElementById('poster').hidden")
        await at.page.wait_for_function("() => document.getElementById('card').offsetHeight > 360")
        await at.card.wait_for_function("() => document.documentElement.scrollHeight <= innerHeight")


# Screen readers


async def test_quarters_and_changes_are_announced_and_nothing_else(host: MakeHost) -> None:
    """With the polite setting, and not every second."""
    async with host() as at:
        await at.card.evaluate(
            """() => {
                window.heard = [];
                const spoken = document.getElementById("spoken");
                new MutationObserver(() => heard.push(spoken.textContent)).observe(spoken, {childList: true});
            }"""
        )
        readings = [working(p, next_read=1) for p in (12, 26, 31, 48, 74, 76)]
        await at.script(READS, *map(answer, readings), answer(saved()))
        await at.begin(working(10, next_read=1))
        for _ in range(7):
            await at.passes(1.6)
        await at.shows("The video is ready")
        assert await at.card.evaluate("() => heard") == [
            "Making the video", "Making the video 25 %", "Making the video 50 %", "Making the video 75 %",
            "The video is ready",
        ]  # fmt: skip
