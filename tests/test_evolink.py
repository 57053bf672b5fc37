"""The client of the API: what it sends, how it reads answers, when it tries again, and what that costs."""

import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from tests.conftest import KEY, World, now, picture
from wan_mcp.errors import (
    Busy,
    ContentRefused,
    EvolinkError,
    InvalidRequest,
    LedgerError,
    LostAnswer,
    NotFound,
    OutcomeUnknown,
    OutOfCredits,
    Refused,
    ServerFault,
    SettingsError,
    Unauthorized,
    Unreachable,
    UnreadableAnswer,
)
from wan_mcp.evolink import MODEL, Credits, Evolink, Listing, Task, TaskError, Upload, VideoRequest
from wan_mcp.sandbox import Fault
from wan_mcp.sandbox.orders import read_order

pytestmark = pytest.mark.anyio

WISH: dict[str, Any] = {"prompt": "The cat yawns.", "image_urls": ["https://pictures.example.com/cat.png"]}
REQUEST = VideoRequest.model_validate(WISH)
ONCE = "wish-0123456789abcdef"
PICTURE = picture(360, 360)
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""However busy the machine is."""


async def show(url: str) -> bytes:
    return PICTURE


def account(**options: Any) -> World:
    return World(Path(), **({"seconds": 120, "fetch": show} | options))


def answering(answer: Callable[[httpx2.Request], httpx2.Response]) -> Evolink:
    return Evolink(SecretStr(KEY), transport=httpx2.MockTransport(answer))


def reply(payload: object, status: int = 200, **headers: str) -> httpx2.Response:
    """An answer that still has to be read, as one from a network."""
    body = httpx2.ByteStream(json.dumps(payload).encode())
    return httpx2.Response(status, headers=headers, stream=body)


def saying(payload: object, status: int = 200, **headers: str) -> Evolink:
    return answering(lambda _: reply(payload, status, **headers))


def moments(world: World, at: str) -> list[float]:
    return [call.time for call in world.books.calls if call.at == at]


# What is sent, and how the documented answers are read


async def test_a_submission_answers_with_the_task() -> None:
    """Every documented property of the answer is read."""
    world = account()
    task = await world.evolink().submit(REQUEST, idempotency_key=ONCE)
    [payment] = world.books.paid
    assert task == Task(
        id=payment.task_id,
        status="pending",
        progress=0,
        model=MODEL,
        created=int(payment.time),
        estimated_time=120,
        credits_reserved=25.5,
    )


async def test_a_submission_sends_what_was_given_and_no_more() -> None:
    """Body, key, idempotency key and who is asking."""
    world = account()
    full = {"duration": 10, "quality": "480p", "prompt_extend": False, "callback_url": "https://example.com"}
    for extra in ({}, full):
        await world.evolink().submit(
            VideoRequest.model_validate(WISH | extra), idempotency_key=ONCE + "x" * len(extra)
        )
    plain, rich = world.books.calls
    assert (plain.method, plain.path, plain.authorized) == ("POST", "/v1/videos/generations", True)
    assert plain.idempotency_key == ONCE
    assert plain.body == WISH | {"model": MODEL}
    assert rich.body == WISH | {"model": MODEL} | full
    assert plain.headers["content-type"] == "application/json"
    assert plain.headers["accept-encoding"] == "identity"
    assert plain.headers["user-agent"].startswith("wan-mcp/")


async def test_a_task_is_read_through_its_life() -> None:
    """Pending, processing, completed with a link and a price."""
    world = account()
    evolink = world.evolink()
    asked = await evolink.submit(REQUEST, idempotency_key=ONCE)
    assert await evolink.task(asked.id) == asked
    await anyio.sleep(60)
    running = await evolink.task(asked.id)
    assert running == asked.model_copy(update={"status": "processing", "progress": 50.0})
    assert not running.is_over
    await anyio.sleep(70)
    done = await evolink.task(asked.id)
    link = f"https://api.evolink.ai/results/{asked.id}.mp4"
    facts = {"status": "completed", "progress": 100.0, "results": (link,), "credits_used": 25.5}
    assert done == asked.model_copy(update=facts)
    assert done.is_over


@pytest.mark.parametrize(
    ("code", "retryable"),
    [
        ("content_policy_violation", False),
        ("invalid_parameters", False),
        ("image_processing_error", False),
        ("image_dimension_mismatch", False),
        ("generation_failed_no_content", False),
        ("resource_not_found", False),
        ("unknown_error", False),
        ("never_heard_of", False),
        ("service_error", True),
        ("generation_timeout", True),
        ("resource_exhausted", True),
        ("quota_exceeded", True),
        ("service_unavailable", True),
        ("request_cancelled", True),
        ("SERVICE_ERROR", True),
    ],
)
async def test_a_failed_task_says_why_and_whether_to_try_again(code: str, retryable: bool) -> None:
    """The list of codes is open: an unknown one is not worth retrying."""
    world = account(faults=[Fault("submit", "fail", code=code, message="It did not work.")])
    evolink = world.evolink()
    asked = await evolink.submit(REQUEST, idempotency_key=ONCE)
    await anyio.sleep(130)
    failed = await evolink.task(asked.id)
    assert (failed.status, failed.is_over) == ("failed", True)
    assert failed.error == TaskError(code=code, message="It did not work.")
    assert failed.error.retryable is retryable
    assert failed.credits_used == 0


async def test_a_submission_can_be_answered_with_a_failed_task() -> None:
    """It is a task, not an error: its id and reason are kept."""
    world = account(faults=[Fault("submit", "fail", code="content_policy_violation", at_once=True)])
    task = await world.evolink().submit(REQUEST, idempotency_key=ONCE)
    assert (task.id, task.status) == (world.books.paid[0].task_id, "failed")
    assert task.error is not None
    assert task.error.code == "content_policy_violation"


async def test_the_accounts_tasks_are_listed_page_by_page() -> None:
    """Newest first, 50 a page, only this model's; no links and no prompts are promised."""
    world = account(credits=10_000)
    evolink = world.evolink()
    ids = []
    for number in range(51):
        ids.append((await evolink.submit(REQUEST, idempotency_key=f"{ONCE}-{number}")).id)
    first, second, third = [await evolink.tasks(page=page) for page in (1, 2, 3)]
    assert [task.id for task in first.tasks + second.tasks] == ids[::-1]
    assert second.tasks == (
        Task(id=ids[0], status="pending", progress=0, model=MODEL, created=int(world.books.paid[0].time)),
    )
    assert third == Listing(tasks=())


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
        ("Sun, 06 Nov 1994 08:49:37 -0000", 784111777),
        ("Sun Nov  6 08:49:37 1994", 784111777),
        ("yesterday", None),
        ("", None),
    ],
)
async def test_a_list_of_tasks_has_their_clock(date: str, seconds: float | None) -> None:
    """The moment of the answer, in UTC whatever this machine's zone is."""
    entry = {"id": "task-unified-1", "status": "completed", "created_at": "2025-09-06T10:02:23Z"}
    listing = await saying({"data": [entry, {}, "junk", {"id": 7}]}, date=date).tasks()
    task = Task(id="task-unified-1", status="completed", created=1757152943)
    assert listing == Listing(tasks=(task,), server_time=seconds)


async def test_credits_are_read() -> None:
    """The account's and the key's."""
    world = account()
    await world.evolink().submit(REQUEST, idempotency_key=ONCE)
    assert await world.evolink().credits() == Credits(
        remaining=974.5, used=0, key_remaining=974.5, key_used=0, key_unlimited=False
    )


async def test_a_balance_may_be_negative_and_a_key_unlimited() -> None:
    """As the documentation shows it, and as it can become."""
    user = {"remaining_credits": -3.5, "used_credits": 1003.5}
    data = {"user": user, "token": {"unlimited_credits": True}}
    credits = await saying({"success": True, "data": data}).credits()
    assert credits == Credits(remaining=-3.5, used=1003.5, key_unlimited=True)


async def test_a_picture_is_uploaded() -> None:
    """One file, with its name and type; the answer has its address and when it goes."""
    world = account()
    start = now()
    upload = await world.evolink().upload("my cat.png", PICTURE, "image/png")
    assert upload.url.startswith("https://files-api.evolink.ai/files/")
    assert upload.url.endswith("/my%20cat.png")
    assert upload.expires_at is not None
    assert upload.expires_at == datetime.fromtimestamp(int(start + 72 * 3600), UTC)
    [call] = world.books.calls
    assert (call.path, call.authorized) == ("/api/v1/files/upload/stream", True)
    stored = world.sandbox.uploads.at(upload.url)
    assert stored is not None
    assert (stored.name, stored.mime_type, stored.content) == ("my cat.png", "image/png", PICTURE)


@pytest.mark.parametrize(
    "payload",
    [
        {"success": False, "code": 500, "msg": "no"},
        {"success": False, "data": {"file_url": "https://files.evolink.ai/a.png"}},
        {"success": "true", "data": {"file_url": "https://files.evolink.ai/a.png"}},
        {"success": True},
        {"success": True, "data": {"file_url": "file:///etc/passwd"}},
        {"success": True, "data": {"file_url": 5}},
        [],
        "done",
    ],
)
async def test_an_upload_that_only_seems_to_have_worked_is_an_error(payload: object) -> None:
    """HTTP 200 is not enough: it must say success, and where the file is."""
    with pytest.raises(UnreadableAnswer, match="did not take the picture") as caught:
        await saying(payload).upload("a.png", b"", "image/png")
    assert (caught.value.charged, bool(caught.value.next_step)) == ("no", True)


async def test_an_uploads_unreadable_date_is_left_out() -> None:
    """The address is what matters."""
    data = {"file_url": "https://files.evolink.ai/a.png", "expires_at": "soon"}
    upload = await saying({"success": True, "data": data}).upload("a.png", b"", "image/png")
    assert upload == Upload(url="https://files.evolink.ai/a.png")


async def test_an_id_cannot_leave_its_place_in_the_path() -> None:
    """Whatever a caller calls an id stays one segment of the path."""
    paths = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        paths.append(request.url.raw_path)
        return reply({"error": {"code": "task_not_found", "message": "none"}}, 404)

    for task_id in ("a/../../credits", "a?b=c", "a#b", "a b"):
        with pytest.raises(NotFound):
            await answering(handler).task(task_id)
    assert paths == [
        b"/v1/tasks/a%2F..%2F..%2Fcredits",
        b"/v1/tasks/a%3Fb%3Dc",
        b"/v1/tasks/a%23b",
        b"/v1/tasks/a%20b",
    ]


# Answers are read leniently

ID = "task-unified-1757169743-7cvnl5zw"
LINK, OTHER = "https://files.evolink.ai/a.mp4?sig=1", "http://media.evolink.ai/b.mp4"


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        ({}, {}),
        (
            {"status": "Completed ", "results": [LINK, OTHER]},
            {"status": "completed", "results": (LINK, OTHER)},
        ),
        ({"results": [{"url": LINK}, {"video_url": OTHER}]}, {"results": (LINK, OTHER)}),
        ({"results": {"video_url": LINK}}, {"results": (LINK,)}),
        ({"results": LINK}, {"results": (LINK,)}),
        ({"result_data": [{"url": LINK}]}, {"results": (LINK,)}),
        ({"results": [], "result_data": {"url": LINK}}, {"results": (LINK,)}),
        ({"results": [None], "result_data": [LINK]}, {"results": (LINK,)}),
        ({"results": [None, 5, {}, [LINK], {"url": 5}, "ftp://a/b", "a.mp4", LINK]}, {"results": (LINK,)}),
        ({"results": ["https://a.example/\ud800", "https://a.example/\n"]}, {}),
        ({"status": "canceled"}, {"status": "cancelled"}),
        ({"status": "CANCELLED"}, {"status": "cancelled"}),
        ({"status": "FAILED"}, {"status": "failed", "error": TaskError()}),
        ({"status": "polishing"}, {"status": "processing"}),
        ({"status": 5}, {"status": "processing"}),
        ({"status": None}, {"status": "processing"}),
        ({"status": ["completed"]}, {"status": "processing"}),
        ({"progress": 140}, {"progress": 100.0}),
        ({"progress": -3}, {"progress": 0.0}),
        ({"progress": "55"}, {"progress": 55.0}),
        ({"progress": "half"}, {}),
        ({"progress": True}, {}),
        ({"progress": float("nan"), "created": float("inf")}, {}),
        ({"created": 10**400, "progress": "1e999"}, {}),
        ({"created": {}, "progress": [], "model": 5}, {}),
        ({"model": ""}, {}),
        ({"model": "\ud800"}, {}),
        ({"task_info": None, "usage": None}, {}),
        ({"task_info": [], "usage": "none"}, {}),
        ({"task_info": {"estimated_time": "soon"}, "usage": {"credits_reserved": None}}, {}),
        ({"usage": {"credits_used": None, "cost": {"credits": 12.75}}}, {"credits_used": 12.75}),
        ({"usage": {"credits_used": 3, "cost": {"credits": 12.75}}}, {"credits_used": 3.0}),
        ({"usage": {"cost": 12.75}}, {}),
        ({"error": {"code": "service_error"}}, {}),
        (
            {"status": "failed", "error": "too bad"},
            {"status": "failed", "error": TaskError(message="too bad")},
        ),
        ({"status": "failed", "error": [1]}, {"status": "failed", "error": TaskError()}),
        (
            {"status": "failed", "error": {"code": 500, "message": None}},
            {"status": "failed", "error": TaskError(code="500")},
        ),
        (
            {"status": "failed", "error": {"code": {}, "message": "a\n b\ud800 https://a.example/b?sig=1"}},
            {"status": "failed", "error": TaskError(message="a b https://a.example/b?…")},
        ),
    ],
)
async def test_a_task_is_read_whatever_its_fields_are(fields: dict[str, Any], read: dict[str, Any]) -> None:
    """What cannot be used is absent; an id is all that it takes."""
    task = await saying({"id": ID} | fields).task(ID)
    assert task == Task.model_validate({"id": ID, "status": "processing"} | read)


@pytest.mark.parametrize(
    "payload", [None, [], "done", 5, True, {}, {"id": None}, {"id": ""}, {"id": 5}, {"id": "\ud800"}]
)
async def test_an_answer_without_an_id_is_no_task(payload: object) -> None:
    """It is said in words, with what to do; a read costs nothing."""
    with pytest.raises(UnreadableAnswer) as caught:
        await saying(payload).task(ID)
    assert (caught.value.charged, bool(caught.value.next_step)) == ("no", True)


@pytest.mark.parametrize(
    "payload",
    [
        [],
        {"success": True},
        {"data": []},
        {"data": {"user": {}}},
        {"data": {"user": {"remaining_credits": "many"}}},
        {"data": {"user": {"remaining_credits": None}, "token": {"remaining_credits": 5}}},
    ],
)
async def test_an_answer_without_a_balance_is_said(payload: object) -> None:
    """Nothing is guessed about money."""
    with pytest.raises(UnreadableAnswer, match="without a balance"):
        await saying(payload).credits()


@pytest.mark.parametrize("payload", [[], {}, {"data": {}}, {"data": None}, "none"])
async def test_an_answer_without_a_list_is_said(payload: object) -> None:
    """It is not taken for an empty one."""
    with pytest.raises(UnreadableAnswer, match="without a list"):
        await saying(payload).tasks()


async def test_completed_without_a_link_is_not_over() -> None:
    """The link follows; nothing is asked for anew."""
    assert not (await saying({"id": ID, "status": "completed"}).task(ID)).is_over


ODD = st.text(st.sampled_from("aé猫 \n\u2028\x1b\ud800"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ODD | st.just(LINK),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
PARTS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("credits_reserved", "credits_used", "cost", "estimated_time", "code", "message", "credits"), JSON
    ),
)
ANSWER = JSON | st.fixed_dictionaries(
    {"id": JSON | ODD | st.just(ID)},
    optional={
        "status": JSON | st.sampled_from(["completed", "failed", "canceled", "pending"]),
        **dict.fromkeys(("progress", "created", "created_at", "model"), JSON | ODD),
        **dict.fromkeys(("results", "result_data"), JSON | st.lists(st.just(LINK) | ODD.map(LINK.__add__))),
        **dict.fromkeys(("usage", "task_info", "error"), JSON | PARTS),
    },
)


@patient
@given(ANSWER)
def test_any_answer_is_a_task_or_unreadable(payload: object) -> None:
    """Never another exception; and what was read can be written down and read back."""
    for read in (Task.read, lambda value: Listing.read({"data": [value]}, "")):
        try:
            found = read(payload)
        except UnreadableAnswer:
            continue
        assert type(found).model_validate_json(found.model_dump_json()) == found
        assert type(found).model_validate(found.model_dump()) == found


@patient
@given(
    ANSWER
    | st.fixed_dictionaries(
        {
            "success": st.just(True) | JSON,
            "data": JSON
            | st.dictionaries(st.sampled_from(["user", "token", "file_url", "expires_at"]), JSON | PARTS),
        }
    )
)
def test_any_answer_is_a_balance_or_an_upload_or_unreadable(payload: object) -> None:
    """Never another exception."""
    for read in (Credits.read, Upload.read):
        try:
            found = read(payload)
        except UnreadableAnswer:
            continue
        assert type(found).model_validate_json(found.model_dump_json()) == found


# Requests are strict


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": ""},
        {"prompt": " \n"},
        {"prompt": "x" * 1001},
        {"prompt": "a\x00b"},
        {"prompt": "\ud800"},
        {"prompt": 5},
        {"prompt": None},
        {"image_urls": []},
        {"image_urls": WISH["image_urls"] * 2},
        {"image_urls": WISH["image_urls"][0]},
        {"image_urls": ["data:image/png;base64,AAAA"]},
        {"image_urls": ["ftp://example.com/a.png"]},
        {"image_urls": ["https://"]},
        {"image_urls": ["https://user:secret@example.com/a.png"]},
        {"image_urls": ["https://example.com/a b.png"]},
        {"image_urls": [5]},
        {"duration": 7},
        {"duration": "5"},
        {"duration": True},
        {"duration": 5.5},
        {"quality": "4k"},
        {"quality": 720},
        {"prompt_extend": "yes"},
        {"prompt_extend": 1},
        {"callback_url": "http://example.com"},
        {"callback_url": "https://10.0.0.1/hook"},
        {"callback_url": "https://localhost/hook"},
        {"callback_url": "https://example.com/" + "x" * 2048},
        {"model": "wan2.6-image-to-video"},
        {"seed": 1},
    ],
)
def test_a_request_that_breaks_a_rule_cannot_be_made(wrong: dict[str, Any]) -> None:
    """What the endpoint would refuse, or does not know, is no request."""
    with pytest.raises(ValidationError):
        VideoRequest.model_validate(WISH | wrong)


@patient
@given(
    st.fixed_dictionaries(
        {
            "prompt": st.text(max_size=1001) | st.sampled_from(["x" * 1000, "猫" * 1000, "x" * 1001]),
            "image_urls": st.lists(
                st.sampled_from([*WISH["image_urls"], "a.png", "http://[::1]/", "https://é.fr/a"])
            ),
        },
        optional={
            "duration": st.sampled_from([5, 10, 5.0, 6, "5", None, True]),
            "quality": st.sampled_from(["480p", "720p", "1080p", "", None]),
            "prompt_extend": st.booleans() | st.none() | st.integers(),
            "callback_url": st.sampled_from(
                [
                    "https://example.com/hook",
                    "https://1.1.1.1/",
                    "https://[::ffff:10.0.0.1]/",
                    "https://a.local",
                    "",
                ]
            ),
            "model": st.just(MODEL) | st.text(),
        },
    )
)
def test_every_request_that_can_be_made_is_one_that_the_api_takes(fields: dict[str, Any]) -> None:
    """The imitation of the API is the witness: it shares no code with the request."""
    try:
        request = VideoRequest.model_validate(fields)
    except ValidationError:
        return
    order = read_order(json.loads(json.dumps(request.body())))
    assert order.prompt == fields["prompt"]


@pytest.mark.parametrize(
    "key", ["", "short", "x" * 15, "x" * 97, "has spaces in it.", "é" * 20, "a/b" * 8, ONCE + "\n"]
)
async def test_a_key_that_is_no_idempotency_key_is_never_sent(key: str) -> None:
    """The gateway might pass over it, and a repeat be paid twice."""
    world = account()
    with pytest.raises(InvalidRequest):
        await world.evolink().submit(REQUEST, idempotency_key=key)
    assert world.books.calls == []


@pytest.mark.parametrize("key", ["x" * 16, "x" * 96, "Az09._-" * 5])
async def test_every_documented_idempotency_key_is_sent(key: str) -> None:
    """16 to 96 letters, digits, dots, underscores and dashes."""
    world = account()
    await world.evolink().submit(REQUEST, idempotency_key=key)
    assert world.books.paid[0].idempotency_key == key


async def test_the_servers_own_keys_are_idempotency_keys(world: World) -> None:
    """Each wish has one of its own, and it is of the form that the gateway knows."""
    async with world.client() as client:
        for prompt in ("a", "b"):
            result = await client.call_tool("generate_video", WISH | {"prompt": prompt})
            assert not getattr(result, "is_error", True)
    keys = [payment.idempotency_key or "" for payment in world.books.paid]
    assert len(set(keys)) == 2
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{16,96}", key) for key in keys)


@pytest.mark.parametrize("key", ["", " ", "sk-a b", "sk-a\n", "sk-é", "sk-\x00"])
def test_a_key_that_no_header_can_hold_is_refused_at_once(key: str) -> None:
    """And the refusal does not repeat it."""
    with pytest.raises(SettingsError) as caught:
        Evolink(SecretStr(key))
    assert "sk-" not in str(caught.value)


# Reads are tried again, within bounds

READS = pytest.mark.parametrize("at", ["task", "tasks", "credits", "upload"])


async def read(world: World, at: str) -> object:
    evolink = world.evolink()
    if at == "upload":
        return await evolink.upload("a.png", PICTURE, "image/png")
    if at == "task":
        return await evolink.task(world.books.paid[0].task_id)
    return await (evolink.tasks() if at == "tasks" else evolink.credits())


@READS
@pytest.mark.parametrize(
    "fault",
    [
        "status=429",
        "status=500",
        "status=502",
        "status=503",
        "status=504",
        "status=503,older=true",
        "capacity",
        "capacity,older=true",
        "lost",
        "dropped",
        "cut",
        "garbage",
        "html",
        "html,status=502",
        "empty",
        "huge,size=2000000",
    ],
)
async def test_a_read_survives_what_passes(at: str, fault: str) -> None:
    """Twice in a row is not too much; three times is, and the error costs nothing."""
    world = account()
    await world.evolink().submit(REQUEST, idempotency_key=ONCE)
    world.sandbox.faults.add(Fault.parse(f"{at}:{fault}*2"))
    await read(world, at)
    world.sandbox.faults.add(Fault.parse(f"{at}:{fault}*always"))
    world.books.calls.clear()
    with pytest.raises(EvolinkError) as caught:
        await read(world, at)
    assert type(caught.value) in (Busy, LostAnswer, ServerFault, UnreadableAnswer)
    assert (caught.value.charged, bool(caught.value.next_step)) == ("no", True)
    assert len(world.books.calls) == 3


@READS
async def test_a_read_that_hangs_is_tried_once_more(at: str) -> None:
    """Half a minute is enough for an answer, and two of them are enough for anybody's patience."""
    world = account()
    await world.evolink().submit(REQUEST, idempotency_key=ONCE)
    world.sandbox.faults.add(Fault(at, "slow", None, seconds=60))
    start = now()
    with pytest.raises(LostAnswer) as caught:
        await read(world, at)
    assert (caught.value.charged, len(moments(world, at))) == ("no", 2)
    assert 60 <= now() - start < 75


@READS
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("400", Refused),
        ("401", Unauthorized),
        ("402", OutOfCredits),
        ("403", Unauthorized),
        ("404", NotFound),
        ("409", Refused),
        ("422", Refused),
        ("status=400,code=content_filter", ContentRefused),
    ],
)
async def test_a_refusal_of_a_read_is_not_asked_again(at: str, fault: str, kind: type[EvolinkError]) -> None:
    """It would be refused again."""
    world = account()
    await world.evolink().submit(REQUEST, idempotency_key=ONCE)
    world.sandbox.faults.add(Fault.parse(f"{at}:{fault}*always"))
    with pytest.raises(kind) as caught:
        await read(world, at)
    assert type(caught.value) is kind
    assert caught.value.charged == "no"
    assert len(moments(world, at)) == 1


async def test_reads_are_spread_over_a_few_seconds() -> None:
    """Half a second to one, then one to two."""
    world = account(faults=[Fault("credits", "status", None, status=500)])
    with pytest.raises(ServerFault):
        await world.evolink().credits()
    first, second, third = moments(world, "credits")
    assert second - first >= 0.5
    assert third - second >= 1.0
    assert third - first < 10


@pytest.mark.parametrize("at", ["credits", "submit"])
@pytest.mark.parametrize(
    ("retry_after", "calls", "least", "most"),
    [
        ("15", 3, 30, 35),
        (" 15 ", 3, 30, 35),
        ("30", 2, 30, 35),
        ("31", 1, 0, 0),
        ("999999", 1, 0, 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 1, 0, 0),
        ("0", 3, 0, 5),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 3, 0, 5),
        ("-5", 3, 1.5, 10),
        ("1.5", 3, 1.5, 10),
        ("soon", 3, 1.5, 10),
        ("9" * 40, 3, 1.5, 10),
        ("", 3, 1.5, 10),
    ],
)
async def test_retry_after_is_waited_out_up_to_half_a_minute(
    at: str, retry_after: str, calls: int, least: float, most: float
) -> None:
    """A longer pause is the caller's to take; what is no time at all is passed over."""
    world = account(faults=[Fault(at, "status", None, status=429, retry_after=retry_after)])
    evolink = world.evolink()
    with pytest.raises(Busy) as caught:
        await (evolink.credits() if at == "credits" else evolink.submit(REQUEST, idempotency_key=ONCE))
    times = moments(world, at)
    assert len(times) == calls
    assert least <= times[-1] - times[0] <= most
    assert caught.value.charged == "no"


async def test_a_pause_that_is_too_long_is_told() -> None:
    """The caller learns for how long."""
    world = account(faults=[Fault("credits", "status", status=429, retry_after=90)])
    with pytest.raises(Busy) as caught:
        await world.evolink().credits()
    assert (caught.value.retry_after, caught.value.status) == (90, 429)


async def test_an_answer_that_trickles_is_given_up() -> None:
    """Half a minute is for the whole answer, not for each of its pieces."""

    async def drops() -> AsyncIterator[bytes]:
        while True:
            await anyio.sleep(1)
            yield b" "

    evolink = answering(lambda _: httpx2.Response(200, content=drops()))
    start = now()
    with pytest.raises(LostAnswer) as caught:
        await evolink.credits()
    assert caught.value.charged == "no"
    assert 60 <= now() - start < 75


# The paid request

Outcome = str | tuple[type[EvolinkError], str]
UNKNOWN = (OutcomeUnknown, "unknown")
NO_ID: dict[str, Any] = {"status": "pending", "progress": 0}
SINGLE: dict[str, tuple[Fault, int, int, int, Outcome]] = {
    # fault; POSTs; tasks paid where the key is honoured, and where it is not; outcome
    "400": (Fault("submit", "status", status=400), 1, 0, 0, (Refused, "no")),
    "400 older": (Fault("submit", "status", status=400, older=True), 1, 0, 0, (Refused, "no")),
    "401": (Fault("submit", "status", status=401), 1, 0, 0, (Unauthorized, "no")),
    "402": (Fault("submit", "status", status=402), 1, 0, 0, (OutOfCredits, "no")),
    "403": (Fault("submit", "status", status=403), 1, 0, 0, (Unauthorized, "no")),
    "404": (Fault("submit", "status", status=404), 1, 0, 0, (NotFound, "no")),
    "409": (Fault("submit", "status", status=409), 1, 0, 0, UNKNOWN),
    "422": (Fault("submit", "status", status=422), 1, 0, 0, (Refused, "no")),
    "moderation": (
        Fault("submit", "status", status=400, code="content_filter"),
        1,
        0,
        0,
        (ContentRefused, "no"),
    ),
    "429": (Fault("submit", "status", status=429), 2, 1, 1, "pending"),
    "429 older": (Fault("submit", "status", status=429, older=True), 2, 1, 1, "pending"),
    "capacity": (Fault("submit", "capacity"), 2, 1, 1, "pending"),
    "capacity in words": (Fault("submit", "capacity", older=True), 2, 1, 1, "pending"),
    "capacity as 503": (
        Fault("submit", "status", status=503, code="NO_AVAILABLE_CHANNEL"),
        2,
        1,
        1,
        "pending",
    ),
    "408": (Fault("submit", "status", status=408), 1, 0, 0, UNKNOWN),
    "500": (Fault("submit", "status", status=500), 1, 0, 0, UNKNOWN),
    "500 too late": (Fault("submit", "status", status=500, carried_out=True), 1, 1, 1, UNKNOWN),
    "502": (Fault("submit", "status", status=502), 2, 1, 1, "pending"),
    "503": (Fault("submit", "status", status=503), 2, 1, 1, "pending"),
    "504": (Fault("submit", "status", status=504), 2, 1, 1, "pending"),
    "502 too late": (Fault("submit", "status", status=502, carried_out=True), 2, 1, 2, "pending"),
    "503 too late": (Fault("submit", "status", status=503, carried_out=True), 2, 1, 2, "pending"),
    "504 too late": (Fault("submit", "status", status=504, carried_out=True), 2, 1, 2, "pending"),
    "page of a gateway": (Fault("submit", "html", status=502), 2, 1, 2, "pending"),
    "page of a firewall": (
        Fault("submit", "html", status=403, carried_out=False),
        1,
        0,
        0,
        (Unauthorized, "no"),
    ),
    "page instead of a refusal": (Fault("submit", "html", status=400), 1, 1, 1, UNKNOWN),
    "lost": (Fault("submit", "lost"), 2, 1, 2, "pending"),
    "dropped": (Fault("submit", "dropped"), 2, 1, 1, "pending"),
    "cut": (Fault("submit", "cut"), 2, 1, 2, "pending"),
    "slow": (Fault("submit", "slow", seconds=20), 1, 1, 1, "pending"),
    "too slow": (Fault("submit", "slow", seconds=60), 2, 1, 2, "pending"),
    "garbage": (Fault("submit", "garbage"), 2, 1, 2, "pending"),
    "html": (Fault("submit", "html"), 2, 1, 2, "pending"),
    "empty": (Fault("submit", "empty"), 2, 1, 2, "pending"),
    "huge": (Fault("submit", "huge", size=2_000_000), 2, 1, 2, "pending"),
    "no id": (Fault("submit", "body", body=NO_ID), 2, 1, 2, "pending"),
    "an error as 200": (Fault("submit", "body", body={"error": {"code": "x"}}), 2, 1, 2, "pending"),
    "a list": (Fault("submit", "body", body=[]), 2, 1, 2, "pending"),
    "id of a wrong type": (Fault("submit", "patch", body={"id": 5}), 2, 1, 2, "pending"),
    "odd fields": (Fault("submit", "patch", body={"usage": 5, "created": []}), 1, 1, 1, "pending"),
    "failed at once": (Fault("submit", "fail", at_once=True), 1, 1, 1, "failed"),
    "fails": (Fault("submit", "fail"), 1, 1, 1, "pending"),
    "redirect": (Fault("submit", "redirect"), 1, 0, 0, UNKNOWN),
    "redirect too late": (Fault("submit", "redirect", status=307, carried_out=True), 1, 1, 1, UNKNOWN),
}


async def submit(evolink: Evolink, **options: Any) -> Outcome:
    try:
        return (await evolink.submit(REQUEST, idempotency_key=ONCE, **options)).status
    except EvolinkError as error:
        return type(error), error.charged


@pytest.mark.parametrize("case", SINGLE)
@pytest.mark.parametrize("honoured", [True, False], ids=["honoured", "not honoured"])
async def test_one_fault_never_makes_more_requests_than_promised(case: str, honoured: bool) -> None:
    """POSTs, payments and what is said of the money, for every fault; asking again is paid once."""
    fault, posts, paid, paid_without_key, outcome = SINGLE[case]
    world = account(honours_idempotency_key=honoured, faults=[fault])
    assert await submit(world.evolink()) == outcome
    assert world.books.posts == posts
    assert len(world.books.paid) == (paid if honoured else paid_without_key)
    assert {call.idempotency_key for call in world.books.calls} == {ONCE}
    if honoured:
        assert await submit(world.evolink()) in ("pending", "failed")
        assert len(world.books.paid) == 1


@pytest.mark.parametrize("case", [case for case, (_, _, one, two, _) in SINGLE.items() if two > one])
async def test_a_look_keeps_a_lost_answer_from_being_paid_twice(case: str) -> None:
    """Where the key is not honoured, the account's own list shows the task, and it is taken."""
    world = account(honours_idempotency_key=False, faults=[SINGLE[case][0]])
    evolink = world.evolink()
    looked: list[float] = []

    async def look() -> Task | None:
        looked.append(now())
        return next(iter((await evolink.tasks()).tasks), None)

    task = await evolink.submit(REQUEST, idempotency_key=ONCE, look=look)
    assert task.id == world.books.paid[0].task_id
    assert world.books.posts == len(world.books.paid) == len(looked) == 1
    assert looked[0] - moments(world, "submit")[0] >= 2


@pytest.mark.parametrize("case", ["dropped", "502", "503", "504", "cut", "garbage"])
async def test_a_look_that_finds_nothing_lets_the_request_be_sent_once_more(case: str) -> None:
    """After two seconds and one look, under the same key."""
    world = account(faults=[SINGLE[case][0]])
    looked: list[float] = []

    async def look() -> Task | None:
        looked.append(now())
        return None

    task = await world.evolink().submit(REQUEST, idempotency_key=ONCE, look=look)
    first, second = moments(world, "submit")
    assert [first + 2 <= moment <= second for moment in looked] == [True]
    assert second - first < 40
    assert [payment.task_id for payment in world.books.paid] == [task.id]


@pytest.mark.parametrize("case", ["429", "capacity", "slow", "401", "500", "redirect", "failed at once"])
async def test_without_a_lost_answer_there_is_no_look(case: str) -> None:
    """What was surely not accepted needs none, and after any other error none would tell."""
    world = account(faults=[SINGLE[case][0]])

    async def look() -> Task | None:
        raise AssertionError("looked")

    assert await submit(world.evolink(), look=look) == SINGLE[case][4]


@pytest.mark.parametrize("error", [LedgerError("The record is locked."), Unauthorized("no"), Busy("later")])
async def test_a_look_that_fails_does_not_make_the_outcome_known(error: Exception) -> None:
    """Its own error says that nothing was charged, which is not true of the submission."""
    world = account(faults=[Fault("submit", "lost")])

    async def look() -> Task | None:
        raise error

    with pytest.raises(OutcomeUnknown, match=str(error)) as caught:
        await world.evolink().submit(REQUEST, idempotency_key=ONCE, look=look)
    assert caught.value.charged == "unknown"
    assert world.books.posts == 1


async def test_a_look_has_the_last_word_where_it_cannot_tell() -> None:
    """Its own unknown outcome reaches the caller as it is."""
    world = account(faults=[Fault("submit", "lost")])
    verdict = OutcomeUnknown("Which of these?", next_step="Look at them.", charged="unknown")

    async def look() -> Task | None:
        raise verdict

    with pytest.raises(OutcomeUnknown) as caught:
        await world.evolink().submit(REQUEST, idempotency_key=ONCE, look=look)
    assert caught.value is verdict


@pytest.mark.parametrize(
    ("faults", "posts", "paid", "outcome"),
    [
        (["429*always"], 3, 0, (Busy, "no")),
        (["capacity*always"], 3, 0, (Busy, "no")),
        (["502*always"], 2, 0, UNKNOWN),
        (["503*always"], 2, 0, UNKNOWN),
        (["504*always"], 2, 0, UNKNOWN),
        (["503,carried_out=true*always"], 2, 1, UNKNOWN),
        (["lost*always"], 2, 1, UNKNOWN),
        (["dropped*always"], 2, 0, UNKNOWN),
        (["cut*always"], 2, 1, UNKNOWN),
        (["slow=60*always"], 2, 1, UNKNOWN),
        (["garbage*always"], 2, 1, UNKNOWN),
        (["html*always"], 2, 1, UNKNOWN),
        (["empty*always"], 2, 1, UNKNOWN),
        (["lost", "429*always"], 4, 1, UNKNOWN),
        (["dropped", "401"], 2, 0, UNKNOWN),
        (["lost", "402"], 2, 1, UNKNOWN),
        (["lost", "500"], 2, 1, UNKNOWN),
        (["lost", "status=409,code=paid_outcome_unknown"], 2, 1, UNKNOWN),
        (["status=409,code=paid_outcome_unknown"], 2, 1, "pending"),
        (["429*2", "lost", "429*2", "503*always"], 6, 1, UNKNOWN),
        (["429*2", "dropped", "capacity*2"], 6, 1, "pending"),
    ],
)
async def test_several_faults_never_make_more_requests_than_promised(
    faults: list[str], posts: int, paid: int, outcome: Outcome
) -> None:
    """At most two requests that may have been accepted; after the first, nothing is certain any more."""
    world = account(faults=[Fault.parse(f"submit:{fault}") for fault in faults])
    assert await submit(world.evolink()) == outcome
    assert (world.books.posts, len(world.books.paid)) == (posts, paid)
    assert {call.idempotency_key for call in world.books.calls} == {ONCE}


KINDS = ["429", "capacity", "500", "502", "503,carried_out=true", "lost", "dropped", "cut", "slow=31"]
KINDS += ["garbage", "html,status=504", "empty", "401", "400", "redirect", "slow=5", "status=409", "fail"]


@patient
@given(st.lists(st.sampled_from(KINDS), max_size=8), st.booleans())
async def test_no_run_of_faults_breaks_a_promise(faults: list[str], honoured: bool) -> None:
    """Bounded requests, one payment under an honoured key, and never a wrong word about the money."""
    world = account(
        honours_idempotency_key=honoured, faults=[Fault.parse(f"submit:{fault}") for fault in faults]
    )
    outcome = await submit(world.evolink())
    accepted = len(world.books.paid)
    assert world.books.posts <= 6
    assert accepted <= (1 if honoured else 2)
    if isinstance(outcome, str):
        assert accepted >= 1
    elif outcome[1] == "no":
        assert accepted == 0
    else:
        assert outcome == UNKNOWN


async def test_an_unknown_outcome_says_what_happened_and_that_asking_again_is_safe() -> None:
    """And keeps the facts that support would ask for."""
    world = account(faults=[Fault("submit", "status", None, status=503, message="Upstream is down.")])
    with pytest.raises(OutcomeUnknown) as caught:
        await world.evolink().submit(REQUEST, idempotency_key=ONCE)
    error = caught.value
    assert error.message == (
        "It is not known whether Evolink accepted the request. "
        "Evolink answered HTTP 503 service_unavailable: Upstream is down."
    )
    assert "Ask for exactly the same again in a minute: that is safe" in error.next_step
    assert (error.charged, error.status, error.code) == ("unknown", 503, "service_unavailable")
    assert error.request_id is not None
    assert error.task_id is None


@pytest.mark.parametrize(("seconds", "second"), [(1, "pending"), (25, UNKNOWN)])
async def test_two_submissions_under_one_key_are_paid_once(seconds: float, second: Outcome) -> None:
    """The later one is told that the first is still open; it looks, asks once more, and then says so."""
    world = account(faults=[Fault("submit", "slow", seconds=seconds)])
    outcomes: list[Outcome] = []

    async def ask() -> None:
        outcomes.append(await submit(world.evolink()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.sleep(0.5)
        tasks.start_soon(ask)
    assert sorted(outcomes, key=str) == sorted(["pending", second], key=str)
    assert (world.books.posts, len(world.books.paid)) == (3, 1)


async def test_another_request_under_a_used_key_is_an_unknown_outcome() -> None:
    """A conflict is no proof that nothing was accepted."""
    world = account()
    evolink = world.evolink()
    await evolink.submit(REQUEST, idempotency_key=ONCE)
    other = VideoRequest.model_validate(WISH | {"prompt": "The dog yawns."})
    with pytest.raises(OutcomeUnknown, match="idempotency_conflict"):
        await evolink.submit(other, idempotency_key=ONCE)
    assert len(world.books.paid) == 1


# The network fails

NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.InvalidURL,
)


def descendants(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in descendants(child))]


FAILURES = sorted(
    {*descendants(httpx2.TransportError), httpx2.DecodingError, httpx2.TooManyRedirects, httpx2.InvalidURL},
    key=lambda kind: kind.__name__,
)


class Breaking(httpx2.AsyncBaseTransport):
    """Raises for so many requests, then passes on."""

    def __init__(self, error: Exception, times: int, beyond: httpx2.AsyncBaseTransport) -> None:
        self.error, self.times, self.beyond, self.attempts = error, times, beyond, 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.attempts += 1
        if self.attempts <= self.times:
            raise self.error
        return await self.beyond.handle_async_request(request)


def broken(world: World, kind: type[Exception], times: int) -> tuple[Evolink, Breaking]:
    transport = Breaking(kind("https://api.evolink.ai/v1?secret=1\nbroke"), times, world.transport)
    return Evolink(SecretStr(KEY), transport=transport), transport


@pytest.mark.parametrize("kind", FAILURES, ids=lambda kind: kind.__name__)
async def test_every_failure_of_the_network_is_one_of_our_errors(kind: type[Exception]) -> None:
    """All that the HTTP library raises is mapped; only what was surely not sent is called so."""
    expected = Unreachable if issubclass(kind, NOT_SENT) else LostAnswer
    evolink, transport = broken(account(), kind, 99)
    with pytest.raises(EvolinkError) as read:
        await evolink.credits()
    assert (type(read.value), read.value.charged, transport.attempts) == (expected, "no", 3)
    evolink, transport = broken(account(), kind, 99)
    with pytest.raises(EvolinkError) as paid:
        await evolink.submit(REQUEST, idempotency_key=ONCE)
    told = (type(paid.value), paid.value.charged, transport.attempts)
    assert told == ((Unreachable, "no", 3) if expected is Unreachable else (OutcomeUnknown, "unknown", 2))
    for error in (read.value, paid.value):
        assert error.next_step
        assert "secret" not in error.message
        assert "\n" not in error.message


async def test_a_connection_that_is_refused_twice_costs_one_request() -> None:
    """What was never sent is sent again, and paid once."""
    world = account(honours_idempotency_key=False)
    evolink, transport = broken(world, httpx2.ConnectError, 2)
    assert (await evolink.submit(REQUEST, idempotency_key=ONCE)).status == "pending"
    assert (transport.attempts, world.books.posts, len(world.books.paid)) == (3, 1, 1)


async def test_no_connection_after_a_lost_answer_is_still_unknown() -> None:
    """The later failure says nothing of the earlier request."""
    world = account(faults=[Fault("submit", "lost")])
    attempts = 0

    class Sometimes(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            nonlocal attempts
            attempts += 1
            if attempts > 1:
                raise httpx2.ConnectError("refused")
            return await world.transport.handle_async_request(request)

    evolink = Evolink(SecretStr(KEY), transport=Sometimes())
    assert await submit(evolink) == UNKNOWN
    assert (attempts, len(world.books.paid)) == (4, 1)


# Nothing is given away


async def test_a_key_that_is_repeated_to_us_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    """Not from a body, not from a header, neither into an error nor into a log."""
    caplog.set_level(logging.DEBUG, logger="wan_mcp")
    body = {"error": {"code": f"bad_{KEY}", "message": f"No such key: {KEY}."}}
    evolink = saying(body, 401, **{"x-request-id": f"id-{KEY}"})
    with pytest.raises(Unauthorized) as caught:
        await evolink.credits()
    error = caught.value
    assert "No such key: [the key]." in error.message
    assert KEY not in f"{error.message} {error.next_step} {error.code} {error.request_id} {caplog.text}"
    with pytest.raises(Unauthorized):
        await evolink.submit(REQUEST, idempotency_key=ONCE)
    assert KEY not in caplog.text


async def test_the_log_holds_no_query_of_an_address(caplog: pytest.LogCaptureFixture) -> None:
    """Paths and outcomes only."""
    caplog.set_level(logging.DEBUG, logger="wan_mcp")
    signed = "https://pictures.example.com/cat.png?signature=secret"
    world = account(faults=[Fault("submit", "status", 2, status=503, message=f"No picture at {signed}.")])
    request = VideoRequest.model_validate(WISH | {"image_urls": [signed]})
    with pytest.raises(OutcomeUnknown):
        await world.evolink().submit(request, idempotency_key=ONCE)
    await world.evolink().tasks()
    assert "HTTP 503" in caplog.text
    assert "secret" not in caplog.text
    assert "page_size" not in caplog.text


async def test_a_closed_client_has_let_go_of_its_transport() -> None:
    """Leaving the context closes it once; closing again does no harm."""
    closed = 0

    class Counting(httpx2.MockTransport):
        async def aclose(self) -> None:
            nonlocal closed
            closed += 1

    transport = Counting(lambda _: reply({"id": ID}))
    async with Evolink(SecretStr(KEY), transport=transport) as evolink:
        await evolink.task(ID)
        await evolink.task(ID)
    await evolink.aclose()
    assert closed == 1
