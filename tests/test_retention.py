import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from channelscribe import retention
from channelscribe.contracts import Manifest, Video
from channelscribe.profiles import BUNDLED
from channelscribe.workspace import MANIFEST, Workspace, describe_outputs, digest_of, fingerprint, now


@pytest.fixture
def workspace(tmp_path):
    result = Workspace(tmp_path)
    result.write_video(
        Video(video_id="v", source_id="1", url="http://x/", title="T", channel_url="http://x/", channel_title="X")
    )
    return result


def make(workspace, stage, name, inputs, content="x"):
    with workspace.new_artifact("v", stage, name) as out:
        (out / "result.json").write_text(content)
        outputs = describe_outputs(out)
        spec = BUNDLED.stages[stage]
        manifest = Manifest(
            channelscribe_version="0", stage=stage, stage_version=1, profile="bundled", video_id="v", fingerprint=name,
            digest=digest_of(outputs), engine=spec.engine, model=spec.model, revision=spec.revision,
            parameters=dict(spec.parameters), inputs=inputs, outputs=outputs, empty=False, device_requested="cpu",
            device_used="cpu", audio_s=1.0, processing_s={}, peak_memory_bytes=1, gpu_samples=None, metrics={},
            finished_at=now(),
        )  # fmt: skip
        (out / MANIFEST).write_text(manifest.model_dump_json())
    return workspace.stage_dir("v", stage) / name, manifest.digest


def make_current(workspace):
    audio, digest = make(workspace, "fetch_audio", fingerprint("fetch_audio", BUNDLED.stages["fetch_audio"], {}), {})
    inputs = {"fetch_audio": digest}
    turns, _ = make(workspace, "diarize", fingerprint("diarize", BUNDLED.stages["diarize"], inputs), inputs)
    return audio, turns


def unused(workspace, days=1):
    future = datetime.now(UTC) + timedelta(days=days)
    return sorted(retention.unused(workspace, future))


def test_what_a_profile_finds_stays_and_what_it_replaced_goes(workspace):
    make_current(workspace)
    old, _ = make(workspace, "diarize", "0" * 16, {})
    assert unused(workspace) == [old]
    assert retention.remove(old) > 0
    assert not old.exists()
    assert unused(workspace) == []


def test_what_was_written_lately_stays(workspace):
    make_current(workspace)
    old, _ = make(workspace, "diarize", "0" * 16, {})
    assert list(retention.unused(workspace, datetime.now(UTC) - timedelta(days=1))) == []
    month_ago = datetime.now(UTC).timestamp() - 30 * 86400
    for path in (*old.iterdir(), old):
        os.utime(path, (month_ago, month_ago))
    assert list(retention.unused(workspace, datetime.now(UTC) - timedelta(days=29))) == [old]


def test_work_whose_audio_is_gone_stays(workspace):
    audio, _ = make_current(workspace)
    make(workspace, "diarize", "0" * 16, {})
    retention.remove(audio)
    assert unused(workspace) == []


def test_leftovers_of_killed_attempts_go(workspace):
    make_current(workspace)
    partial = workspace.partial_download("v", BUNDLED.stages["fetch_audio"])
    partial.mkdir()
    (partial / "audio.part").write_text("half")
    leftover = workspace.stage_dir("v", "diarize") / ".new-abc-123"
    leftover.mkdir()
    assert unused(workspace) == [leftover, partial]


def test_an_empty_workspace_has_nothing_unused(tmp_path):
    assert unused(Workspace(tmp_path)) == []


def test_a_folder_in_which_somebody_is_at_work_stays(workspace, monkeypatch):
    make_current(workspace)
    partial = workspace.partial_download("v", BUNDLED.stages["fetch_audio"])
    (partial / "fragments").mkdir(parents=True)
    part = partial / "fragments" / "audio.part"
    part.write_text("half")
    leftover = workspace.stage_dir("v", "diarize") / ".new-abc-123"
    leftover.mkdir()
    assert unused(workspace) == [leftover, partial]
    look = Path.stat

    def finished_meanwhile(path, **options):
        if path == part:
            part.unlink()
        return look(path, **options)

    monkeypatch.setattr(Path, "stat", finished_meanwhile)
    assert unused(workspace) == [leftover]
    assert not part.exists()


def test_removing_passes_over_what_vanishes(workspace, monkeypatch):
    make_current(workspace)
    old, _ = make(workspace, "diarize", "0" * 16, {})
    others = [old / name for name in ("a", "b", "c")]
    for path in others:
        path.write_text("x")
    unlink = os.unlink

    def removed_by_somebody_else(name, **options):
        if name == "b":
            unlink(name, **options)
        unlink(name, **options)

    monkeypatch.setattr(os, "unlink", removed_by_somebody_else)
    assert retention.remove(old) > 0
    assert not old.exists()
    assert retention.remove(old) == 0


def test_what_may_not_be_removed_is_an_error(workspace, monkeypatch):
    make_current(workspace)
    old, _ = make(workspace, "diarize", "0" * 16, {})

    def refuse(name, **options):
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(PermissionError):
        retention.remove(old)
