"""What was requested, under which idempotency key, and with which answer."""

from wan_mcp.ledger.base import (
    DEFAULTS,
    Claim,
    ClaimRules,
    Entry,
    EntryStatus,
    Fingerprints,
    Image,
    Intent,
    KeyUse,
    Ledger,
    OwnerLedger,
    Post,
    Saved,
    fingerprint,
)

__all__ = [
    "DEFAULTS",
    "Claim",
    "ClaimRules",
    "Entry",
    "EntryStatus",
    "Fingerprints",
    "Image",
    "Intent",
    "KeyUse",
    "Ledger",
    "OwnerLedger",
    "Post",
    "Saved",
    "fingerprint",
]
