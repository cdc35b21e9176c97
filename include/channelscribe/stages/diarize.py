"""Stage ``diarize``: who speaks when, as clusters. Writes ``diarization.json`` and ``turns.rttm``."""

from channelscribe.audio import decode
from channelscribe.contracts import Audio, Diarization
from channelscribe.models import Diarizer
from channelscribe.stages.runner import Job, Outcome, Stage, main


class Diarize(Stage[Diarizer]):
    """Speaker diarization of the fetched audio."""

    name = "diarize"

    def process(self, job: Job, engine: Diarizer) -> Outcome:
        """Write the turns, overlapping and exclusive; a recording without speech has none."""
        audio = job.inputs["fetch_audio"].read("audio.json", Audio)
        with job.clock.part("decode"):
            waveform = decode(job.inputs["fetch_audio"].folder / audio.file_name)
        with job.clock.part("diarization"):
            turns, exclusive_turns, rttm = engine.diarize(waveform, job.video.video_id)
        result = Diarization(turns=tuple(turns), exclusive_turns=tuple(exclusive_turns), audio_s=audio.duration_s)
        (job.out / "diarization.json").write_text(result.model_dump_json(), encoding="utf-8")
        (job.out / "turns.rttm").write_text(rttm, encoding="utf-8")
        n_clusters = len({turn.cluster for turn in turns})
        return Outcome(
            audio_s=audio.duration_s,
            summary=f"Found {n_clusters} voices in {len(turns)} turns."
            if turns
            else "Nobody speaks in this recording.",
            metrics={
                "n_clusters": n_clusters,
                "n_turns": len(turns),
                "speech_s": sum(turn.duration_s for turn in exclusive_turns),
            },
        )


if __name__ == "__main__":
    main(Diarize())
