"""Alembic's scripts, carried in the package and run when a database is opened."""
