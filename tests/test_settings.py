"""Settings: read from a mapping, never failing, always saying what is wrong."""

import pytest

from wan_mcp.errors import SettingsError
from wan_mcp.settings import Settings


def test_defaults_stand_where_nothing_is_given() -> None:
    """An empty environment gives the documented addresses and no key."""
    settings = Settings.load({})
    assert settings.api_key is None
    assert (settings.base_url, settings.files_url) == (
        "https://api.evolink.ai",
        "https://files-api.evolink.ai",
    )
    assert settings.problems == ()


@pytest.mark.parametrize(
    "value",
    [
        *("your-key", "YOUR_API_KEY", "<your-key>", "<YOUR EVOLINK API KEY>", "your_evolink_api_key_here"),
        *(
            "yourApiKey",
            "API_KEY",
            "api-key-here",
            "sk-xxx",
            "sk-xxxxxxxxxxxxxxxx",
            "XXXXXXXX",
            "sk-...",
            "sk-…",
        ),
        *("sk-your-key", "sk-YOUR-API-KEY", "changeme", "change-me", "CHANGE_ME", "insert-your-key-here"),
        *("paste your key here", "{{EVOLINK_API_KEY}}", "$EVOLINK_API_KEY", "%EVOLINK_API_KEY%", "[key]"),
        *(
            "null",
            "None",
            "undefined",
            "TODO",
            "placeholder",
            "***",
            "replace-with-your-actual-key",
            "secret",
            "your-key-from-evolink",
            "sample-key",
            "REDACTED",
            "sk_live_xxxx",
        ),
    ],
)
def test_a_key_of_an_example_is_said_to_be_one(value: str) -> None:
    """It is not sent, and not shown."""
    with pytest.raises(
        SettingsError, match="EVOLINK_API_KEY holds a placeholder, not a key; put in"
    ) as caught:
        Settings.load({"EVOLINK_API_KEY": value}).require_key()
    assert value.lower() not in ("your-key", "changeme") or value not in caught.value.message


@pytest.mark.parametrize(
    "value",
    [
        *("sk-abc", "sk-sandbox", "sk-test", "sk-keyboard", "sk-xx1", "key1", "sk-mykey7", "sk-token-a"),
        *("sk-0123456789abcdef", "k", "sk-yourkeyq", "xx", "sk-aHereIsOne"),
    ],
)
def test_a_key_that_only_resembles_an_example_is_a_key(value: str) -> None:
    """A real one is never refused: it has at least a letter or digit beyond the words of examples."""
    assert Settings.load({"EVOLINK_API_KEY": value}).require_key().get_secret_value() == value


@pytest.mark.parametrize("value", ["", "  ", "${EVOLINK_API_KEY}", "${user_config.api_key}"])
def test_an_unsubstituted_placeholder_is_no_key(value: str) -> None:
    """What a client failed to fill in counts as not given."""
    settings = Settings.load({"EVOLINK_API_KEY": value})
    assert settings.api_key is None
    with pytest.raises(SettingsError, match="No Evolink API key is set"):
        settings.require_key()


def test_white_space_around_a_key_is_dropped() -> None:
    """A trailing line break from a file is no part of the key."""
    key = Settings.load({"EVOLINK_API_KEY": " sk-abc\n"}).require_key()
    assert key.get_secret_value() == "sk-abc"


@pytest.mark.parametrize("value", ["sk abc", "sk-a\nsk-b", "sk-a\tb", '"sk-abc"', "sk-ä"])
def test_a_mangled_key_is_reported_without_showing_it(value: str) -> None:
    """White space, line breaks and quotation marks inside a key are named, the key is not."""
    settings = Settings.load({"EVOLINK_API_KEY": value})
    with pytest.raises(SettingsError, match="EVOLINK_API_KEY has") as caught:
        settings.require_key()
    assert value not in caught.value.message


@pytest.mark.parametrize(
    "value",
    [
        "http://api.evolink.ai",
        "http://127.0.0.1.evolink.ai",
        "http://localhost.evolink.ai",
        "http://127.0.0.1\\.evolink.ai",
        "http://[::ffff:10.0.0.1]",
        "http://128.1",
        "http://0.0.0.0",
        "ftp://x.example",
        "api.evolink.ai",
        "https://",
        "https://u:p@h.example",
        "https://h/?a=b",
    ],
)
def test_an_unsafe_base_url_is_refused(value: str) -> None:
    """The key goes over https only, except on this machine."""
    settings = Settings.load({"EVOLINK_API_KEY": "sk-abc", "EVOLINK_BASE_URL": value})
    assert settings.base_url == "https://api.evolink.ai"
    with pytest.raises(SettingsError, match="EVOLINK_BASE_URL"):
        settings.require_key()


@pytest.mark.parametrize(
    "value", ["http://127.0.0.1:8787", "http://localhost:1", "http://[::1]:9", "https://h.example/"]
)
def test_https_and_loopback_are_taken(value: str) -> None:
    """http is fine for this machine itself; a trailing slash is dropped."""
    assert Settings.load({"EVOLINK_BASE_URL": value}).base_url == value.rstrip("/")


@pytest.mark.parametrize(
    "value", ["https://login.example.com/", "https://login.example.com/team", "http://[::1]:8080/"]
)
def test_an_issuer_is_taken_exactly_as_written(value: str) -> None:
    """Tokens name their issuer exactly: with a slash at its end it is another one."""
    settings = Settings.load({"WAN_MCP_OAUTH_ISSUER": value})

    assert (settings.oauth_issuer, settings.problems) == (value, ())


@pytest.mark.parametrize(
    "value",
    [
        "http://login.example.com",
        "login.example.com",
        "https://login.example.com/?a=1",
        "https://a@b.example.com",
    ],
)
def test_an_issuer_without_https_is_refused(value: str) -> None:
    """Its keys could be replaced on their way."""
    settings = Settings.load({"WAN_MCP_OAUTH_ISSUER": value})

    assert settings.oauth_issuer is None
    assert settings.problems[0].startswith("WAN_MCP_OAUTH_ISSUER")


def test_a_password_that_no_address_can_have_is_not_told() -> None:
    """Python's own error would quote it; what is wrong with it the database's library finds out."""
    settings = Settings.load({"WAN_MCP_DATABASE_URL": "postgresql://me:hunter2\uff0f@host/wan"})
    assert "hunter2" not in repr(settings)


def test_all_problems_are_named_at_once() -> None:
    """One answer lists everything that has to be corrected."""
    settings = Settings.load(
        {"EVOLINK_API_KEY": "a b", "WAN_MCP_WAIT_SECONDS": "soon", "WAN_MCP_LOG_LEVEL": "LOUD"}
    )
    assert [problem.split()[0] for problem in settings.problems] == [
        "EVOLINK_API_KEY",
        "WAN_MCP_WAIT_SECONDS",
        "WAN_MCP_LOG_LEVEL",
    ]
    assert "WAN_MCP_LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR." in settings.problems


def test_secrets_print_as_stars() -> None:
    """The representation of settings does not show the key."""
    assert "sk-secret" not in repr(Settings.load({"EVOLINK_API_KEY": "sk-secret"}))
