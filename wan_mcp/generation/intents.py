"""A request as the ledger judges it, and as it was sent."""

import logging

from pydantic import ValidationError

from wan_mcp.errors import AddressRefused, PictureUnavailable
from wan_mcp.evolink import VideoRequest, prices
from wan_mcp.evolink.requests import request_of
from wan_mcp.generation.request import Request
from wan_mcp.images import Picture, place_of
from wan_mcp.ledger import DEFAULTS, Entry, Fingerprints, Image, Intent, fingerprint

logger = logging.getLogger(__name__)

Source = Picture | PictureUnavailable | AddressRefused | None
"""A picture, or why it cannot be read; None for a video from text."""


def recorded(entry: Entry) -> VideoRequest | None:
    """The request as it was sent; None where the record is damaged."""
    try:
        return request_of(entry.body)
    except ValidationError:
        logger.warning("row #%d of the ledger has a request that cannot be read", entry.number)
        return None


def intent_for(request: Request, picture: Source) -> Intent:
    """What a request means for the ledger."""
    meaning = request.body() | {"take": request.take}
    read = picture if isinstance(picture, Picture) else Picture()
    return Intent(
        Fingerprints(
            reference=fingerprint(meaning, None if request.picture is None else place_of(request.picture)),
            content=None if read.digest is None else fingerprint(meaning, read.digest),
            address=None if read.place is None else fingerprint(meaning, read.place),
        ),
        prompt=request.prompt,
        duration=request.duration or DEFAULTS["duration"],
        quality=request.quality or DEFAULTS["quality"],
        estimate=prices.estimate(request.duration, request.quality),
        take=request.take,
        parent=read.parent,
        part=read.part,
        from_text=request.picture is None,
        image=Image(read.width, read.height, read.format, read.adjusted, read.name or None)
        if read is picture
        else None,
    )


def intent_of(entry: Entry) -> Intent:
    """What a request meant that was sent before; its picture is not needed again."""
    assert entry.fingerprints is not None
    return Intent(
        entry.fingerprints,
        prompt=entry.prompt,
        duration=entry.duration or DEFAULTS["duration"],
        quality=entry.quality or DEFAULTS["quality"],
        estimate=entry.estimate,
        take=entry.take,
        parent=entry.parent,
        part=entry.part,
        from_text=entry.from_text,
        image=entry.image,
    )
