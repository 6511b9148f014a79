"""Services that face people and other programs. No data work happens here."""
