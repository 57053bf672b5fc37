"""The settings as one value: read once from a mapping, usually the environment, and never changed."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from wan_mcp.errors import SettingsError
from wan_mcp.settings import key_file
from wan_mcp.settings.checks import KEYS_PAGE, usable_key
from wan_mcp.settings.fields import Fields, HostingFields
from wan_mcp.validation import plain_schema, problems_of

WHERE_SETTINGS_ARE = (
    "in the client's MCP configuration, under env, and restart the server (for a command: in the shell)"
)
KEY_NOT_SET = "EVOLINK_API_KEY is not set"
HOW_TO_SET_THE_KEY = (
    f"Get a key at {KEYS_PAGE}. Then run wan-mcp setup in a terminal, which keeps the key for all clients, "
    f"and restart the server; or set EVOLINK_API_KEY {WHERE_SETTINGS_ARE}. The user does this: the key must "
    "not be pasted into the chat."
)


class Settings(HostingFields, Fields):
    """Every setting, by the name of its environment variable."""

    key_is_kept: bool = False
    """Whether the key is the one that ``wan-mcp setup`` keeps, not one of the environment."""
    problems: tuple[str, ...] = ()
    """What is wrong with the mapping it was read from, each with what to do; defaults stand in meanwhile."""

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings from ``environ``, by default the process's environment.

        Where that has no key, the one that is kept in the data folder is used. Never fails: a value that
        cannot be used is reported in ``problems``, so that a server can start, list its tools and say what
        is wrong when it is asked to work.
        """
        given = _given(os.environ if environ is None else environ)
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            wrong = dict(problems_of(error, plain_schema(cls), given))
            usable = {name: value for name, value in given.items() if name not in wrong}
            settings = cls.model_validate(usable | {"problems": tuple(wrong.values())})
            if wrong.keys() & {"EVOLINK_BASE_URL", "EVOLINK_FILES_URL", "WAN_MCP_DATA_DIR"}:
                return settings  # a default stands in: the key is neither looked for there nor sent there
        return settings if "EVOLINK_API_KEY" in given else settings._with_kept_key()

    @property
    def gateway(self) -> str:
        """The API's address in one spelling: the same account however the address is written."""
        return _spelled_alike(self.base_url)

    @property
    def key_places(self) -> tuple[str, str, Path]:
        """The addresses that the key is sent to, each in one spelling, and the folder where it is kept."""
        return _spelled_alike(self.base_url), _spelled_alike(self.files_url), self.data_dir

    @property
    def key_path(self) -> Path:
        """The file in which the key is kept, if any is."""
        return self.data_dir / key_file.FILE_NAME

    def _with_kept_key(self) -> "Settings":
        try:
            kept = key_file.read(self.key_path)
            if kept is None:
                return self
            key = usable_key(kept.key.get_secret_value())
            addresses = tuple(_spelled_alike(url) for url in (kept.base_url, kept.files_url))
        except SettingsError as error:
            return self._with_problem(error.message, error.next_step)
        except ValueError as error:
            return self._with_problem(f"it {error}", "Run wan-mcp setup to replace it.")
        if addresses != self.key_places[:2]:
            return self._with_problem(
                f"it is for {kept.base_url} and {kept.files_url}, not for the addresses set here",
                "Correct EVOLINK_BASE_URL and EVOLINK_FILES_URL, or set EVOLINK_API_KEY with them.",
            )
        return self.model_copy(update={"api_key": key and SecretStr(key), "key_is_kept": key is not None})

    def _with_problem(self, reason: str, advice: str) -> "Settings":
        text = f"{KEY_NOT_SET}, and the key in {self.key_path} is not used: {reason}. {advice}"
        return self.model_copy(update={"problems": (*self.problems, text)})

    def require_key(self) -> SecretStr:
        """The key, for a call that needs it.

        Raises:
            SettingsError: when there is none, or another setting cannot be used.
        """
        if self.problems:
            is_kept = all(problem.startswith(KEY_NOT_SET) for problem in self.problems)
            raise SettingsError(
                "The server's settings cannot be used: " + " ".join(self.problems),
                next_step="Then restart the server." if is_kept else f"Correct them {WHERE_SETTINGS_ARE}.",
            )
        if self.api_key is None:
            raise SettingsError("No Evolink API key is set.", next_step=HOW_TO_SET_THE_KEY)
        return self.api_key


def _spelled_alike(url: str) -> str:
    parts = urlsplit(url)
    usual = ":443" if parts.scheme == "https" else ":80"
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(usual)}{parts.path}".rstrip("/")


def environment_names() -> list[str]:
    """The names of all environment variables that are read, in the order of the fields."""
    return [field.alias for field in Settings.model_fields.values() if field.alias]


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    """What was really given: an empty value, or a placeholder that a client left in place, is not."""
    found = {name: environ.get(name, "").strip() for name in environment_names()}
    return {name: value for name, value in found.items() if value and not value.startswith("${")}
