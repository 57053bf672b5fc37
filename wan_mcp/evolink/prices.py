"""What a video is expected to cost. An estimate: discounts may apply, and prices change.

Source: the price list in the vendor's own client, of 2026-10-10: 1 US dollar buys 68 credits;
wan2.5-image-to-video takes 5.1 credits a second at 720p, half of it at 480p, 1.67 times it at 1080p.
The price of wan2.5-text-to-video is not known: it is estimated as the same.
"""

CREDITS_PER_DOLLAR = 68
CREDITS_PER_SECOND = 5.1
FACTORS = {"480p": 0.5, "720p": 1.0, "1080p": 1.67}
AS_OF = "2026-10-10"
TEXT_GUESSED = "a guess: only the price of videos from pictures is known"


def estimate(duration: int | None, quality: str | None) -> float:
    """Credits for a video of ``duration`` seconds (5 when absent) at ``quality`` (720p when absent)."""
    return round((duration or 5) * CREDITS_PER_SECOND * FACTORS[quality or "720p"], 2)


def estimate_text(credits: float, *, from_text: bool) -> str:
    """An estimate, as in ``25.5 credits ($0.38)``; for a video from text, with a note that it is a guess."""
    return f"{cost_text(credits)} ({TEXT_GUESSED})" if from_text else cost_text(credits)


def dollars(credits: float) -> str:
    """What credits cost, to the cent, as in ``$0.38``."""
    amount = f"{abs(credits) / CREDITS_PER_DOLLAR:,.2f}"
    if amount == "0.00" and credits:
        return "less than $0.01"
    return f"{'-' if credits < 0 else ''}${amount}"


def cost_text(credits: float) -> str:
    """Credits and dollars, as in ``25.5 credits ($0.38)``."""
    return f"{f'{credits:.2f}'.rstrip('0').rstrip('.')} credits ({dollars(credits)})"
