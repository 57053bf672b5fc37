"""The official conformance suite, over HTTP: with its fixtures, and over the command ``wan-mcp http``.

It needs node 22 or newer and what ``tests/clients/package.json`` names; see ``tests/clients/programs.py``.
"""

import sys
from pathlib import Path

import pytest

from tests.clients.programs import program
from tests.conformance.forwarding import with_key
from tests.conformance.suite import Scenario, examine, required, with_fixtures
from tests.server.http.live import live_at
from tests.world import KEY
from wan_mcp.sandbox import Sandbox, running

pytestmark = pytest.mark.anyio

MODERN, LEGACY = "2026-07-28", "2025-11-25"

NO_QUESTION = "A video that is being made asks nothing: its task is never input_required."
EXPECTED: dict[str, dict[str, dict[str, str]]] = {
    MODERN: {
        "tasks-lifecycle": {
            "sep-2663-cancel-ack-empty-result": (
                "A cancellation is acknowledged; Evolink has none, so the video is made, paid and kept."
            ),
            "sep-2663-tasks-get-status-failed": (
                "No task ends in a protocol error: a failed video or a refused key is a result of the tool."
            ),
        },
        "tasks-mrtr-composition": {
            "sep-2663-mrtr-synchronous-before-task-creation": (
                "wait_for_task, the only tool that answers with a task, takes an id and asks nothing before."
            ),
        },
        "tasks-mrtr-input": {
            "sep-2663-tasks-get-status-input-required": NO_QUESTION,
            "tasks-mrtr-partial-fulfillment": NO_QUESTION,
            "tasks-mrtr-tasks-update-resumes": NO_QUESTION,
        },
    },
    LEGACY: {},
}
"""The checks that may fail, by scenario, and why; what passes all the same has to leave the list."""

UNAIDED = {
    MODERN: (
        "caching",
        "completion-complete",
        "dns-rebinding-protection",
        "http-header-validation",
        "prompts-list",
        "resources-list",
        "sep-2164-resource-not-found",
        "server-sse-multiple-streams",
        "tools-list",
    ),
    LEGACY: (
        "completion-complete",
        "dns-rebinding-protection",
        "ping",
        "prompts-list",
        "resources-list",
        "resources-subscribe",
        "resources-unsubscribe",
        "server-initialize",
        "tools-list",
    ),
}
"""What asks for no fixture, so that any server can be held to it."""

NO_SESSION = "wan-mcp http keeps no sessions, so that any replica can answer any request."
STATELESS = {
    MODERN: {},
    LEGACY: {
        "server-session-lifecycle": NO_SESSION,
        "server-sse-multiple-streams": NO_SESSION,
        "server-sse-polling": NO_SESSION,
    },
}
"""What asks for no fixture but for a session, which the command does not have; the fixtures' server has."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def report(subject: str, revision: str, found: dict[str, Scenario]) -> None:
    checks = sum(scenario.passed for scenario in found.values())
    clean = sum(scenario.passed > 0 and not scenario.problems for scenario in found.values())
    idle = sum(scenario == Scenario(0, ()) for scenario in found.values())
    counts = (
        f"{clean} of {len(found)} scenarios passed with {checks} checks, {idle} skipped by the suite itself"
    )
    sys.stdout.write(f"{revision}, {subject}: {counts}\n")


@pytest.mark.parametrize("revision", [MODERN, LEGACY])
async def test_the_whole_suite_passes_over_the_product_and_its_fixtures(
    revision: str, tmp_path: Path
) -> None:
    """Every scenario that belongs to the revision was run, and what failed is what is said to."""
    program("conformance")
    async with with_fixtures(tmp_path) as url:
        found = await examine(url, revision, tmp_path)
    report("with the fixtures", revision, found)
    assert found.keys() == await required(revision, tmp_path)
    problems = {name: scenario.problems for name, scenario in found.items() if scenario.problems}
    failed = {name: {problem.partition(":")[0] for problem in why} for name, why in problems.items()}
    assert failed == {name: set(reasons) for name, reasons in EXPECTED[revision].items()}, problems


@pytest.mark.parametrize("revision", [MODERN, LEGACY])
async def test_the_command_passes_what_asks_for_no_fixture(revision: str, tmp_path: Path) -> None:
    """``wan-mcp http`` itself, without anything added: lists, headers, caching and security."""
    program("conformance")
    async with (
        running(Sandbox(key=KEY)) as sandbox,
        live_at(sandbox, tmp_path) as server,
        with_key(f"{server.url}/mcp", KEY) as open_to_all,
    ):
        found = await examine(open_to_all, revision, tmp_path)
    unaided = {name: found[name] for name in UNAIDED[revision]}
    report("as it is", revision, unaided)
    assert {name: scenario.problems for name, scenario in unaided.items() if scenario.problems} == {}
    assert all(scenario.passed for scenario in unaided.values())
    assert not any(found[name].passed for name in STATELESS[revision])
