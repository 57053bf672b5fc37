"""Scripted faults, seen from a client in the same process."""

import json
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_mcp.sandbox import Fault, Sandbox, faults

SUBMIT = "/v1/videos/generations"


@pytest.mark.anyio
class TestAnswers:
    """What each kind of fault makes of a submission."""

    async def test_a_status_comes_with_the_documented_body(
        self, client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox
    ) -> None:
        """Nothing is carried out."""
        sandbox.faults.add(Fault("submit", "status", status=429, retry_after=2, message="Slow down."))

        response = await client.post(SUBMIT, json=order)

        error = {"code": "rate_limit_exceeded", "message": "Slow down.", "type": "rate_limit_error"}
        assert (response.status_code, response.json()) == (429, {"error": error})
        assert response.headers["retry-after"] == "2"
        assert response.headers["x-request-id"]
        assert sandbox.records.paid == []

    async def test_a_status_can_have_the_older_body(
        self, client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox
    ) -> None:
        """With the advice that the older generation gives."""
        sandbox.faults.add(Fault("submit", "status", status=429, retry_after=60, older=True))

        response = await client.post(SUBMIT, json=order)

        assert response.json()["error"] == {
            "code": 429,
            "message": "The sandbox was told to answer 429.",
            "type": "rate_limit_error",
            "fallback_suggestion": "retry after 60 seconds",
        }

    async def test_a_status_can_come_after_the_request_was_carried_out(
        self, client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox
    ) -> None:
        """As when a gateway loses its backend's answer."""
        sandbox.faults.add(Fault("submit", "status", status=502, carried_out=True))

        response = await client.post(SUBMIT, json=order)

        assert (response.status_code, response.json()["error"]["code"]) == (502, "bad_gateway")
        assert len(sandbox.records.paid) == 1

    async def test_capacity_is_a_400(
        self, client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox
    ) -> None:
        """With the code that gives it away."""
        sandbox.faults.add(Fault("submit", "capacity"))

        response = await client.post(SUBMIT, json=order)

        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (400, "no_available_channel")
        assert error["message"].startswith("no available service")

    @pytest.mark.parametrize(("kind", "payments"), [("lost", 1), ("cut", 1), ("dropped", 0)])
    async def test_a_broken_connection_is_a_read_error(
        self, client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox, kind: str, payments: int
    ) -> None:
        """A lost or cut answer was paid for, a dropped call was not; all of them arrived."""
        sandbox.faults.add(Fault("submit", kind))

        with pytest.raises(httpx2.ReadError):
            await client.post(SUBMIT, json=order)

        assert (sandbox.records.posts, len(sandbox.records.paid)) == (1, payments)

    async def test_a_lost_answer_can_be_had_again_under_its_key(
        self, client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox
    ) -> None:
        """The key is free as soon as the connection is broken."""
        sandbox.faults.add(Fault("submit", "lost"))
        key = {"idempotency-key": "request-0123456789abcdef"}
        with pytest.raises(httpx2.ReadError):
            await client.post(SUBMIT, json=order, headers=key)

        response = await client.post(SUBMIT, json=order, headers=key)

        assert response.headers["idempotency-replayed"] == "true"
        assert [payment.task_id for payment in sandbox.records.paid] == [response.json()["id"]]

    @pytest.mark.parametrize(
        ("kind", "content_type"),
        [
            ("garbage", "application/json"),
            ("html", "text/html; charset=utf-8"),
            ("empty", "application/json"),
        ],
    )
    async def test_an_answer_can_be_no_json(
        self,
        client: httpx2.AsyncClient,
        order: dict[str, Any],
        sandbox: Sandbox,
        kind: str,
        content_type: str,
    ) -> None:
        """A 200 that cannot be read, though the task was paid."""
        sandbox.faults.add(Fault("submit", kind))

        response = await client.post(SUBMIT, json=order)

        assert (response.status_code, response.headers["content-type"]) == (200, content_type)
        with pytest.raises(ValueError, match=r".*"):
            response.json()
        assert len(sandbox.records.paid) == 1

    async def test_an_answer_can_be_huge(self, client: httpx2.AsyncClient, sandbox: Sandbox) -> None:
        """It is JSON of exactly so many bytes."""
        sandbox.faults.add(Fault("credits", "huge", size=1_000_000))

        response = await client.get("/v1/credits")

        assert len(response.content) == 1_000_000
        assert isinstance(response.json(), str)

    async def test_an_answer_can_be_any_json(self, client: httpx2.AsyncClient, sandbox: Sandbox) -> None:
        """For shapes that nobody documented."""
        sandbox.faults.add(Fault("credits", "body", body=[1, None]))

        assert (await client.get("/v1/credits")).json() == [1, None]

    async def test_single_fields_of_an_answer_can_be_replaced(
        self, client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox
    ) -> None:
        """The rest is the right answer."""
        task = (await client.post(SUBMIT, json=order)).json()
        sandbox.faults.add(Fault("task", "patch", body={"status": "dreaming"}))

        answer = (await client.get(f"/v1/tasks/{task['id']}")).json()

        assert answer == task | {"status": "dreaming"}

    async def test_an_answer_can_point_elsewhere(self, client: httpx2.AsyncClient, sandbox: Sandbox) -> None:
        """To an address of the sandbox, so that the records show who follows."""
        sandbox.faults.add(Fault("credits", "redirect"))

        response = await client.get("/v1/credits", follow_redirects=True)

        assert [earlier.status_code for earlier in response.history] == [302]
        assert [call.path for call in sandbox.records.calls] == ["/v1/credits", "/elsewhere"]

    async def test_a_download_can_be_garbage_of_its_own_type(
        self, client: httpx2.AsyncClient, sandbox: Sandbox
    ) -> None:
        """Only the first bytes show that it is no video."""
        sandbox.faults.add(Fault("result", "garbage"))

        response = await client.get("/results/task-unified-1-abcdefgh.mp4")

        assert (response.status_code, response.headers["content-type"]) == (200, "video/mp4")


@pytest.mark.anyio
class TestOrder:
    """Which call a fault befalls."""

    async def test_faults_at_a_place_come_one_after_the_other(
        self, client: httpx2.AsyncClient, sandbox: Sandbox
    ) -> None:
        """Each skips its calls, befalls its calls, and makes room for the next."""
        sandbox.faults.add(
            Fault("credits", "status", after=1, times=2, status=500),
            Fault("task", "status", status=599),
            Fault("credits", "status", status=503),
        )

        statuses = [(await client.get("/v1/credits")).status_code for _ in range(5)]

        assert statuses == [200, 500, 500, 503, 200]

    async def test_a_fault_can_be_there_always(self, client: httpx2.AsyncClient, sandbox: Sandbox) -> None:
        """Until the script is cleared."""
        sandbox.faults.add(Fault("credits", "status", times=None, status=500))
        before = [(await client.get("/v1/credits")).status_code for _ in range(3)]
        sandbox.faults.clear()

        assert before == [500, 500, 500]
        assert (await client.get("/v1/credits")).status_code == 200

    async def test_faults_can_be_scripted_over_http(self, client: httpx2.AsyncClient) -> None:
        """As objects or as texts, and all can be taken back."""
        faults = [{"at": "credits", "kind": "status", "status": 500}, "credits:503*always"]
        added = await client.post("/sandbox/faults", json=faults)
        statuses = [(await client.get("/v1/credits")).status_code for _ in range(3)]
        await client.delete("/sandbox/faults")

        assert added.json() == {"added": 2}
        assert statuses == [500, 503, 503]
        assert (await client.get("/v1/credits")).status_code == 200

    @pytest.mark.parametrize(
        "content", [b"[", b"[1]", b'["nowhere:503"]', b'[{"at": "task"}]', b'[{"at": "task", "kind": "x"}]']
    )
    async def test_a_fault_that_makes_no_sense_is_refused(
        self, client: httpx2.AsyncClient, content: bytes
    ) -> None:
        """With a sentence, and without adding any."""
        response = await client.post("/sandbox/faults", content=content)

        assert response.status_code == 400
        assert response.json()["error"]


class TestTextForm:
    """How faults are written on a command line."""

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("submit:503", Fault("submit", "status", status=503)),
            ("submit:429,retry_after=2", Fault("submit", "status", status=429, retry_after="2")),
            (
                "submit:402,code=quota_not_enough",
                Fault("submit", "status", status=402, code="quota_not_enough"),
            ),
            ("submit:lost", Fault("submit", "lost")),
            ("task:garbage*3", Fault("task", "garbage", times=3)),
            ("task:503,after=2*always", Fault("task", "status", times=None, after=2, status=503)),
            ("submit:fail=content_filter", Fault("submit", "fail", code="content_filter")),
            ("submit:fail=x,at_once=true", Fault("submit", "fail", code="x", at_once=True)),
            ("tasks:slow=2.5", Fault("tasks", "slow", seconds=2.5)),
            ("file:huge=100", Fault("file", "huge", size=100)),
            (
                "upload:redirect=https://a.example/?b=c",
                Fault("upload", "redirect", location="https://a.example/?b=c"),
            ),
            (" result:cut ", Fault("result", "cut")),
        ],
    )
    def test_a_text_is_read_as_a_fault(self, text: str, fault: Fault) -> None:
        """Place, kind, details, number of times."""
        assert Fault.parse(text) == fault

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("", "is not a fault: write PLACE:KIND"),
            ("submit", "is not a fault: write PLACE:KIND"),
            ("nowhere:503", "There is no place 'nowhere': choose from submit, task"),
            ("task:boom", "There is no kind 'boom': choose from status, capacity"),
            ("task:fail", "The kind 'fail' is for submit only"),
            ("task:status", "The kind 'status' needs the detail 'status'"),
            ("task:slow=soon", "seconds=soon: this must be a number"),
            ("task:garbage=5", "The kind 'garbage' takes no value"),
            ("task:503,colour=red", "There is no detail 'colour': choose from at_once, body"),
            ("task:503,older=perhaps", "The detail 'older' must be of type bool"),
            ("task:garbage*0", "times must be a positive integer"),
            ("task:99", "status must be an HTTP status from 200 to 599"),
            ("task:1000", "status must be an HTTP status from 200 to 599"),
            ("task:html,status=0", "status must be an HTTP status from 200 to 599"),
            ("task:503,after=-1", "after must be an integer, 0 or more"),
            ("task:body,body=[]", "A body cannot be written in this form"),
            ("task:lost,carried_out=false", "The kind 'lost' is always carried out"),
        ],
    )
    def test_a_text_that_makes_no_sense_is_refused(self, text: str, complaint: str) -> None:
        """The message says what would make sense."""
        with pytest.raises(ValueError, match=complaint.replace("'", ".")):
            Fault.parse(text)

    @settings(max_examples=50, deadline=None)
    @given(st.text() | st.from_regex(r"\w+:\w+[=,]?\w*(,\w+=\w+)?(\*\w+)?", fullmatch=True))
    def test_any_other_text_is_a_value_error(self, text: str) -> None:
        """Whatever somebody types."""
        try:
            fault = Fault.parse(text)
        except ValueError:
            return
        assert isinstance(fault, Fault)

    @pytest.mark.parametrize(
        "details",
        [{"status": "503"}, {"status": True}, {"status": 503, "code": 7}, {"status": 503, "seconds": "1"}],
    )
    def test_a_detail_of_the_wrong_type_is_refused(self, details: dict[str, Any]) -> None:
        """In Python as well as in JSON."""
        with pytest.raises(ValueError, match="must be of type"):
            Fault("submit", "status", **details)

    def test_a_fault_survives_json(self) -> None:
        """The object form has the constructor's arguments."""
        text = json.dumps({"at": "submit", "kind": "slow", "times": None, "after": 1, "seconds": 2})

        assert Fault.from_json(json.loads(text)) == Fault("submit", "slow", times=None, after=1, seconds=2)


def test_every_kind_and_detail_has_an_example_that_works() -> None:
    """As the help of the command shows them."""
    assert faults.DETAIL_EXAMPLES.keys() == {*faults.DETAILS, "after"}
    for kind, (_, example) in faults.KINDS.items():
        assert Fault.parse(example).kind == kind
    for name, (_, example) in faults.DETAIL_EXAMPLES.items():
        fault = Fault.parse(example)
        assert fault.after == 2 if name == "after" else name in fault.details, example
