"""What makes two wishes the same."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

DEFAULTS: Mapping[str, Any] = {"duration": 5, "quality": "720p", "prompt_extend": True}
"""What the endpoint takes where nothing is given: giving it makes no other wish."""


def fingerprint(body: Mapping[str, Any], picture: str) -> str:
    """A digest of a request's body and the identity of its picture.

    Equal for requests that mean the same: whichever way a default is said, and wherever the same
    picture was found.
    """
    meaning = {**DEFAULTS, **body, "image_urls": [picture]}
    canonical = json.dumps(meaning, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
