"""Any picture that a user has becomes a picture that Evolink takes."""

from wan_mcp.images.identity import place_of
from wan_mcp.images.loader import Picture, PictureLoader

__all__ = ["Picture", "PictureLoader", "place_of"]
