"""Stage ``identify_speakers``: utterances, and the voice of every cluster.

Writes ``analysis.json`` and ``voice_embeddings.npz``. Who a cluster is, the archive decides from these embeddings and
the enrolled voices when it loads them, so that a voice enrolled later needs no audio again.
"""

import numpy as np
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ, decode
from channelscribe.contracts import Audio, Cluster, Diarization, SpeakerAnalysis, Transcript, Turn
from channelscribe.models import VoiceEncoder
from channelscribe.speakers.utterances import build_utterances
from channelscribe.speakers.variance import speaker_variance, weighted_centroid
from channelscribe.speakers.voices import VoiceCache, embed_turns, windowing_of
from channelscribe.stages.runner import Job, Outcome, Stage, main


class IdentifySpeakers(Stage[VoiceEncoder]):
    """Voice embeddings of all clusters in one pass, their variance, and the words as utterances."""

    name = "identify_speakers"

    def process(self, job: Job, engine: VoiceEncoder) -> Outcome:
        """Write clusters, utterances and voice embeddings; without speech all are empty."""
        audio = job.inputs["fetch_audio"].read("audio.json", Audio)
        turns = job.inputs["diarize"].read("diarization.json", Diarization).exclusive_turns
        transcript = job.inputs["transcribe"].read("transcript.json", Transcript)
        parameters = job.spec.parameters
        with job.clock.part("decode"):
            waveform = decode(job.inputs["fetch_audio"].folder / audio.file_name)
        with job.clock.part("voice_embedding"):
            model = f"{job.spec.model}-{job.spec.revision}".replace("/", "--")
            cache = VoiceCache(job.workspace.voice_embedding_cache(job.video.video_id, model), model)
            embedded, embeddings = embed_turns(waveform, SAMPLE_RATE_HZ, turns, engine, windowing_of(parameters), cache)
        with job.clock.part("speaker_variance"):
            clusters, centroids = _describe_clusters(turns, embedded, embeddings)
        with job.clock.part("utterances"):
            utterances = build_utterances(
                transcript.segments, turns, max_utterance_s=float(parameters["max_utterance_s"])
            )

        analysis = SpeakerAnalysis(
            clusters=tuple(clusters), embedded_turns=tuple(embedded), utterances=tuple(utterances)
        )
        (job.out / "analysis.json").write_text(analysis.model_dump_json(), encoding="utf-8")
        np.savez(job.out / "voice_embeddings.npz", clusters=centroids, turns=embeddings)
        return Outcome(
            audio_s=audio.duration_s,
            summary=f"{len(utterances)} utterances of {len(clusters)} voices." if turns else "No speech to identify.",
            empty=not turns,
            metrics={
                "n_clusters": len(clusters),
                "n_utterances": len(utterances),
                "n_voice_embeddings": len(embedded),
                "max_speaker_variance": max((c.speaker_variance for c in clusters if c.speaker_variance), default=None),
            },
        )


def _describe_clusters(
    turns: tuple[Turn, ...], embedded: list[Turn], embeddings: NDArray[np.float32]
) -> tuple[list[Cluster], NDArray[np.float32]]:
    """The clusters in the order of their labels, and (n_clusters, dim) float32 centroids, zero where there is none."""
    clusters, centroids = [], []
    dimension = embeddings.shape[1]
    for label in sorted({turn.cluster for turn in turns}):
        rows = [index for index, turn in enumerate(embedded) if turn.cluster == label]
        weights = np.array([embedded[row].duration_s for row in rows])
        clusters.append(
            Cluster(
                cluster=label,
                speech_s=sum(turn.duration_s for turn in turns if turn.cluster == label),
                n_turns=sum(turn.cluster == label for turn in turns),
                n_voice_embeddings=len(rows),
                speaker_variance=speaker_variance(embeddings[rows], weights),
            )
        )
        centroids.append(weighted_centroid(embeddings[rows], weights) if rows else np.zeros(dimension, np.float32))
    return clusters, np.array(centroids, np.float32).reshape(len(clusters), dimension)


if __name__ == "__main__":
    main(IdentifySpeakers())
