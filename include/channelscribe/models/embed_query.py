"""Program that embeds a search query with a profile's text model, in the stages' environment.

``python -m channelscribe.models.embed_query --profile NAME --out FILE.npy -- WORDS`` writes a (dim,) float32 array.
"""

import argparse
import sys
from pathlib import Path
from typing import cast

import numpy as np

from channelscribe.errors import ChannelscribeError
from channelscribe.models import TextEmbedder
from channelscribe.profiles import get_profile
from channelscribe.stages.clock import Clock
from channelscribe.stages.engines import load_engine


def main() -> int:
    """Embed the query and write the array; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--out", type=Path, required=True, help="file to write, made anew or replaced")
    parser.add_argument("words")
    options = parser.parse_args()
    try:
        spec = get_profile(options.profile).stages["embed_text"]
        embedder = cast(TextEmbedder, load_engine(spec, "cpu", Clock()))
        temporary = options.out.with_suffix(".new.npy")
        np.save(temporary, embedder.embed_query(options.words))
        temporary.replace(options.out)
    except ChannelscribeError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
