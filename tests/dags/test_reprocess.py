"""Whole runs of the DAG over a real archive and real artifacts, made by the real runner, without the models."""

import json
import runpy
import shutil
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from airflow.sdk.exceptions import ParamValidationError

from channelscribe.profiles import BUNDLED, PROFILES, STAGES
from channelscribe.settings import get_settings
from channelscribe.workspace import Workspace

pytestmark = pytest.mark.airflow

MADE = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "store" / "conftest.py")))
OTHER = MADE.with_text_model(BUNDLED, "other")
OLD = [("SPEAKER_00", 0.0, "It was the best of times"), ("SPEAKER_01", 5.0, "it was the worst of times")]
NEW = [("SPEAKER_01", 0.0, "It was the age of wisdom"), ("SPEAKER_00", 5.0, "it was the age of foolishness")]


class Archive:
    """A real archive and workspace, with videos in which the old lines are said."""

    def __init__(self, dsn, data_root):
        self.dsn = dsn
        self.workspace = Workspace(data_root)
        self.said = {}

    def add(self, *video_ids):
        from channelscribe.store.loader import load_video

        for video_id in video_ids:
            MADE.write_script(self.workspace, MADE.Script(OLD, video_id))
            self.say(video_id, OLD)
            with closing(self.connect()) as connection:
                load_video(connection, self.workspace, video_id, BUNDLED)

    def say(self, video_id, lines, **refused):
        """What the stages will find the next time: who says what, and why which of them refuses the video."""
        self.said[video_id] = {"lines": lines, "refused": refused}
        (self.workspace.data_root / "said.json").write_text(json.dumps(self.said))

    def connect(self):
        from channelscribe.store.connection import connect

        return connect(self.dsn)

    def rows(self, statement, *parameters):
        with closing(self.connect()) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def snapshot(self):
        """Every row, with the transaction that wrote it, and every file with its content and time."""
        tables = self.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        rows = {name: self.rows(f"SELECT xmin::text, t::text FROM {name} t ORDER BY t::text") for (name,) in tables}
        files = sorted(path for path in (self.workspace.data_root / "videos").rglob("*") if path.is_file())
        return rows, [(path, path.read_bytes(), path.stat().st_mtime_ns) for path in files]

    def texts(self, video_id):
        return [row[0] for row in self.rows("SELECT text FROM utterances WHERE video_id = %s ORDER BY 1", video_id)]

    def calls(self):
        """Calls of the stages since the last look."""
        path = self.workspace.data_root / "calls.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def archive(monkeypatch, archive_dsn, settings, tmp_path):
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", archive_dsn)
    monkeypatch.setattr("channelscribe.profiles.PROFILES", {**PROFILES, "other": OTHER})
    monkeypatch.setattr("channelscribe_airflow.params.PROFILES", {**PROFILES, "other": OTHER})
    get_settings.cache_clear()
    get_settings().data_dir.mkdir(parents=True)
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("redo_program.py")} "$@"\n')
    interpreter.chmod(0o755)
    monkeypatch.setenv("CHANNELSCRIBE_STAGES_PYTHON", str(interpreter))
    return Archive(archive_dsn, get_settings().data_dir)


@pytest.fixture
def run(run_dag, archive):
    return lambda **conf: run_dag("reprocess", **conf)


def of_videos(ended):
    """States of the stages and of load, by index."""
    return {
        (task, index): state
        for (task, index), state in ended.tasks.items()
        if task not in ("select_videos", "report_run")
    }


def test_a_dry_run_is_the_default_says_what_it_would_do_and_changes_nothing(run, archive):
    archive.add("v1", "v2")
    before = archive.snapshot()
    ended = run(stages=["transcribe"])
    assert ended.state == "success"
    assert archive.snapshot() == before and archive.calls() == []
    assert set(of_videos(ended).values()) == {"skipped"}
    assert "2 videos to redo with the profile bundled, 0.0 h" in ended.log
    assert "| transcribe | 2 | 0 | 0.0 | 6.0 | 0.01 |" in ended.log
    assert "| Title of v1 | v1 | 1.0 | transcribe, identify_speakers, embed_text |" in ended.log
    assert "A dry run, which changed nothing. 2 videos to redo" in ended.log
    # Without stages, what the profile has no result of: nothing here.
    assert "Nothing to redo with the profile bundled: 2 videos looked at." in run().log
    assert archive.snapshot() == before


def test_a_stage_is_done_again_with_what_depends_on_it_and_nothing_is_fetched(run, archive):
    archive.add("v1")
    archive.rows("INSERT INTO speakers (name) VALUES ('Ada')")
    archive.rows("UPDATE clusters SET speaker_id = 1, speaker_matched = false WHERE cluster = 'SPEAKER_01'")
    # The recogniser says something else; the diarization would say it of the other voices, but is not asked.
    archive.say("v1", [(cluster, start_s, text) for (cluster, start_s, _), (*_, text) in zip(OLD, NEW, strict=True)])
    ended = run(stages=["identify_speakers"], dry_run=False)
    assert ended.state == "success", ended.log
    assert archive.texts("v1") == ["It was the age of wisdom", "it was the age of foolishness"]
    assert archive.calls() == ["diarize v1", "transcribe v1", "identify_speakers v1 --force", "embed_text v1"]
    assert archive.rows("SELECT cluster, name FROM clusters LEFT JOIN speakers USING (speaker_id) ORDER BY 1") == [
        ("SPEAKER_00", None),
        ("SPEAKER_01", "Ada"),
    ]
    assert archive.rows("SELECT count(*) FROM text_embeddings") == [(2,)]
    ((run_id, state, counts),) = archive.rows("SELECT run_id, state, counts FROM ingest_runs")
    assert run_id.startswith("reprocess/") and state == "success"
    assert (counts["loaded"], counts["listed"], counts["failed"]) == (1, 1, 0)
    assert "fetch_audio" not in {task for task, _ in ended.tasks}
    assert "1 video loaded" in ended.log
    # What is there is as asked for: the same again without stages finds nothing.
    assert "Nothing to redo" in run(dry_run=False).log
    assert archive.calls() == []


def test_names_given_by_hand_outlive_a_new_diarization(run, archive):
    archive.add("v1")
    archive.rows("INSERT INTO speakers (name) VALUES ('Ada')")
    archive.rows("UPDATE clusters SET speaker_id = 1, speaker_matched = false WHERE cluster = 'SPEAKER_01'")
    archive.say("v1", NEW)
    assert run(stages=["diarize"], dry_run=False).state == "success"
    assert archive.calls() == ["diarize v1 --force", "transcribe v1", "identify_speakers v1", "embed_text v1"]
    # The voice that was SPEAKER_01 is SPEAKER_00 now.
    assert archive.rows("SELECT cluster, name FROM clusters LEFT JOIN speakers USING (speaker_id) ORDER BY 1") == [
        ("SPEAKER_00", "Ada"),
        ("SPEAKER_01", None),
    ]


def test_a_video_that_fails_keeps_what_was_loaded_and_the_others_do_not_wait(run, archive):
    archive.add("v1", "v2", "v3")
    archive.say("v1", NEW, identify_speakers="Its turns are a mess.")
    archive.say("v2", NEW)
    archive.say("v3", NEW, diarize="It has no sound track.")
    before = archive.rows("SELECT xmin::text, u::text FROM utterances u WHERE video_id = 'v1'")
    ended = run(stages=["diarize"], dry_run=False)
    assert ended.state == "failed"
    assert "Title of v1 (identify_speakers: Its turns are a mess)" in ended.log
    assert archive.rows("SELECT xmin::text, u::text FROM utterances u WHERE video_id = 'v1'") == before
    assert archive.rows("SELECT state FROM ingest_runs") == [("failed",)]
    # What a stage made before is there until it has made another.
    assert archive.workspace.current("v3", "embed_text", BUNDLED) is not None
    assert archive.texts("v3") == sorted(text for *_, text in OLD)
    assert archive.texts("v2") == ["It was the age of wisdom", "it was the age of foolishness"]
    # It is not given up as of no use, and goes on where it failed once the cause is gone.
    assert archive.rows("SELECT count(*) FROM listed_videos") == [(0,)]
    archive.say("v1", NEW)
    archive.say("v3", NEW)
    archive.calls()
    assert run(dry_run=False).state == "success"
    assert archive.calls() == ["diarize v1", "transcribe v1", "identify_speakers v1", "embed_text v1"]
    assert archive.texts("v1") == archive.texts("v2")


def test_a_video_whose_audio_is_gone_is_named_and_one_whose_last_fetch_failed_is_done(run, archive):
    archive.add("v1", "v2")
    shutil.rmtree(archive.workspace.stage_dir("v1", "fetch_audio"))
    status = archive.workspace.stage_dir("v2", "fetch_audio") / "status.json"
    status.write_text(
        json.dumps(
            {"video_id": "v2", "stage": "fetch_audio", "state": "failed", "exit_code": 65, "reason": "Gone.",
             "at": "2026-01-05T00:00:00Z"}
        )
    )  # fmt: skip
    ended = run(stages=["embed_text"], dry_run=False)
    assert ended.state == "success"
    assert "Left out, as their audio is gone (ingest them again" in ended.log and "- Title of v1 (v1)" in ended.log
    assert archive.calls()[-1] == "embed_text v2 --force"
    assert archive.workspace.read_status("v2", "fetch_audio").state == "present"


def search(archive, profile):
    """Videos that are found by their meaning alone with a profile."""
    from channelscribe.store.search.hybrid import search as search_archive
    from channelscribe.store.search.text_models import embed_for_other_models

    def embed(name):
        return np.eye(8 if name == "other" else 384, dtype=np.float32)[0]

    spec = profile.stages["embed_text"]
    model = spec.model, spec.revision
    with closing(archive.connect()) as connection:
        others = embed_for_other_models(connection, model, embed)
        return {hit.video_id for hit in search_archive(connection, "zzz", embed(profile.name), model, others=others)}


def test_text_models_change_video_by_video_and_all_are_found_throughout(run, run_dag, archive, channels, monkeypatch):
    archive.add("v1", "v2", "v3")
    everything = {"v1", "v2", "v3"}
    ended = run(profile="other", limit=1, dry_run=False)
    assert ended.state == "success"
    assert "1 video to redo with the profile other, 0.0 h, 2 more wait for the next run" in ended.log
    assert archive.calls() == ["diarize v1", "transcribe v1", "identify_speakers v1", "embed_text v1"]
    models = (
        "SELECT video_id, array_agg(DISTINCT name) FROM text_embeddings JOIN embedding_models USING (model_id) "
        "GROUP BY 1"
    )
    old, new = BUNDLED.stages["embed_text"].model, "other"
    # The texts are the same: the old model's embeddings stay beside the new one's.
    assert dict(archive.rows(models)) == {"v1": [old, new], "v2": [old], "v3": [old]}
    assert search(archive, BUNDLED) == search(archive, OTHER) == everything

    # The daily run with the old profile leaves alone what was redone with another.
    monkeypatch.setenv("CHANNELSCRIBE_CHANNELS", "https://www.youtube.com/@classics/videos")
    channels.listings = {"https://www.youtube.com/@classics/videos": ["v1", "v2", "v3"]}
    daily = run_dag("channel_ingest")
    assert daily.state == "success" and "No new video" in daily.log
    assert archive.calls() == []

    assert run(profile="other", dry_run=False).state == "success"
    assert "Nothing to redo with the profile other: 3 videos looked at." in run(profile="other", dry_run=False).log
    assert dict(archive.rows(models)) == {video_id: [old, new] for video_id in everything}
    assert search(archive, BUNDLED) == search(archive, OTHER) == everything


def test_run_after_run_takes_those_done_longest_ago_until_none_is_left(run, archive):
    from channelscribe.workspace import now

    archive.add("v1", "v2", "v3")
    ended = run(stages=["embed_text"], limit=2, dry_run=False)
    today = str(now().date())
    assert f"For those that wait, trigger it with `done_before` as well: {today}." in ended.log
    # Airflow begins mapped tasks in whichever order.
    assert [call for call in sorted(archive.calls()) if "embed" in call] == [
        "embed_text v1 --force", "embed_text v2 --force",
    ]  # fmt: skip
    ended = run(stages=["embed_text"], limit=2, done_before=today, dry_run=False)
    assert archive.calls() == ["diarize v3", "transcribe v3", "identify_speakers v3", "embed_text v3 --force"]
    assert "1 video loaded" in ended.log and "wait" not in ended.log.split("1 video loaded")[1].splitlines()[0]
    ended = run(stages=["embed_text"], done_before=today, dry_run=False)
    assert ended.state == "success" and "Nothing to redo" in ended.log
    assert archive.calls() == []


@pytest.mark.parametrize(
    ("conf", "reason"),
    [
        (
            {"channels": ["@nobody"]},
            "The archive has no video of https://www.youtube.com/@nobody/videos: name a channel",
        ),
        ({"channels": ["http://"]}, "the URL names no host"),
        ({"stage": ["embed_text"]}, "There is no param 'stage': did you mean 'stages'?"),
        ({"profile": "gpu"}, "diarize of the profile gpu needs 4 GiB, but its task takes the 2 of bundled"),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_refused_configuration_is_one_line_and_touches_nothing(run, archive, conf, reason, dry_run):
    archive.add("v1")
    before = archive.snapshot()
    ended = run(**conf, dry_run=dry_run)
    assert ended.state == "failed"
    assert "select_videos failed: " in ended.log and reason in ended.log
    after = archive.snapshot()
    assert len(after[0].pop("ingest_runs")) == (not dry_run)  # that it failed, which a page shows
    assert not before[0].pop("ingest_runs") and after == before


def test_a_day_on_which_nothing_was_published_is_green_and_says_so(run, archive):
    archive.add("v1")
    ended = run(since="2030-01-01", stages=["embed_text"], dry_run=False)
    assert ended.state == "success"
    assert "Nothing to redo: no video of the archive is of these channels and that age." in ended.log


@pytest.mark.parametrize(
    "params",
    [
        {"stages": ["fetch_audio"]},
        {"stages": ["transcribe", "transcribe"]},
        {"stages": "transcribe"},
        {"stages": ["speech"]},
        {"since": "2026-13-01"},
        {"done_before": "yesterday"},
        {"limit": 0},
        {"profile": "nobody"},
        {"dry_run": "no"},
    ],
)
def test_bad_values_are_refused(load_dags, params):
    dag = load_dags().dags["reprocess"]
    dag.params.validate()
    with pytest.raises(ParamValidationError):
        dag.params.update(params)
        dag.params.validate()


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "fetch_audio"])
def test_only_the_stages_asked_for_are_forced(load_dags, stage):
    from channelscribe.stages.runner import parser

    dag = load_dags().dags["reprocess"]
    task = dag.get_task(f"ingest_video.{stage}")
    for stages, forced in (([stage], True), ([], False), ([other for other in STAGES if other != stage], False)):
        fresh = dag.get_task(f"ingest_video.{stage}").prepare_for_execution()
        fresh.video_ids = ["v1"]
        fresh.render_template_fields({"params": {"profile": "bundled", "stages": stages}, "task": fresh})
        assert parser(stage).parse_args(fresh.command(["v1"])[3:]).force is forced
    assert task.pool == "vram_gib"


def test_in_containers_it_takes_the_image_that_was_pinned(load_dags, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_RUNTIME", "docker")
    dag = load_dags().dags["reprocess"]
    assert dag.get_task("pin_image").downstream_task_ids == {"select_videos"}
    assert dag.get_task("ingest_video.diarize").operator_class.__name__ == "DockerStageOperator"
    assert not dag.has_task("ingest_video.fetch_audio")
