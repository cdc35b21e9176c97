"""Fails the build of an image whose modules are not all compiled.

    python check_bytecode.py FOLDER

A stage's root file system is read-only: what is not compiled in the image would be compiled again at every start.
Files that no Python can compile (templates, tests of syntax errors) are let pass.
"""

import sys
from importlib.util import cache_from_source
from pathlib import Path


def main() -> None:
    """Name the modules without bytecode that holds for their source."""
    missing = []
    for source in Path(sys.argv[1]).rglob("*.py"):
        if not is_compiled(source) and is_python(source):
            missing.append(str(source))
    if missing:
        sys.exit(f"{len(missing)} modules are not compiled: {', '.join(sorted(missing)[:5])} ...")


def is_compiled(source: Path) -> bool:
    """Whether the bytecode is there, and of this source (its header holds the source's time and size)."""
    try:
        with open(cache_from_source(str(source)), "rb") as file:  # noqa: PTH123 - the path is a str
            header = file.read(16)
    except OSError:
        return False
    found = source.stat()
    times = int(found.st_mtime) & 0xFFFFFFFF, found.st_size & 0xFFFFFFFF
    return header[4:8] != bytes(4) or times == (
        int.from_bytes(header[8:12], "little"),
        int.from_bytes(header[12:16], "little"),
    )


def is_python(source: Path) -> bool:
    """Whether the file can be compiled at all."""
    try:
        compile(source.read_bytes(), str(source), "exec")
    except (SyntaxError, ValueError):
        return False
    return True


if __name__ == "__main__":
    main()
