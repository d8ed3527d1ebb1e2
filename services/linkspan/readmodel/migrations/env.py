"""Run by Alembic, with the connection that ``migrate`` gives it."""

from __future__ import annotations

from alembic import context

from linkspan.readmodel.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table="ledger_version"
)
context.run_migrations()
