"""Reference tables from files or PostgreSQL, with their history and validity."""
