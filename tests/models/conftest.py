import os
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture(scope="session")
def recordings() -> dict[str, Path]:
    """Real speech that comes inside the installed packages."""
    import importlib.util

    def folder(package: str) -> Path:
        found = importlib.util.find_spec(package)
        assert found is not None and found.origin is not None
        return Path(found.origin).parent

    return {
        "dialogue": folder("pyannote.audio") / "sample" / "sample.wav",
        "reading": folder("moonshine_voice") / "assets" / "two_cities.wav",
    }


@pytest.fixture(scope="session")
def dialogue(recordings: dict[str, Path]) -> NDArray[np.float32]:
    """30 s of a telephone call, two speakers."""
    from channelscribe.audio import decode

    return decode(recordings["dialogue"])


@pytest.fixture(scope="session")
def reading(recordings: dict[str, Path]) -> NDArray[np.float32]:
    """44 s of one voice, reading."""
    from channelscribe.audio import decode

    return decode(recordings["reading"])


@pytest.fixture(scope="session")
def random_whisper() -> SimpleNamespace:
    """What makes Whispers with random weights."""
    path = Path(__file__).parents[2] / "benchmarks" / "random_whisper.py"
    return SimpleNamespace(**runpy.run_path(str(path)))


@pytest.fixture(scope="session")
def whisper_models(random_whisper, tmp_path_factory) -> Path:
    """A folder of models with one tiny Whisper in it, for the engine of each of the profiles that have one."""
    from channelscribe.model_registry import folder_name
    from channelscribe.profiles import GPU, GPU_REFERENCE

    root, scratch = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("transformers")
    fast, reference = (
        root / folder_name(spec.model, spec.revision)
        for spec in (GPU.stages["transcribe"], GPU_REFERENCE.stages["transcribe"])
    )
    reference.mkdir(parents=True)
    fast.parent.mkdir(parents=True)
    # Not by the name of the real one, whose alignment heads it has not.
    random_whisper.write_openai_checkpoint(reference / "babble.pt")
    random_whisper.write_ctranslate2_folder(reference / "babble.pt", fast, scratch)
    return root


@pytest.fixture
def use_whisper_models(whisper_models: Path, monkeypatch):
    """Have the loaders find the tiny Whisper where they look for the real one."""
    from channelscribe.settings import get_settings

    monkeypatch.setenv("CHANNELSCRIBE_MODELS_ROOT", str(whisper_models))
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def text_folders(tmp_path_factory) -> dict[str, Path]:
    """A folder of each text model of the Qwen family, small and with random weights, which no test changes."""
    path = Path(__file__).parents[2] / "benchmarks" / "random_text_models.py"
    published = SimpleNamespace(**runpy.run_path(str(path)))
    small = {
        "vocab_size": 420, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 256,
    }  # fmt: skip
    root, result = tmp_path_factory.mktemp("published"), {}
    for name, more in {"qwen3-0.6b": {"head_dim": 16}, "gte-1.5b": {}}.items():
        result[name] = root / name
        published.write(result[name], published.ARCHITECTURES[name], **small, **more)
        # Had it been run, nobody could miss it.
        for module in ("modeling_qwen.py", "tokenization_qwen.py"):
            (result[name] / module).write_text("raise SystemExit('code of the model was run')\n")
    return result


@pytest.fixture(scope="session")
def ecapa_folder(reading: NDArray[np.float32], dialogue: NDArray[np.float32], tmp_path_factory) -> Path:
    """A folder of the small ECAPA with random weights, below the folder of models where the real one would be."""
    from channelscribe.model_registry import folder_name
    from channelscribe.profiles import GPU

    path = Path(__file__).parents[2] / "benchmarks" / "random_ecapa.py"
    spec = GPU.stages["identify_speakers"]
    folder = tmp_path_factory.mktemp("models") / folder_name(spec.model, spec.revision)
    speech = np.concatenate([reading[: 20 * 16000], dialogue[7 * 16000 : 27 * 16000]])
    SimpleNamespace(**runpy.run_path(str(path))).write_ecapa(folder, speech, channels=32)
    return folder


@pytest.fixture(scope="module")
def ecapa_models(ecapa_folder: Path):
    """Have the loader find the small ECAPA where it looks for the real one."""
    from channelscribe.model_files import model_folder
    from channelscribe.profiles import GPU
    from channelscribe.settings import get_settings

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHANNELSCRIBE_MODELS_ROOT", str(ecapa_folder.parents[1]))
        get_settings.cache_clear()
        spec = GPU.stages["identify_speakers"]
        assert model_folder(spec.model, spec.revision) == ecapa_folder
        yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def segmentation_weights() -> Path:
    """Checkpoint of segmentation-3.0."""
    from channelscribe.models.campplus import model_dir

    return model_dir() / "pyannote_segmentation_3.0" / "pytorch_model.bin"


@pytest.fixture(scope="session")
def write_community():
    """What makes folders of community-1."""
    path = Path(__file__).parents[2] / "benchmarks" / "random_community.py"
    return SimpleNamespace(**runpy.run_path(str(path))).write_community


@pytest.fixture(scope="session")
def community_folder(write_community, segmentation_weights: Path, dialogue: NDArray[np.float32], tmp_path_factory):
    """A folder of community-1 with random weights, below the folder of models where the real one would be."""
    from channelscribe.model_registry import folder_name
    from channelscribe.profiles import GPU

    spec = GPU.stages["diarize"]
    folder = tmp_path_factory.mktemp("models") / folder_name(spec.model, spec.revision)
    write_community(folder, segmentation_weights, dialogue[7 * 16000 :])
    return folder


@pytest.fixture
def side_effects():
    """A context that gathers what is opened to be written, linked, or asked of the network, with the event's name."""

    @contextmanager
    def gather() -> Iterator[list[tuple[str, object]]]:
        found: list[tuple[str, object]] = []
        gathering = True

        def hear(event: str, arguments: tuple[object, ...]) -> None:
            if not gathering:
                return
            if event == "open":
                path, _, flags = arguments
                writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
                if writes and "__pycache__" not in str(path):
                    found.append((event, path))
            elif event in ("socket.connect", "socket.getaddrinfo", "os.symlink", "os.link", "tempfile.mkdtemp"):
                found.append((event, arguments[0]))

        sys.addaudithook(hear)  # it can't be taken off again
        try:
            yield found
        finally:
            gathering = False

    return gather
