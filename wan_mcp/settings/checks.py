"""Checks of single settings: what a key, an address and a folder look like."""

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, SecretStr

from wan_mcp.errors import INSTALL_POSTGRES
from wan_mcp.net.addresses import is_this_machine

KEYS_PAGE = "https://evolink.ai/dashboard/keys"

_PLACEHOLDER = re.compile(
    "(your|my|the|insert|enter|put|paste|add|replace|with|this|change|me|here|actual|real|valid|own|evolink"
    "|api|access|key|keys|token|secret|sk|goes|todo|tbd|none|null|undefined|placeholder|example|dummy|sample|redacted|from|live|x{3,}+)*"
)
"""The words of which the keys in examples are made, once all but letters and digits is taken away.

No text is made of them in two ways: else a caller's key could take hours to be told from one.
"""


def usable_key(value: str) -> str | None:
    """A key; None where nothing, or a placeholder that a client left in place, stands for it.

    Raises:
        ValueError: when it cannot be one; the text goes on after the name of what holds it.
    """
    if not value or value.startswith("${"):
        return None
    if _PLACEHOLDER.fullmatch(re.sub(r"[\W_]+", "", value.lower())):
        raise ValueError(f"holds a placeholder, not a key; put in its place a key from {KEYS_PAGE}")
    if any(char.isspace() for char in value):
        raise ValueError("has white space or a line break inside; copy the key again, as one word")
    if not value.isascii() or not value.isprintable() or value[0] in "\"'":
        raise ValueError("has characters that no key has, such as quotation marks; copy the key again")
    return value


def _address(value: str, example: str) -> str:
    parts = urlsplit(value)
    if not parts.hostname or parts.query or parts.fragment or parts.username or parts.password:
        raise ValueError(f"is not the address of a server; write it like {example}")
    if parts.scheme == "https" or (parts.scheme == "http" and is_this_machine(parts.hostname)):
        return value
    raise ValueError("must begin with https:// (http:// only for this machine, as in http://127.0.0.1:8787)")


def _host(value: str) -> str:
    return _address(value, "https://api.evolink.ai").rstrip("/")


def _public(value: str) -> str:
    address = _address(value, "https://wan.example.com").rstrip("/")
    if urlsplit(address).path:
        raise ValueError("must have no path, not even /mcp; write it like https://wan.example.com")
    return address


def _issuer(value: str) -> str:
    # Compared with the tokens' iss exactly: a slash at its end counts.
    return _address(value, "https://login.example.com")


def usable_secret(value: str) -> str:
    """A secret that cannot be guessed.

    Raises:
        ValueError: when it is too short; the text goes on after the name of what holds it.
    """
    if len(value.encode()) < 32:
        made_by = 'python3 -c "import secrets; print(secrets.token_urlsafe(32))"'
        raise ValueError(f"must have 32 characters or more; {made_by} makes one")
    return value


def _database(value: str) -> str:
    if value.partition("://")[0] not in ("postgresql", "postgres"):  # an error of urlsplit quotes passwords
        raise ValueError("must be like postgresql://user:password@host:5432/name")
    missing = [name for name in ("psycopg", "psycopg_pool", "procrastinate") if find_spec(name) is None]
    if missing:
        raise ValueError(f"needs packages that are not installed: {', '.join(missing)}. {INSTALL_POSTGRES}")
    return value


def _storage(value: str) -> str:
    parts = urlsplit(value)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must have no password and no query; how to sign in is read from other variables")
    is_place = {
        "file": parts.path.startswith("/") and not parts.netloc,
        "memory": not parts.netloc and parts.path in ("", "/"),
    }.get(parts.scheme, parts.scheme in ("s3", "gs", "az") and bool(parts.netloc))
    if not is_place:
        raise ValueError(
            "must be like file:///folder, s3://bucket/folder, gs://bucket/folder, az://container/folder "
            "or memory:"
        )
    return value


def _folder(value: str | Path) -> Path:
    path = Path(value).expanduser()
    if not path.is_absolute():
        raise ValueError("must be an absolute path, or begin with ~")
    return path


def _folders(value: str | tuple[Path, ...]) -> tuple[Path, ...]:
    parts = value.split(os.pathsep) if isinstance(value, str) else value
    return tuple(_folder(part) for part in parts if str(part).strip())


DatabaseAddress = Annotated[SecretStr, BeforeValidator(_database)]
StorageAddress = Annotated[str, BeforeValidator(_storage)]
ServerAddress = Annotated[str, BeforeValidator(_host)]
PublicAddress = Annotated[str, BeforeValidator(_public)]
IssuerAddress = Annotated[str, BeforeValidator(_issuer)]
Folder = Annotated[Path, BeforeValidator(_folder)]
Folders = Annotated[tuple[Path, ...], BeforeValidator(_folders)]
