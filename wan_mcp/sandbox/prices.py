"""What a video costs, in credits."""

CREDITS_PER_SECOND = 5.1
QUALITY_FACTORS = {"480p": 0.5, "720p": 1.0, "1080p": 1.67}


def price(duration: int, quality: str) -> float:
    return round(duration * CREDITS_PER_SECOND * QUALITY_FACTORS[quality], 4)
