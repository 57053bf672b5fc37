"""Which picture a reference means, also while it cannot be read."""

import hashlib

import httpx2

from wan_mcp.errors import InvalidRequest
from wan_mcp.images import sources
from wan_mcp.images.names import unquoted
from wan_mcp.net.addresses import without_signature
from wan_mcp.net.fetch import canonical


def place_at(url: httpx2.URL) -> str:
    """A digest of a web address without a signature."""
    return hashlib.sha256(without_signature(str(url)).encode()).hexdigest()


def place_of(reference: str) -> str:
    """Where a picture is: equal for all spellings of a reference."""
    upload = sources.upload_id(reference)
    if upload is not None:
        return f"upload {upload}"
    try:
        kind = sources.kind(reference)
        if kind == "web":
            return place_at(canonical(unquoted(reference)))
        if kind == "task":
            return unquoted(reference)
        if kind == "file":
            return str(sources.local_paths(reference)[0])
    except InvalidRequest:  # the reference names no picture
        pass
    return hashlib.sha256(reference.encode("utf-8", "surrogatepass")).hexdigest()
