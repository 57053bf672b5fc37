"""One MCP client for ``wan-mcp setup``: our server is added to its configuration, changed or removed.

A client's own command is used where it has one; otherwise its file is edited, and every other byte stays.
"""

import enum
import os
import shlex
from collections.abc import Callable, Collection, Sequence

import click
from pydantic import SecretStr

from wan_mcp.cli import config_files
from wan_mcp.cli.client_commands import run_command
from wan_mcp.cli.clients import NAME, Client
from wan_mcp.cli.doctor import masked
from wan_mcp.cli.screen import Person, tell
from wan_mcp.errors import ConfigurationError
from wan_mcp.evolink.redaction import without_key
from wan_mcp.settings import Settings, usable_key


class Result(enum.Enum):
    """What became of a client."""

    CHANGED = enum.auto()
    SAME = enum.auto()
    """Nothing had to be done."""
    LEFT = enum.auto()
    """The person did not want it."""
    FAILED = enum.auto()


class ClientStep:
    """What is done to one client.

    Args:
        client: the client.
        person: who is asked before something is written.
        settings: where the key and the copies are kept, and for which addresses the key is.
        key: the key that is kept; it is in no copy.
    """

    def __init__(self, client: Client, person: Person, settings: Settings, key: SecretStr | None) -> None:
        self._client = client
        self._person = person
        self._settings = settings
        self._key = key

    def add(self, command: Sequence[str], rejected: Collection[str] = ()) -> Result:
        """Make the client start this command as our server, and take the key out of its entry.

        Args:
            command: the program and its arguments.
            rejected: keys that the API did not accept.
        """
        result = self._attempt(lambda text: self._add(text, list(command), rejected))
        if result is Result.FAILED:
            self._say("To add it by hand:")
            for line in self._client.by_hand(command).splitlines():
                click.echo(f"    {line}")  # not wrapped: it is to be copied
        return result

    def remove(self) -> Result:
        """Remove our server from the client, if it is there."""
        return self._attempt(self._remove)

    def _attempt(self, work: Callable[[str | None], Result]) -> Result:
        tell(f"\n{self._client.title}", bold=True)
        path = self._client.path
        self._say(str(path) if os.access(path, os.F_OK) else f"{path} (not there yet)")
        try:
            return work(config_files.read(path))
        except ConfigurationError as error:
            self._say(f"Left alone: {error.message}. {error.next_step}".rstrip())
            return Result.FAILED

    def _add(self, text: str | None, command: list[str], rejected: Collection[str]) -> Result:
        client, entry = self._client, self._client.entry(text)
        if entry is not None and not entry.is_ours:
            raise ConfigurationError(
                f'it has another server "{NAME}", which is not wan-mcp',
                next_step="Rename that, or add wan-mcp under another name.",
            )
        own_key = entry.key if entry else None
        is_elsewhere = entry is not None and entry.is_elsewhere(self._settings)
        stays = own_key is not None and (
            is_elsewhere or (own_key not in rejected and _stays(own_key, self._key))
        )
        if is_elsewhere:
            self._say("It names other addresses or another data folder under env: the kept key is not used.")
        if stays:
            self._say(f"Its own key {_masked(own_key)} stays there, and is used by this client.")
        changes = []
        if entry is None:
            changes.append(f'Adds the server "{NAME}", which starts {shlex.join(command)}')
        elif entry.command != command:
            was, will = shlex.join(entry.command), shlex.join(command)
            changes.append(f'Changes what the server "{NAME}" starts from {was} to {will}')
        if own_key and not stays:
            changes.append(f"Removes the key {_masked(own_key)} from it: the kept key is used")
        if not changes:
            self._say("Already set up.")
            return Result.SAME
        own = client.adding_command(command) if entry is None or client.is_toml else None
        if client.is_toml and own is None:
            raise ConfigurationError(
                f"setup does not write TOML, and the command {client.programs[0]} is not found"
            )
        if client.is_toml and entry is not None and (entry.has_more or stays):
            raise ConfigurationError(
                f'the command {client.programs[0]} would drop the other settings of "{NAME}"'
            )
        new = None if own else client.added(text, command, keep_key=stays)
        if self._changed(changes, "Write this?", own, text, new):
            written = client.entry(config_files.read(client.path))
            if written is None or written.command != command or (written.key and not stays):
                raise ConfigurationError("the file is not as it should be after that")
            return Result.CHANGED
        return Result.LEFT

    def _remove(self, text: str | None) -> Result:
        client, entry = self._client, self._client.entry(text)
        if text is None or entry is None or not entry.is_ours:
            self._say("wan-mcp is not in it.")
            return Result.SAME
        changes = [f'Removes the server "{NAME}"']
        if entry.key:
            changes.append(f"Its key {_masked(entry.key)} goes with it; the copy of the file is without it")
        # A client may keep copies of its own, in which the key would be.
        own = client.removing_command() if client.is_toml or not entry.key else None
        if client.is_toml and own is None:
            raise ConfigurationError(
                f"setup does not write TOML, and the command {client.programs[0]} is not found",
                next_step=f"Remove the part [{client.servers}.{NAME}] by hand.",
            )
        new = None if own else client.removed(text)
        if self._changed(changes, "Remove it?", own, text, new):
            if client.entry(config_files.read(client.path)) is not None:
                raise ConfigurationError(f'the file still has the server "{NAME}"')
            return Result.CHANGED
        return Result.LEFT

    def _changed(
        self,
        changes: Sequence[str],
        question: str,
        own: Sequence[str] | None,
        text: str | None,
        new: str | None,
    ) -> bool:
        """Show a change and make it, unless the person does not want it.

        Args:
            changes: what is done, in words.
            question: whether to do it.
            own: the client's own command that does it; None: the file is edited.
            text: the file as it is.
            new: the file as it will be, where it is edited.
        """
        for change in changes:
            self._say(f"{change}.")
        config_files.check_writable(self._client.path)
        if own and self._client.is_toml and "#" in (text or ""):
            self._say(f"{self._client.title} may then drop comments of the file.")
        if own:
            self._say(f"By the command: {shlex.join([self._client.programs[0], *own[1:]])}")
        if not self._person.agrees(f"  {question}"):
            self._say(f"Left as it is.{'' if self._person.is_there else ' Add --yes to make the change.'}")
            return False
        text = config_files.read(self._client.path) if own else text
        if text is not None:
            bare = self._client.without_key(text, self._key)
            copy = config_files.back_up(
                self._settings.data_dir / config_files.BACKUPS, self._client.name, bare
            )
        if own:
            try:
                run_command(own)
            except KeyboardInterrupt:
                self._say("The command had begun and went on to its end.")
                raise
        else:
            config_files.write(self._client.path, text, str(new))
        self._say("Done." if text is None else f"Done. A copy of the file before: {copy}")
        return True

    def _say(self, text: str) -> None:
        if self._key is not None:
            text = without_key(text, self._key.get_secret_value())
        tell("  " + "".join(char if char.isprintable() else " " for char in text), hanging="  ")


def _masked(key: str | None) -> str:
    return masked(SecretStr(key or ""))


def _stays(own: str, kept: SecretStr | None) -> bool:
    """Whether a key in an entry stays there: because there is no other, or because it is a different one."""
    try:
        return kept is None or (bool(usable_key(own)) and own != kept.get_secret_value())
    except ValueError:
        return False
