"""Numbers and texts for people."""


def count(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number} {plural(noun, number)}"


def plural(noun: str, number: int) -> str:
    """The noun as it stands behind the number."""
    return noun if number == 1 else f"{noun}s"


def cell(text: str) -> str:
    """Text that can stand in a table of Markdown."""
    return " ".join(text.split()).replace("|", "\\|")


def clock(seconds: float) -> str:
    """Seconds as ``1:02:03`` or ``2:03``."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def printable(text: str) -> str:
    """The text of the same length, without what would command the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)
