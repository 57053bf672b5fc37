"""BMP: a file header, then one of several headers that grew over time."""

from wan_mcp.images.formats.head import Facts, Head, damaged


def facts(head: Head) -> Facts:
    """Size and bits from the second header."""
    length = head.little(14, 4)
    if length == 12:
        return Facts("bmp", head.little(18, 2), head.little(20, 2))
    if not 16 <= length <= 124:
        raise damaged("its header has an unknown length")
    height = head.little(22, 4)
    if height >= 1 << 31:  # rows from top to bottom
        height = (1 << 32) - height
    mask = head.little(66, 4) if length >= 56 else 0
    return Facts("bmp", head.little(18, 4), height, transparent=bool(mask) and head.little(28, 2) == 32)
