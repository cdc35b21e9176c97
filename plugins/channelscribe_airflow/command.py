"""The command line of a stage: the one place that builds it, whatever runs it."""

from collections.abc import Sequence
from pathlib import Path


def stage_command(
    interpreter: str, stage: str, video_ids: Sequence[str], *, data_root: Path, profile: str, force: bool
) -> list[str]:
    """The arguments that start a stage over some videos.

    Args:
        interpreter: Python of the environment, or of the image, that has what the stage needs.
        stage: name of the stage.
        video_ids: the videos.
        data_root: folder of the artifacts, as the stage will see it.
        profile: name of the profile.
        force: do it again although the artifact is there.
    """
    command = [interpreter, "-m", f"channelscribe.stages.{stage}", *video_ids]
    command += ["--data-root", str(data_root), "--profile", profile]
    return [*command, "--force"] if force else command
