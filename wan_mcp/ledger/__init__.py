"""What was asked for, under which idempotency key, and with which answer."""

from wan_mcp.ledger.base import Claim, Entry, EntryStatus, Intent, Ledger, Saved, Terms
from wan_mcp.ledger.fingerprint import fingerprint

__all__ = ["Claim", "Entry", "EntryStatus", "Intent", "Ledger", "Saved", "Terms", "fingerprint"]
