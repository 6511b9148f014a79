"""Migrations of the desk's own database."""
