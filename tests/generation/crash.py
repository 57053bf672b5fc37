# ruff: noqa: T201
# This program prints a table.
"""Kill the server at random moments around the paid request, thousands of times: is each request paid once?

Run by hand, on Linux or macOS: ``python tests/generation/crash.py --kills 2000 --seed 7 --form list``.
Many customers work at the same time, each with its account, its ledger and its requests. A process gets a
request and is killed (SIGKILL) about when it pays; another process gets the same request, and may be killed
too, until there is an answer. A request is for a video from a picture, from text, or from the last frame of
an earlier video. At the end the records of the accounts are compared with the ledgers and the answers.

An account is a sandbox in one of four forms: it honours the idempotency key or not, and offers the list of
tasks or not. Most of the processes are forked, with a `VideoService` and nothing else in them; some are
servers on standard streams. Some requests are made by two processes at once, one of which dies; some are
several takes, or several requests at once; some processes have a clock that is wrong by minutes or hours. All
pauses that the rules of paying once require are shortened by the same factor.
"""

import argparse
import functools
import hashlib
import heapq
import itertools
import json
import logging
import os
import random
import re
import shutil
import signal
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import httpx2

from wan_mcp.errors import WanError
from wan_mcp.evolink import Task
from wan_mcp.generation.outcomes import FROM_PICTURE, FROM_TEXT
from wan_mcp.generation.request import GenerationRequest, TextGenerationRequest
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.services import Services
from wan_mcp.ledger import Saved
from wan_mcp.ledger.policy import Delays
from wan_mcp.ledger.sqlite.store import FILE_NAME, SqliteLedger
from wan_mcp.sandbox import Fault, Sandbox, running
from wan_mcp.sandbox.render import render
from wan_mcp.settings import Settings

KEY = "sk-sandbox"
FORMS = {"both": (True, True), "key": (True, False), "list": (False, True), "neither": (False, False)}
"""Whether the key is honoured, and whether the list is offered."""
PROMISED = ("both", "key", "list")
"""The forms for which something is promised: every request is paid once, but for one in each ledger by which
it is learned that the key is ignored; and none is lost."""
FACTOR = 0.05
"""By which the waiting is shortened: five seconds instead of a hundred until a task must be listed."""
SHIFTS = (600, -600, 3600, -3600, 45, -45)
"""Seconds by which a clock is wrong."""
WRONG_CLOCKS = 0.08
"""The share of processes with a wrong clock."""
SLOWEST = 0.16
"""Seconds by which an answer to a submission is late, at most."""
LATEST = 0.2
"""Seconds for which a process lives on, at most, when it has begun to pay and is to die."""
LINGER = 5.0
"""Seconds after which a forked process that has answered ends by itself."""
PATIENCE = 25.0
"""Seconds after which a process that was asked is given up."""
ATTEMPTS = 4
"""How often the same is asked at most after the last kill."""
TWINS = 0.15
"""The share of requests that two processes are asked for at once."""
SEVERAL = 0.1
"""The share of requests that are made together with others."""
TAKES = 0.15
"""The share of requests of which there are two takes."""
KINDS = ("picture", "picture", "text", "task")
"""What a video is made from."""
PARENT = "task-unified-1700000000-parent00"
"""A task of each ledger, whose video is saved."""
POLL = 0.015
CROWD = 8
UNDECIDED = "because it could be paid twice"
TASK_ID = re.compile("task-unified-[0-9a-z-]+")
"""Processes with the same request at the same time."""

Steps = Iterator[float]
"""Something that goes on for a while: it yields the seconds until it wants to go on."""

# The accounts: one process with a sandbox for each customer.


class Hesitation(Fault):
    """An answer that is late by another time each time, after the task was made and paid."""

    @property
    def delay(self) -> float:
        return random.uniform(0, SLOWEST)


async def keep_accounts(forms: list[str]) -> None:
    """Serve the sandboxes until stdin ends: addresses on the first line of stdout, records on the last."""
    logging.disable()  # a request that breaks off in the middle is no fault here
    sandboxes = [_sandbox(*FORMS[form]) for form in forms]
    async with AsyncExitStack() as stack:
        addresses = [await stack.enter_async_context(running(sandbox)) for sandbox in sandboxes]
        pictures = [
            str(sandbox.uploads.add("cat.png", _picture()).body(url)["file_url"])
            for sandbox, url in zip(sandboxes, addresses, strict=True)
        ]
        print(json.dumps([addresses, pictures]), flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)
    print(json.dumps([_books_of(sandbox) for sandbox in sandboxes]), flush=True)


def _sandbox(honoured: bool, offered: bool) -> Sandbox:
    return Sandbox(
        seconds=24 * 3600,
        key=KEY,
        credits=1e6,
        honours_idempotency_key=honoured,
        offers_list=offered,
        faults=[Hesitation("submit", "slow", times=None)],
    )


def _picture() -> bytes:
    from io import BytesIO

    from PIL import Image

    stream = BytesIO()
    Image.new("RGB", (400, 400), "#7a4").save(stream, "PNG")
    return stream.getvalue()


def _books_of(sandbox: Sandbox) -> dict[str, Any]:
    records = sandbox.records
    posts = [(call.body, call.time) for call in records.calls if call.at == "submit"]
    return {
        "posts": [(body["prompt"], moment) for body, moment in posts if isinstance(body, dict)],
        "paid": [(payment.prompt, payment.task_id) for payment in records.paid],
    }


@dataclass(frozen=True)
class Wanted:
    """What is asked for."""

    prompt: str
    take: int = 1
    kind: str = "picture"


@dataclass
class Account:
    """What a customer knows of its account, and where its ledger is."""

    url: str
    picture: str
    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        return {
            "EVOLINK_API_KEY": KEY,
            "EVOLINK_BASE_URL": self.url,
            "EVOLINK_FILES_URL": self.url,
            "WAN_MCP_DATA_DIR": str(self.folder),
            "WAN_MCP_OUTPUT_DIR": str(self.folder / "videos"),
            "WAN_MCP_ALLOW_PRIVATE_NETWORK": "1",
            "WAN_MCP_IMAGE_CHECK": "off",
            "WAN_MCP_LOG_LEVEL": "ERROR",
        }

    async def record_parent(self, video: Path) -> None:
        """Give the ledger a task whose video is saved."""
        ledger = SqliteLedger(self.folder)
        try:
            owner = ledger.for_owner(Settings.load(self.environ).gateway, KEY)
            await owner.observe(Task(id=PARENT, status="completed"), time.time())
            content = await anyio.Path(video).read_bytes()
            await owner.mark_saved(
                PARENT, Saved(str(video), len(content), hashlib.sha256(content).hexdigest())
            )
        finally:
            await ledger.aclose()

    def call(self, wanted: Wanted) -> tuple[str, dict[str, Any]]:
        """A tool and its arguments."""
        arguments = {"prompt": wanted.prompt, "take": wanted.take}
        if wanted.kind == "text":
            return FROM_TEXT, arguments
        shown = PARENT if wanted.kind == "task" else self.picture
        return FROM_PICTURE, arguments | {"image_urls": [shown]}

    def entry(self, wanted: Wanted) -> tuple[float | None, str | None]:
        """When a request was last about to be sent, and its task, as the ledger has it.

        Read in a copy: whoever opens the file itself mends what the killed process left half done, and
        that is for the next process to do.
        """
        with TemporaryDirectory() as name:
            for path in self.folder.glob(f"{FILE_NAME}*"):
                if not path.name.endswith("-shm"):
                    with suppress(FileNotFoundError):  # another process may have done with it
                        shutil.copy(path, name)
            rows = _rows(Path(name) / FILE_NAME)
        mine = [row[2:] for row in rows if row[:2] == (wanted.prompt, wanted.take)]
        return mine[-1] if mine else (None, None)

    def key_use(self) -> str:
        """What the ledger knows of the gateway."""
        with closing(sqlite3.connect(self.folder / FILE_NAME)) as database:
            found = database.execute("SELECT key_use FROM gateways").fetchone()
        return str(found[0]) if found else "unknown"

    def known_tasks(self) -> set[str | None]:
        return {row[3] for row in _rows(self.folder / FILE_NAME)}


def _rows(path: Path) -> list[tuple[str, int, float | None, str | None]]:
    if not path.exists():
        return []
    with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(path)) as database:
        return list(database.execute("SELECT prompt, take, reposted_at, task_id FROM entries"))
    return []


@dataclass
class Bank:
    """The process that keeps the accounts."""

    process: "subprocess.Popen[bytes]"
    accounts: list[Account]

    def close(self) -> list[dict[str, Any]]:
        """The records of all accounts."""
        output, _ = self.process.communicate()
        records: list[dict[str, Any]] = json.loads(output)
        return records


@contextmanager
def bank(forms: list[str], folder: Path) -> Iterator[Bank]:
    """Accounts of these forms, each with a ledger in a folder of its own."""
    process = subprocess.Popen(
        [sys.executable, __file__, "accounts", *forms],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        addresses, pictures = json.loads(process.stdout.readline())
        folders = [folder / f"ledger{count}" for count in range(len(forms))]
        found = Bank(process, list(map(Account, addresses, pictures, folders)))
        video = folder / "parent.mp4"
        video.write_bytes(render(_picture(), 1, "480p"))
        for account in found.accounts:
            anyio.run(account.record_parent, video)
        yield found
    finally:
        process.kill()
        process.wait()


# The processes that are asked and killed. All of them are our own children, and are waited for.


class Asked:
    """A process that was asked for a request; its answer, when there is one, is a task's id or an error."""

    def __init__(self, pid: int, output: int) -> None:
        os.set_blocking(output, False)
        self._pid, self._output = pid, output
        self._received = b""
        self._ended = False
        self.began = time.time()

    def lines(self) -> list[Any]:
        with suppress(BlockingIOError):
            while piece := os.read(self._output, 65536):
                self._received += piece
        return [json.loads(line) for line in self._received.split(b"\n")[:-1]]

    def answer(self) -> str | None:
        """The answer so far: a task's id and others that were paid too, or an error's text after ``!``."""
        lines = self.lines()
        return str(lines[0]) if lines else None

    @property
    def has_ended(self) -> bool:
        if not self._ended:
            self._ended = os.waitpid(self._pid, os.WNOHANG)[0] != 0
        return self._ended

    def kill(self) -> float:
        """End it at once; the time of its end."""
        if not self.has_ended:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._ended = True
        moment = time.time()
        os.close(self._output)
        return moment


@functools.cache
def trust() -> ssl.SSLContext:
    """Made before the first fork: it takes longer than all else that a forked process does."""
    return httpx2.create_ssl_context()


@dataclass(frozen=True)
class Doom:
    """When a forked process kills itself, which on a busy machine nobody else would do in time."""

    seconds: float
    after_sending: bool
    """Whether the seconds count from the moment at which it begins to pay, rather than from its start."""


def fork(account: Account, wanted: Wanted, doom: Doom | None = None) -> Asked:
    """A process with a service, asked at once."""
    shift = random.choice(SHIFTS) if random.random() < WRONG_CLOCKS else 0
    output, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _answer_in_child(account, wanted, writer, doom, shift)
        finally:
            os._exit(0)
    os.close(writer)
    return Asked(pid, output)


def _answer_in_child(account: Account, wanted: Wanted, writer: int, doom: Doom | None, shift: float) -> None:
    try:
        answer = anyio.run(_generate, account, wanted, doom, shift)
    except WanError as error:
        answer = f"!{error.message} {error.next_step}"
    except BaseException as error:
        answer = f"!{error!r}"
    os.write(writer, json.dumps(answer).encode() + b"\n")
    time.sleep(LINGER)


async def _generate(account: Account, wanted: Wanted, doom: Doom | None, shift: float) -> str:
    transport = Network(doom if doom and doom.after_sending else None)
    if doom and not doom.after_sending:
        _die_in(doom.seconds)
    runtime = Runtime(
        Settings.load(account.environ),
        transport=transport,
        clock=lambda: time.time() + shift,
        delays=Delays().scaled(FACTOR),
    )
    async with runtime:
        tool, arguments = account.call(wanted)
        model = TextGenerationRequest if tool == FROM_TEXT else GenerationRequest
        request = model.model_validate(arguments)
        snapshot = await Services(runtime).current().generate(request, PATIENCE - 5)
        assert snapshot.submitted is not None
        return " ".join((snapshot.task.id, *snapshot.submitted.also_paid))


class Network(httpx2.AsyncHTTPTransport):
    """The real network; with a doom, the process dies soon after it has begun to pay."""

    def __init__(self, doom: Doom | None) -> None:
        super().__init__(verify=trust())
        self._doom = doom

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if self._doom and request.method == "POST":
            _die_in(self._doom.seconds)
        return await super().handle_async_request(request)


def _die_in(seconds: float) -> None:
    def die() -> None:
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=die, daemon=True).start()


def serve() -> None:
    """A server on the standard streams, whose rules wait for less."""
    from wan_mcp.server.app import create_server

    make_runtime = functools.partial(Runtime, delays=Delays().scaled(FACTOR))
    create_server(Settings.load(), make_runtime=make_runtime).run()


class Server(Asked):
    """A server, asked over its standard streams when it is ready."""

    def __init__(self, account: Account) -> None:
        foreign = ("EVOLINK_", "WAN_MCP_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self._process = subprocess.Popen(
            [sys.executable, __file__, "server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=inherited | account.environ,
        )
        assert self._process.stdout is not None
        super().__init__(self._process.pid, self._process.stdout.fileno())
        client = {"name": "crash", "version": "1"}
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
        self._send(id=0, method="initialize", params=hello)

    @property
    def is_ready(self) -> bool:
        return bool(self.lines())

    def ask(self, tool: str, arguments: dict[str, Any]) -> None:
        self._send(method="notifications/initialized")
        self._send(id=1, method="tools/call", params={"name": tool, "arguments": arguments})
        self.began = time.time()

    def answer(self) -> str | None:
        results = [line["result"] for line in self.lines() if line.get("id") == 1]
        if not results:
            return None
        text = str(results[0]["content"][0]["text"])
        return f"!{text}" if results[0].get("isError") else " ".join(TASK_ID.findall(text))

    @property
    def has_ended(self) -> bool:
        self._ended = self._ended or self._process.poll() is not None
        return self._ended

    def kill(self) -> float:
        self._process.kill()
        self._process.wait()
        moment = time.time()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):  # what it never read
                    stream.close()
        return moment

    def _send(self, **message: Any) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            self._process.stdin.flush()


# The customers: generators that yield the seconds until they want to go on.


@dataclass(frozen=True)
class Kill:
    prompt: str
    began: float
    moment: float
    recorded: bool
    """Whether the ledger had the task by then."""


class Aim:
    """When to kill: about a moment that moves to where as many kills fall before the payment as after."""

    def __init__(self, moment: float, spread: float = SLOWEST) -> None:
        self.moment, self._spread = moment, spread

    def shot(self) -> float:
        return max(self.moment + random.uniform(-self._spread, self._spread), 0)

    def learn(self, *, too_early: bool, too_late: bool) -> None:
        self.moment += 0.015 * (too_early - too_late)


def _aims() -> dict[tuple[bool, bool], Aim]:
    first, again = 0.1, 2.1
    return {
        (server, later): Aim(again if later else first) for server in (False, True) for later in (False, True)
    }


@dataclass
class Run:
    """What all customers of a form share, and what they found."""

    form: str
    kills_wanted: int
    servers: float
    """The share of processes that are the real server."""
    deadline: float
    kills: list[Kill] = field(default_factory=list)
    requests: int = 0
    wanted: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """How many takes of each prompt there are."""
    answers: dict[Wanted, set[str]] = field(default_factory=lambda: defaultdict(set))
    named: set[str] = field(default_factory=set)
    """Tasks that an error named, since it could not be told which one is the request's."""
    undecided: set[str] = field(default_factory=set)
    """Prompts whose last answer was an error that says that nothing is sent any more, and why."""
    unanswered: list[Wanted] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    aims: dict[tuple[bool, bool], Aim] = field(default_factory=_aims)
    """By whether it is the server, and whether it goes on with an earlier request."""

    @property
    def crowd(self) -> str:
        """The request that many have."""
        return f"{self.form} crowd"

    @property
    def is_enough(self) -> bool:
        return len(self.kills) >= self.kills_wanted or time.monotonic() > self.deadline


def crowd(run: Run, account: Account) -> Steps:
    """Many processes at once that have the same request, and that nobody kills."""
    wanted = Wanted(run.crowd)
    run.requests += 1
    run.wanted[wanted.prompt] += 1
    server = yield from _served(account, wanted)
    processes: list[Asked] = [server, *(fork(account, wanted) for _ in range(CROWD - 1))]
    for process in processes:
        if not (yield from _answered(run, account, wanted, process)):
            run.unanswered.append(wanted)


def customer(run: Run, account: Account, name: str) -> Steps:
    """One request after the other, each asked for until there is an answer, whoever dies meanwhile."""
    for number in itertools.count():
        if run.is_enough:
            return
        prompt, kind = f"{name}.{number}", random.choice(KINDS)
        if random.random() < TAKES:
            requests = [Wanted(prompt, take, kind) for take in (1, 2)]
        elif random.random() < SEVERAL:
            requests = [Wanted(f"{prompt}.{letter}", kind=random.choice(KINDS)) for letter in "abc"]
        else:
            requests = [Wanted(prompt, kind=kind)]
        for wanted in requests:
            run.requests += 1
            run.wanted[wanted.prompt] += 1
        if len(requests) > 1:
            yield from _at_once(run, account, requests)
        elif random.random() < TWINS:
            yield from _with_a_twin(run, account, requests[0])
        else:
            yield from _with_kills(run, account, requests[0], random.choice((1, 1, 1, 2, 3)))
        for wanted in requests:
            yield from until_answered(run, account, wanted)


def _with_kills(run: Run, account: Account, wanted: Wanted, times: int) -> Steps:
    for _ in range(times):
        sent_at, task_id = account.entry(wanted)
        if task_id is None:
            yield from _ask_and_kill(run, account, wanted, again=sent_at is not None)


def _with_a_twin(run: Run, account: Account, wanted: Wanted) -> Steps:
    """Two processes at once, one of which dies: the other one has to answer."""
    survivor = yield from _asked(run, account, wanted)
    yield from _ask_and_kill(run, account, wanted, again=False)
    yield from _answered(run, account, wanted, survivor)


def _at_once(run: Run, account: Account, requests: list[Wanted]) -> Steps:
    """Several requests in as many processes, each of which dies soon after it has begun to pay."""
    dooms = [Doom(random.uniform(0, LATEST), after_sending=True) for _ in requests]
    processes = [fork(account, wanted, doom) for wanted, doom in zip(requests, dooms, strict=True)]
    for wanted, process in zip(requests, processes, strict=True):
        yield from until(lambda process=process: process.has_ended or process.answer() is not None)  # type: ignore[misc]
        moment = process.kill()
        run.kills.append(Kill(wanted.prompt, process.began, moment, account.entry(wanted)[1] is not None))


def _asked(run: Run, account: Account, wanted: Wanted) -> Generator[float, None, Asked]:
    if random.random() >= run.servers:
        return fork(account, wanted)
    return (yield from _served(account, wanted))


def _served(account: Account, wanted: Wanted) -> Generator[float, None, Server]:
    server = Server(account)
    yield from until(lambda: server.is_ready or server.has_ended)
    server.ask(*account.call(wanted))
    return server


def _ask_and_kill(run: Run, account: Account, wanted: Wanted, *, again: bool) -> Steps:
    by_server, after_sending = random.random() < run.servers, random.random() < 0.6
    aim = run.aims[by_server, again]
    shot = aim.shot()
    process: Asked
    if by_server:
        process = yield from _served(account, wanted)
        yield shot
    elif after_sending:
        process = fork(account, wanted, Doom(random.uniform(0, LATEST), after_sending=True))
        yield from until(lambda: process.has_ended or process.answer() is not None)
    else:
        process = fork(account, wanted, Doom(shot, after_sending=False))
        yield from until(lambda: process.has_ended)
    moment = process.kill()
    sent_at, task_id = account.entry(wanted)
    if by_server or not after_sending:
        aim.learn(too_early=(sent_at or 0) < process.began, too_late=task_id is not None)
    run.kills.append(Kill(wanted.prompt, process.began, moment, task_id is not None))


def until_answered(run: Run, account: Account, wanted: Wanted) -> Steps:
    """Ask, and ask again while there is an error, without any more kills."""
    for attempt in range(ATTEMPTS):
        process = yield from _asked(run, account, wanted)
        if (yield from _answered(run, account, wanted, process, last=attempt == ATTEMPTS - 1)):
            return
        yield 1.0


def _answered(
    run: Run, account: Account, wanted: Wanted, process: Asked, *, last: bool = False
) -> Generator[float, None, bool]:
    yield from until(lambda: process.answer() is not None or process.has_ended)
    answer = process.answer() or "!no answer"
    process.kill()
    if not answer.startswith("!"):
        task_id, *also_paid = answer.split()
        run.answers[wanted].add(task_id)
        run.named |= set(also_paid)
        return True
    run.errors[TASK_ID.sub("task-…", answer[1:])] += 1
    run.named |= set(TASK_ID.findall(answer))
    if last and UNDECIDED in answer and account.key_use() != "honoured":
        run.undecided.add(wanted.prompt)
    elif last:
        run.unanswered.append(wanted)
    return False


def until(condition: Callable[[], bool]) -> Steps:
    """Wait until something is so, but not for ever."""
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        yield POLL


def work(customers: Iterable[Steps]) -> None:
    """Let all of them go on until the last one is done."""
    queue = [(0.0, number, one) for number, one in enumerate(customers)]
    while queue:
        moment, number, one = heapq.heappop(queue)
        time.sleep(max(moment - time.monotonic(), 0))
        pause = next(one, None)
        if pause is not None:
            heapq.heappush(queue, (time.monotonic() + pause, number, one))


# The judgement.


@dataclass(frozen=True)
class Verdict:
    form: str
    requests: int
    kills: int
    before: int
    """Kills before the request arrived at the account."""
    during: int
    """Kills after it arrived, and before the answer was in the ledger."""
    after: int
    posts: int
    paid: int
    crowd: int
    """Requests that the crowd made: one."""
    ledgers: int
    twice: int
    """Payments beyond one for each request."""
    missing: int
    """Paid tasks that are in no ledger, that no error named, and whose request is not undecided."""
    wrong: int
    """Requests that were answered with a task that is not theirs, or not with one task."""
    undecided: int
    """Requests without an answer, of which an error says that nothing more is sent: it is not known that
    the key is honoured, and the repeat was lost too, or the list cannot tell."""
    unanswered: int
    """Requests without an answer for any other reason."""

    @property
    def is_good(self) -> bool:
        allowed = {"both": 0, "key": 0, "list": self.ledgers}.get(self.form, self.paid)
        broken = self.twice > allowed or self.missing or self.wrong or self.unanswered
        return self.crowd == 1 and not (broken and self.form in PROMISED)


def judge(run: Run, accounts: list[Account], records: list[dict[str, Any]]) -> Verdict:
    moments: dict[str, list[float]] = defaultdict(list)
    paid: dict[str, set[str]] = defaultdict(set)
    for book in records:
        for prompt, moment in book["posts"]:
            moments[prompt].append(moment)
        for prompt, task_id in book["paid"]:
            paid[prompt].add(task_id)
    known = run.named.union(*(account.known_tasks() for account in accounts))
    told = set().union(*(paid[prompt] for prompt in run.undecided))
    falls = Counter(_fall(kill, moments[kill.prompt]) for kill in run.kills)
    return Verdict(
        form=run.form,
        requests=run.requests,
        kills=len(run.kills),
        before=falls["before"],
        during=falls["during"],
        after=falls["after"],
        posts=sum(map(len, moments.values())),
        paid=sum(map(len, paid.values())),
        crowd=len(moments[run.crowd]),
        ledgers=len(accounts),
        twice=sum(max(len(tasks) - run.wanted[prompt], 0) for prompt, tasks in paid.items()),
        missing=len(set().union(*paid.values()) - known - told) if run.form in PROMISED else 0,
        wrong=sum(
            len(answers) > 1 or not answers <= paid[wanted.prompt] for wanted, answers in run.answers.items()
        ),
        undecided=len(run.undecided),
        unanswered=len(run.unanswered),
    )


def _fall(kill: Kill, moments: list[float]) -> str:
    if kill.recorded:
        return "after"
    return "during" if any(kill.began <= moment <= kill.moment for moment in moments) else "before"


def crash(
    forms: list[str], kills: int, *, seconds: float, customers: int, servers: float
) -> list[tuple[Verdict, Run]]:
    """Work off a number of kills for each form, or as many as fit into the seconds, all at the same time."""
    trust()
    anyio.run(anyio.sleep, 0)  # imports what each forked process would have to
    with TemporaryDirectory() as name, bank(list(forms) * customers, Path(name)) as place:
        deadline = time.monotonic() + seconds
        runs = [Run(form, kills, servers, deadline) for form in forms]
        shares = [place.accounts[number :: len(forms)] for number in range(len(forms))]
        work(_everybody(runs, shares))
        records = place.close()
        return [
            (judge(run, share, records[number :: len(forms)]), run)
            for number, (run, share) in enumerate(zip(runs, shares, strict=True))
        ]


def _everybody(runs: list[Run], shares: list[list[Account]]) -> Iterator[Steps]:
    for run, accounts in zip(runs, shares, strict=True):
        for number, account in enumerate(accounts):
            job = customer(run, account, f"{run.form} {number}")
            yield itertools.chain(crowd(run, account), job) if number == 0 else job


def main() -> int:
    arguments = _arguments()
    logging.disable(logging.WARNING)
    random.seed(arguments.seed)
    forms = {"all": list(FORMS), "promised": list(PROMISED)}.get(arguments.form, [arguments.form])
    found = crash(
        forms,
        arguments.kills // len(forms),
        seconds=arguments.seconds,
        customers=max(arguments.customers // len(forms), 1),
        servers=arguments.servers,
    )
    _print([verdict for verdict, _ in found], as_json=arguments.json)
    for verdict, run in found:
        for error, count in run.errors.most_common(5):
            print(f"{verdict.form}: {count} x {error}", file=sys.stderr)
    return 0 if all(verdict.is_good for verdict, _ in found) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=2000, help="how many in all (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=600, help="after which no request is begun any more")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--form", choices=[*FORMS, "promised", "all"], default="all")
    parser.add_argument("--customers", type=int, default=32, help="at the same time (default: %(default)s)")
    parser.add_argument("--servers", type=float, default=0.1, help="the share of processes that are servers")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each form")
    return parser.parse_args()


def _print(verdicts: list[Verdict], *, as_json: bool) -> None:
    rows = [asdict(verdict) for verdict in verdicts]
    if as_json:
        print("\n".join(map(json.dumps, rows)))
        return
    for row in [list(rows[0]), *(list(row.values()) for row in rows)]:
        print("".join(f"{value:>11}" for value in row))


if __name__ == "__main__":
    if sys.argv[1:2] == ["accounts"]:
        anyio.run(keep_accounts, sys.argv[2:])
    elif sys.argv[1:2] == ["server"]:
        serve()
    else:
        sys.exit(main())
