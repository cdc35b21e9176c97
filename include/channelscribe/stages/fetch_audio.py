"""The stage ``fetch_audio``: an item's audio, in the channel's own codec, known to decode from start to end.

Writes ``audio.<ext>`` and ``audio.json`` (`contracts.Audio`).
"""

from channelscribe.channels.download import fetch
from channelscribe.channels.pacing import wait_for_turn
from channelscribe.channels.patience import forget_refusals, note_refusal, require_patience
from channelscribe.errors import RateLimitedError
from channelscribe.settings import get_settings
from channelscribe.stages.runner import Job, Outcome, Stage, main


class FetchAudio(Stage[None]):
    """Downloads with yt-dlp. There is no model, and the audio is not coded again."""

    name = "fetch_audio"

    def process(self, job: Job, engine: None) -> Outcome:
        """Fetch and check; an interrupted download is resumed by the next attempt.

        Where the site asks for patience, the whole channel gets it: no other video of it is asked for meanwhile.
        """
        turns, channel = job.workspace.turns, job.video.channel_url
        require_patience(turns, channel)
        partial = job.workspace.partial_download(job.video.video_id, job.spec)
        with job.clock.part("wait"):
            wait_for_turn(turns, job.video.url, get_settings().youtube_videos_per_hour)
        with job.clock.part("fetch"):
            try:
                fetched = fetch(job.video.url, job.spec.model, partial, job.out)
            except RateLimitedError as error:
                note_refusal(turns, channel, str(error))
                raise
        forget_refusals(turns, channel)
        audio = fetched.audio
        (job.out / "audio.json").write_text(audio.model_dump_json(indent=1), encoding="utf-8")
        n_bytes = fetched.path.stat().st_size
        return Outcome(
            audio_s=audio.duration_s,
            summary=f"Fetched {_minutes(audio.duration_s)} of {audio.codec}, {n_bytes / 1e6:.1f} MB.",
            metrics={"n_bytes": float(n_bytes)},
            published_at=fetched.published_at,
        )


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


if __name__ == "__main__":
    main(FetchAudio())
