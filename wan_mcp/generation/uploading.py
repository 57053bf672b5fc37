"""Uploading a picture to the file service."""

from wan_mcp.generation.sending import Means
from wan_mcp.images import Picture

UPLOAD_LIFE = 72 * 3600.0
"""Seconds that an uploaded picture is kept, as documented, where the answer does not say."""


async def uploaded(means: Means, picture: Picture) -> str:
    """Upload a picture, unless an earlier upload is still kept, and return its address.

    Raises:
        LedgerError: when the ledger cannot be used.
        EvolinkError: when the file service refuses it, or cannot be reached.
    """
    assert picture.content is not None
    assert picture.digest is not None
    known = await means.ledger.find_upload(picture.digest, means.clock())
    if known is not None:
        return known
    upload = await means.evolink.upload(picture.file_name, picture.content, picture.media_type)
    expires = upload.expires_at.timestamp() if upload.expires_at else means.clock() + UPLOAD_LIFE
    await means.ledger.record_upload(picture.digest, upload.url, expires)
    return upload.url
