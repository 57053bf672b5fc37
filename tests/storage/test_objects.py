"""Objects in a folder, in memory and in a bucket: whole or not there, and failures in one line."""

import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import httpx2
import pytest

from tests.s3 import BUCKET, S3, running_s3
from wan_mcp.errors import SettingsError, StorageError
from wan_mcp.storage.folder import ABANDONED, INNER, STAGING
from wan_mcp.storage.objects import ObjectStore

pytestmark = pytest.mark.anyio

LARGE = 200 * 1024**2
MEDIA = {"media_type": "video/mp4", "name": "Küste.mp4"}


@pytest.fixture
def anyio_backend() -> str:
    """An ordinary event loop: time must not jump while a bucket is waited for."""
    return "asyncio"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with running_s3() as service:
        yield service


@pytest.fixture(params=["memory", "file", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """A store of each kind."""
    if request.param == "s3":
        service: S3 = request.getfixturevalue("s3")
        return bucket(service, monkeypatch, f"s3://{BUCKET}/{tmp_path.name}")
    return ObjectStore("memory:" if request.param == "memory" else (tmp_path / "a b%20c").as_uri())


def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch, url: str, **environ: str) -> ObjectStore:
    for name, value in (s3.environ | environ).items():
        monkeypatch.setenv(name, value)
    return ObjectStore(url)


async def content_of(store: ObjectStore, key: str, *part: int) -> bytes:
    return b"".join([chunk async for chunk in store.chunks(key, *part)])


async def test_what_is_put_is_there_as_a_whole_and_in_parts(store: ObjectStore, tmp_path: Path) -> None:
    """Until it is deleted; what is not there is no error."""
    path, content = tmp_path / "film", bytes(range(256)) * 4000
    path.write_bytes(content)
    await store.put_file("results/a.mp4", path, **MEDIA)
    path.unlink()
    facts = await store.facts("results/a.mp4")
    assert facts is not None
    assert (facts.size, facts.version[0], facts.version[-1]) == (len(content), '"', '"')
    assert await content_of(store, "results/a.mp4") == content
    assert await content_of(store, "results/a.mp4", 300_000, 700_001) == content[300_000:700_001]
    assert await store.download("results/a.mp4", path)
    assert path.read_bytes() == content == await store.read("results/a.mp4")
    moment = datetime.now(UTC) + timedelta(minutes=1)
    assert [key async for page in store.older_than("results", moment) for key in page] == ["results/a.mp4"]
    await store.delete("results/a.mp4", "results/b.mp4")
    assert await store.facts("results/a.mp4") is None
    assert await store.read("results/a.mp4") is None
    assert not await store.download("results/a.mp4", path)
    assert await content_of(store, "results/a.mp4") == b""
    assert not store.failed


async def test_only_one_of_many_creates_an_object(store: ObjectStore) -> None:
    """The others learn that it is there, and it stays what it was."""
    outcomes: list[bool] = []

    async def create(number: int) -> None:
        outcomes.append(await store.create("uploads/a", b"%d" % number))

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(create, number)
    assert sorted(outcomes) == [False] * 7 + [True]
    assert not await store.create("uploads/a", b"later")
    assert await store.read("uploads/a") != b"later"
    assert await store.check()


async def test_an_object_that_is_replaced_while_it_is_read_breaks_off(
    store: ObjectStore, tmp_path: Path
) -> None:
    """Its rest would be that of another video."""
    path = tmp_path / "film"
    path.write_bytes(bytes(300_000))
    await store.put_file("results/a.mp4", path, **MEDIA)
    chunks = store.chunks("results/a.mp4")
    await anext(chunks)
    other = tmp_path / "other"
    other.write_bytes(bytes(300_001))
    await store.put_file("results/a.mp4", other, **MEDIA)
    with pytest.raises(StorageError, match="replaced or deleted"):
        await anext(chunks)


@pytest.mark.parametrize("key", ["../secret", "results/../../secret", "results//a", "a\x00b"])
async def test_a_key_that_leads_elsewhere_is_no_object(store: ObjectStore, key: str) -> None:
    """Nothing outside of the store is read."""
    assert await store.facts(key) is None
    assert await store.read(key) is None


async def test_a_folder_is_for_its_user_alone_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """What a killed process left is removed a day later; what another one is writing stays."""
    folder = tmp_path / "storage"
    folder.mkdir(mode=0o755)
    ObjectStore(folder.as_uri())
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == dict.fromkeys(
        (STAGING, *INNER), 0o700
    )
    old = time.time() - ABANDONED - 60
    others = "results/exam.csv#1"
    for name in (
        others,
        f"results/{'a' * 40}.mp4#1",
        f"{STAGING}/old",
        f"{STAGING}/new",
        "results/whole.mp4",
    ):
        (folder / name).write_bytes(b"x")
        if name != f"{STAGING}/new":
            os.utime(folder / name, (old, old))
    ObjectStore(folder.as_uri())
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert left == {f"{STAGING}/new", "results/whole.mp4", others}


@pytest.mark.parametrize(
    ("url", "environ", "words"),
    [
        ("file:///dev/null/storage", {}, "Not a directory"),
        ("az://container", {}, "Account must be specified"),
        ("s3://videos", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "AWS_ALLOW_HTTP"),
        ("gs://bucket", {"GOOGLE_SERVICE_ACCOUNT": "/nowhere.json"}, "nowhere.json"),
    ],
)
def test_a_store_that_cannot_be_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, url: str, environ: dict[str, str], words: str
) -> None:
    """The operator reads what is wrong, without debug output."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refusal:
        ObjectStore(url)
    told = f"{refusal.value.message} {refusal.value.next_step}"
    assert words in told
    assert "WAN_MCP_STORAGE_URL" in told
    assert "\n" not in told


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounts a small disk as root")
async def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """The object that was there stays."""
    folder, path = tmp_path / "disk", tmp_path / "film"
    folder.mkdir()
    mounted = await anyio.run_process(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], check=False
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        store = ObjectStore(folder.as_uri())
        path.write_bytes(b"first")
        await store.put_file("results/a.mp4", path, **MEDIA)
        path.write_bytes(bytes(2 * 1024**2))
        with pytest.raises(StorageError, match="No space left on device"):
            await store.put_file("results/a.mp4", path, **MEDIA)
        assert store.failed
        assert await store.read("results/a.mp4") == b"first"
        assert not [*(folder / STAGING).iterdir()]
        assert not await store.check()  # although what it writes would fit
    finally:
        await anyio.run_process(["umount", str(folder)])


@pytest.mark.slow
async def test_a_bucket_serves_its_links_itself(
    s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """200 MB are put within little memory, and come back whole and in parts, under the right name."""
    path = tmp_path / "film"
    block = os.urandom(1024**2)
    with path.open("wb") as file:
        for _ in range(LARGE // len(block)):
            file.write(block)
    store = bucket(s3, monkeypatch, s3.storage_url)
    before = memory(reset=True)
    await store.put_file("results/large.mp4", path, **MEDIA)
    grown = memory() - before
    url = await store.link("results/large.mp4", 1000)
    assert url is not None
    assert url.startswith(f"{store.origin()}/")
    assert "X-Amz-Expires=1000&" in url
    digest = hashlib.sha256()
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        async with http.stream("GET", url) as whole:
            async for chunk in whole.aiter_bytes():
                digest.update(chunk)
        part = await http.get(url, headers={"range": "bytes=-10"})
    assert digest.hexdigest() == hashlib.sha256(block * (LARGE // len(block))).hexdigest()
    assert (part.status_code, part.content) == (206, block[-10:])
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["content-disposition"].startswith("inline; filename=")
    assert grown < 40e6


def memory(*, reset: bool = False) -> int:
    """Bytes of memory at most since the last reset, where the system tells."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return next(
        int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM")
    )


async def test_links_that_would_end_early_are_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that temporary credentials sign end with them: the server serves the video itself."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    lasting = ObjectStore("s3://videos")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    passing = ObjectStore("s3://videos")
    assert lasting.origin() == "https://s3.us-east-1.amazonaws.com"
    assert "X-Amz-Expires=604800&" in str(await lasting.link("results/a.mp4", 604_800))
    assert (passing.origin(), await passing.link("results/a.mp4", 100)) == (None, None)


Break = Callable[[S3, pytest.MonkeyPatch], ObjectStore]


def no_bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    return bucket(s3, monkeypatch, "s3://no-such-bucket/wan")


def wrong_key(s3: S3, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    s3.refuse_after(0)
    return bucket(s3, monkeypatch, s3.storage_url)


def down(s3: S3, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    return bucket(s3, monkeypatch, s3.storage_url, AWS_ENDPOINT_URL=address)


@pytest.mark.slow
@pytest.mark.parametrize("how", [no_bucket, wrong_key, down])
async def test_a_bucket_that_cannot_be_written_is_told_in_a_line(
    s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: Break
) -> None:
    """Within a second for a check; neither a key nor debug output is in the text."""
    path = tmp_path / "film"
    path.write_bytes(bytes(6 * 1024**2))
    store = how(s3, monkeypatch)
    try:
        with pytest.raises(StorageError) as failure:
            await store.put_file("results/a.mp4", path, **MEDIA)
        assert store.failed
        assert not await store.check()
    finally:
        s3.refuse_after(10**9)
    assert "\n" not in failure.value.message
    assert "secret" not in failure.value.message
    assert "?" not in failure.value.message
    assert len(failure.value.message) < 350


@pytest.mark.slow
async def test_a_bucket_that_does_not_answer_is_given_up_in_time(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check takes a second at most, although the service accepts the connection."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = bucket(s3, monkeypatch, s3.storage_url, AWS_ENDPOINT_URL=address)
        with anyio.fail_after(5):
            assert not await store.check()
    assert store.failed
