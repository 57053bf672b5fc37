"""Callbacks: the end of a task is posted to the address that its request named."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from wan_mcp.sandbox.tasks import Task

SEND_SECONDS = 10
RETRY_SECONDS = (1, 2, 4)
CHECK_SECONDS = 0.2

Body = dict[str, object]
Send = Callable[[str, Body], Awaitable[int]]


@dataclass
class Delivery:
    url: str
    task: Task
    base: str
    due: float
    failures: int = 0


class Callbacks:
    def __init__(self, clock: Callable[[], float], body_of: Callable[[Task, str], Body], send: Send) -> None:
        self._clock = clock
        self._body_of = body_of
        self._send = send
        self._waiting: list[Delivery] = []

    def expect(self, task: Task, base: str) -> None:
        url = task.order.callback_url
        if url is not None:
            self._waiting.append(Delivery(url, task, base, due=task.ends))

    async def deliver(self) -> None:
        """Send what is due by the clock."""
        now = self._clock()
        due = [delivery for delivery in self._waiting if delivery.due <= now]
        self._waiting = [delivery for delivery in self._waiting if delivery.due > now]
        for delivery in due:
            if not await self._received(delivery):
                self._retry(delivery)

    async def keep_delivering(self) -> None:
        while True:
            await self.deliver()
            await anyio.sleep(CHECK_SECONDS)

    async def _received(self, delivery: Delivery) -> bool:
        body = self._body_of(delivery.task, delivery.base)
        try:
            with anyio.fail_after(SEND_SECONDS):
                return 200 <= await self._send(delivery.url, body) < 300
        except Exception:  # a sender that the caller gave may raise anything
            return False

    def _retry(self, delivery: Delivery) -> None:
        if delivery.failures < len(RETRY_SECONDS):
            delivery.due = self._clock() + RETRY_SECONDS[delivery.failures]
            delivery.failures += 1
            self._waiting.append(delivery)


async def post(url: str, body: Body) -> int:
    """The default sender; returns the HTTP status."""
    import httpx2

    async with httpx2.AsyncClient(headers={"user-agent": "wan-mcp-sandbox"}) as client:
        return (await client.post(url, json=body)).status_code
