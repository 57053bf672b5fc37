"""Any picture that a user has becomes a picture that Evolink takes."""

from wan_mcp.images.loader import Picture, PictureLoader, place_of

__all__ = ["Picture", "PictureLoader", "place_of"]
