"""What the client sends, and how it reads the documented answers."""

from datetime import UTC, datetime

import anyio
import httpx2
import pytest
from pydantic import SecretStr

from tests.clock import now
from tests.evolink.gateway import ARGUMENTS, ONCE, PICTURE, REQUEST, account, answering, reply, saying
from wan_mcp.errors import (
    NotFound,
    UnreadableAnswer,
)
from wan_mcp.evolink import (
    IMAGE_MODEL,
    Accepted,
    Connections,
    Credits,
    Evolink,
    ImageToVideoRequest,
    Listing,
    Task,
    TaskError,
    Upload,
)
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


async def test_a_submission_answers_with_the_task() -> None:
    """Every documented property of the answer is read."""
    world = account()
    accepted = await world.evolink().submit(REQUEST, idempotency_key=ONCE)
    [payment] = world.records.paid
    assert accepted == Accepted(
        Task(
            id=payment.task_id,
            status="pending",
            progress=0,
            model=IMAGE_MODEL,
            created=int(payment.time),
            estimated_time=120,
            credits_reserved=25.5,
        )
    )


@pytest.mark.parametrize(
    ("options", "replayed"),
    [({}, True), ({"says_replayed": False}, False), ({"honours_idempotency_key": False}, False)],
)
async def test_a_replay_is_told_where_the_gateway_says_so(options: dict[str, bool], replayed: bool) -> None:
    """The header alone proves that the key is honoured."""
    world = account(**options)
    first, second = [await world.evolink().submit(REQUEST, idempotency_key=ONCE) for _ in range(2)]
    assert (first.replayed, second.replayed) == (False, replayed)
    assert (first.task == second.task) is options.get("honours_idempotency_key", True)


@pytest.mark.parametrize(
    ("said", "replayed"), [("true", True), ("TRUE", True), ("false", False), ("1", False), ("", False)]
)
async def test_only_true_is_a_replay(said: str, replayed: bool) -> None:
    """Whatever else the header may say."""
    evolink = saying({"id": "task-unified-1"}, 200, **{"Idempotency-Replayed": said})
    assert (await evolink.submit(REQUEST, idempotency_key=ONCE)).replayed is replayed


async def test_a_submission_sends_what_was_given_and_no_more() -> None:
    """Body, key, idempotency key and who is asking."""
    world = account()
    full = {"duration": 10, "quality": "480p", "prompt_extend": False, "callback_url": "https://example.com"}
    for extra in ({}, full):
        await world.evolink().submit(
            ImageToVideoRequest.model_validate(ARGUMENTS | extra), idempotency_key=ONCE + "x" * len(extra)
        )
    plain, rich = world.records.calls
    assert (plain.method, plain.path, plain.authorized) == ("POST", "/v1/videos/generations", True)
    assert plain.idempotency_key == ONCE
    assert plain.body == ARGUMENTS | {"model": IMAGE_MODEL}
    assert rich.body == ARGUMENTS | {"model": IMAGE_MODEL} | full
    assert plain.headers["content-type"] == "application/json"
    assert plain.headers["accept-encoding"] == "identity"
    assert plain.headers["user-agent"].startswith("wan-mcp/")


async def test_a_task_is_read_through_its_life() -> None:
    """Pending, processing, completed with a link and a price."""
    world = account()
    evolink = world.evolink()
    asked = (await evolink.submit(REQUEST, idempotency_key=ONCE)).task
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
    asked = (await evolink.submit(REQUEST, idempotency_key=ONCE)).task
    await anyio.sleep(130)
    failed = await evolink.task(asked.id)
    assert (failed.status, failed.is_over) == ("failed", True)
    assert failed.error == TaskError(code=code, message="It did not work.")
    assert failed.error.retryable is retryable
    assert failed.credits_used == 0


async def test_a_submission_can_be_answered_with_a_failed_task() -> None:
    """It is a task, not an error: its id and reason are kept."""
    world = account(faults=[Fault("submit", "fail", code="content_policy_violation", at_once=True)])
    task = (await world.evolink().submit(REQUEST, idempotency_key=ONCE)).task
    assert (task.id, task.status) == (world.records.paid[0].task_id, "failed")
    assert task.error is not None
    assert task.error.code == "content_policy_violation"


async def test_the_accounts_tasks_are_listed_page_by_page() -> None:
    """Newest first, 50 a page, only this model's; no links and no prompts are promised."""
    world = account(credits=10_000)
    evolink = world.evolink()
    ids = []
    for number in range(51):
        ids.append((await evolink.submit(REQUEST, idempotency_key=f"{ONCE}-{number}")).task.id)
    first, second, third = [await evolink.tasks(page=page) for page in (1, 2, 3)]
    assert [task.id for task in first.tasks + second.tasks] == ids[::-1]
    assert second.tasks == (
        Task(
            id=ids[0],
            status="pending",
            progress=0,
            model=IMAGE_MODEL,
            created=int(world.records.paid[0].time),
        ),
    )
    assert third == Listing(tasks=(), total=51)


async def test_what_is_no_task_is_left_out_of_a_list() -> None:
    """Its time is in UTC whatever this machine's zone is; how many there are may be missing."""
    entry = {"id": "task-unified-1", "status": "completed", "created_at": "2025-09-06T10:02:23Z"}
    listing = await saying({"data": [entry, {}, "junk", {"id": 7}]}).tasks()
    task = Task(id="task-unified-1", status="completed", created=1757152943)
    assert listing == Listing(tasks=(task,), total=None)


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
    [call] = world.records.calls
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
    with pytest.raises(UnreadableAnswer, match="did not accept the picture") as caught:
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


async def test_a_cookie_that_came_with_one_key_is_not_sent_with_another() -> None:
    """The keys share the connections; a session or an account in a cookie would cross over."""
    sent: list[str | None] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.headers.get("cookie"))
        return reply({"data": []}, 200, **{"set-cookie": "session=of-one; Path=/"})

    async with Connections(httpx2.MockTransport(answer)) as connections:
        for key in ("sk-one", "sk-two"):
            await Evolink(SecretStr(key), connections).tasks()
    assert sent == [None, None]
