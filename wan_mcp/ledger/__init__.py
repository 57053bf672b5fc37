"""What was requested, under which idempotency key, and with which answer."""

from wan_mcp.ledger.base import KeyUse, Ledger, OwnerLedger
from wan_mcp.ledger.claim import Claim, ClaimRules, Intent
from wan_mcp.ledger.entries import Entry, EntryStatus, Image, Kept, Post, Saved, SignedLink
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
    "Kept",
    "KeyUse",
    "Ledger",
    "OwnerLedger",
    "Post",
    "Saved",
    "SignedLink",
    "fingerprint",
]
