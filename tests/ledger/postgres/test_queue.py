"""The jobs that follow tasks, on a real database."""

import itertools
import logging
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import anyio
import procrastinate.utils
import psycopg
import pytest
from anyio.streams.text import TextReceiveStream

from wan_mcp.errors import Refused
from wan_mcp.ledger.postgres import queue
from wan_mcp.ledger.postgres.queue import FollowQueue, Step
from wan_mcp.ledger.postgres.queue_schema import prepare

pytestmark = pytest.mark.anyio
GATEWAY = "https://api.example"
LIMIT = 30
"""Seconds that a test may take on a slow machine."""


@pytest.fixture
def anyio_backend() -> str:
    """Time does not jump: the database's does not."""
    return "asyncio"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "POLL": 0.02,
        "HEARTBEAT": 0.1,
        "ROUND": 0.1,
        "STALLED_AFTER": 5.0,
        "OCCUPIED": 0.1,
        "GRACE": 0.3,
        "RETRIES": (0.02, 0.03, 0.04),
        "PAUSES": (0.05, 0.2),
    }.items():
        monkeypatch.setattr(queue, name, value)


async def until(met: Callable[[], bool]) -> None:
    """Wait for what others do, in a worker or in the database."""
    while not met():  # noqa: ASYNC110  the database sets no event here
        await anyio.sleep(0.02)


@pytest.fixture
def wrong_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's clock is fast."""
    monkeypatch.setattr(procrastinate.utils, "utcnow", lambda: datetime.now(UTC) + timedelta(hours=1))


class Database:
    """A database with procrastinate's tables, and one connection of the test's own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connect()
        with self.connection.transaction():
            prepare(self.connection)

    def connect(self) -> None:
        self.connection = psycopg.connect(self.url, autocommit=True)

    def follow_queue(self, gateway: str = GATEWAY, clock: Callable[[], float] = time.time) -> FollowQueue:
        return FollowQueue(self.url, gateway, clock)

    def enqueue(self, follow: FollowQueue, *task_ids: str) -> None:
        for task_id in task_ids:
            with self.connection.transaction():
                follow.enqueue(self.connection, "ann", task_id)

    def jobs(self, columns: str = "args ->> 'task_id'") -> list[Any]:
        query = f"SELECT {columns} FROM procrastinate_jobs ORDER BY id"
        return [row[0] for row in self.connection.execute(query.encode())]

    async def is_empty(self) -> None:
        """Wait until no job is left."""
        await until(lambda: self.jobs() == [])


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.connection.close()


@asynccontextmanager
async def running(follow: FollowQueue, step: Step) -> AsyncIterator[None]:
    """A worker in the test's own event loop."""
    async with anyio.create_task_group() as group:
        with anyio.fail_after(LIMIT):
            group.start_soon(follow.run, step)
            yield
            group.cancel_scope.cancel()


class Reads:
    """A step that needs some reads for each task, and checks that no task is read twice at the same time."""

    def __init__(self, needed: int = 1, pause: float = 0.01, takes: float = 0.0) -> None:
        self.counted: Counter[str] = Counter()
        self.overlaps = 0
        self._needed, self._pause, self._takes = needed, pause, takes
        self._now: set[str] = set()

    async def __call__(self, owner: str, task_id: str) -> float | None:
        self.overlaps += task_id in self._now
        self._now.add(task_id)
        try:
            await anyio.sleep(self._takes)
        finally:
            self._now.discard(task_id)
        self.counted[task_id] += 1
        return None if self.counted[task_id] >= self._needed else self._pause


class Blocked:
    """A step that does not end by itself."""

    def __init__(self) -> None:
        self.started = anyio.Event()

    async def __call__(self, owner: str, task_id: str) -> float | None:
        self.started.set()
        await anyio.sleep_forever()
        raise AssertionError


class TestEnqueue:
    def test_a_transaction_that_is_rolled_back_leaves_no_job(self, database: Database) -> None:
        """The job is there exactly if what it follows is."""
        follow = database.follow_queue()
        with database.connection.transaction():
            follow.enqueue(database.connection, "ann", "task-1")
            raise psycopg.Rollback
        assert database.jobs() == []

    def test_a_task_that_is_queued_already_keeps_its_job_and_the_transaction_goes_on(
        self, database: Database
    ) -> None:
        """Whether it was queued by this transaction or by an earlier one."""
        follow = database.follow_queue()
        database.enqueue(follow, "task-1")
        with database.connection.transaction():
            for task_id in ("task-1", "task-2", "task-2"):
                follow.enqueue(database.connection, "ann", task_id)
        assert database.jobs() == ["task-1", "task-2"]

    def test_two_transactions_at_the_same_time_queue_a_task_once(self, database: Database) -> None:
        """The later one waits until the earlier one ends."""
        follow = database.follow_queue()
        with psycopg.connect(database.url) as other:

            def enqueue() -> None:
                follow.enqueue(other, "ann", "task-1")
                other.commit()

            later = Thread(target=enqueue)
            with database.connection.transaction():
                follow.enqueue(database.connection, "ann", "task-1")
                later.start()
                waiting = b"SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                while database.connection.execute(waiting).fetchone() is None:
                    assert later.is_alive()
            later.join(LIMIT)
        assert database.jobs() == ["task-1"]

    async def test_a_task_whose_job_runs_gets_no_second_one(self, database: Database) -> None:
        """Its next read would have to be queued beside the second job."""
        follow, blocked = database.follow_queue(), Blocked()
        database.enqueue(follow, "task-1")
        async with running(follow, blocked):
            await blocked.started.wait()
            database.enqueue(follow, "task-1")
            assert database.jobs() == ["task-1"]

    @pytest.mark.parametrize(
        "missing", ["TABLE procrastinate_jobs CASCADE", "FUNCTION procrastinate_defer_jobs_v1"]
    )
    def test_a_failure_of_the_database_is_raised_as_such(self, database: Database, missing: str) -> None:
        """The caller translates errors of psycopg, and knows none of procrastinate."""
        database.connection.execute(f"DROP {missing}".encode())
        with pytest.raises(psycopg.ProgrammingError, match="does not exist"):
            database.enqueue(database.follow_queue(), "task-1")


class TestReads:
    async def test_a_task_is_read_by_its_schedule_until_nothing_is_left_to_do(
        self, database: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its job is removed then, and what is normal is no warning."""
        follow, reads = database.follow_queue(), Reads(needed=3)
        database.enqueue(follow, "task-1", "task-2")
        async with running(follow, reads):
            await database.is_empty()
        assert reads.counted == {"task-1": 3, "task-2": 3}
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []

    async def test_a_job_that_is_queued_later_begins_at_once(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It need not be found by looking again."""
        monkeypatch.setattr(queue, "POLL", 2.0 * LIMIT)
        follow, reads = database.follow_queue(), Reads()
        database.enqueue(follow, "task-1")
        async with running(follow, reads):
            await database.is_empty()
            database.enqueue(follow, "task-2")
            await database.is_empty()
        assert reads.counted == {"task-1": 1, "task-2": 1}

    @pytest.mark.parametrize(
        "error", [Refused("no such right"), ZeroDivisionError()], ids=["known", "unknown"]
    )
    async def test_a_step_that_fails_is_logged_and_tried_again(
        self, database: Database, error: Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        """As often as it takes."""
        outcomes = itertools.chain([error] * 4, itertools.repeat(None))

        async def step(owner: str, task_id: str) -> float | None:
            outcome = next(outcomes)
            if outcome is not None:
                raise outcome
            return None

        follow = database.follow_queue()
        database.enqueue(follow, "task-1")
        async with running(follow, step):
            await database.is_empty()
        lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(lines) == 4
        assert all("task-1" in line for line in lines)

    async def test_the_pauses_after_failures_begin_anew_after_a_success(self, database: Database) -> None:
        """They count failures in a row, not reads."""
        pauses = []
        schedule = queue._Schedule.get_retry_decision

        def recording(self: Any, *, exception: queue._Again, job: Any) -> Any:
            pauses.append(exception.seconds)
            return schedule(self, exception=exception, job=job)

        outcomes = iter(["no", "no", 0.01, "no", "no", "no", "no", None])

        async def step(owner: str, task_id: str) -> float | None:
            outcome = next(outcomes)
            if isinstance(outcome, str):
                raise Refused(outcome)
            return outcome

        follow = database.follow_queue()
        database.enqueue(follow, "task-1")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(queue._Schedule, "get_retry_decision", recording)
            async with running(follow, step):
                await database.is_empty()
        first, second, last = queue.RETRIES
        assert pauses == [first, second, 0.01, first, second, last, last]

    @pytest.mark.usefixtures("wrong_clock")
    async def test_the_next_read_is_due_by_the_databases_clock(self, database: Database) -> None:
        """This machine's may be wrong."""
        right = 4_000_000_000.0
        follow, reads = database.follow_queue(clock=lambda: right), Reads(needed=2, pause=7.0)
        database.enqueue(follow, "task-1")
        async with running(follow, reads):
            await until(lambda: bool(reads.counted) and database.jobs("status::text") == ["todo"])
        assert database.jobs("scheduled_at") == [datetime.fromtimestamp(right + 7.0, UTC)]

    async def test_a_queue_leaves_the_jobs_of_another_gateway_alone(self, database: Database) -> None:
        """Two deployments may share a database."""
        ours, theirs, reads = database.follow_queue(), database.follow_queue("https://other.example"), Reads()
        database.enqueue(theirs, "task-1", "task-2")
        database.enqueue(ours, "task-2")
        async with running(ours, reads):
            await until(lambda: len(database.jobs()) == 2)
        assert reads.counted == {"task-2": 1}
        assert database.jobs() == ["task-1", "task-2"]


class TestWorkers:
    async def test_two_workers_share_the_jobs_and_never_run_one_at_the_same_time(
        self, database: Database
    ) -> None:
        """All tasks are read to their end, none more often than needed."""
        first, second = database.follow_queue(), database.follow_queue()
        reads, task_ids = Reads(needed=3, takes=0.01), [f"task-{number}" for number in range(20)]
        database.enqueue(first, *task_ids)
        async with running(first, reads), running(second, reads):
            await database.is_empty()
        assert reads.counted == dict.fromkeys(task_ids, 3)
        assert reads.overlaps == 0

    @pytest.mark.usefixtures("wrong_clock")
    async def test_a_worker_that_is_cancelled_gives_its_jobs_back_soon(self, database: Database) -> None:
        """Another one goes on at once."""
        follow, blocked, reads = database.follow_queue(), Blocked(), Reads()
        database.enqueue(follow, "task-1")
        async with running(follow, blocked):
            await blocked.started.wait()
        assert database.jobs("status::text") == ["todo"]
        async with running(database.follow_queue(), reads):
            await database.is_empty()
        assert reads.counted == {"task-1": 1}

    @pytest.mark.usefixtures("wrong_clock")
    async def test_the_job_of_a_worker_that_disappeared_goes_on_in_another(self, database: Database) -> None:
        """Its last sign of life is too old."""
        follow, reads = database.follow_queue(), Reads()
        database.enqueue(follow, "task-1")
        gone = (
            b"INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '6 s') RETURNING id"
        )
        worker = database.connection.execute(gone).fetchone()
        database.connection.execute("UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s", worker)
        async with running(follow, reads):
            await database.is_empty()
        assert reads.counted == {"task-1": 1}

    @pytest.mark.slow
    async def test_the_jobs_of_a_process_that_stands_still_go_on_once_it_was_killed(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not before: it could wake up at any time, in the middle of a step."""
        monkeypatch.setattr(queue, "STALLED_AFTER", 1.0)
        follow, reads = database.follow_queue(), Reads()
        database.enqueue(follow, "task-1", "task-2")
        program = [sys.executable, "-m", "tests.ledger.postgres.follower", database.url, GATEWAY]
        with anyio.fail_after(LIMIT):
            async with await anyio.open_process(program, stderr=None) as process:
                assert process.stdout is not None
                started = TextReceiveStream(process.stdout)
                lines = ""
                while lines.count("\n") < 2:
                    lines += await started.receive()
                process.send_signal(signal.SIGSTOP)
                async with running(follow, reads):
                    database.enqueue(follow, "task-3")
                    await until(lambda: database.jobs() == ["task-1", "task-2"])
                    await until(lambda: min(database.jobs("attempts")) >= 3)
                    assert set(reads.counted) == {"task-3"}
                    process.kill()
                    await database.is_empty()
        assert set(reads.counted) == {"task-1", "task-2", "task-3"}


class TestFailures:
    async def test_jobs_go_on_after_the_database_was_away(
        self, database: Database, server: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The log has one line about it, and one more when it is back."""
        caplog.set_level(logging.INFO, "wan_mcp")
        follow, reads = database.follow_queue(), Reads(needed=4, pause=0.1, takes=0.05)
        task_ids = [f"task-{number}" for number in range(5)]
        database.enqueue(follow, *task_ids)
        async with running(follow, reads):
            await until(lambda: len(reads.counted) == len(task_ids))
            with psycopg.connect(server, autocommit=True) as admin:
                name = database.connection.info.dbname
                admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
                )
                await until(lambda: len(caplog.messages) == 1)
                admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
            await until(lambda: len(caplog.messages) == 2)
            database.connection.close()
            database.connect()
            await database.is_empty()
        assert set(reads.counted) == set(task_ids)
        assert min(reads.counted.values()) >= 4
        assert reads.overlaps == 0
        assert [message.partition(":")[0] for message in caplog.messages] == [
            "tasks are not followed until the database answers again",
            "tasks are followed again",
        ]

    async def test_a_job_whose_result_could_not_be_recorded_is_not_lost(self, database: Database) -> None:
        """procrastinate alone would count it as running as long as the worker lives."""
        database.connection.execute("""
            CREATE SEQUENCE failures;
            CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF nextval('failures') = 1 THEN RAISE 'cut off' USING ERRCODE = 'admin_shutdown'; END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER fail BEFORE UPDATE ON procrastinate_jobs FOR EACH ROW
                WHEN (OLD.status = 'doing' AND NEW.status = 'todo') EXECUTE FUNCTION fail_once()
        """)
        follow, reads = database.follow_queue(), Reads(needed=2)
        database.enqueue(follow, "task-1")
        async with running(follow, reads):
            await database.is_empty()
        assert reads.counted == {"task-1": 2}

    async def test_a_worker_that_cannot_fetch_jobs_tries_again_and_logs_that_once(
        self, database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As when a newer version has replaced the function."""
        monkeypatch.setattr(queue, "ROUND", 2.0 * LIMIT)  # what fails later counts as another failure
        fetch = "procrastinate_fetch_job_v2"
        database.connection.execute(f"ALTER FUNCTION {fetch} RENAME TO replaced".encode())
        follow, reads = database.follow_queue(), Reads()
        database.enqueue(follow, "task-1")
        workers = "SELECT last_value >= 3 FROM procrastinate_workers_id_seq"
        async with running(follow, reads):
            await until(lambda: database.connection.execute(workers).fetchone() == (True,))
            database.connection.execute(f"ALTER FUNCTION replaced RENAME TO {fetch}".encode())
            await database.is_empty()
        assert [record.getMessage().rpartition(" ")[2] for record in caplog.records] == ["UndefinedFunction"]

    async def test_a_worker_goes_on_after_its_job_was_given_to_another_one(
        self, database: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What it records of that job is refused."""
        follow, read = database.follow_queue(), anyio.Event()
        given = b"UPDATE procrastinate_jobs SET status = 'todo', scheduled_at = 'infinity'"

        async def step(owner: str, task_id: str) -> float | None:
            if task_id == "task-2":
                read.set()
                return None
            database.connection.execute(given)
            return 0.01

        database.enqueue(follow, "task-1")
        async with running(follow, step):
            await until(lambda: database.jobs("scheduled_at = 'infinity'") == [True])
            database.enqueue(follow, "task-2")
            await read.wait()
            await until(lambda: database.jobs() == ["task-1"])
        assert database.jobs("attempts") == [0]
        assert caplog.messages == []

    async def test_the_password_of_a_database_that_cannot_be_reached_is_not_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not even among the details."""
        caplog.set_level(logging.DEBUG)
        follow = FollowQueue("postgresql://ann:hidden-word@127.0.0.1:1/wan", GATEWAY, time.time)
        async with running(follow, Reads()):
            await until(lambda: "not followed" in caplog.text)
        assert "hidden-word" not in caplog.text
