"""Arguments of tool calls: mended where unambiguous, else refused with every problem in plain words."""

from typing import Any

import pytest
from pydantic import BaseModel

from wan_mcp.errors import InvalidRequest
from wan_mcp.evolink import ImageToVideoRequest
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.server.arguments import TaskArguments, WaitArguments
from wan_mcp.server.tools import TOOLS
from wan_mcp.validation import parse, plain_schema

PICTURE = "https://example.com/cat.png"


def request(**given: Any) -> GenerationRequest:
    return parse(
        "generate_video",
        GenerationRequest,
        plain_schema(GenerationRequest),
        {"prompt": "go", "image_urls": [PICTURE]} | given,
    )


def refusal(**given: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        request(**given)
    assert caught.value.charged == "no"
    return caught.value.message


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"image_urls": PICTURE}, "image_urls", [PICTURE]),
        ({"image_urls": f'["{PICTURE}"]'}, "image_urls", [PICTURE]),
        ({"image_urls": [f"  {PICTURE}\n"]}, "image_urls", [PICTURE]),
        ({"duration": "5"}, "duration", 5),
        ({"duration": "10.0"}, "duration", 10),
        ({"duration": 5.0}, "duration", 5),
        ({"duration": None}, "duration", None),
        ({"quality": " 720P "}, "quality", "720p"),
        ({"prompt_extend": "false"}, "prompt_extend", False),
        ({"prompt": "  go  "}, "prompt", "go"),
        ({"prompt": "x" * 1000}, "prompt", "x" * 1000),
        ({"prompt": "one\ntwo\tthree"}, "prompt", "one\ntwo\tthree"),
        ({"callback_url": "https://example.com/done"}, "callback_url", "https://example.com/done"),
    ],
)
def test_what_a_client_mangled_is_read_as_meant(given: dict[str, Any], field: str, value: Any) -> None:
    """Strings for arrays and numbers, null for nothing, white space around: one meaning is possible."""
    assert getattr(request(**given), field) == value


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"prompt": ""}, "prompt must not be empty"),
        ({"prompt": "   "}, "prompt must not be empty"),
        ({"prompt": None}, "prompt is required"),
        ({"prompt": 7}, "prompt must be text"),
        ({"prompt": "x" * 1001}, "prompt has 1,001 characters, but at most 1,000 are allowed"),
        ({"prompt": "a\x00b"}, "prompt must not have control characters"),
        ({"prompt": "a\x1b[31mb"}, "prompt must not have control characters"),
        ({"prompt": "a\ud800b"}, "prompt must be text"),
        ({"image_urls": [PICTURE, PICTURE]}, "image_urls must have exactly one entry, not 2"),
        ({"image_urls": [7]}, "image_urls must be text"),
        ({"image_urls": {"url": PICTURE}}, "image_urls must be a list"),
        (
            {"image_urls": ["cat.png"]},
            "image_urls is a name without a path. A picture pasted into the chat",
        ),
        ({"image_urls": ["attachment:1"]}, "(attachment:). A picture pasted into the chat has no path here."),
        (
            {"image_urls": ["pics/cat.png"]},
            "image_urls is neither a web address nor an absolute path. Give",
        ),
        ({"duration": 7}, "duration must be 5 or 10, not 7"),
        ({"duration": 5.5}, "duration must be 5 or 10, not 5.5"),
        ({"duration": True}, "duration must be 5 or 10"),
        ({"duration": "soon"}, "duration must be 5 or 10"),
        ({"quality": "4k"}, "quality must be 480p, 720p or 1080p"),
        ({"prompt_extend": "maybe"}, "prompt_extend must be true or false"),
        ({"prompt_extend": 1}, "prompt_extend must be true or false"),
        ({"model": "wan2.1"}, "model must be wan2.5-image-to-video"),
        ({"durations": 5}, "durations is not an argument of generate_video; did you mean duration?"),
        ({"xyzzy": 5}, "xyzzy is not an argument of generate_video; its arguments are prompt, image_urls"),
        ({"callback_url": "http://example.com/"}, "callback_url must begin with https://"),
        ({"callback_url": "https://10.0.0.1/"}, "callback_url must be a public address"),
        ({"callback_url": "https://[::1]/"}, "callback_url must be a public address"),
        ({"callback_url": "https://2130706433/"}, "callback_url must be a public address"),
        ({"callback_url": "https://0x7f.1/"}, "callback_url must be a public address"),
        ({"callback_url": "https://localhost/"}, "callback_url must be a public address"),
        ({"callback_url": "https://u:p@example.com/"}, "callback_url has a user name or password in it"),
        ({"callback_url": "https://example.com/" + "x" * 2029}, "callback_url has 2,049 characters"),
        ({"callback_url": "nonsense"}, "callback_url"),
    ],
)
def test_a_bad_argument_is_refused_in_plain_words(given: dict[str, Any], words: str) -> None:
    """The text names the argument and what it may be; it holds no pydantic jargon."""
    message = refusal(**given)
    assert words in message
    assert "pydantic" not in message
    assert "input_value" not in message


@pytest.mark.parametrize("given", [None, [], "", "  ", [""], ["  "], [None], "[]", '[""]'], ids=repr)
def test_without_a_picture_the_refusal_says_what_can_be_done_instead(given: Any) -> None:
    """Missing, null and empty in every form: another tool makes videos from text alone."""
    assert refusal(image_urls=given) == (
        "generate_video was not called, because its arguments are wrong. image_urls is required: this tool "
        "makes a video from a picture; generate_video_from_text makes one from text alone. Ask the user for "
        "a picture, such as its web address, or make one with another tool. To continue a video, give its "
        "task's id."
    )


KNOWN = "prompt, image_urls, duration, quality, prompt_extend, callback_url, model and take"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"xyzzy": 1}, f"xyzzy is not an argument of generate_video; its arguments are {KNOWN}."),
        (
            {"xyzzy": 1, "seedling": 2, "frobnicate": 3},
            f"xyzzy, seedling and frobnicate are not arguments of generate_video; its arguments are {KNOWN}.",
        ),
        (
            {"durations": 5, "new_take": True, "seed": 1, "a b": 1},
            "durations, new_take, seed and one of the names given are not arguments of generate_video; did "
            f"you mean duration or take: 2? Its arguments are {KNOWN}.",
        ),
        (
            {"image_url": PICTURE, "image_urls": None},
            "image_url is not an argument of generate_video; did you mean image_urls?",
        ),
        (
            {f"odd{number}": 1 for number in range(13)},
            f"{', '.join(f'odd{number}' for number in range(10))} and 3 more are not arguments of "
            f"generate_video; its arguments are {KNOWN}.",
        ),
    ],
    ids=len,
)
def test_unknown_arguments_are_one_sentence(given: dict[str, Any], said: str) -> None:
    """The arguments that there are stand in it once at most."""
    assert refusal(**given) == f"generate_video was not called, because its arguments are wrong. {said}"


def test_every_problem_is_said_in_one_answer() -> None:
    """A model can correct a call in one go."""
    message = refusal(prompt="", image_urls=[], duration=7, quality="4k", durations=5)
    for name in ("prompt", "image_urls", "duration", "quality", "durations"):
        assert name in message


def test_values_that_may_be_secret_are_not_repeated() -> None:
    """A refused text is described, never shown."""
    message = refusal(
        callback_url="https://user:hunter2@example.com/", quality="hunter2", prompt="hunter2\x00"
    )
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "task_id", ["", "   ", "task/../../v1/credits", "kling-123", "task-unified-1?x=1", "x" * 200]
)
def test_a_task_id_of_another_kind_is_refused(task_id: str) -> None:
    """Ids go into a path: only what looks like one is sent."""
    with pytest.raises(InvalidRequest, match="task_id"):
        parse("get_task", TaskArguments, plain_schema(TaskArguments), {"task_id": task_id})


@pytest.mark.parametrize(("given", "seconds"), [(0, 0), ("30", 30), (2.5, 2.5), (None, None), (1e6, 1e6)])
def test_a_waiting_time_is_any_number_from_zero(given: Any, seconds: float | None) -> None:
    """What is beyond the cap is clamped later, and said."""
    arguments = {"task_id": "task-unified-1", "timeout_seconds": given}
    assert parse("w", WaitArguments, plain_schema(WaitArguments), arguments).timeout_seconds == seconds


@pytest.mark.parametrize("given", [-1, "soon", True, [5], float("nan"), float("inf")])
def test_a_waiting_time_that_is_none_is_refused(given: Any) -> None:
    """Negative, infinite and wordy times have no meaning."""
    arguments = {"task_id": "task-unified-1", "timeout_seconds": given}
    with pytest.raises(InvalidRequest, match="timeout_seconds"):
        parse("w", WaitArguments, plain_schema(WaitArguments), arguments)


def test_the_tools_schema_is_the_request_models_own() -> None:
    """Property by property, what a client sees is what the request model demands."""
    shown, demanded = plain_schema(GenerationRequest), plain_schema(ImageToVideoRequest)
    assert set(demanded["required"]) == set(shown["required"])
    for name, spec in demanded["properties"].items():
        expected = {key: value for key, value in spec.items() if key != "description" or name != "image_urls"}
        found = {key: shown["properties"][name].get(key) for key in expected}
        assert found == expected, name


@pytest.mark.parametrize("model", [tool.arguments for tool in TOOLS], ids=[tool.name for tool in TOOLS])
def test_input_schemas_are_plain(model: type[BaseModel]) -> None:
    """The strictest clients take no references, unions or titles, and some hide defaults."""
    schema = plain_schema(model)
    text = str(schema)
    assert not any(
        word in text for word in ("$ref", "$defs", "anyOf", "'title'", "'default'", "'const'", "'null'")
    )
    assert all(spec.get("description") for spec in schema["properties"].values())
