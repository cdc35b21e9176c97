"""The commands that run the embedded stack."""

import typer

app = typer.Typer()
