"""The archive: migrations, loader and search."""
