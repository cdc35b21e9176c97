"""Run by Alembic: apply the scripts on the connection that ``store.migrate`` hands over, in one transaction."""

from alembic import context
from sqlalchemy import text

# Any number, the same in every version: it makes a second migrator wait for the first.
MIGRATION_LOCK = 7_231_846_505

connection = context.config.attributes["connection"]
context.configure(connection=connection, transaction_per_migration=False)
with context.begin_transaction():
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
    context.run_migrations()
