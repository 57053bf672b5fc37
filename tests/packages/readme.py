"""The parts of README and skill that are made from the code: tools, settings, prices, clients."""

import re
from textwrap import fill

from pydantic.fields import FieldInfo

from tests.packages.client_table import CLIENTS, CLONE, SHARED, Client
from tests.packages.facts import COMMAND, HOSTED_SETTINGS, KEY, NAME, SETTINGS, default
from wan_mcp.evolink import prices
from wan_mcp.server.tool import Definition
from wan_mcp.server.tools import TOOLS
from wan_mcp.validation import plain_schema

MARKS = "<!-- table: {name} -->", "<!-- end of table -->"
CLIENT_MARKS = "<!-- clients -->", "<!-- end of clients -->"
TOGETHER = f"""\
Most clients take this JSON. The key is not in it: `{COMMAND} setup` keeps it once, for all of them.

```json
{SHARED}
```

To write the key into the configuration instead, add `"env": {{"{KEY.variable}": "your-key"}}` beside
the command, or `--env {KEY.variable}=your-key` before the `--` of a command line. The client then uses this
key, also if another one is kept. Desktop programs often do not see your shell's `PATH`: if the server does
not start, replace the command by the whole path that `which {COMMAND}` prints (`where {COMMAND}` on Windows).

A plugin or an extension, made for one client, holds the server and a skill: how an agent writes prompts,
makes other versions, plans longer videos, and when it asks before it spends. It needs
[uv](https://docs.astral.sh/uv/) on the `PATH`, and uv downloads about 60 MB at the first start. If that takes
longer than the client waits, run `uv tool run --from {CLONE} {COMMAND} --version` once and connect again.
A client may copy the whole clone, also a `.venv` in it, so make a new clone for this. Add the server by its
plugin or by the configuration, not by both.

After `git pull` in the clone, Claude Code's plugin needs only a restart. In Codex, repeat `codex plugin add`;
in Gemini CLI, uninstall the extension and install it again. `claude plugin uninstall {NAME}@{NAME}`,
`codex plugin remove {NAME}@{NAME}` and `gemini extensions uninstall {NAME}` remove them."""


def replaced(text: str, marks: tuple[str, str], content: str) -> str:
    """A text with other content between two markers."""
    begin, end = (re.escape(mark) for mark in marks)
    parts = re.split(f"(?<={begin}\n).*?(?={end})", text, flags=re.S)
    if len(parts) != 2:
        raise ValueError(f"there are {len(parts) - 1} parts that begin with {marks[0]}")
    return f"{parts[0]}{content}\n{parts[1]}"


def table(heading: str, rows: list[str]) -> str:
    return "\n".join([heading, "|---" * (heading.count("|") - 1) + "|", *rows])


def arguments(tool: Definition) -> str:
    """A tool's arguments as its row names them: what is required first."""
    schema = plain_schema(tool.arguments)
    required = [f"`{name}`" for name in schema.get("required", [])]
    optional = [f"`{name}`" for name in schema["properties"] if f"`{name}`" not in required]
    parts = [", ".join(required), f"optional {', '.join(optional)}" if optional else ""]
    return "; ".join(part for part in parts if part) or "none"


def tool_table(readme: str) -> str:
    """What a tool does stays as it was written; its name, arguments and cost are the code's."""
    told = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \| (?:credits|free) \|$", readme, re.M))
    rows = [
        f"| `{tool.name}` | {arguments(tool)} | {told.get(tool.name, '')} "
        f"| {'credits' if 'COSTS CREDITS' in tool.description else 'free'} |"
        for tool in TOOLS
    ]
    return table("| tool | arguments | what it does | cost |", rows)


def setting_row(name: str, spec: FieldInfo) -> str:
    value = default(spec)
    shown = "depends on the system" if spec.default_factory else f"`{value}`" if value else "none"
    return f"| `{name}` | {shown} | {spec.description} |"


def setting_table(settings: dict[str, FieldInfo]) -> str:
    return table("| variable | default | meaning |", [setting_row(*item) for item in settings.items()])


def price_table() -> str:
    def price(seconds: int, quality: str) -> str:
        credits = prices.estimate(seconds, quality)
        return f"{credits:g} ({prices.dollars(credits)})"

    rows = [f"| {quality} | {price(5, quality)} | {price(10, quality)} |" for quality in prices.FACTORS]
    return table("| quality | 5 seconds | 10 seconds |", rows)


def wrapped(text: str) -> str:
    """Lines of at most 120 characters, which end in no piece of code."""
    held = re.sub("`.*?`", lambda code: code[0].replace(" ", "\0"), text)
    return fill(held, 120, break_long_words=False, break_on_hyphens=False).replace("\0", " ")


def block(client: Client) -> str:
    """One client, to be unfolded."""
    tried = (
        f"Tried with {client.tried}."
        if client.tried
        else f"This follows the documentation of {client.name}; it was not tried there."
    )
    log = f"If it does not start, see {client.log}." if client.log else ""
    parts = [
        f"[Add it to {client.name}]({client.link})" if client.link else "",
        f"```sh\n{client.command}\n```" if client.command else "",
        wrapped(f"By hand, in {client.place}:{'' if client.snippet else ' the JSON above.'}"),
        f"```{client.kind}\n{client.snippet}\n```" if client.snippet else "",
        f"{client.package}:\n\n```sh\n{client.plugin}\n```" if client.plugin else "",
        wrapped(" ".join(filter(None, [client.note, log, tried]))),
    ]
    body = "\n\n".join(filter(None, parts))
    return f"<details>\n<summary><b>{client.name}</b></summary>\n\n{body}\n\n</details>"


def clients() -> str:
    return "\n" + "\n\n".join([TOGETHER, *map(block, CLIENTS)]) + "\n"


def readme(text: str) -> str:
    """The README with its generated parts renewed."""
    tables = {
        "tools": tool_table(text),
        "settings": setting_table(SETTINGS),
        "hosting": setting_table(HOSTED_SETTINGS),
        "prices": price_table(),
    }
    for name, content in tables.items():
        text = replaced(text, (MARKS[0].format(name=name), MARKS[1]), content)
    return replaced(text, CLIENT_MARKS, clients())


def skill(text: str) -> str:
    """The skill with its prices renewed."""
    return replaced(text, (MARKS[0].format(name="prices"), MARKS[1]), price_table())
