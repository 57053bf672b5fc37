"""What was requested, under which idempotency key, and with which answer."""

from wan_mcp.ledger.base import Claim, ClaimRules, Intent, KeyUse, Ledger, OwnerLedger
from wan_mcp.ledger.entries import Entry, EntryStatus, Image, Post, Saved
from wan_mcp.ledger.fingerprints import DEFAULTS, Fingerprints, fingerprint

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
