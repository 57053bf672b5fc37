"""Any picture a user has becomes a picture that Evolink takes, and nothing unsafe is connected to."""

from wan_mcp.images.picture import Picture
from wan_mcp.images.pictures import Pictures

__all__ = ["Picture", "Pictures"]
