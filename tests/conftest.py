"""What all tests share: waiting takes no time, and a sandbox without a network."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import obstore
import pytest
from jsonschema import Draft202012Validator

from tests.clock import JumpingLoop, counting, local_time
from tests.postgres import database_url as database_url
from tests.postgres import postgres as postgres
from tests.world import World

# Shared machines are slow at times: no example has a deadline. The long form is run by hand.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("long", deadline=None, max_examples=10_000)
hypothesis.settings.load_profile("default")


@pytest.fixture(autouse=True, scope="session")
def no_kept_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's own data folder is not looked into, by this process or by those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA"):
            patch.setenv(name, str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(autouse=True, scope="session")
def schemas_are_checked_once() -> Iterator[None]:
    """The SDK's client checks a tool's schema with each connection, which takes longer than all calls of most
    tests. The same schema is valid the next time, too."""
    check, valid = Draft202012Validator.check_schema, set[str]()

    def check_once(schema: Any, *arguments: Any) -> None:
        content = json.dumps([schema, *map(repr, arguments)], sort_keys=True)
        if content not in valid:
            check(schema, *arguments)
            valid.add(content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Draft202012Validator, "check_schema", check_once)
        yield


@pytest.fixture(autouse=True, scope="session")
def storage_takes_real_time() -> Iterator[None]:
    """Time does not jump while a storage works, which it does in threads of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("put_async", "get_async", "head_async", "delete_async", "sign_async"):
            patch.setattr(obstore, name, counting(getattr(obstore, name)))
        yield


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": JumpingLoop}


@pytest.fixture
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times for people are those of UTC, wherever the tests run."""
    with local_time(monkeypatch, "UTC"):
        yield


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, seconds=120)
