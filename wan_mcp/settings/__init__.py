"""Settings: read once, usually from the environment, and never changed."""

from wan_mcp.settings.checks import KEYS_PAGE, usable_key
from wan_mcp.settings.settings import (
    HOW_TO_SET_THE_KEY,
    KEY_NOT_SET,
    WHERE_SETTINGS_ARE,
    Settings,
    environment_names,
)

__all__ = [
    "HOW_TO_SET_THE_KEY",
    "KEYS_PAGE",
    "KEY_NOT_SET",
    "WHERE_SETTINGS_ARE",
    "Settings",
    "environment_names",
    "usable_key",
]
