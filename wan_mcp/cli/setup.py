"""``wan-mcp setup``: the key is kept once, and each MCP client on this machine starts this installation.

Everything is shown before it happens, and nothing is written without a yes.
"""

import os
from collections.abc import Iterator, Sequence

from pydantic import SecretStr

from wan_mcp.cli import config_files
from wan_mcp.cli.clients import KEY, PLACES, Client, all_clients
from wan_mcp.cli.doctor import masked
from wan_mcp.cli.installation import is_temporary, own_command
from wan_mcp.cli.screen import Person, tell
from wan_mcp.cli.setup_client import ClientStep, Result
from wan_mcp.cli.setup_key import KeyStep
from wan_mcp.errors import ConfigurationError, SettingsError
from wan_mcp.settings import Settings, usable_key

SAY = 'Then say to your agent: "Make a video of ~/Pictures/lake.jpg: mist drifts over the water."'


def run(settings: Settings, person: Person, names: Sequence[str], *, undo: bool) -> bool:
    """Set everything up, or undo that.

    Args:
        settings: those of this terminal.
        person: who is asked before each change.
        names: the clients, by their short names; none: all that are found on this machine.
        undo: whether to remove what was written.

    Returns:
        Whether everything is as it should be now, apart from what the person did not want.

    Raises:
        WanError: when nothing can be done.
    """
    clients = _chosen(names)
    if wrong := [problem for problem in settings.problems if not problem.startswith(f"{KEY} ")]:
        raise SettingsError(
            " ".join(wrong), next_step="Correct it in this terminal, and run the command again."
        )
    if undo:
        return _undo(settings, person, clients, with_key=not names)
    if is_temporary():
        raise SettingsError(
            "This wan-mcp is in a cache, where uvx and pipx run put it. Once that is emptied, no client can "
            "start it, so nothing was written.",
            next_step="Install it from the folder of the clone, with uv tool install FOLDER or pipx install "
            "FOLDER. Then run wan-mcp setup.",
        )
    if clients:
        titles = ", ".join(client.title for client in clients)
        tell(f"MCP clients to set up: {titles}. Each change is shown before it is made.")
    else:
        tell("No MCP client was found on this machine. To set one up all the same, name it with --client.")
    tell("\nYour key", bold=True)
    for problem in settings.problems:
        tell(problem)
    keys = KeyStep(settings, person)
    key = keys.run(_keys(clients, settings))
    if key is not None:
        _say_what_clients_need()
    command = own_command()
    results = [ClientStep(client, person, settings, key).add(command, keys.rejected) for client in clients]
    _say_what_is_next(clients, results, key)
    return key is not None and Result.FAILED not in results


def _chosen(names: Sequence[str]) -> list[Client]:
    """The clients of these names; without names, those that are installed."""
    known = all_clients()
    if unknown := set(names) - {client.name for client in known}:
        offered = ", ".join(client.name for client in known)
        raise ConfigurationError(f"There is no client {min(unknown)!r}.", next_step=f"Choose from {offered}.")
    return [client for client in known if (client.name in names if names else client.is_installed)]


def _keys(clients: Sequence[Client], settings: Settings) -> Iterator[tuple[str, SecretStr]]:
    """The keys in the configurations of clients, each with the client's name; none for other addresses."""
    for client in clients:
        try:
            entry = client.entry(config_files.read(client.path))
            if entry is None or not entry.is_ours or entry.is_elsewhere(settings):
                continue
            if entry.key and usable_key(entry.key):
                yield client.title, SecretStr(entry.key)
        except (ConfigurationError, ValueError):
            continue  # the client's own step says so


def _say_what_clients_need() -> None:
    if given := [name for name in PLACES if os.environ.get(name, "").strip()]:
        tell(
            f"Set in this terminal: {', '.join(given)}. Clients find the key only if their "
            "configuration sets the same, under env; setup does not write that."
        )


def _say_what_is_next(clients: Sequence[Client], results: Sequence[Result], key: SecretStr | None) -> None:
    changed = [
        client.title for client, result in zip(clients, results, strict=True) if result is Result.CHANGED
    ]
    if changed:
        tell(f"\nNow restart: {', '.join(changed)}.")
    if key is None:
        tell(
            "\nNo key is kept: until wan-mcp setup has one, videos can be made only where a client has a key "
            "of its own."
        )
    elif changed:
        tell(SAY)


def _undo(settings: Settings, person: Person, clients: Sequence[Client], *, with_key: bool) -> bool:
    kept = KeyStep(settings, person).kept()
    results = [ClientStep(client, person, settings, kept).remove() for client in clients]
    if not {Result.CHANGED, Result.LEFT, Result.FAILED} & set(results):
        tell("wan-mcp is in the configuration of no client.")
    path = settings.key_path
    if with_key and os.path.lexists(path):
        tell(f"\nThe key{f' {masked(kept)}' if kept else ''} is kept in {path}.")
        if person.agrees("Remove it, too?", usually=False):
            try:
                path.unlink()
            except OSError as error:
                raise SettingsError(f"{path} could not be removed ({error.strerror}).") from error
            tell("Removed.")
        else:
            tell("It stays.")
    copies = settings.data_dir / config_files.BACKUPS
    if copies.exists():
        tell(f"\nCopies of the files that were changed stay in {copies}.")
    return Result.FAILED not in results
