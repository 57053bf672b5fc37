"""The stores of obstore: which one an address names, what its links are worth, and what its errors say."""

import os
import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, S3Store, from_url

from wan_mcp.errors import SettingsError
from wan_mcp.storage.folder import prepared

CONNECTING = timedelta(seconds=3)
SHORT_ANSWER = timedelta(seconds=8)
"""Seconds for a request to a bucket whose answer is short."""
ANSWER = timedelta(seconds=60)
"""Seconds for any other request to a bucket, such as a part of a large file on a slow network."""
RETRYING = timedelta(seconds=6)
"""Seconds after which a failed request to a bucket is not tried again."""
FAILURES = (BaseError, OSError, NotImplementedError)
"""What obstore raises: some of its errors are Python's own."""
Store = LocalStore | MemoryStore | S3Store | GCSStore | AzureStore
Bucket = S3Store | GCSStore | AzureStore
"""A store that other machines can reach."""

_NAMES = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}
"""With what the names of the variables begin in which operators say how to sign in."""
_KEYS = {
    "s3": (("AWS_ACCESS_KEY_ID",), ("AWS_SESSION_TOKEN", "AWS_TOKEN")),
    "gs": (("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY"), ()),
    "az": (("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY"), ("AZURE_STORAGE_SAS_KEY",)),
}
"""The variables of keys that last, and of those that do not."""


def opened(url: str, answer: timedelta = ANSWER) -> Store:
    """The store that an address names; nothing is connected to yet.

    Args:
        url: as ``WAN_MCP_STORAGE_URL`` has it.
        answer: for one request to a bucket.

    Raises:
        SettingsError: when there can be no such store, or a folder cannot be used.
    """
    parts = urlsplit(url)
    try:
        if parts.scheme == "memory":
            return MemoryStore()
        if parts.scheme == "file":
            return LocalStore(prepared(Path(url2pathname(parts.path))))
        store = from_url(
            url,
            # With these options, obstore reads none of them from the environment.
            client_options={
                "timeout": answer,
                "connect_timeout": CONNECTING,
                "allow_http": _is_on(f"{_NAMES[parts.scheme]}_ALLOW_HTTP"),
            },
            retry_config={"max_retries": 2, "retry_timeout": RETRYING},
        )
    except (*FAILURES, ValueError) as error:
        raise SettingsError(
            f"WAN_MCP_STORAGE_URL cannot be used: {reason(error)}.", next_step="Correct it."
        ) from None
    if parts.scheme == "s3" and _endpoint().startswith("http://") and not _is_on("AWS_ALLOW_HTTP"):
        raise SettingsError(
            "WAN_MCP_STORAGE_URL cannot be used: AWS_ENDPOINT_URL begins with http://.",
            next_step="Use https://, or set AWS_ALLOW_HTTP=true if the network to it is your own.",
        )
    assert isinstance(store, Bucket)
    return store


def _endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _is_on(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() in ("1", "true", "on", "yes")


def links_last(url: str) -> bool:
    """Whether links that a bucket signs work until they expire.

    Temporary credentials, such as those of a machine's role, end before, and all links with them.
    """
    lasting, temporary = _KEYS.get(urlsplit(url).scheme, ((), ()))
    return any(map(os.environ.get, lasting)) and not any(map(os.environ.get, temporary))


def reason(error: Exception) -> str:
    """What an error of obstore says: one line, without its debug output and the queries of addresses."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    line = str(error).split("\n", 1)[0].partition("<")[0]
    line = re.sub(r"\?\S*", "", line).replace(": builder error", ": the address is not one for https")
    return line[:300].rstrip(".: ") or type(error).__name__
