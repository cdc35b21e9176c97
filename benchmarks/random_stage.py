"""A stage as a program, over models with random weights: `chain.py`'s, for speed alone.

    python benchmarks/random_stage.py STAGE ARGUMENT ...

Arguments are the stage's own. A Whisper with random weights never ends by itself, and all that it writes is suspicious:
here each region gets as many tokens as speech of its length has, and none is transcribed again.
"""

import runpy
import sys

from channelscribe.models import whisper

# About those of English at 150 words a minute: 120 in a window of 30 s.
TOKENS_PER_S, MAX_TOKENS = 4, 120


def main() -> None:
    """Run the stage; it ends the process."""
    stage = sys.argv.pop(1)
    whisper._MAX_TOKENS_PER_S, whisper._MAX_TOKENS = TOKENS_PER_S, MAX_TOKENS
    # What a recogniser says of itself that could only say the same again.
    whisper.Whisper.temperatures = ()
    runpy.run_module(f"channelscribe.stages.{stage}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
