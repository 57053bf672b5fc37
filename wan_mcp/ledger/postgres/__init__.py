"""The ledger on PostgreSQL, which programs on several machines share."""
