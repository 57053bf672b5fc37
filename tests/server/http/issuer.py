"""An issuer: its metadata and its keys over HTTP, and tokens that are as wrong as a test asks for."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import anyio
import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from jwt.algorithms import AllowedPrivateKeys

AUDIENCE = "https://wan.example.com/mcp"
HOST = "127.0.0.1"
KEYS = "/keys"
LIFE = 3600
"""Seconds for which a token is good."""


@cache
def private_key(algorithm: str, number: int) -> "AllowedPrivateKeys":
    """The first, second and so on key for an algorithm: to make an RSA key takes a while."""
    curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
    if algorithm in curves:
        return ec.generate_private_key(curves[algorithm])
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


@dataclass(frozen=True)
class SigningKey:
    """A key of the issuer, the private part included."""

    algorithm: str = "RS256"
    number: int = 1

    @property
    def kid(self) -> str:
        return f"{self.algorithm}-{self.number}"

    @property
    def private(self) -> "AllowedPrivateKeys":
        return private_key(self.algorithm, self.number)

    @property
    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """As it is published; a change to None leaves a member out."""
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        public: dict[str, Any] = algorithm.to_jwk(self.private.public_key(), as_dict=True)
        public.pop("key_ops", None)
        members = public | {"kid": self.kid, "use": "sig", "alg": self.algorithm} | changes
        return {name: value for name, value in members.items() if value is not None}

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """A token with these claims; a change of the header to None leaves a member out."""
        header = {"kid": self.kid} | header
        members = {name: value for name, value in header.items() if value is not None}
        return jwt.encode(dict(claims), self.private, self.algorithm, members)


@dataclass
class Issuer:
    """Answers as it is told to, and remembers what it was asked for."""

    address: str
    clock: Callable[[], float] = time.time
    keys: list[SigningKey] = field(default_factory=lambda: [SigningKey("RS256"), SigningKey("ES256")])
    published: list[Any] | None = None
    """The key set where it is not that of ``keys``."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What is changed in the metadata."""
    answers: dict[str, Response] = field(default_factory=dict)
    """Answers to these paths, or with ``*`` to all others, in place of the right ones."""
    seconds: float = 0
    """How long each answer takes."""
    asked: list[str] = field(default_factory=list)
    """The path of each request."""
    was_asked: threading.Event = field(default_factory=threading.Event)

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self._answer)])

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        self.asked.append(path)
        self.was_asked.set()
        await anyio.sleep(self.seconds)
        if (answer := self.answers.get(path) or self.answers.get("*")) is not None:
            return answer
        if path == KEYS:
            keys = [key.jwk() for key in self.keys] if self.published is None else self.published
            return JSONResponse({"keys": keys})
        if "/.well-known/" in path:
            root = f"{request.url.scheme}://{request.url.netloc}"
            return JSONResponse({"issuer": self.address, "jwks_uri": root + KEYS} | self.metadata)
        return Response(status_code=404)

    @property
    def readings(self) -> int:
        """How often the key set was asked for."""
        return self.asked.count(KEYS)

    def rotate(self) -> None:
        """Replace each key by the next one of its kind."""
        self.keys = [SigningKey(key.algorithm, key.number + 1) for key in self.keys]

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a good token; a change to None leaves a claim out."""
        now = int(self.clock())
        usual = {"iss": self.address, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + LIFE}
        claims = usual | {"scope": "videos"} | changes
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, key: SigningKey | None = None, **changes: Any) -> str:
        """A token with these changes of the claims, by default signed with the first key."""
        return (key or self.keys[0]).sign(self.claims(**changes))


class LiveIssuer(Issuer):
    """An issuer on a port of this machine, in a thread of its own; it can be stopped and started again."""

    def __init__(self, path: str = "") -> None:
        self._listener = socket.create_server((HOST, 0))
        self._port = self._listener.getsockname()[1]
        super().__init__(f"http://{HOST}:{self._port}{path}")
        self._serve()

    def start(self) -> None:
        """Listen again, at the same address."""
        self._listener = socket.create_server((HOST, self._port))
        self._serve()

    def stop(self) -> None:
        """Refuse connections from now on."""
        self._server.should_exit = True
        self._thread.join()

    def _serve(self) -> None:
        config = uvicorn.Config(self.app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        arguments = {"sockets": [self._listener]}
        self._thread = threading.Thread(target=self._server.run, kwargs=arguments, daemon=True)
        self._thread.start()


@contextmanager
def live_issuer(path: str = "") -> Iterator[LiveIssuer]:
    """An issuer that can be reached until the end of the block."""
    issuer = LiveIssuer(path)
    try:
        yield issuer
    finally:
        issuer.stop()
