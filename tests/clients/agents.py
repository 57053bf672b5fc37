"""The two agents, started without a person, and with the scripted model."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.clients.model import Model
from tests.clients.programs import program
from tests.clients.scene import Scene


@dataclass(frozen=True)
class Start:
    """A command that says something to an agent, and ends with the agent's last text on stdout."""

    command: tuple[str, ...]
    environ: dict[str, str]


def claude_code(at: Scene, model: Model, words: str, *, goes_on: bool = False) -> Start:
    return Start(
        (
            *(program("claude"), "-p", words, *(["--continue"] if goes_on else [])),
            *("--allowedTools", "mcp__wan", "--mcp-config", at.configuration, "--strict-mcp-config"),
        ),
        # Otherwise it lists the tools by name only, and a model would search them first.
        {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "none", "ENABLE_TOOL_SEARCH": "false"},
    )


def claude_code_in_a_terminal(at: Scene, model: Model) -> Start:
    """As a person uses it, who has answered the questions of its first start."""
    start = claude_code(at, model, "")
    answered = {
        "hasCompletedOnboarding": True,
        "theme": "dark",
        "customApiKeyResponses": {"approved": [start.environ["ANTHROPIC_API_KEY"]], "rejected": []},
        "projects": {str(at.folder): {"hasTrustDialogAccepted": True}},
    }
    (at.folder / ".claude.json").write_text(json.dumps(answered))
    return Start((start.command[0], *start.command[3:]), start.environ)


def codex(at: Scene, model: Model, words: str, *, goes_on: bool = False) -> Start:
    configure_codex(
        at,
        'model = "scripted"\nmodel_provider = "scripted"\napproval_policy = "never"\n'
        '[model_providers.scripted]\nname = "scripted"\nwire_api = "responses"\nenv_key = "MODEL_KEY"\n'
        f'base_url = "{model.url}/v1"\n',
    )
    # No commands are run in this conversation, so there is nothing to fence in.
    free = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
    again = ("resume", "--last") if goes_on else ()
    return Start((program("codex"), "exec", *free, *again, words), {"MODEL_KEY": "none"})


def configure_codex(at: Scene, more: str = "") -> None:
    """Its configuration is TOML, of which JSON's strings and lists are a part."""
    server = at.server
    environ = "\n".join(f"{name} = {json.dumps(value)}" for name, value in server["env"].items())
    started = (
        f"command = {json.dumps(server['command'])}\nargs = {json.dumps(server['args'])}\nrequired = true"
    )
    (at.folder / ".codex").mkdir(exist_ok=True)
    (at.folder / ".codex" / "config.toml").write_text(
        f"{more}\n[mcp_servers.wan]\n{started}\n[mcp_servers.wan.env]\n{environ}\n"
    )


AGENTS: dict[str, Callable[..., Start]] = {"claude-code": claude_code, "codex": codex}
