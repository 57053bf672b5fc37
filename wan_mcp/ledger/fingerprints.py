"""When two requests are the same."""

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULTS: Mapping[str, Any] = {"duration": 5, "quality": "720p", "prompt_extend": True}
"""What the endpoint uses where nothing is given: a request that gives it explicitly is the same request."""
TEXT_DEFAULTS: Mapping[str, Any] = {**DEFAULTS, "aspect_ratio": "16:9"}
"""The same for a request without a picture."""


@dataclass(frozen=True)
class Fingerprints:
    """What two requests are compared by: digests of the request with its picture, identified in three ways.

    Equal pictures have equal content. A web picture is also the same by its address, since some hosts
    encode it anew for each reader. A request for a video from text has only the first one.
    """

    reference: str
    """Of the picture as the caller named it, if any: compared where the picture can no longer be read."""
    content: str | None = None
    """Of the picture's bytes as they were read; None where they were not."""
    address: str | None = None
    """Of a web picture's address, without a signature; None for any other picture."""

    def same(self, other: "Fingerprints") -> bool:
        """Whether both are of the same request."""
        if self.content is None and self.address is None:
            return self.reference == other.reference
        by_content = self.content is not None and self.content == other.content
        return by_content or (self.address is not None and self.address == other.address)

    def changed_since(self, earlier: "Fingerprints | None") -> bool:
        """Whether an equal request had another picture, at the same address."""
        if earlier is None or self.content is None or earlier.content is None:
            return False
        return self.content != earlier.content


def fingerprint(body: Mapping[str, Any], picture: str | None) -> str:
    """A digest of a request's body and the identity of its picture, if it has one.

    Equal for requests that mean the same: whether or not a default is given explicitly, however the
    prompt's letters are composed and its white space is written, and wherever the picture was found.
    """
    meaning = {**TEXT_DEFAULTS, **body} if picture is None else {**DEFAULTS, **body, "image_urls": [picture]}
    if "prompt" in meaning:
        meaning["prompt"] = " ".join(unicodedata.normalize("NFC", meaning["prompt"]).split())
    if meaning.get("take") == 1:  # as in ledgers from before there were takes
        del meaning["take"]
    canonical = json.dumps(meaning, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
