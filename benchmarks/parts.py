"""What `make bench` and `make bench-gpu` measure: part -> program and arguments."""

from collections.abc import Sequence

Parts = dict[str, list[str]]

MINUTES = ("10", "60")


def of_device(device: str, minutes: Sequence[str] = MINUTES) -> Parts:
    """The parts of ``cpu`` or ``gpu``, in the order of their page.

    Args:
        device: what is measured.
        minutes: lengths of the chain's recordings.
    """
    if device == "cpu":
        return {
            "diarization": ["diarization.py", "--runs", "2", "--voices", "3", "--minutes", "10"],
            "voice embedding": ["voice_embedding.py"],
            "text embedding": [*_texts("minilm"), "--texts", "128", "--batch-tokens", "256", "1024", "4096"],
            "transcription": ["transcription.py", "--minutes", "1", "--runs", "3"],
            "chain": ["chain.py", "--minutes", *minutes],
            "quality": ["quality.py"],
        }
    # Not in float32, which the stage never is on a GPU: with the other models beside it 16 GiB might not hold it.
    texts = [*_texts("qwen3-0.6b", "gte-1.5b"), "--device", "cuda", "--texts", "8192", "--precision", "bfloat16"]
    return {
        "voice embedding": [*_VOICES_ON_GPU, "400"],
        "text embedding": [*texts, "--batch-tokens", "4096", "16384", "65536"],
        "transcription": [*_TRANSCRIPTION_ON_GPU, "33", "--batch", "1", "17", "32", "64"],
        "diarization": [*_DIARIZATION_ON_GPU, "--model", "community-1", "--minutes", "10"],
        "diarization, bundled": [*_DIARIZATION_ON_GPU, "--minutes", "10"],
        "chain": ["chain.py", "--profile", "gpu", "--minutes", *minutes],
        "chain, bundled": ["chain.py", "--profile", "bundled-cuda", "--minutes", *minutes],
    }


def quick(device: str) -> Parts:
    """The same in small, to see that the programs work."""
    if device == "cpu":
        return {
            "diarization": ["diarization.py", "--runs", "1", "--voices", "2", "--minutes", "0.5"],
            "voice embedding": ["voice_embedding.py", "--runs", "1", "--turns", "8"],
            "text embedding": [*_texts("minilm"), "--runs", "1"],
            "chain": ["chain.py", "--minutes", "1"],
            "quality": ["quality.py"],
        }
    return {
        "voice embedding": [*_VOICES_ON_GPU, "40"],
        "text embedding": [*_texts("qwen3-0.6b", "gte-1.5b"), "--device", "cuda", "--texts", "256"],
        "transcription": [*_TRANSCRIPTION_ON_GPU, "5"],
        "diarization": [*_DIARIZATION_ON_GPU, "--model", "community-1", "--minutes", "1"],
        "chain": ["chain.py", "--profile", "gpu", "--minutes", "5"],
    }


def _texts(*architectures: str) -> list[str]:
    return ["text_embedding.py", "--architecture", *architectures]


_VOICES_ON_GPU = ["voice_embedding.py", "--device", "cuda", "--model", "ecapa", "--turns"]
_TRANSCRIPTION_ON_GPU = ["transcription.py", "--device", "cuda", "--minutes"]
_DIARIZATION_ON_GPU = ["diarization.py", "--device", "cuda"]
