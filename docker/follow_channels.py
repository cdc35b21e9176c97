"""Follows the channels of a channels.yaml on the standard input, which `make up RUNTIME=docker` hands over."""

import sys
import tempfile
from contextlib import closing
from pathlib import Path

from channelscribe.errors import ChannelscribeError
from channelscribe.settings import get_settings
from channelscribe.store.channel_commands import follow_file
from channelscribe.store.connection import archive_dsn, connect


def main() -> None:
    """Say what was done; a fault of the file ends it with one line."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "channels.yaml"
        file.write_bytes(sys.stdin.buffer.read())
        try:
            with closing(connect(archive_dsn(get_settings()))) as connection:
                print(follow_file(connection, file))
        except ChannelscribeError as error:
            sys.exit(f"channels: {str(error).replace(str(file), file.name)}")


if __name__ == "__main__":
    main()
