"""A scripted model, so that an agent works offline: it reads tool answers, and does what they tell it to.

It speaks just enough of two web services, the one of Claude Code and the one of Codex. What it saw of the
tools and of their answers is exactly what the agent would show to a real model.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

CALLS = 10
"""At most; a conversation that does not end is a failure."""

Call = tuple[str, dict[str, Any]]
Events = list[dict[str, Any]]


class Model:
    """Asks for a video, at last in the right way, and then follows the next step that each answer names."""

    def __init__(self, requests: tuple[dict[str, Any], ...]) -> None:
        self._requests = requests
        self.url = ""
        self.offered: set[str] = set()
        self.seen: list[str] = []

    def next(self) -> Call | None:
        """The next call, from nothing but the last answer; none when there is nothing left to do."""
        if len(self.seen) < len(self._requests):
            return "generate_video", self._requests[len(self.seen)]
        step = re.search(r"Call (wait_for_task|save_video)", self.seen[-1])
        task_id = re.search(r"task-unified-[\w-]+", self.seen[-1])
        if step is None or task_id is None or len(self.seen) >= CALLS:
            return None
        return step[1], {"task_id": task_id[0]}


class Messages:
    """As Claude Code asks."""

    path = "/v1/messages"

    @staticmethod
    def offered(body: dict[str, Any]) -> set[str]:
        names = {str(tool["name"]) for tool in body.get("tools", [])}
        return {name.removeprefix("mcp__wan__") for name in names if name.startswith("mcp__wan__")}

    @staticmethod
    def seen(body: dict[str, Any]) -> list[str]:
        blocks = [
            block
            for message in body["messages"]
            if isinstance(message["content"], list)
            for block in message["content"]
        ]
        return [_flat(block["content"]) for block in blocks if block["type"] == "tool_result"]

    @staticmethod
    def reply(call: Call | None, number: int) -> Events:
        if call:
            block = {"type": "tool_use", "id": f"toolu_{number}", "name": f"mcp__wan__{call[0]}", "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(call[1])}
        else:
            block, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": "Done."}
        message: dict[str, Any] = {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": "scripted",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
        stop = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
        return [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 1}},
            {"type": "message_stop"},
        ]


class Responses:
    """As Codex asks."""

    path = "/v1/responses"

    @staticmethod
    def offered(body: dict[str, Any]) -> set[str]:
        spaces = [tool for tool in body.get("tools", []) if tool.get("name") == "mcp__wan"]
        return {str(tool["name"]) for space in spaces for tool in space["tools"]}

    @staticmethod
    def seen(body: dict[str, Any]) -> list[str]:
        return [_flat(item["output"]) for item in body["input"] if item["type"] == "function_call_output"]

    @staticmethod
    def reply(call: Call | None, number: int) -> Events:
        if call:
            named = {"namespace": "mcp__wan", "name": call[0], "arguments": json.dumps(call[1])}
            item: dict[str, Any] = {
                "type": "function_call",
                "id": f"fc_{number}",
                "call_id": f"call_{number}",
                **named,
            }
        else:
            said = [{"type": "output_text", "text": "Done."}]
            item = {"type": "message", "id": "msg", "role": "assistant", "content": said}
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        return [
            {"type": "response.created", "response": {"id": f"resp_{number}"}},
            {"type": "response.output_item.done", "item": item},
            {"type": "response.completed", "response": {"id": f"resp_{number}", "usage": usage}},
        ]


def _flat(content: Any) -> str:
    """The text of a tool's answer, however an agent packs it."""
    return content if isinstance(content, str) else "\n".join(block.get("text", "") for block in content)


@contextmanager
def scripted(*requests: dict[str, Any]) -> Iterator[Model]:
    """A model that is served on a port of this machine for as long as the block lasts."""
    model = Model(requests)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked = self.path.partition("?")[0]
            dialect = next((known for known in (Messages, Responses) if known.path == asked), None)
            if dialect is None:
                self._answer(404, b"")
                return
            model.offered |= dialect.offered(body)
            model.seen = dialect.seen(body) or model.seen
            # Without the tools it is a side question, for a title or the like.
            call = model.next() if dialect.offered(body) else None
            events = dialect.reply(call, len(model.seen))
            lines = (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
            self._answer(200, "".join(lines).encode())

        def do_GET(self) -> None:
            self._answer(404, b"")

        do_HEAD = do_GET

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "text/event-stream")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    serving.start()
    try:
        model.url = f"http://127.0.0.1:{server.server_port}"
        yield model
    finally:
        server.shutdown()
        server.server_close()
        serving.join()
