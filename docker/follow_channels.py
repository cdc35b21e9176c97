"""Follows the channels of channels.yaml, of which `make up RUNTIME=docker` leaves a copy; frees them where it is gone.

python follow_channels.py FILE
"""

import sys
from contextlib import closing
from pathlib import Path

from channelscribe.errors import ChannelscribeError
from channelscribe.settings import get_settings
from channelscribe.store.channel_commands import follow_file
from channelscribe.store.connection import archive_dsn, connect


def main() -> None:
    """Say what was done, if anything; a fault of the file ends it with one line."""
    try:
        with closing(connect(archive_dsn(get_settings()))) as connection:
            said = follow_file(connection, Path(sys.argv[1]))
    except ChannelscribeError as error:
        sys.exit(f"channels: {error}")
    if said:
        print(said)


if __name__ == "__main__":
    main()
