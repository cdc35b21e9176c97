"""Write the pages of docs/ that are made from the code: settings.md and cli.md. A test fails where they differ."""

import typing
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from channelscribe.cli import app
from channelscribe.settings import PROJECT_ROOT, Settings

NOTE = "<!-- Made by `make docs` from the code: change it there. -->"


def settings_page() -> str:
    """The settings as a Markdown table."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, Path):
            shown = f"`{default.relative_to(PROJECT_ROOT)}` in the clone"
        elif default in (None, ()):
            shown = ""
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


PAGES: dict[str, typing.Callable[[], str]] = {"settings.md": settings_page, "cli.md": cli_page}


def main() -> None:
    """Write all pages."""
    for name, page in PAGES.items():
        (PROJECT_ROOT / "docs" / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
