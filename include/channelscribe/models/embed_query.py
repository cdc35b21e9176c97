"""Program that embeds a search query with a profile's text model, in the stages' environment.

``python -m channelscribe.models.embed_query --profile NAME --out FILE.npy -- WORDS`` writes a (dim,) float32 array.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from channelscribe.errors import ChannelscribeError
from channelscribe.profiles import get_profile


def main() -> int:
    """Embed the query and write the array; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--out", type=Path, required=True, help="file to write, made anew or replaced")
    parser.add_argument("words")
    options = parser.parse_args()
    try:
        profile = get_profile(options.profile)
        # Here, not above: this import costs seconds, and bad arguments should not.
        from channelscribe.models.text_embedding import load

        embedder = load(profile.stages["embed_text"], "cpu")
        temporary = options.out.with_suffix(".new.npy")
        np.save(temporary, embedder.embed_query(options.words))
        temporary.replace(options.out)
    except ChannelscribeError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
