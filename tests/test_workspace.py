import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from channelscribe.contracts import Manifest, Status, Video
from channelscribe.errors import BadInputError, MisconfiguredError
from channelscribe.profiles import BUNDLED, StageSpec
from channelscribe.workspace import (
    MANIFEST,
    Workspace,
    describe_outputs,
    digest_of,
    fingerprint,
    now,
    read_contract,
    write_atomically,
)

SPEC = BUNDLED.stages["fetch_audio"]
VIDEO = Video(
    video_id="site-a",
    source_id="a",
    url="https://example.org/a",
    title="A",
    channel_url="https://example.org/",
    channel_title="Site",
    published_at=datetime(2026, 8, 3, tzinfo=UTC),
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    workspace.write_video(VIDEO)
    return workspace


def make(workspace: Workspace, content: str = "sound", name: str | None = None) -> Path:
    name = name or fingerprint("fetch_audio", SPEC, {})
    with workspace.new_artifact("site-a", "fetch_audio", name) as out:
        (out / "audio.wav").write_text(content)
        outputs = describe_outputs(out)
        manifest = Manifest(
            channelscribe_version="0",
            stage="fetch_audio",
            stage_version=1,
            profile="bundled",
            video_id="site-a",
            fingerprint=name,
            digest=digest_of(outputs),
            engine=SPEC.engine,
            model=SPEC.model,
            revision=SPEC.revision,
            parameters={},
            inputs={},
            outputs=outputs,
            empty=False,
            device_requested="cpu",
            device_used="cpu",
            audio_s=1.0,
            processing_s={"total": 0.1},
            peak_memory_bytes=1,
            gpu_samples=None,
            metrics={},
            finished_at=now(),
        )
        (out / MANIFEST).write_text(manifest.model_dump_json())
    return workspace.stage_dir("site-a", "fetch_audio") / name


def test_video_is_read_as_it_was_written(workspace: Workspace) -> None:
    assert workspace.read_video("site-a") == VIDEO


@pytest.mark.parametrize("video_id", ["", ".", "..", "../x", "a/b", "/etc", "a/../../b", "a/..", "x" * 300])
def test_no_id_leaves_the_folder(workspace: Workspace, video_id: str) -> None:
    with pytest.raises(BadInputError, match="is not a video id"):
        workspace.video_dir(video_id)


def test_unknown_video_is_bad_input_and_gets_no_folder(workspace: Workspace) -> None:
    with pytest.raises(BadInputError, match="no video 'site-b'"):
        workspace.read_video("site-b")
    assert [path.name for path in (workspace.data_root / "videos").iterdir()] == ["site-a"]


def test_file_of_another_schema_is_noticed(workspace: Workspace) -> None:
    path = workspace.video_dir("site-a") / "video.json"
    path.write_text('{"video_id": "site-a", "unknown": 1}')
    with pytest.raises(BadInputError, match="is not a Video of this version"):
        workspace.read_video("site-a")


def test_status_is_read_as_it_was_written(workspace: Workspace) -> None:
    assert workspace.read_status("site-a", "diarize") is None
    status = Status(video_id="site-a", stage="diarize", state="failed", exit_code=65, reason="Why.", at=now())
    workspace.write_status(status)
    assert workspace.read_status("site-a", "diarize") == status


def test_artifact_is_found_by_its_fingerprint_alone(workspace: Workspace) -> None:
    folder = make(workspace)
    artifact = workspace.find("site-a", "fetch_audio", folder.name)
    assert artifact is not None
    assert artifact.folder == folder
    assert workspace.find("site-a", "fetch_audio", "0" * 16) is None
    assert workspace.find("site-b", "fetch_audio", folder.name) is None


@pytest.mark.parametrize("damage", ["missing", "short", "no manifest", "half a manifest", "moved", "other schema"])
def test_damaged_artifact_is_not_found(workspace: Workspace, damage: str) -> None:
    folder = make(workspace)
    manifest = folder / MANIFEST
    if damage == "missing":
        (folder / "audio.wav").unlink()
    elif damage == "short":
        (folder / "audio.wav").write_text("s")
    elif damage == "no manifest":
        manifest.unlink()
    elif damage == "half a manifest":
        manifest.write_text(manifest.read_text()[:50])
    elif damage == "other schema":
        manifest.write_text(manifest.read_text().replace('"schema_version":1', '"schema_version":999'))
    elif damage == "moved":
        folder = folder.rename(folder.with_name("f" * 16))
    assert workspace.find("site-a", "fetch_audio", folder.name) is None


def test_artifact_appears_whole_or_not_at_all(workspace: Workspace) -> None:
    parent = workspace.stage_dir("site-a", "fetch_audio")
    with pytest.raises(RuntimeError, match="stop"), workspace.new_artifact("site-a", "fetch_audio", "abc") as out:
        (out / "audio.wav").write_text("half")
        assert not (parent / "abc").exists()
        raise RuntimeError("stop")
    assert list(parent.iterdir()) == []


def test_artifact_replaces_the_one_before(workspace: Workspace) -> None:
    folder = make(workspace, "old")
    assert make(workspace, "new") == folder
    assert (folder / "audio.wav").read_text() == "new"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_leftovers_of_killed_attempts_are_removed(workspace: Workspace) -> None:
    folder = make(workspace)
    for name in (f".new-{folder.name}-killed", ".new-old-killed"):
        (folder.parent / name).mkdir()
        (folder.parent / name / "junk").write_text("x")
    make(workspace)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_artifact_can_be_read_by_others(workspace: Workspace) -> None:
    folder = make(workspace)
    assert folder.stat().st_mode & 0o055 == 0o055
    assert (workspace.video_dir("site-a") / "video.json").stat().st_mode & 0o044 == 0o044


def test_fingerprint_covers_all_that_changes_a_result() -> None:
    base = StageSpec("e", "m", "1", {"a": 1})
    prints = {
        fingerprint("diarize", base, {"fetch_audio": "x"}),
        fingerprint("transcribe", base, {"fetch_audio": "x"}),
        fingerprint("diarize", base, {"fetch_audio": "y"}),
        fingerprint("diarize", StageSpec("f", "m", "1", {"a": 1}), {"fetch_audio": "x"}),
        fingerprint("diarize", StageSpec("e", "n", "1", {"a": 1}), {"fetch_audio": "x"}),
        fingerprint("diarize", StageSpec("e", "m", "2", {"a": 1}), {"fetch_audio": "x"}),
        fingerprint("diarize", StageSpec("e", "m", "1", {"a": 2}), {"fetch_audio": "x"}),
    }
    assert len(prints) == 7
    # What costs, but does not change the result, makes nothing anew.
    assert fingerprint("diarize", StageSpec("e", "m", "1", {"a": 1}, memory_gib=9), {"fetch_audio": "x"}) in prints


def test_current_follows_the_inputs(workspace: Workspace) -> None:
    assert workspace.current("site-a", "fetch_audio", BUNDLED) is None
    assert workspace.current("site-a", "diarize", BUNDLED) is None
    with pytest.raises(MisconfiguredError, match="fetch_audio has not been done for site-a"):
        workspace.require("site-a", "fetch_audio", BUNDLED)
    folder = make(workspace)
    assert workspace.require("site-a", "fetch_audio", BUNDLED).folder == folder
    assert workspace.current("site-a", "diarize", BUNDLED) is None


def test_digest_is_of_the_content(workspace: Workspace) -> None:
    folder = make(workspace, "one")
    first = read_contract(folder / MANIFEST, Manifest).digest
    make(workspace, "one")
    assert read_contract(folder / MANIFEST, Manifest).digest == first
    make(workspace, "two")
    assert read_contract(folder / MANIFEST, Manifest).digest != first


def test_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_atomically(path, "old")
    held = path.open()
    write_atomically(path, "new")
    assert held.read() == "old"
    held.close()
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["a.json"]  # noqa: PTH208


def test_a_clip_lies_in_the_folder_of_clips(tmp_path):
    workspace = Workspace(tmp_path)
    folder = tmp_path / "enrollments"
    (folder / "ada").mkdir(parents=True)
    (folder / "link.wav").symlink_to("/etc/passwd")
    assert workspace.enrollment_clip("ada/one.wav") == folder / "ada" / "one.wav"
    assert workspace.enrollment_clip(f"{folder}/one.wav") == folder / "one.wav"
    for path in ("../one.wav", "/etc/passwd", "ada/../../one.wav", "link.wav", f"{folder}-other/one.wav"):
        with pytest.raises(BadInputError, match="put the clip there"):
            workspace.enrollment_clip(path)
    with pytest.raises(BadInputError, match="is not a path"):
        workspace.enrollment_clip("a\x00b")


def test_a_clip_goes_by_the_name_that_containers_have_the_data_root_by(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    clip = Workspace(tmp_path / "data").enrollment_clip("ada.wav")
    assert clip == tmp_path / "data" / "enrollments" / "ada.wav"
