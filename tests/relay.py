"""A port of this machine whose connections are served in a thread, for tests with a clock of their own."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal

HOST = "127.0.0.1"
BROKEN = (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, OSError)
"""How a connection that is read from or written to ends."""


@contextmanager
def listening(serve: Callable[[SocketStream], Awaitable[None]]) -> Iterator[tuple[int, BlockingPortal]]:
    """Serve each connection until the end of the block: the port, and the way into the thread."""

    async def listen(*, task_status: TaskStatus[int]) -> None:
        async with await anyio.create_tcp_listener(local_host=HOST) as listener:
            task_status.started(listener.extra(SocketAttribute.local_port))
            await listener.serve(serve)

    with start_blocking_portal() as portal:
        listener, port = portal.start_task(listen)
        try:
            yield port, portal
        finally:
            listener.cancel()
