"""Alembic's environment and scripts for the archive."""
