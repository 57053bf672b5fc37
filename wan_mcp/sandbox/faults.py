"""Scripted faults: what goes wrong, where, and how often."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self, cast

PLACES = {
    "submit": "the paid request",
    "task": "a task's state",
    "tasks": "the account's list of tasks",
    "upload": "an upload of a picture",
    "credits": "the balance",
    "result": "the download of a video",
    "file": "the download of an uploaded picture",
}
KINDS = {
    "status": ("an HTTP error with the documented body", "submit:503"),
    "capacity": ("a 400 that says that no channel is available", "submit:capacity*2"),
    "lost": ("the request is carried out, then the connection breaks without an answer", "submit:lost"),
    "dropped": ("the connection breaks before anything is carried out", "upload:dropped"),
    "cut": ("the answer breaks off in the middle of its body", "result:cut"),
    "slow": ("the request is carried out, and the answer comes late", "task:slow=5"),
    "hesitate": ("the request is carried out late, and then answered", "submit:hesitate=5"),
    "late": (
        "an error at once (status 0: the connection breaks), and the request is carried out later",
        "submit:late=4,status=504",
    ),
    "garbage": ("bytes that are not JSON, a picture or a video", "task:garbage*3"),
    "html": ("an HTML page", "credits:html"),
    "empty": ("no bytes at all", "result:empty"),
    "huge": ("a JSON body of many bytes", "tasks:huge=33554432"),
    "body": ("the given JSON instead of the answer", '{"at": "task", "kind": "body", "body": {"id": 7}}'),
    "patch": (
        "the answer, with the given fields in place of its own",
        '{"at": "task", "kind": "patch", "body": {"progress": 250}}',
    ),
    "redirect": ("another address", "task:redirect=https://example.com/"),
    "fail": ("the task is created, and fails", "submit:fail=content_policy_violation"),
}
"""What each kind does, with an example."""
DETAILS: dict[str, type] = {
    "at_once": bool,
    "body": object,
    "carried_out": bool,
    "code": str,
    "location": str,
    "message": str,
    "older": bool,
    "param": str,
    "retry_after": object,
    "seconds": float,
    "size": int,
    "status": int,
}
DETAIL_EXAMPLES = {
    "after": ("how many calls succeed before", "task:503,after=2"),
    "at_once": ("the task fails at once", "submit:fail,at_once=true"),
    "body": ("the JSON of body and patch", KINDS["body"][1]),
    "carried_out": ("whether the call takes effect nevertheless", "submit:503,carried_out=true"),
    "code": ("the code of an error or of a failed task", "submit:402,code=insufficient_quota"),
    "location": ("the other address", KINDS["redirect"][1]),
    "message": ("the message of an error or of a failed task", "submit:fail,message=No"),
    "older": ("an error in the API's older form", "submit:429,older=true"),
    "param": ("the argument that an error is about", "submit:400,param=prompt"),
    "retry_after": ("the Retry-After of an error, in seconds", "submit:429,retry_after=2"),
    "seconds": ("by how much the answer is late", "task:503,seconds=1.5"),
    "size": ("bytes of a huge answer", "task:huge,size=2000000"),
    "status": ("the HTTP status", "task:html,status=403"),
}
"""What each detail means, with an example."""
FIRST_DETAIL = {
    "fail": "code",
    "slow": "seconds",
    "hesitate": "seconds",
    "late": "seconds",
    "huge": "size",
    "redirect": "location",
    "status": "status",
}
REQUIRED_DETAIL = {"status": "status", "body": "body", "patch": "body"}
ONLY_FOR_SUBMIT = ("fail", "late", "hesitate")
ALWAYS_CARRIED_OUT = ("lost", "cut", "slow", "hesitate", "late", "patch", "fail")
NOT_CARRIED_OUT = ("status", "capacity", "dropped", "redirect")
LATE_SECONDS = 4.0
FORM = re.compile(r"(?P<at>\w+):(?P<kind>\w+)(?P<details>[=,].*?)?(\*(?P<times>\d+|always))?", re.DOTALL)


@dataclass(init=False)
class Fault:
    """What goes wrong at a place: for `times` calls (None: all) after the first `after` ones.

    Every fault takes `seconds`, by which it delays the answer (`hesitate` and `late`: the carrying out).
    Every fault that replaces the answer takes `carried_out`: whether the call takes effect nevertheless.
    """

    at: str
    kind: str
    times: int | None
    after: int
    details: dict[str, object]

    def __init__(self, at: str, kind: str, times: int | None = 1, after: int = 0, **details: object) -> None:
        self.at, self.kind, self.times, self.after, self.details = at, kind, times, after, details
        self._check_frame()
        self._check_details()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `PLACE:KIND[=VALUE][,NAME=VALUE…][*TIMES]`, such as `submit:429,retry_after=2*3`.

        A number as the kind is an HTTP status; `*always` stands for every call. A text that begins with `{`
        is read as JSON, as by `from_json`. Raises `ValueError`.
        """
        if text.lstrip().startswith("{"):
            return cls.from_json(json.loads(text))
        form = FORM.fullmatch(text.strip())
        if form is None:
            text = f"{text!r} is not a fault: write PLACE:KIND, such as submit:503 or task:garbage*3."
            raise ValueError(text)
        kind, value = form["kind"], form["details"] or ""
        if kind.isdigit():
            kind, value = "status", f"={kind}{value}"
        options = _options(kind, value)
        times = None if form["times"] == "always" else int(form["times"] or 1)
        return cls(form["at"], kind, times, cast(int, options.pop("after", 0)), **options)

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read the textual form, or an object with the constructor's arguments. Raises `ValueError`."""
        if isinstance(value, str):
            return cls.parse(value)
        if not isinstance(value, dict):
            raise ValueError(f"{value!r} is not a fault: give an object with at and kind, or a text.")
        try:
            return cls(**value)
        except TypeError as error:
            raise ValueError(f"{value!r} is not a fault: {error}.") from error

    @property
    def is_carried_out(self) -> bool:
        return bool(self.details.get("carried_out", self.kind not in NOT_CARRIED_OUT))

    def text(self, name: str, default: str) -> str:
        return cast(str, self.details.get(name, default))

    def number(self, name: str, default: int) -> int:
        return cast(int, self.details.get(name, default))

    @property
    def seconds(self) -> float:
        return cast(float, self.details.get("seconds", LATE_SECONDS if self.kind == "late" else 0.0))

    def _check_frame(self) -> None:
        if self.at not in PLACES:
            raise ValueError(f"There is no place {self.at!r}: choose from {', '.join(PLACES)}.")
        if self.kind not in KINDS:
            raise ValueError(f"There is no kind {self.kind!r}: choose from {', '.join(KINDS)}.")
        if self.kind in ONLY_FOR_SUBMIT and self.at != "submit":
            raise ValueError(f"The kind {self.kind!r} is for submit only.")
        if self.times is not None and not _is(self.times, int, least=1):
            raise ValueError("times must be a positive integer, or null for always.")
        if not _is(self.after, int, least=0):
            raise ValueError("after must be an integer, 0 or more.")

    def _check_details(self) -> None:
        required = REQUIRED_DETAIL.get(self.kind)
        if required is not None and required not in self.details:
            raise ValueError(f"The kind {self.kind!r} needs the detail {required!r}.")
        if self.kind in ALWAYS_CARRIED_OUT and "carried_out" in self.details:
            raise ValueError(f"The kind {self.kind!r} is always carried out.")
        for name, value in self.details.items():
            if name not in DETAILS:
                raise ValueError(f"There is no detail {name!r}: choose from {', '.join(DETAILS)}.")
            wanted = dict if name == "body" and self.kind == "patch" else DETAILS[name]
            if not _is(value, wanted):
                raise ValueError(f"The detail {name!r} must be of type {wanted.__name__}.")
        status = self.details.get("status", 503)
        if status not in range(200, 600) and (self.kind, status) != ("late", 0):
            raise ValueError("status must be an HTTP status from 200 to 599, or 0 for late.")


class Script:
    """The coming faults: at each place one after the other, in the order in which they were added."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._entries: list[_Entry] = []
        self.add(*faults)

    def add(self, *faults: Fault) -> None:
        self._entries += [_Entry(fault) for fault in faults]

    def clear(self) -> None:
        self._entries.clear()

    def take(self, at: str) -> Fault | None:
        """What goes wrong with this call."""
        for entry in self._entries:
            if entry.fault.at == at and not entry.is_spent:
                entry.calls += 1
                return entry.fault if entry.calls > entry.fault.after else None
        return None


@dataclass
class _Entry:
    fault: Fault
    calls: int = 0

    @property
    def is_spent(self) -> bool:
        times = self.fault.times
        return times is not None and self.calls >= self.fault.after + times


def _options(kind: str, text: str) -> dict[str, object]:
    if text.startswith("="):
        if kind not in FIRST_DETAIL:
            raise ValueError(f"The kind {kind!r} takes no value; write NAME=VALUE after a comma.")
        text = f",{FIRST_DETAIL[kind]}{text}"
    pairs = [part.partition("=") for part in text.split(",")[1:]]
    return {name: _value(name, value) for name, _, value in pairs}


def _value(name: str, text: str) -> object:
    wanted = int if name == "after" else DETAILS.get(name, str)
    if name == "body":
        raise ValueError("A body cannot be written in this form: script the fault in Python or as JSON.")
    if wanted is bool and text in ("true", "false"):
        return text == "true"
    if wanted in (int, float):
        try:
            return wanted(text)
        except ValueError:
            raise ValueError(f"{name}={text}: this must be a number.") from None
    return text


def _is(value: object, wanted: type, least: float | None = None) -> bool:
    fits = isinstance(value, (int, float) if wanted is float else wanted)
    if isinstance(value, bool) and wanted in (int, float):
        return False
    return fits and (least is None or cast(float, value) >= least)
