"""What a video is expected to cost. An estimate: discounts may apply, and prices change.

Source: the price list in the vendor's own client, of 2026-10-10: 1 US dollar buys 68 credits;
wan2.5-image-to-video takes 5.1 credits a second at 720p, half of it at 480p, 1.67 times it at 1080p.
"""

CREDITS_PER_DOLLAR = 68
CREDITS_PER_SECOND = 5.1
FACTORS = {"480p": 0.5, "720p": 1.0, "1080p": 1.67}
AS_OF = "2026-10-10"


def estimate(duration: int | None, quality: str | None) -> float:
    """Credits for a video of ``duration`` seconds (5 when absent) at ``quality`` (720p when absent)."""
    return round((duration or 5) * CREDITS_PER_SECOND * FACTORS[quality or "720p"], 2)


def dollars(credits: float) -> str:
    """Credits in US dollars, such as ``$0.38``."""
    return f"${credits / CREDITS_PER_DOLLAR:.2f}"
