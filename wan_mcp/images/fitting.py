"""From the bytes of any picture to a picture that Evolink takes. Runs in a thread."""

from dataclasses import replace

from wan_mcp.errors import PictureError
from wan_mcp.images.colours import is_srgb
from wan_mcp.images.decode import decode, undecodable
from wan_mcp.images.facts import Facts, cut_off, facts_of
from wan_mcp.images.formats import jpeg, png, webp
from wan_mcp.images.formats.head import Short
from wan_mcp.images.limits import MAX_BYTES, MAX_SIDE, MIN_SIDE, check_possible
from wan_mcp.images.prepare import Prepared, prepare

LINKED = frozenset({"jpeg", "png", "webp", "bmp"})
"""Formats that Evolink takes at an address."""
UPLOADED = frozenset({"jpeg", "png", "webp"})
"""Those of them that its file service takes."""

_UNDECODED = {"jpeg": jpeg, "png": png, "webp": webp}


def fits(facts: Facts, formats: frozenset[str]) -> bool:
    """Whether a picture can be taken as it is, but for its length in bytes."""
    sides = all(MIN_SIDE <= side <= MAX_SIDE for side in (facts.width, facts.height))
    unusual = facts.transparent or facts.animated or facts.cmyk or facts.deep
    return facts.format in formats and sides and facts.orientation == 1 and not unusual


def fit(content: bytes) -> Prepared:
    """Take the metadata off a picture that fits; make any other one fit.

    Raises:
        PictureError: when it is no picture, or cannot be made to fit. The message goes on after
            the name of the picture.
    """
    facts = facts_of(content)
    check_possible(*facts.upright_size)
    if fits(facts, UPLOADED):
        bare = _without_metadata(content, facts)
        if bare is not None:
            return bare
    return prepare(content, facts)


def _without_metadata(content: bytes, facts: Facts) -> Prepared | None:
    """The picture as it is stored, less what is no picture; None where that is not enough."""
    reader = _UNDECODED[facts.format]
    try:
        bare = reader.without_metadata(content)
        if len(bare) > MAX_BYTES or not is_srgb(reader.colour_profile(bare)):
            return None
    except Short:
        raise cut_off(len(content)) from None
    if not _decodes_as_told(bare, facts):
        return None
    ready = Prepared(bare, facts.format, facts.width, facts.height, ())
    if len(bare) == len(content):
        return ready
    location = ", the location among it" if facts.location else ""
    return replace(ready, adjusted=(f"metadata removed{location}",))


def _decodes_as_told(content: bytes, facts: Facts) -> bool:
    """Only what decodes is sent: a file that merely begins like a picture is none."""
    try:
        return not decode(content, facts, at_least=(1, 1)).has_transparency_data
    except PictureError:
        raise
    except Exception as error:
        raise undecodable(error) from None
