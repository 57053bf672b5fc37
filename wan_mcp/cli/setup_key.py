"""The key for ``wan-mcp setup``: found or asked for, tested, and kept in one file."""

from collections.abc import Iterable

import anyio
import click
from pydantic import SecretStr

from wan_mcp.cli.doctor import Finding, balance, masked
from wan_mcp.cli.screen import Person, tell
from wan_mcp.errors import Unauthorized, WanError
from wan_mcp.evolink import Connections, Evolink
from wan_mcp.settings import KEYS_PAGE, Settings, key_file, usable_key
from wan_mcp.settings.key_file import KeptKey

TRIES = 3
KEEP = "Keep it for all clients?"


class KeyStep:
    """Makes sure that a key is kept.

    Args:
        settings: where it is kept, and for which addresses.
        person: who is asked.
    """

    def __init__(self, settings: Settings, person: Person) -> None:
        self._settings = settings
        self._person = person
        self._path = settings.key_path
        self.rejected: set[str] = set()
        """Keys that the API did not accept."""

    def run(self, found: Iterable[tuple[str, SecretStr]]) -> SecretStr | None:
        """The key that is kept in the end, if any.

        Args:
            found: keys in the configurations of clients, with the name of each client.

        Raises:
            SettingsError: when it cannot be kept.
        """
        kept = self.kept()
        given = None if self._settings.key_is_kept else self._settings.api_key
        if given is not None and given != kept:
            another = f" Another one is kept: {masked(kept)}." if kept else ""
            tell(f"EVOLINK_API_KEY is set in this terminal: {masked(given)}.{another}")
            if self._person.agrees(KEEP) and self._keep(given):
                return given
        if kept is not None:
            tell(f"The key {masked(kept)} is kept in {self._path}.")
            if self._is_accepted(kept) is not False:
                return kept
        offered = set(self.rejected)
        for title, key in found:
            if key.get_secret_value() not in offered:
                offered.add(key.get_secret_value())
                tell(f"{title} has a key in its configuration: {masked(key)}.")
                if self._person.agrees(KEEP) and self._keep(key):
                    return key
        return self._asked()

    def kept(self) -> SecretStr | None:
        """The key that is kept and can be used with these settings."""
        if self._settings.key_is_kept:
            return self._settings.api_key
        # The same settings, but without the key of the environment, which goes first.
        environ = {
            "EVOLINK_BASE_URL": self._settings.base_url,
            "EVOLINK_FILES_URL": self._settings.files_url,
            "WAN_MCP_DATA_DIR": str(self._settings.data_dir),
        }
        return Settings.load(environ).api_key

    def _asked(self) -> SecretStr | None:
        if not self._person.is_there:
            tell(
                f"No key is kept. Get one at {KEYS_PAGE}. Then run wan-mcp setup in a terminal, which asks "
                "for it, or set EVOLINK_API_KEY and add --yes."
            )
            return None
        tell(
            f"Get a key at {KEYS_PAGE}, and paste or type it here; it is not shown. It will be kept in "
            f"{self._path}, which only you can read. Press Enter to go on without a key."
        )
        for _ in range(TRIES):
            try:
                typed = click.prompt(
                    "Evolink API key", hide_input=True, default="", show_default=False
                ).strip()
                if not typed:
                    break
                key = usable_key(typed)
            except UnicodeDecodeError:
                tell("What was typed has characters that no key has.")
                continue
            except ValueError as error:
                tell(f"What was typed {error}.")
                continue
            if key and self._keep(SecretStr(key)):
                return SecretStr(key)
        tell("No key was added.")
        return None

    def _keep(self, key: SecretStr) -> bool:
        """Test a key, and keep it unless it is wrong."""
        accepted = self._is_accepted(key)
        if accepted is None and not self._person.agrees("Keep it untested?"):
            accepted = False
        if accepted is False:
            tell("It is not kept.")
            return False
        key_file.keep(self._path, KeptKey(key, self._settings.base_url, self._settings.files_url))
        tell(f"The key {masked(key)} is now kept in {self._path}, which only you can read.")
        return True

    def _is_accepted(self, key: SecretStr) -> bool | None:
        """What the API says of a key; None where it cannot be asked."""
        tell("Testing it (free) ...")
        try:
            finding = anyio.run(self._balance, key)
        except Unauthorized as error:
            self.rejected.add(key.get_secret_value())
            tell(f"The API {self._settings.base_url} does not accept it: {error.message}")
            return False
        except WanError as error:
            tell(f"It could not be tested: {error.message} {error.next_step}".strip())
            return None
        tell(f"{finding.text}. {finding.advice}".strip())
        return True

    async def _balance(self, key: SecretStr) -> Finding:
        settings = self._settings
        async with Connections() as connections:
            evolink = Evolink(key, connections, base_url=settings.base_url, files_url=settings.files_url)
            return await balance(evolink, settings)
