"""When a hosted server does not start: each reason, in words, and none besides."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.world import KEY
from wan_mcp.errors import SettingsError
from wan_mcp.server.http import startup
from wan_mcp.server.http.app import create_app
from wan_mcp.server.http.startup import check, require_packages
from wan_mcp.settings import Settings

OAUTH = {
    "WAN_MCP_AUTH": "oauth",
    "WAN_MCP_OAUTH_ISSUER": "https://login.example.com/",
    "WAN_MCP_OAUTH_AUDIENCE": "https://wan.example.com/mcp",
    "WAN_MCP_OAUTH_SCOPE": "videos",
    "WAN_MCP_TOTAL_DAILY_CREDITS": "1000",
    "EVOLINK_API_KEY": KEY,
}
PUBLIC = {"WAN_MCP_PUBLIC_URL": "https://wan.example.com"}
LOCAL, OPEN = "127.0.0.1", "0.0.0.0"


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in OAUTH.items() if key != name}


@pytest.mark.parametrize(
    ("host", "environ"),
    [
        (LOCAL, {}),
        ("::1", {}),
        ("localhost", {}),
        (LOCAL, {"WAN_MCP_ALLOW_PRIVATE_NETWORK": "1"}),
        (LOCAL, PUBLIC),
        (OPEN, PUBLIC),
        ("::", PUBLIC),
        (LOCAL, OAUTH),
        (OPEN, OAUTH | PUBLIC),
    ],
)
def test_a_safe_server_starts(host: str, environ: Mapping[str, str], tmp_path: Path) -> None:
    """On loopback without more, elsewhere with the https address of its proxy."""
    create_app(Settings.load({"WAN_MCP_DATA_DIR": str(tmp_path), **environ}), host=host)


@pytest.mark.parametrize(
    ("host", "environ", "reasons"),
    [
        (LOCAL, {"EVOLINK_API_KEY": KEY}, ["EVOLINK_API_KEY is set"]),
        (OPEN, {}, ["WAN_MCP_PUBLIC_URL"]),
        ("192.0.2.7", {}, ["At 192.0.2.7", "WAN_MCP_PUBLIC_URL"]),
        ("::", {}, ["WAN_MCP_PUBLIC_URL"]),
        ("example.com", {}, ["WAN_MCP_PUBLIC_URL"]),
        (OPEN, {"WAN_MCP_PUBLIC_URL": "http://127.0.0.1:9"}, ["https://"]),
        (LOCAL, {"WAN_MCP_PUBLIC_URL": "http://wan.example.com"}, ["WAN_MCP_PUBLIC_URL must begin with"]),
        (
            LOCAL,
            {"WAN_MCP_PUBLIC_URL": "https://wan.example.com/mcp"},
            ["must have no path"],
        ),
        (OPEN, {**PUBLIC, "WAN_MCP_ALLOW_PRIVATE_NETWORK": "1"}, ["WAN_MCP_ALLOW_PRIVATE_NETWORK"]),
        (LOCAL, without("WAN_MCP_OAUTH_ISSUER"), ["WAN_MCP_OAUTH_ISSUER"]),
        (LOCAL, without("WAN_MCP_OAUTH_AUDIENCE"), ["WAN_MCP_OAUTH_AUDIENCE"]),
        (LOCAL, without("WAN_MCP_OAUTH_SCOPE"), ["WAN_MCP_OAUTH_SCOPE"]),
        (LOCAL, without("WAN_MCP_TOTAL_DAILY_CREDITS"), ["WAN_MCP_TOTAL_DAILY_CREDITS"]),
        (LOCAL, without("EVOLINK_API_KEY"), ["EVOLINK_API_KEY"]),
        (LOCAL, {"WAN_MCP_AUTH": "oauth"}, ["ISSUER", "AUDIENCE", "SCOPE", "EVOLINK_API_KEY", "TOTAL"]),
        (LOCAL, {"WAN_MCP_AUTH": "basic"}, ["WAN_MCP_AUTH"]),
        (LOCAL, {"WAN_MCP_TOTAL_DAILY_CREDITS": "many"}, ["WAN_MCP_TOTAL_DAILY_CREDITS"]),
        (
            LOCAL,
            {"WAN_MCP_DATABASE_URL": "postgresql://wan@db/wan"},
            ["WAN_MCP_SECRET", "WAN_MCP_STORAGE_URL"],
        ),
        (OPEN, {**OAUTH, "WAN_MCP_OAUTH_ISSUER": "http://login.example.com"}, ["OAUTH_ISSUER", "PUBLIC_URL"]),
    ],
)
def test_an_unsafe_server_does_not_start(
    host: str, environ: Mapping[str, str], reasons: list[str], tmp_path: Path
) -> None:
    """The operator reads every reason at once, and no key."""
    settings = Settings.load({"WAN_MCP_DATA_DIR": str(tmp_path), **environ})
    with pytest.raises(SettingsError) as refusal:
        check(settings, host)
    told = f"{refusal.value.message} {refusal.value.next_step}"
    assert [reason for reason in reasons if reason not in told] == []
    assert KEY not in told


@pytest.mark.parametrize(
    ("name", "value"),
    [("WAN_MCP_OAUTH_ISSUER", "http://login.example.com"), ("WAN_MCP_TOTAL_DAILY_CREDITS", "many")],
)
def test_what_cannot_be_used_is_not_also_said_to_be_missing(name: str, value: str, tmp_path: Path) -> None:
    """The operator reads one reason for one mistake."""
    settings = Settings.load({"WAN_MCP_DATA_DIR": str(tmp_path), **OAUTH, name: value})
    with pytest.raises(SettingsError) as refusal:
        check(settings, LOCAL)
    assert refusal.value.message.count(name) == 1


@pytest.mark.parametrize(
    "written", ["{", '{"key": "sk-kept-0123456789", "base_url": "https://other.example"}']
)
def test_a_kept_key_does_not_matter_where_callers_bring_theirs(written: str, tmp_path: Path) -> None:
    """Not even a damaged one, or one for another address."""
    (tmp_path / "key.json").write_text(written)
    check(Settings.load({"WAN_MCP_DATA_DIR": str(tmp_path)}), LOCAL)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("WAN_MCP_STORAGE_URL", "ftp://videos", "must be like file:///folder"),
        ("WAN_MCP_STORAGE_URL", "s3://key:secret@bucket", "must have no password"),
        ("WAN_MCP_STORAGE_URL", "file:///dev/null/videos", "Not a directory"),
        ("WAN_MCP_SECRET", "short", "must have 32 characters or more"),
        ("WAN_MCP_DATA_DIR", "/dev/null/data", "Not a directory"),
    ],
)
def test_a_server_that_could_keep_nothing_does_not_start(
    name: str, value: str, words: str, tmp_path: Path
) -> None:
    """The operator reads which setting it is."""
    environ = {"WAN_MCP_DATA_DIR": str(tmp_path), name: value}
    with pytest.raises(SettingsError) as refusal:
        create_app(Settings.load(environ))
    told = f"{refusal.value.message} {refusal.value.next_step}"
    assert [part for part in (name, words) if part not in told] == []
    assert "\n" not in told


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it; the packages of a hosted server are an extra."""
    require_packages()
    monkeypatch.setattr(startup, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="obstore") as refusal:
        require_packages()
    assert ".[http]" in refusal.value.next_step
