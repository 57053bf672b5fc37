"""What the official suite asks a server to offer, so that it can look at every part of the protocol.

Names and answers are the suite's. None of it is in the product: it is laid over a server from the product's
own factory, which so carries the same lifespan, handlers and security through the whole suite.
"""

import base64
import io
import json
import wave
from collections.abc import Callable
from typing import Annotated, Any, Literal

import anyio
from mcp import MCPError
from mcp.server import MCPServer
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, Elicit, ElicitationResult, Image, Resolve
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import Prompt, UserMessage
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    ContentBlock,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequest,
    InputRequiredResult,
    InputResponse,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    SetLevelRequestParams,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel, Field

from tests.world import picture

Handler = Callable[..., Any]
Asking = str | InputRequiredResult

PREFIX = "test_"
"""With which the suite's names begin; here it would make pytest take them for tests."""
MOMENT = 0.05
"""Seconds between two notifications, as the suite asks."""


def add_fixtures(server: MCPServer[Any]) -> None:
    """Offer all of it, beside what the server offers already."""
    for tool in (*ANSWERS, *NOTICES, *QUESTIONS, *ROUNDS):
        server.add_tool(tool, name=f"{PREFIX}{tool.__name__}", structured_output=False)
    _add_changes(server)
    _add_schema(server)
    _add_resources(server)
    _add_prompts(server)
    # The older protocol's log level has no door in the high-level server.
    server._lowlevel_server.add_request_handler("logging/setLevel", SetLevelRequestParams, _set_level)


def _text(text: str) -> TextContent:
    return TextContent(type="text", text=text)


def _image() -> ImageContent:
    return Image(data=picture(8, 8), format="png").to_image_content()


def _embedded(uri: str, text: str, kind: str = "text/plain") -> EmbeddedResource:
    contents = TextResourceContents(uri=uri, mime_type=kind, text=text)
    return EmbeddedResource(type="resource", resource=contents)


def _sound() -> str:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(bytes(80))
    return base64.b64encode(stream.getvalue()).decode()


# Tools that answer


def simple_text() -> str:
    """Answers a text."""
    return "This is a simple text response for testing."


def image_content() -> ImageContent:
    """Answers a picture."""
    return _image()


def audio_content() -> AudioContent:
    """Answers a sound."""
    return AudioContent(type="audio", data=_sound(), mime_type="audio/wav")


def embedded_resource() -> EmbeddedResource:
    """Answers a resource."""
    return _embedded("test://embedded-resource", "This is an embedded resource content.")


def multiple_content_types() -> list[ContentBlock]:
    """Answers a text, a picture and a resource."""
    data = json.dumps({"test": "data", "value": 123})
    return [
        _text("Multiple content types test:"),
        _image(),
        _embedded("test://mixed-content-resource", data, "application/json"),
    ]


def error_handling() -> str:
    """Fails."""
    raise ToolError("This tool intentionally returns an error for testing")


def x_mcp_header(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """Takes an argument that the client repeats in an HTTP header."""
    return region


def missing_capability(context: Context[Any]) -> str:
    """Works only for clients that offer sampling."""
    offered = context.client_capabilities
    if offered is None or offered.sampling is None:
        needed: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "The client must offer sampling.", needed)
    return "The client offers sampling."


ANSWERS: tuple[Handler, ...] = (
    simple_text,
    image_content,
    audio_content,
    embedded_resource,
    multiple_content_types,
    error_handling,
    x_mcp_header,
    missing_capability,
)


# Tools that send something while they work


async def tool_with_logging(context: Context[Any]) -> str:
    """Writes three log lines to the client."""
    for moment, line in enumerate(("started", "", "completed")):
        if moment:
            await anyio.sleep(MOMENT)
        await context.info(f"Tool execution {line}" if line else "Tool processing data")
    return "Logged three times."


async def logging_tool(context: Context[Any]) -> str:
    """Writes one log line, which only reaches a client that asked for log lines."""
    await context.info("One line")
    return "Logged once."


async def tool_with_progress(context: Context[Any]) -> str:
    """Reports progress three times."""
    for percent in (0, 50, 100):
        await context.report_progress(percent, 100, f"{percent} %")
        await anyio.sleep(MOMENT)
    return "Done."


async def reconnection(context: Context[Any]) -> str:
    """Closes its stream before it answers, so that the client has to come back for the answer."""
    await context.close_sse_stream()
    await anyio.sleep(4 * MOMENT)
    return "Answered after the stream was closed."


NOTICES: tuple[Handler, ...] = (
    tool_with_logging,
    logging_tool,
    tool_with_progress,
    reconnection,
)


# Tools that ask the client, over an open connection


class Contact(BaseModel):
    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


def _titled(*names: str) -> list[dict[str, str]]:
    return [{"const": name, "title": name.title()} for name in names]


class Choices(BaseModel):
    """A choice in each of the five ways in which a schema may offer one."""

    untitledSingle: Literal["option1", "option2", "option3"]
    titledSingle: Annotated[str, Field(json_schema_extra={"oneOf": _titled("value1", "value2")})]
    legacyEnum: Annotated[
        str, Field(json_schema_extra={"enum": ["opt1", "opt2"], "enumNames": ["One", "Two"]})
    ]
    untitledMulti: list[Literal["option1", "option2", "option3"]]
    titledMulti: Annotated[
        list[str], Field(json_schema_extra={"items": {"anyOf": _titled("value1", "value2")}})
    ]


async def sampling(prompt: str, context: Context[Any]) -> str:
    """Asks the client's model."""
    answer = await context.session.create_message(
        messages=[SamplingMessage(role="user", content=_text(prompt))],
        max_tokens=100,
        related_request_id=context.request_id,
    )
    assert isinstance(answer.content, TextContent)
    return f"LLM response: {answer.content.text}"


async def elicitation(message: str, context: Context[Any]) -> str:
    """Asks the user."""
    return await _asked(context, message, Contact)


async def elicitation_sep1034_defaults(context: Context[Any]) -> str:
    """Asks the user, with a default for each kind of field."""
    return await _asked(context, "Who are you?", Defaults)


async def elicitation_sep1330_enums(context: Context[Any]) -> str:
    """Asks the user to choose."""
    return await _asked(context, "What do you choose?", Choices)


async def streaming_elicitation(
    answer: Annotated[ElicitationResult[Contact], Resolve(lambda: Elicit("Who are you?", Contact))],
) -> str:
    """Asks the user in the way that the client's protocol has for it."""
    return f"Elicitation completed: action={answer.action}"


async def _asked(context: Context[Any], message: str, schema: type[BaseModel]) -> str:
    answer = await context.elicit(message, schema)
    content = answer.data.model_dump_json() if answer.action == "accept" else "{}"
    return f"Elicitation completed: action={answer.action}, content={content}"


QUESTIONS: tuple[Handler, ...] = (
    sampling,
    elicitation,
    elicitation_sep1034_defaults,
    elicitation_sep1330_enums,
    streaming_elicitation,
)


# Tools that answer with a question, and are called again with the client's answer


def _form(message: str, **fields: str) -> ElicitRequest:
    properties = {name: {"type": kind} for name, kind in fields.items()}
    schema = {"type": "object", "properties": properties, "required": list(fields)}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _sample(prompt: str) -> CreateMessageRequest:
    messages = [SamplingMessage(role="user", content=_text(prompt))]
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=messages, max_tokens=100))


def _answers(context: Context[Any]) -> dict[str, InputResponse]:
    return dict(context.input_responses or {})


def _field(answer: InputResponse | None, name: str) -> Any:
    """What the user wrote into a form, where it was filled in."""
    return answer.content.get(name) if isinstance(answer, ElicitResult) and answer.content else None


def input_required_result_elicitation(context: Context[Any]) -> Asking:
    """Needs the user's name."""
    name = _field(_answers(context).get("user_name"), "name")
    if name:
        return f"Hello, {name}!"
    return InputRequiredResult(input_requests={"user_name": _form("What is your name?", name="string")})


def input_required_result_sampling(context: Context[Any]) -> Asking:
    """Needs an answer of the client's model."""
    answer = _answers(context).get("capital_question")
    if answer is not None:
        return answer.model_dump_json()
    return InputRequiredResult(input_requests={"capital_question": _sample("What is the capital of France?")})


def input_required_result_list_roots(context: Context[Any]) -> Asking:
    """Needs the client's roots."""
    answer = _answers(context).get("client_roots")
    if isinstance(answer, ListRootsResult):
        return ", ".join(str(root.uri) for root in answer.roots)
    return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})


def input_required_result_request_state(context: Context[Any]) -> Asking:
    """Needs a confirmation, and its own state back."""
    if "confirm" in _answers(context) and context.request_state == "asked":
        return "state-ok"
    return _confirming("asked")


def input_required_result_tampered_state(context: Context[Any]) -> Asking:
    """Gives out a state that nobody may change; the server sees to that, not the tool."""
    return "The state came back as it was." if context.request_state == "sealed" else _confirming("sealed")


def _confirming(state: str) -> InputRequiredResult:
    question = _form("Please confirm", ok="boolean")
    return InputRequiredResult(input_requests={"confirm": question}, request_state=state)


def input_required_result_multiple_inputs(context: Context[Any]) -> Asking:
    """Needs three answers at once."""
    questions: dict[str, InputRequest] = {
        "user_name": _form("What is your name?", name="string"),
        "greeting": _sample("Generate a greeting"),
        "client_roots": ListRootsRequest(),
    }
    if questions.keys() <= _answers(context).keys():
        return "All three were answered."
    return InputRequiredResult(input_requests=questions, request_state="three asked")


def input_required_result_multi_round(context: Context[Any]) -> Asking:
    """Needs two answers, one after the other; what it knows so far travels in the state."""
    answers, name = _answers(context), context.request_state or ""
    if (color := _field(answers.get("step2"), "color")) and name:
        return f"{name} likes {color}."
    if first := _field(answers.get("step1"), "name"):
        question = _form("Step 2: What is your favorite color?", color="string")
        return InputRequiredResult(input_requests={"step2": question}, request_state=str(first))
    question = _form("Step 1: What is your name?", name="string")
    return InputRequiredResult(input_requests={"step1": question}, request_state="step 1")


def input_required_result_capabilities(context: Context[Any]) -> Asking:
    """Asks only what the client can answer."""
    offered = context.client_capabilities
    questions: dict[str, InputRequest] = {}
    if offered is not None and offered.sampling is not None:
        questions["sample"] = _sample("Say hello")
    if offered is not None and offered.elicitation is not None:
        questions["ask"] = _form("What is your name?", name="string")
    return InputRequiredResult(input_requests=questions) if questions else "The client answers no questions."


ROUNDS: tuple[Handler, ...] = (
    input_required_result_elicitation,
    input_required_result_sampling,
    input_required_result_list_roots,
    input_required_result_request_state,
    input_required_result_tampered_state,
    input_required_result_multiple_inputs,
    input_required_result_multi_round,
    input_required_result_capabilities,
)


# Tools that change what the server offers


def _add_changes(server: MCPServer[Any]) -> None:
    def passing() -> str:
        """There for a moment."""
        return "here"

    @server.tool(name=f"{PREFIX}trigger_tool_change")
    async def trigger_tool_change(context: Context[Any]) -> str:
        """Changes the list of tools, and tells those who listen."""
        server.add_tool(passing)
        server.remove_tool("passing")
        await context.notify_tools_changed()
        return "The list of tools was changed."

    @server.tool(name=f"{PREFIX}trigger_prompt_change")
    async def trigger_prompt_change(context: Context[Any]) -> str:
        """Changes the list of prompts, and tells those who listen."""
        server.add_prompt(Prompt.from_function(passing))
        server.remove_prompt("passing")
        await context.notify_prompts_changed()
        return "The list of prompts was changed."


SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "address",
            "type": "object",
            "properties": {"street": {"type": "string"}, "town": {"type": "string"}},
        }
    },
    "properties": {"address": {"$ref": "#/$defs/address"}, "phone": {"type": "string"}},
    "allOf": [{"anyOf": [{"required": ["address"]}, {"required": ["phone"]}]}],
    "if": {"required": ["phone"]},
    "then": {"properties": {"phone": {"minLength": 3}}},
    "else": {"required": ["address"]},
    "additionalProperties": False,
}
"""With every keyword that must reach the client as it is."""


def _add_schema(server: MCPServer[Any]) -> None:
    @server.tool()
    def json_schema_2020_12_tool() -> str:
        """Has a schema that no function signature can express."""
        return "ok"

    tool = server._tool_manager.get_tool("json_schema_2020_12_tool")
    assert tool is not None
    tool.parameters = SCHEMA


def _add_resources(server: MCPServer[Any]) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """A text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """A picture."""
        return picture(8, 8)

    @server.resource("test://watched-resource", mime_type="text/plain")
    def watched_resource() -> str:
        """A text that can be subscribed to."""
        return "It never changes."

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:
        """A text that depends on its address."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def _add_prompts(server: MCPServer[Any]) -> None:
    @server.prompt(name=f"{PREFIX}simple_prompt")
    def simple_prompt() -> str:
        """A prompt without arguments."""
        return "This is a simple prompt for testing."

    @server.prompt(name=f"{PREFIX}prompt_with_arguments")
    def prompt_with_arguments(arg1: str, arg2: str) -> str:
        """A prompt with two arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt(name=f"{PREFIX}prompt_with_embedded_resource")
    def prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
        """A prompt that holds a resource."""
        return [
            UserMessage(_embedded(resourceUri, "Embedded resource content for testing.")),
            UserMessage("Please process the embedded resource above."),
        ]

    @server.prompt(name=f"{PREFIX}prompt_with_image")
    def prompt_with_image() -> list[UserMessage]:
        """A prompt that holds a picture."""
        return [UserMessage(_image()), UserMessage("Please analyze the image above.")]

    @server.prompt(name=f"{PREFIX}input_required_result_prompt")
    def input_required_result_prompt(context: Context[Any]) -> str | InputRequiredResult:
        """A prompt that needs to know something first."""
        found = _field(_answers(context).get("user_context"), "context")
        if found:
            return f"The context is: {found}"
        question = _form("What context should the prompt use?", context="string")
        return InputRequiredResult(input_requests={"user_context": question})


async def _set_level(context: ServerRequestContext[Any, Any], params: SetLevelRequestParams) -> EmptyResult:
    return EmptyResult()
