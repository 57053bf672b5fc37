"""Any picture a user has becomes a picture that Evolink takes, and nothing unsafe is connected to."""

from wan_mcp.images.loader import Pictures
from wan_mcp.images.picture import Picture

__all__ = ["Picture", "Pictures"]
