"""RTTM, NIST's Rich Transcription Time Marked format: who speaks when."""

from channelscribe.formats.plain import speaker_name
from channelscribe.formats.recording import Recording


def rttm(recording: Recording) -> str:
    """A line of ten fields for every turn, overlapping ones included.

    ``SPEAKER video_id 1 start_s duration_s <NA> <NA> name <NA> <NA>``, times in seconds with three decimals. The name
    is the cluster's, or else its label, with underscores for spaces.
    """
    labels = {voice.cluster: voice.label for voice in recording.voices}
    lines = []
    for turn in recording.turns:
        name = speaker_name(labels.get(turn.cluster, ""), turn.cluster).replace(" ", "_")
        # Of the rounded times, so that start and duration add up to the end.
        duration_s = round(turn.end_s, 3) - round(turn.start_s, 3)
        lines.append(f"SPEAKER {recording.video_id} 1 {turn.start_s:.3f} {duration_s:.3f} <NA> <NA> {name} <NA> <NA>\n")
    return "".join(lines)
