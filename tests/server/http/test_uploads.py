"""Pictures that are uploaded: one-time addresses, what is refused there and how, and whose they are."""

import base64
import io
import json
import logging
import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx2
import pytest
from mcp import Client
from PIL import Image
from pydantic import SecretStr

from tests.calls import PROMPT, answer, call, text
from tests.clock import EPOCH
from tests.server.http.hosted import ADDRESS, Hosted, hosted
from tests.server.http.issuer import Issuer
from tests.server.http.test_refusals import IN_BOTH_MODES, Mode
from tests.world import KEY, World, picture
from wan_mcp.errors import StorageError
from wan_mcp.evolink.values import iso
from wan_mcp.generation.uploads import FOLDER, MAX_UPLOAD
from wan_mcp.sandbox import Account
from wan_mcp.server.http.uploads import RECEIVED_OF_AN_OWNER, SLOWEST
from wan_mcp.storage.links import Links
from wan_mcp.storage.objects import ObjectStore

pytestmark = pytest.mark.anyio

OTHER = f"{KEY}-other"
GOOD = "Nothing was stored; this address still takes a picture."
NEW = "Call prepare_upload for a new one."
HOUR = 3600


class Prepared(NamedTuple):
    """The answer of ``prepare_upload``, as far as it is used."""

    path: str
    image_url: str


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, seconds=120, accounts=[Account("one", KEY), Account("two", OTHER)])


@pytest.fixture
async def server(world: World) -> AsyncIterator[Hosted]:
    async with hosted(world) as server:
        yield server


async def prepared(client: Client) -> Prepared:
    told = await answer(client, "prepare_upload")
    assert told["upload_url"].startswith(f"{ADDRESS}/uploads/")
    return Prepared(told["upload_url"].removeprefix(ADDRESS), told["image_url"])


async def address(server: Hosted, key: str = KEY) -> Prepared:
    async with server.client(key) as client:
        return await prepared(client)


async def put(server: Hosted, path: str, content: Any = None, **headers: str) -> httpx2.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    async with server.http() as http:
        return await http.put(path, content=picture() if content is None else content, headers=given)


async def look(server: Hosted, path: str) -> tuple[int, str]:
    """The status and the state of the page."""
    async with server.http() as http:
        seen = await http.get(path)
    found = re.search(r'<html data-state="(\w+)"', seen.text)
    assert found is not None
    return seen.status_code, found[1]


def refusal(error: str, description: str) -> dict[str, str]:
    return {"error": error, "error_description": description}


async def generate(client: Client, image_url: str, **arguments: Any) -> Any:
    return await call(client, "generate_video", prompt=PROMPT, image_urls=[image_url], **arguments)


@IN_BOTH_MODES
async def test_an_uploaded_picture_becomes_a_video(tmp_path: Path, mode: Mode) -> None:
    """Whoever has the address needs no key; a look does not use it up, a picture does."""
    issuer = Issuer("https://login.example.com/team") if mode == "oauth" else None
    world = World(tmp_path, seconds=120)
    async with (
        hosted(world, issuer=issuer) as server,
        server.client(issuer.token() if issuer else KEY) as client,
    ):
        result = await call(client, "prepare_upload")
        told = result.structured_content
        assert isinstance(told, dict)
        path, name = told["upload_url"].removeprefix(ADDRESS), told["image_url"]
        good_until = str(iso(EPOCH + 900))
        assert told == {
            "upload_url": ADDRESS + path,
            "image_url": name,
            "expires_at": good_until,
            "next": text(result),
        }
        assert all(fact in text(result) for fact in (ADDRESS + path, name, good_until))
        assert [await look(server, path) for _ in range(2)] == [(200, "ready")] * 2
        stored = await put(server, path)
        assert (stored.status_code, stored.json()) == (
            201,
            {
                "image_url": name,
                "usable_until": iso(EPOCH + HOUR),
                "next": f'The picture is uploaded. Call generate_video with image_urls ["{name}"].',
            },
        )
        assert await look(server, path) == (200, "used")
        again = await put(server, path)
        assert (again.status_code, again.json()) == (
            409,
            refusal("used", f"A picture was uploaded here before. An address takes one. {NEW}"),
        )
        made = [await generate(client, spelling) for spelling in (name, f' "{name}"', f"Upload://{name[7:]}")]
        assert "Picture: upload, 800\u00d7600, png" in text(made[0])
    assert len({task.structured_content["id"] for task in made}) == len(world.records.paid) == 1


def flat(width: int, height: int) -> bytes:
    """A picture of one colour: a small file, whatever its size."""
    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, "PNG")
    return stream.getvalue()


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(0, size, 2**20):
        yield bytes(2**20)


TOO_LARGE = refusal("too_large", f"The file has more than 20 MB. Send a smaller one. {GOOD}")
FORM = refusal(
    "form", f"This is a form with a file in it. Send the file itself, as in: curl -T FILE 'ADDRESS' {GOOD}"
)
UNUSABLE: dict[str, tuple[Any, dict[str, str], int, dict[str, str]]] = {
    "a text": (
        b"hello " * 99,
        {"content_type": "image/png"},
        415,
        refusal(
            "not_usable",
            "The file is a text, not a picture that can be used. "
            f"Give the picture itself, not a page that shows it. {GOOD}",
        ),
    ),
    "a document": (
        b"%PDF-1.7\n" + bytes(99),
        {},
        415,
        refusal(
            "not_usable",
            "The file is a PDF document, not a picture that can be used. "
            f"Save the page as JPEG or PNG, and give the new picture. {GOOD}",
        ),
    ),
    "nothing": (b"", {}, 415, refusal("not_usable", f"The file is empty (0 bytes). Give a picture. {GOOD}")),
    "a bomb": (
        flat(8000, 5001),
        {},
        422,
        refusal(
            "not_usable",
            "The file is 8000\u00d75001 pixels, 40 million; at most 40 million are opened. "
            f"Give a smaller version of the picture. {GOOD}",
        ),
    ),
    "half a picture": (
        picture()[:2000],
        {},
        422,
        refusal(
            "not_usable",
            f"The file is cut off: it ends in the middle of the picture. Get the whole picture again. {GOOD}",
        ),
    ),
    "too large": (bytes(MAX_UPLOAD + 1), {}, 413, TOO_LARGE),
    "too large, of unknown length": (chunks(21 * 2**20), {}, 413, TOO_LARGE),
    "said to be too large": (b"", {"content_length": "9" * 400}, 413, TOO_LARGE),
    "a form": (b"--x\r\n", {"content_type": "multipart/form-data; boundary=x"}, 415, FORM),
    "a part": (
        picture(),
        {"content_range": "bytes 0-99/200"},
        400,
        refusal("part", f"This is a part of a file. Send all of it at once. {GOOD}"),
    ),
}


async def test_what_is_no_usable_picture_is_refused_and_the_address_stays_good(server: Hosted) -> None:
    """In words that say what to do; what type the client names does not matter."""
    path, _ = await address(server)
    for case, (content, headers, status, said) in UNUSABLE.items():
        refused = await put(server, path, content, **headers)
        assert (refused.status_code, refused.json()) == (status, said), case
    assert (await put(server, path, content_type="text/plain")).status_code == 201


async def test_each_answer_is_kept_from_other_pages_and_caches(server: Hosted) -> None:
    """The page, an error and a method that is not offered have the same strict headers."""
    path, _ = await address(server)
    async with server.http() as http:
        answers = [
            await http.request(method, at)
            for method, at in [("GET", path), ("GET", "/uploads/x"), ("PUT", path), ("OPTIONS", path)]
        ]
        others = [await http.request(method, path) for method in ("POST", "DELETE", "PATCH", "TRACE", "GO")]
        head = await http.head(path)
    assert [each.status_code for each in answers] == [200, 404, 415, 405]
    assert {(each.status_code, each.headers["allow"]) for each in others} == {(405, "GET, HEAD, PUT")}
    assert head.status_code == 200
    for each in [*answers, *others, head]:
        assert {
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
            "cache-control": "no-store",
            "cross-origin-resource-policy": "same-origin",
        }.items() <= dict(each.headers).items()
        policy = re.sub(r"sha256-[\w+/=]{44}", "HASH", each.headers["content-security-policy"])
        assert policy == (
            "default-src 'none'; script-src 'HASH'; style-src 'HASH'; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )


async def test_an_address_expires_after_a_quarter_of_an_hour(server: Hosted) -> None:
    """Until then it takes a picture."""
    first, second = await address(server), await address(server)
    await anyio.sleep(899)
    assert (await put(server, first.path)).status_code == 201
    await anyio.sleep(1)
    assert await look(server, second.path) == (410, "expired")
    late = await put(server, second.path)
    assert (late.status_code, late.json()) == (410, refusal("expired", f"This address has expired. {NEW}"))


def forged(path: str) -> dict[str, str]:
    """Addresses that were never given."""
    header, body, signature = path.removeprefix("/uploads/").split(".")
    claims = json.loads(decoded(body))
    others, ours = [Links(SecretStr(digit * 32), "", lambda: EPOCH) for digit in "10"]
    return {
        "changed": f"/uploads/{header}.{encoded(json.dumps(claims | {'exp': 9e9}))}.{signature}",
        "unsigned": f"/uploads/{encoded(json.dumps({'alg': 'none'}))}.{body}.",
        "of another secret": others.sign("uploads", claims["sub"], 9e9, id="1", by="1"),
        "of a video": ours.sign("videos", claims["sub"], 9e9).replace("/videos/", "/uploads/"),
        "nested": f"/uploads/{encoded('[' * 20_000)}.{body}.{signature}",
        "empty": "/uploads/",
        "a folder": f"{path}/",
        "with a name": f"{path}/cat.png",
        "with a way out": f"{path}%2f..%2f..%2fetc%2fpasswd",
        "bytes": "/uploads/%00%ff%fe",
    }


def encoded(content: str) -> str:
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def decoded(content: str) -> bytes:
    return base64.urlsafe_b64decode(content + "=" * (-len(content) % 4))


async def test_an_invented_address_takes_nothing(server: Hosted) -> None:
    """Whatever was changed: nothing is stored, and nothing of the server's is shown."""
    path, name = await address(server)
    said = refusal("unknown", f"This is no upload address of this server. Copy all of it. Or: {NEW}")
    for case, at in forged(path).items():
        refused = await put(server, at)
        assert (refused.status_code, refused.json()) == (404, said), case
        assert await look(server, at) == (404, "unknown"), case
    async with server.client(KEY) as client:
        assert (await generate(client, name)).is_error


async def test_an_upload_is_its_owners_alone_and_for_an_hour(server: Hosted, world: World) -> None:
    """Not there yet, another's, invented and over are told in the same words; nothing is paid."""
    async with server.client(KEY) as client, server.client(OTHER) as other:
        path, name = await prepared(client)

        async def told(whose: Client, called: str) -> str:
            result = await generate(whose, called)
            assert result.is_error
            return text(result).replace(called, "NAME")

        early = await told(client, name)
        assert early == (
            "image_urls: there is no picture for NAME: it has not been uploaded, its time is over, or it is "
            "not yours. If its upload address is still good, have the picture uploaded there and make the "
            "same request again; otherwise call prepare_upload for a new one. Nothing was sent or charged."
        )
        assert (await put(server, path)).status_code == 201
        others = [
            await told(other, name),
            await told(client, "upload:../../x"),
            await told(client, "upload:"),
        ]
        assert world.records.paid == []
        await anyio.sleep(HOUR - 1)
        made = await generate(client, name)
        assert not made.is_error, text(made)
        await anyio.sleep(1)
        assert [early] * 3 == others
        again = await generate(client, name)
        assert not again.is_error, "the request was paid, so its task is found although the picture is gone"
        assert again.structured_content["id"] == made.structured_content["id"]
        result = await call(client, "generate_video", prompt="another", image_urls=[name])
        assert text(result).replace(name, "NAME") == early
    assert len(world.records.paid) == 1


async def test_the_address_to_upload_to_is_no_picture(server: Hosted, world: World) -> None:
    """It is neither fetched nor passed on."""
    async with server.client(KEY) as client:
        path, _ = await prepared(client)
        assert (await put(server, path)).status_code == 201
        confused = await generate(client, ADDRESS + path)
    assert text(confused) == (
        "image_urls: this is the address to upload to, not the picture's. Give the image_url that "
        "prepare_upload answered with it. Nothing was sent or charged."
    )


async def test_of_two_pictures_at_once_one_is_taken(server: Hosted) -> None:
    """The other one is told so."""
    path, _ = await address(server)
    answers = []

    async def send(size: int) -> None:
        answers.append((await put(server, path, flat(size, size))).status_code)

    async with anyio.create_task_group() as group:
        for size in (400, 500, 600):
            group.start_soon(send, size)
    assert sorted(answers) == [201, 409, 409]


async def test_fifty_at_once_are_all_taken(server: Hosted) -> None:
    """Each picture is what its own request gets."""
    answers: dict[str, int] = {}
    async with server.client(KEY) as client:
        uploads = [await prepared(client) for _ in range(50)]

        async def send(number: int, upload: Prepared) -> None:
            answers[upload.image_url] = (await put(server, upload.path, flat(400 + number, 400))).status_code

        async with anyio.create_task_group() as group:
            for number, upload in enumerate(uploads):
                group.start_soon(send, number, upload)
        assert answers == {upload.image_url: 201 for upload in uploads}
        made = await generate(client, uploads[17].image_url)
    assert made.structured_content["image"]["width"] == 417


@pytest.mark.parametrize("end", ["disconnect", "silence"])
async def test_a_picture_that_is_cut_off_is_not_stored(server: Hosted, end: str) -> None:
    """The address stays good."""
    path, _ = await address(server)
    parts = [{"type": "http.request", "body": picture()[:99], "more_body": True}]
    sent: list[Any] = []

    async def receive() -> Any:
        if parts:
            return parts.pop()
        if end == "silence":
            await anyio.sleep_forever()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "PUT",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8000")],
        "client": ("192.0.2.1", 1),
        "scheme": "http",
        "http_version": "1.1",
    }
    await server.app(scope, receive, send)
    assert [message["status"] for message in sent[:1]] == ([408] if end == "silence" else [])
    assert (await put(server, path)).status_code == 201


async def test_a_storage_that_is_down_is_told_and_the_address_stays_good(
    server: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it fails at the last step, and where it cannot be asked."""

    async def fails(*arguments: Any, **options: Any) -> Any:
        raise StorageError("The storage failed: /secret/place.", next_step="Check WAN_MCP_STORAGE_URL.")

    async with server.client(KEY) as client:
        path, name = await prepared(client)
        for method in ("create", "facts"):
            with monkeypatch.context() as broken:
                broken.setattr(ObjectStore, method, fails)
                refused = await put(server, path)
            assert (refused.status_code, refused.headers["retry-after"], refused.json()) == (
                503,
                "30",
                refusal(
                    "unavailable",
                    f"The server cannot store pictures now. Try again in half a minute. {GOOD}",
                ),
            )
        with monkeypatch.context() as broken:
            broken.setattr(ObjectStore, "facts", fails)
            assert await look(server, path) == (503, "down")
        assert (await put(server, path)).status_code == 201
        with monkeypatch.context() as broken:
            broken.setattr(ObjectStore, "read", fails)
            unread = await generate(client, name)
    assert text(unread) == (
        "image_urls: the upload cannot be read now, because the server's storage failed. Try again in a "
        "minute; if it stays so, tell whoever runs this server. Nothing was sent or charged."
    )


async def test_credentials_do_not_matter_and_other_pages_may_not_upload(server: Hosted, world: World) -> None:
    """A wrong key is not even checked; a page of another origin is refused before anything is read."""
    path, _ = await address(server)
    before = len(world.records.calls)
    foreign = await put(server, path, origin="https://evil.example.com")
    assert foreign.status_code == 403
    taken = await put(server, path, origin=ADDRESS, authorization="Bearer sk-wrong", x_api_key="another")
    assert taken.status_code == 201
    assert len(world.records.calls) == before


async def test_no_token_is_logged(server: Hosted, caplog: pytest.LogCaptureFixture) -> None:
    """Neither where a picture is taken, nor where it is refused."""
    caplog.set_level(logging.DEBUG)
    path, _ = await address(server)
    for content in (b"no", picture(), picture()):
        await put(server, path, content)
    await look(server, path)
    assert len([record for record in caplog.records if record.name == "wan_mcp.requests"]) >= 4
    assert path.removeprefix("/uploads/")[-20:] not in "\n".join(
        f"{record.getMessage()} {record.__dict__}" for record in caplog.records if "asgi" not in record.name
    )


async def test_the_users_own_machine_takes_no_uploads(world: World) -> None:
    """The words say what to give there."""
    async with world.client() as client:
        assert "prepare_upload" not in [tool.name for tool in (await client.list_tools()).tools]
        refused = await generate(client, "upload:0123")
    assert "names an upload, and this server takes none, because it runs on the user's machine" in text(
        refused
    )
    assert "absolute path" in text(refused)


async def at_pace(size: int, pause: float) -> AsyncIterator[bytes]:
    """A body that never ends."""
    while True:
        yield bytes(size)
        await anyio.sleep(pause)


async def test_a_picture_that_arrives_too_slowly_gives_its_turn_up(server: Hosted) -> None:
    """Else a few callers could keep all others from uploading, with a byte now and then."""
    path, _ = await address(server)
    slow = await put(server, path, at_pace(1, 10))
    said = f"The picture arrives too slowly. Send a smaller file. {GOOD}"
    assert (slow.status_code, slow.json()) == (408, refusal("too_slow", said))
    assert (await put(server, path)).status_code == 201


async def test_who_waits_too_long_for_a_turn_is_told_so(server: Hosted) -> None:
    """While the same owner's other pictures are still on their way; other owners are served."""
    async with server.client(KEY) as client:
        uploads = [await prepared(client) for _ in range(RECEIVED_OF_AN_OWNER + 1)]
    async with anyio.create_task_group() as group:
        for upload in uploads[1:]:
            group.start_soon(put, server, upload.path, at_pace(int(SLOWEST) * 20, 10))
        await anyio.sleep(1)
        assert (await put(server, (await address(server, OTHER)).path)).status_code == 201
        busy = await put(server, uploads[0].path)
        group.cancel_scope.cancel()
    said = f"Too many pictures are being uploaded now. Try again in half a minute. {GOOD}"
    assert (busy.status_code, busy.json()) == (503, refusal("busy", said))
    assert (busy.headers["retry-after"], busy.headers["connection"]) == ("30", "close")


async def test_an_owners_uploads_are_opened_one_after_the_other(
    server: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is in memory as a whole, so that many requests at once would fill it."""
    read, now, most = ObjectStore.read, 0, 0

    async def counted(store: ObjectStore, key: str) -> bytes | None:
        nonlocal now, most
        if not key.startswith(FOLDER):
            return await read(store, key)
        now += 1
        most = max(most, now)
        content = await read(store, key)
        await anyio.sleep(1)
        now -= 1
        return content

    async with server.client(KEY) as client:
        path, name = await prepared(client)
        assert (await put(server, path)).status_code == 201
        monkeypatch.setattr(ObjectStore, "read", counted)
        async with anyio.create_task_group() as group:
            for take in range(1, 6):
                group.start_soon(partial(generate, client, name, take=take))
    assert most == 1


async def test_a_long_reference_is_not_repeated(server: Hosted) -> None:
    """A model would have to read it."""
    async with server.client(KEY) as client:
        assert len(text(await generate(client, "upload:" + "a" * 1_000_000))) < 500
