"""The ledger in SQL that all databases understand: what is asked and written, once for each of them."""
