"""Web addresses that somebody else chose."""
