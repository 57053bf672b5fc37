"""Signed addresses, and the secret that signs them where the operator names none."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.clock import now
from tests.s3 import S3
from wan_mcp.errors import SettingsError
from wan_mcp.settings import Settings
from wan_mcp.storage.links import FILE_NAME, LinkError, Links, Purpose, kept_secret
from wan_mcp.storage.storage import Storage

ADDRESS = "https://wan.example.com"
SECRET = SecretStr("s" * 32)


def token(links: Links, purpose: Purpose = "videos", expires_at: float = 100) -> str:
    return links.sign(purpose, "results/a.mp4", expires_at, name="a.mp4").rpartition("/")[2]


def test_an_address_tells_what_it_was_made_for_until_it_expires() -> None:
    """To the second, by the server's clock."""
    moment = 99.9
    links = Links(SECRET, ADDRESS, lambda: moment)
    made = token(links)
    assert links.read("videos", made) == {
        "aud": "videos",
        "sub": "results/a.mp4",
        "exp": 100,
        "name": "a.mp4",
    }
    moment = 100
    with pytest.raises(LinkError) as refusal:
        links.read("videos", made)
    assert refusal.value.expired


def test_another_purpose_secret_or_text_is_worth_nothing() -> None:
    """An expired token of another secret is not told to be expired, either."""
    links, other = (Links(SecretStr(letter * 32), ADDRESS, lambda: 0) for letter in "so")
    good = token(links)
    unsigned = "eyJhbGciOiJub25lIn0." + good.split(".")[1] + "."
    for wrong in (
        token(links, "uploads"),
        token(other),
        token(other, expires_at=-1),
        good[:-3],
        unsigned,
        "",
    ):
        with pytest.raises(LinkError) as refusal:
            links.read("videos", wrong)
        assert not refusal.value.expired


def test_a_secret_is_made_once_for_its_user_alone(tmp_path: Path) -> None:
    """Processes that start at the same time take the same one, and so does the next start."""
    folder = tmp_path / "data"
    with ThreadPoolExecutor(8) as pool:
        secrets = {one.get_secret_value() for one in pool.map(kept_secret, [folder] * 8)}
    assert secrets == {kept_secret(folder).get_secret_value()} == {(folder / FILE_NAME).read_text()}
    assert len(secrets.pop()) >= 32
    assert [path.name for path in folder.iterdir()] == [FILE_NAME]
    assert (folder / FILE_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 40])
def test_a_damaged_secret_is_not_used(tmp_path: Path, content: bytes) -> None:
    """The operator reads which file it is, and what follows from deleting it; not what is in it."""
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(SettingsError) as refusal:
        kept_secret(tmp_path)
    assert str(tmp_path / FILE_NAME) in refusal.value.message
    assert "Delete" in refusal.value.next_step


def test_a_secret_that_cannot_be_kept_says_what_to_do(tmp_path: Path) -> None:
    """A file is where its folder should be."""
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(SettingsError) as refusal:
        kept_secret(tmp_path / "data")
    assert "WAN_MCP_SECRET" in refusal.value.next_step


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("serve", "begins"), [("0", "http://127.0.0.1:1/videos/"), ("1", f"{ADDRESS}/videos/")]
)
async def test_a_bucket_that_callers_cannot_reach_signs_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: str, begins: str
) -> None:
    """Its videos are then served by the server itself."""
    for name, value in S3("http://127.0.0.1:1").environ.items():
        monkeypatch.setenv(name, value)
    environ = {"WAN_MCP_DATA_DIR": str(tmp_path), "WAN_MCP_STORAGE_URL": "s3://videos"}
    storage = Storage.open(Settings.load(environ | {"WAN_MCP_SERVE_VIDEOS": serve}), ADDRESS, now)
    link = await storage.video_link("results/a.mp4", "a.mp4", "video/mp4", now() + 60, now())
    assert link.url.startswith(begins)
