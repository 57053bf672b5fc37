"""A process with a worker whose steps never end: ``python -m tests.ledger.postgres.follower URL GATEWAY``."""

import sys
import time

import anyio

from wan_mcp.ledger.postgres import queue


async def step(owner: str, task_id: str) -> float | None:
    """Says that it began."""
    sys.stdout.write(f"{task_id}\n")
    sys.stdout.flush()
    await anyio.sleep_forever()
    raise AssertionError


if __name__ == "__main__":
    queue.HEARTBEAT = queue.ROUND = 0.1
    anyio.run(queue.FollowQueue(sys.argv[1], sys.argv[2], time.time).run, step)
