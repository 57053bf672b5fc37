"""Answers are read leniently."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evolink.gateway import ID, patient, saying
from wan_mcp.errors import (
    UnreadableAnswer,
)
from wan_mcp.evolink import Credits, Listing, Task, TaskError, Upload

pytestmark = pytest.mark.anyio
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
        ({"results": [OTHER], "result_data": {"url": LINK}}, {"results": (OTHER, LINK)}),
        ({"results": [LINK], "result_data": [LINK, OTHER]}, {"results": (LINK, OTHER)}),
        ({"results": [{"url": OTHER, "video_url": LINK}]}, {"results": (LINK, OTHER)}),
        ({"results": [{"url": LINK, "video_url": "a.mp4"}, LINK]}, {"results": (LINK,)}),
        (
            {"results": [{"url": "HTTPS://files.evolink.ai/a.mp4"}]},
            {"results": ("HTTPS://files.evolink.ai/a.mp4",)},
        ),
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


SAID = {
    "completed": "succeeded SUCCESS complete Done finished succeed",
    "failed": "failure error Rejected expired timeout timed_out Timed-Out TimedOut",
    "cancelled": "canceled CANCELLED aborted",
    "pending": "queued submitted created Not_Started",
    "processing": "running in_progress IN-PROGRESS inProgress started polishing",
}


@pytest.mark.parametrize(
    ("status", "said"), [(status, said) for status in SAID for said in SAID[status].split()]
)
async def test_other_words_for_a_status_are_understood(status: str, said: str) -> None:
    """In any case and however their parts are joined; a link then means what it means elsewhere."""
    for spelled in (said, f" {said}\n", said.replace("_", " ")):
        task = await saying({"id": ID, "status": spelled, "results": [LINK]}).task(ID)
        assert (task.status, task.is_over) == (status, status in ("completed", "failed", "cancelled"))


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
    for read in (Task.read, lambda value: Listing.read({"data": [value], "total": value})):
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
