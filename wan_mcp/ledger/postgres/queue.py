"""The jobs that follow tasks: a queue of procrastinate's, in the same database as the ledger.

One job per task. It reads its task once, and procrastinate's retry strategy says when it reads again: a job
never makes another job, so none is lost. Each process of a server runs a worker; the jobs of a worker that
gives no sign of life are given to the others.

A step for a task runs only while its worker's own session has an advisory lock for the task. A worker that
stands still (a stopped process, a busy event loop) keeps its session, so no other worker goes on with its
tasks. A worker that cannot reach the database stops its steps before the others take them over. What
remains: a machine that was suspended or cut off for so long that the database closed the session may run a
step beside another worker, for the few seconds until it notices. A step must therefore bear to be done
twice.

Locks and notices belong to sessions: the address must not be that of a pool that shares sessions between
transactions.
"""

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, LiteralString, NoReturn

import anyio
import psycopg
from procrastinate import App, BaseRetryStrategy, PsycopgConnector, RetryDecision, SyncPsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job

from wan_mcp.errors import StorageError, WanError
from wan_mcp.ledger.base import Step as Step
from wan_mcp.ledger.postgres.queue_schema import prepare as prepare
from wan_mcp.ledger.postgres.session_locks import ANSWER, SessionLocks

logger = logging.getLogger(__name__)

RETRIES = (30.0, 120.0, 600.0)
"""Seconds until the next try, after the first failures of a step in a row; the last repeats."""
POLL = 1.0
"""Seconds between two looks for jobs that have become due."""
HEARTBEAT = 2.0
"""Seconds between a worker's signs of life."""
STALLED_AFTER = 10.0
"""Seconds without a sign of life after which a worker's jobs are given to others.

More than ``HEARTBEAT + ROUND + ANSWER``: a worker that lost the database stops its steps before that.
"""
ROUND = 2.0
"""Seconds between two checks of a worker: does the database answer, and which jobs are stalled."""
OCCUPIED = 5.0
"""Seconds until the next try, where another session still has the lock of a task."""
GRACE = 2.0
"""Seconds for steps under way when a worker ends; then they are cancelled, and their jobs given back."""
CONCURRENCY = 32
CONNECTIONS = 4
PAUSES = (1.0, 30.0)
"""Seconds between two attempts to reach a database that is away: the first, and the longest."""
AT_ONCE = datetime.fromtimestamp(0, UTC)
"""Due now, whatever this machine's clock or the database's says."""
JOB = "follow"

# The database's host closes the session of a machine that disappeared, and so frees its locks, about when
# its jobs are given to others. Of no effect on a local socket.
_KEEPALIVES = "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3"


class _Again(Exception):
    """Raised by a job that is not finished, with the seconds until it goes on."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class _Schedule(BaseRetryStrategy):
    """Every job goes on: when it says so, or at once, where its worker ended."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:
        if not isinstance(exception, _Again):
            return RetryDecision(retry_at=AT_ONCE)
        # Not ``retry_in``: procrastinate adds that to this machine's clock, and compares with the database's.
        return RetryDecision(retry_at=datetime.fromtimestamp(self._clock() + exception.seconds, UTC))


class _Connector(PsycopgConnector):
    """Keeps the first failure to record what became of a job.

    procrastinate would go on, and the job would count as running while its worker lives. A new worker has to
    begin, so that the job is one of a worker that is gone.
    """

    failure: ConnectorException | None = None

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        try:
            await super().execute_query_async(query, **arguments)
        except ConnectorException as error:
            # Raised by procrastinate's own functions where the job was given to another worker meanwhile.
            if not isinstance(error.__cause__, psycopg.errors.RaiseException):
                self.failure = self.failure or error


async def _commit_by_itself(connection: psycopg.AsyncConnection[Any]) -> None:
    """A process that is stopped between a statement and its commit would keep the row locked."""
    await connection.set_autocommit(True)
    await connection.execute("SET default_transaction_isolation = 'read committed'")


class FollowQueue:
    """The jobs of one gateway's tasks.

    Args:
        url: the database's address, as libpq takes it. It has a password: it is never logged.
        gateway: the API's address. Queues of different gateways in one database are separate.
        clock: the database's time in Unix seconds; this machine's may be wrong.
    """

    def __init__(self, url: str, gateway: str, clock: Callable[[], float]) -> None:
        self._url = url
        self._queue = "follow-" + hashlib.sha256(gateway.encode()).hexdigest()[:12]
        self._clock = clock
        self._deferring = App(
            connector=SyncPsycopgConnector()
        )  # never opened: callers bring their connection
        self._failures: Counter[str] = Counter()
        self._away = False
        # A retry is an ordinary read here, and a lost database is said once, below.
        for name in ("procrastinate", "psycopg"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def enqueue(self, connection: psycopg.Connection[Any], owner: str, task_id: str) -> None:
        """Queue the job of a task, due at once, in the caller's transaction; a task that has one keeps it.

        Until the transaction ends, others wait who queue the same task: several in one transaction must be in
        sorted order.

        Raises:
            psycopg.Error: when the database fails.
        """
        lock = self._lock(owner, task_id)
        # procrastinate's queueing lock is not for this: it ignores running jobs. The retry of a running job
        # would collide with the job that was queued meanwhile, and the job would count as running for ever.
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"enqueue {lock}"])
        open_jobs = "SELECT 1 FROM procrastinate_jobs WHERE lock = %s AND status IN ('todo', 'doing')"
        if connection.execute(open_jobs, [lock]).fetchone() is not None:
            return
        job = self._deferring.configure_task(JOB, queue=self._queue, lock=lock, connection=connection)
        try:
            job.defer(owner=owner, task_id=task_id)
        except ConnectorException as error:
            raise error.__cause__ or error from None

    async def run(self, step: Step) -> None:
        """Work until cancelled, also after the database was away.

        Cancelling ends it within about ``GRACE`` seconds; jobs under way are given back.
        """
        pause, longest = PAUSES
        while True:
            try:
                await self._work(step)
            except Exception as error:
                cause = error.__cause__ or error
                if not self._away:
                    known = isinstance(cause, psycopg.Error | ConnectionError | TimeoutError)
                    text = "tasks are not followed until the database answers again: %s"
                    logger.warning(text, type(cause).__name__, exc_info=None if known else cause)
                    self._away, pause = True, PAUSES[0]
            await anyio.sleep(pause)
            pause = min(2 * pause, longest)

    async def _work(self, step: Step) -> NoReturn:
        connector = _Connector(
            conninfo=self._url,
            kwargs={"connect_timeout": 5},
            min_size=1,
            max_size=CONNECTIONS,
            configure=_commit_by_itself,
            timeout=ANSWER,
        )
        app = App(connector=connector)
        session = await psycopg.AsyncConnection.connect(self._url, autocommit=True, connect_timeout=5)
        try:
            await session.execute(_KEEPALIVES)
            await app.open_async()
            locks = SessionLocks(session)

            @app.task(name=JOB, queue=self._queue, retry=_Schedule(self._clock))
            async def follow(owner: str, task_id: str) -> None:
                await self._follow(step, locks, owner, task_id)

            # Not in a task group of anyio, which cancels again and again: once ends a worker orderly.
            worker = asyncio.create_task(
                app.run_worker_async(
                    queues=[self._queue],
                    concurrency=CONCURRENCY,
                    wait=True,
                    install_signal_handlers=False,
                    fetch_job_polling_interval=POLL,
                    update_heartbeat_interval=HEARTBEAT,
                    shutdown_graceful_timeout=GRACE,
                    delete_jobs="always",  # every exception is retried: what failed is of an unknown kind
                )
            )
            try:
                await self._watch(app, connector, locks, worker)
            finally:
                with anyio.move_on_after(GRACE + 1, shield=True):
                    worker.cancel()
                    await asyncio.gather(worker, return_exceptions=True)
        finally:
            with anyio.move_on_after(1, shield=True):
                await app.close_async()
                await session.close()

    async def _watch(
        self, app: App, connector: _Connector, locks: SessionLocks, worker: asyncio.Task[None]
    ) -> NoReturn:
        while True:
            await locks.check()
            await self._give_back_stalled(app)
            await asyncio.wait([worker], timeout=ROUND)
            if connector.failure is not None:
                raise connector.failure
            if worker.done():
                worker.result()
                raise ConnectionError  # it lost its connection for notices, and stopped without an error
            if self._away:
                logger.info("tasks are followed again")
                self._away = False

    async def _give_back_stalled(self, app: App) -> None:
        # Two workers may do this at the same time, and one may then queue a job that runs again already: its
        # second run waits for the session's lock.
        jobs = app.job_manager
        with anyio.fail_after(ANSWER):
            stalled = await jobs.get_stalled_jobs(queue=self._queue, seconds_since_heartbeat=STALLED_AFTER)
        for job in stalled:
            with anyio.fail_after(ANSWER):
                await jobs.retry_job(job, retry_at=AT_ONCE)

    async def _follow(self, step: Step, locks: SessionLocks, owner: str, task_id: str) -> None:
        lock = self._lock(owner, task_id)
        async with locks.hold(lock) as held:
            if not held:
                raise _Again(OCCUPIED)
            try:
                seconds = await step(owner, task_id)
                del self._failures[lock]
            except Exception as error:
                seconds = RETRIES[min(self._failures[lock], len(RETRIES) - 1)]
                self._failures[lock] += 1
                if isinstance(error, WanError):  # the storage logs its failure once, for all tasks
                    level = logging.INFO if isinstance(error, StorageError) else logging.WARNING
                    logger.log(level, "%s is tried again in %.0f s: %s", task_id, seconds, error)
                else:
                    logger.exception("following %s failed unexpectedly", task_id)
        if seconds is not None:
            raise _Again(seconds)

    def _lock(self, owner: str, task_id: str) -> str:
        return f"{self._queue}:{owner}:{task_id}"
