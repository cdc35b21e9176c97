"""Whole runs of the DAG over a real archive, with a small program in the place of the one that needs the models."""

import pytest

from channelscribe.profiles import PROFILES
from channelscribe.settings import get_settings

pytestmark = pytest.mark.airflow

SPEC = PROFILES["bundled"].stages["identify_speakers"]
# Two voices: that of the first cluster is the enrolled one's.
VIDEO = f"""
INSERT INTO channels (url, title) VALUES ('https://example.org/feed', 'Feed');
INSERT INTO videos (video_id, channel_id, source_id, url, title, audio_s, codec, text_config, speech_s, covered_s)
VALUES ('v1', 1, 'v1', 'https://example.org/a.mp3', 'A tale', 60, 'mp3', 'english', 5, 5);
INSERT INTO stage_runs
VALUES ('v1', 'identify_speakers', 'f', 'bundled', 'e', '{SPEC.model}', '{SPEC.revision}', '{{}}', 'cpu', 'cpu', false,
        60, 1, '{{}}', 1, '{{}}', '0', now());
INSERT INTO embedding_models (kind, name, revision, dimension)
VALUES ('voice', '{SPEC.model}', '{SPEC.revision}', 192);
INSERT INTO clusters (video_id, cluster, speech_s, n_turns, n_voice_embeddings)
VALUES ('v1', 'SPEAKER_00', 5, 1, 1), ('v1', 'SPEAKER_01', 5, 1, 1);
INSERT INTO cluster_voice_embeddings
VALUES ('v1', 'SPEAKER_00', 1, array_cat('{{1}}', array_fill(0, '{{191}}'))::vector),
       ('v1', 'SPEAKER_01', 1, array_cat('{{0,1}}', array_fill(0, '{{190}}'))::vector);
"""


@pytest.fixture
def run(airflow_database, load_dags, archive_dsn, archive, voice_programs, monkeypatch, caplog, capsys):
    """Run the DAG; returns the state of the run, those of its tasks, and the log."""
    monkeypatch.setenv("CHANNELSCRIBE_STAGES_PYTHON", str(voice_programs))
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", archive_dsn)
    with archive, archive.cursor() as cursor:
        cursor.execute(VIDEO)

    def run_dag(clips, **conf):
        dag = load_dags().dags["enroll_speakers"]
        folder = get_settings().data_dir / "enrollments"
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in {"good.wav": "voice 0", "bad.wav": "noise"}.items():
            (folder / name).write_text(content)
        for task in dag.tasks:
            task.retries = 0
        dag_run = dag.test(run_conf={"name": "Ada", "clips": clips, **conf})
        return (
            dag_run.state,
            {task.task_id: task.state for task in dag_run.get_task_instances()},
            caplog.text + capsys.readouterr().out,
        )

    return run_dag


def names(archive) -> dict[str, str | None]:
    with archive, archive.cursor() as cursor:
        cursor.execute("SELECT cluster, name FROM clusters LEFT JOIN speakers USING (speaker_id)")
        return dict(cursor.fetchall())


def test_a_voice_is_enrolled_and_the_archive_relabelled(run, archive):
    state, tasks, log = run(["good.wav", "bad.wav"])
    assert (state, tasks) == ("success", {"enroll_voice": "success", "relabel_archive": "success"})
    assert "good.wav: 24.3 s of speech, SNR 31 dB" in log
    assert "bad.wav: too much noise" in log
    assert "Relabelled 1 clusters" in log
    assert names(archive) == {"SPEAKER_00": "Ada", "SPEAKER_01": None}


@pytest.mark.parametrize(
    ("clips", "conf", "reason"),
    [
        (["bad.wav"], {}, "No clip is good enough to know Ada by"),
        (["/etc/passwd"], {}, "put the clip there"),
        (["good.wav"], {"clip": "x"}, "There is no param 'clip': did you mean 'clips'?"),
    ],
)
def test_what_is_refused_fails_without_a_retry_and_changes_nothing(run, archive, clips, conf, reason):
    state, tasks, log = run(clips, **conf)
    assert (state, tasks) == ("failed", {"enroll_voice": "failed", "relabel_archive": "upstream_failed"})
    assert reason in log
    assert "AirflowFailException" in log
    assert set(names(archive).values()) == {None}


def test_where_stages_run_in_containers_so_do_the_clips(run, monkeypatch):
    # There is nobody to start one here: what counts is who is asked.
    monkeypatch.setenv("CHANNELSCRIBE_RUNTIME", "docker")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    state, _, log = run(["good.wav"])
    assert state == "failed"
    assert "No Docker engine answers at unix:///nowhere.sock" in log
