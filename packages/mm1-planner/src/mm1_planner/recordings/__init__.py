"""Files of recorded requests: tables, JSON Lines, and what benchmark tools write."""
