"""Why things fail, what each reason means, and what to press: for the runbook, and for the pages in the UI."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """A reason that people read.

    Args:
        words: what its sentence begins with, or holds; three dots stand for anything.
        cause: what it means.
        remedy: what to press, in Markdown.
    """

    words: tuple[str, ...]
    cause: str
    remedy: str

    @property
    def name(self) -> str:
        """The words, for people."""
        return ", ".join(self.words)

    def fits(self, sentence: str) -> bool:
        """Whether a sentence gives this reason."""
        return any(
            re.search(".*".join(map(re.escape, words.split(" ... "))), sentence, re.IGNORECASE | re.DOTALL)
            for words in self.words
        )


# The more special ones come first: a sentence has the first one that fits.
REASONS = (
    Reason(
        ("There is no param",),
        "a misspelt name in the run's configuration; nothing was done",
        "trigger again with the right one",
    ),
    Reason(
        ("is not a channel",),
        "what was given is neither an http(s) URL, nor an @handle or an id of YouTube",
        "trigger again with the right one",
    ),
    Reason(
        ("is followed as",),
        "one YouTube channel was named in two ways, such as by its handle and by its id",
        "`channelscribe channels remove` one of them, or name it as `channels list` does",
    ),
    Reason(
        ("No channel to poll",),
        "no channel is followed, and neither the setting nor the run names one",
        "`channelscribe channels add`, or give `channels`",
    ),
    Reason(
        ("is not asked before",),
        "the site asked for patience, at a poll or at a download of the channel",
        "nothing: a run after that time goes on",
    ),
    Reason(
        ("knows English only",),
        "the channel's option `language` names another language",
        "a profile with Whisper, or correct the option",
    ),
    Reason(
        ("No channel asks for a backfill",),
        "no followed channel has the option `backfill`, and the run names none",
        "`channelscribe channels add CHANNEL --backfill 5`, or give `channels`",
    ),
    Reason(
        ("The archive has no video of",),
        "`reprocess`: the channel is misspelt, or nothing of it was loaded yet",
        "name it as `channelscribe channels list` does",
    ),
    Reason(
        ("Left out, as their audio is gone",),
        "`reprocess`: the video's folder in the data root was deleted, and nothing is fetched there",
        "`channel_ingest` with the channel and `force`",
    ),
    Reason(
        ("but its task takes the",),
        "the profile needs more of the device's memory than that of the settings",
        "set `CHANNELSCRIBE_PROFILE` as the sentence says, restart the stack",
    ),
    Reason(
        ("leads to this machine or a private network",),
        "the URL, or where it redirects to, is not of the internet",
        "correct it, or set `CHANNELSCRIBE_ALLOW_PRIVATE_ADDRESSES`",
    ),
    Reason(
        ("is private", "was removed", "is for members only"),
        "the site does not hand it out",
        "nothing: it is asked for again much later",
    ),
    Reason(
        ("is age-restricted", "is not available from this country"),
        "the site does not hand it out here",
        "`CHANNELSCRIBE_COOKIES_FILE`, `CHANNELSCRIBE_PROXY`",
    ),
    Reason(
        ("was killed by signal 9 (SIGKILL)",),
        "the kernel ended the program, in most cases for want of memory",
        "lower `vram_gib` in `airflow_settings.yaml` so that fewer stages run at once, apply it (below), clear",
    ),
    Reason(
        ("out of memory",),
        "the same, noticed by the stage itself",
        "the same",
    ),
    Reason(
        ("The GPU failed",),
        "the driver or the GPU reported a fault; the program ended, and the videos after it were not begun",
        "nothing, if a retry went well; else look at `nvidia-smi` and the kernel's log",
    ),
    Reason(
        ("was killed by signal",),
        "a library crashed",
        "clear once; if it comes again, report it with the log",
    ),
    Reason(
        ("It was stopped: it took longer than",),
        "the stage's time limit (`hard_limit_min` of its profile) passed",
        "look at what else took the machine's time; clear",
    ),
    Reason(
        ("was stopped before its end",),
        "somebody marked the task, or stopped Airflow",
        "clear",
    ),
    Reason(
        ("It was not begun",),
        "the program ended at another video of the batch; the next attempt does this one first",
        "nothing, if the retry went well; else clear",
    ),
    Reason(
        ("how could not be recorded",),
        "the stage was done, but its status could not be written",
        "free space, then clear",
    ),
    Reason(
        ("it gave no reason",),
        "the task's process ended before the stage could say anything",
        "read the task's log",
    ),
    Reason(
        ("The environment of ... is not there",),
        "the stages' virtual environment was removed",
        "`make setup`, then clear",
    ),
    Reason(
        ("is not installed in",),
        "a package of the stages' environment is missing",
        "`make setup`, then clear",
    ),
    Reason(
        ("Nothing is left to do",),
        "skipped: an earlier stage failed for every video of the batch",
        "clear that stage",
    ),
    Reason(
        ("Another run is at work on that",),
        "the task was cleared, and a run of another DAG has taken its videos since",
        "nothing, if that run does it; else clear once it has ended",
    ),
    Reason(
        ("ran out of its ... GiB of memory",),
        "the container reached its limit (`ram_gib` of the profile)",
        "raise it in the profile, clear",
    ),
    Reason(
        ("No Docker engine answers",),
        "it is down, or Airflow's user may not reach it",
        "start it, add the user to the group `docker`; clear",
    ),
    Reason(
        ("The Docker engine went away",),
        "it was restarted while a stage was at work; tried again",
        "nothing, if the retry went well",
    ),
    Reason(
        ("has no image", "was built of other code"),
        "the stages' image is missing, or of another version",
        "`make images`, then clear `pin_image` with what follows",
    ),
    Reason(
        ("no longer has the run's image",),
        "the image that the run began with was removed",
        "`make images`, then clear `pin_image` with what follows",
    ),
    Reason(
        ("can't hand GPUs to containers",),
        "NVIDIA's container toolkit is missing",
        "[gpu-box.md](gpu-box.md), step 2; then clear",
    ),
    Reason(
        ("The NVIDIA driver does not answer",),
        "no driver, or one that the machine was not restarted for",
        "[gpu-box.md](gpu-box.md), step 1; then clear",
    ),
    Reason(
        ("There is no such GPU",),
        "`CHANNELSCRIBE_GPUS` names one that is not there",
        "set it to what `nvidia-smi -L` lists, restart the stack, clear",
    ),
    Reason(
        ("was asked to run on",),
        "the model is not on the device that the profile asks for",
        "check the driver; clear",
    ),
    Reason(
        ("has not been done for",),
        "an earlier stage's result is gone",
        "clear the task of the stage that the sentence names",
    ),
    Reason(
        ("The workspace has no video",),
        "the folder of the video is gone",
        "trigger a new run",
    ),
    Reason(
        ("The archive cannot be reached",),
        "Postgres is down",
        "`make up`, then clear `load`",
    ),
    Reason(
        ("The archive is not set up yet", "schema is not this version's"),
        "its migrations did not run",
        "`channelscribe migrate`, then clear `load`",
    ),
    Reason(
        ("No clip is good enough",),
        "enrolling: every clip was refused; the lines before say why",
        "record others: [speakers.md](speakers.md) says what makes a good one",
    ),
    Reason(
        ("There is no file",),
        "enrolling: the clip is not in the folder `enrollments` of the data root",
        "copy it there, trigger again",
    ),
    Reason(
        ("is enrolled as ... already",),
        "enrolling: the same recording names somebody else",
        "leave it out, or `channelscribe forget` that name",
    ),
    Reason(
        ("The system refused",),
        "most often a full disk",
        "free space, then clear",
    ),
)


def reason_of(sentence: str) -> Reason | None:
    """The known reason that a sentence gives, or None."""
    return next((reason for reason in REASONS if reason.fits(sentence)), None)


def reasons_table() -> str:
    """All reasons as a Markdown table."""
    rows = (f"| {reason.name} | {reason.cause} | {reason.remedy} |" for reason in REASONS)
    return "\n".join(("| reason | cause | remedy |", "| --- | --- | --- |", *rows))
