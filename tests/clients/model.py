"""A scripted model, so that an agent works offline: it reads tool answers, and does what they tell it to do.

It speaks just enough of two web services, that of Claude Code and that of Codex. It sees exactly what the
agent would show to a real model of the tools and their answers.
"""

import json
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

MAX_CALLS = 12
"""Of one run; a conversation that does not end is a failure."""

PICTURE = re.compile(r"data:image/(?P<kind>\w+);base64,(?P<content>[\w+/=]+)")

Call = tuple[str, dict[str, Any]]
Script = Generator[list[Call] | str, list[str], str]
"""What the model does with the user's words: calls, of which it gets the answers; then what it says.

Where it says something in between, the agent tells it later what became of a call."""
Events = list[dict[str, Any]]


class Model:
    """Plays a script in each run of an agent, and keeps what was said."""

    def __init__(self) -> None:
        self.url = ""
        self.offered: set[str] = set()
        self.seen: list[str] = []
        """Every answer of a tool, as the agent showed it; pictures as ``data:`` addresses."""
        self.calls: list[Call] = []
        self.transcript: list[str] = []
        self._script: Script | None = None
        self._turn: list[Call] | str | None = None
        self._known = 0

    def begin(self, words: str, script: Script) -> None:
        """Set what the user says next, and what the model does then."""
        self.transcript.append(f"USER   {words}")
        self._script, self._turn = script, None

    def turn(self, seen: list[str]) -> list[Call] | str:
        """What the model does now, given the answers to all its calls in this conversation."""
        if self._turn is None:
            self._advance(None)
        elif len(seen) > self._known:
            self.seen += seen[self._known :]
            self.transcript += (f"ANSWER {PICTURE.sub('(a picture)', new)}" for new in seen[self._known :])
            self._advance(seen[self._known :])
        self._known = len(seen)
        return self._turn or ""

    def _advance(self, answers: list[str] | None) -> None:
        assert self._script is not None
        try:
            self._turn = self._script.send(answers) if answers else next(self._script)
        except StopIteration as end:
            self._turn = str(end.value)
        if isinstance(self._turn, str):
            self.transcript.append(f"SAYS   {self._turn}")
        else:
            self.calls += self._turn
            self.transcript += (f"CALL   {name} {json.dumps(given)}" for name, given in self._turn)


def requesting(*requests: dict[str, Any]) -> Script:
    """Make these requests one after the other, and follow the last answer."""
    answer = ""
    for request in requests:
        (answer,) = yield [("generate_video", request)]
    return (yield from following(answer))


def leaving(request: dict[str, Any]) -> Script:
    """Ask for a video, begin to wait for it, and go on when the agent says that the wait is over."""
    (begun,) = yield [("generate_video", request)]
    wait = step(begun)
    assert wait, begun
    yield [wait]
    (done,) = yield "I will tell you when it is ready."
    return told(done)


def following(*answers: str) -> Script:
    """Take the steps that the answers name, all at once, and then tell the user what they say."""
    for _ in range(MAX_CALLS):
        calls = [call for answer in answers if (call := step(answer))]
        if not calls:
            break
        new = iter((yield calls))
        answers = tuple(next(new) if step(answer) else answer for answer in answers)
    return "\n".join(told(answer) for answer in answers)


def step(answer: str) -> Call | None:
    """The call that an answer names."""
    found = re.search(r"Call (\w+) with task_id ([\w-]+)", advice(answer))
    return (found[1], {"task_id": found[2]}) if found else None


def told(answer: str) -> str:
    """What an answer tells or asks the user; else all of it."""
    if asked := re.search(r"Ask the user for (.*?)\.", advice(answer)):
        return f"Please give me {asked[1]}."
    return advice(answer).rpartition("Tell the user: ")[2]


def advice(answer: str) -> str:
    """The next step in an answer; the whole text if it is not an object."""
    found = facts(answer)
    return str(found["next"]) if found else answer


def facts(answer: str) -> dict[str, Any]:
    """The object in an answer, before which agents put other lines."""
    last = answer.rpartition("\n")[2]
    return dict(json.loads(last)) if last.startswith("{") else {}


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
        results = [block for block in blocks if block["type"] == "tool_result"]
        # Calls of one turn are answered in the order in which they ended; their ids have numbers that rise.
        results.sort(key=lambda block: [int(number) for number in re.findall(r"\d+", block["tool_use_id"])])
        texts = "".join(block["text"] for block in blocks if block["type"] == "text")
        later = re.findall(r"<task-notification>.*?<result>\n(.*?)\n</result>", texts, re.S)
        return [*(_flat(block["content"]) for block in results), *later]

    @staticmethod
    def reply(turn: list[Call] | str, number: int) -> Events:
        blocks: list[tuple[dict[str, Any], dict[str, Any]]] = []
        if isinstance(turn, str):
            blocks.append(({"type": "text", "text": ""}, {"type": "text_delta", "text": turn}))
        else:
            for index, (name, given) in enumerate(turn):
                named = {"id": f"toolu_{number}_{index}", "name": f"mcp__wan__{name}", "input": {}}
                delta = {"type": "input_json_delta", "partial_json": json.dumps(given)}
                blocks.append(({"type": "tool_use", **named}, delta))
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
        events: Events = [{"type": "message_start", "message": message}]
        for index, (block, delta) in enumerate(blocks):
            events += [
                {"type": "content_block_start", "index": index, "content_block": block},
                {"type": "content_block_delta", "index": index, "delta": delta},
                {"type": "content_block_stop", "index": index},
            ]
        stop = {"stop_reason": "end_turn" if isinstance(turn, str) else "tool_use", "stop_sequence": None}
        return [
            *events,
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
    def reply(turn: list[Call] | str, number: int) -> Events:
        if isinstance(turn, str):
            said = [{"type": "output_text", "text": turn}]
            items = [{"type": "message", "id": f"msg_{number}", "role": "assistant", "content": said}]
        else:
            items = [
                {
                    "type": "function_call",
                    "id": f"fc_{number}_{index}",
                    "call_id": f"call_{number}_{index}",
                    "namespace": "mcp__wan",
                    "name": name,
                    "arguments": json.dumps(given),
                }
                for index, (name, given) in enumerate(turn)
            ]
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        return [
            {"type": "response.created", "response": {"id": f"resp_{number}"}},
            *({"type": "response.output_item.done", "item": item} for item in items),
            {"type": "response.completed", "response": {"id": f"resp_{number}", "usage": usage}},
        ]


def _flat(content: Any) -> str:
    """The text of a tool's answer in any agent's form; pictures as ``data:`` addresses."""
    return content if isinstance(content, str) else "\n".join(map(_line, content))


def _line(block: dict[str, Any]) -> str:
    if block["type"] == "image":
        return f"data:{block['source']['media_type']};base64,{block['source']['data']}"
    return str(block.get("text") or block.get("image_url", ""))


@contextmanager
def scripted() -> Iterator[Model]:
    """Serve a model on a port of this machine until the block ends."""
    model = Model()

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
            seen = dialect.seen(body)
            # Without the tools it is a side question, for a title or the like.
            events = dialect.reply(model.turn(seen) if dialect.offered(body) else "Video.", len(seen))
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
