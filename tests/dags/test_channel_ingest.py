import inspect
import pkgutil
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.timetables.base import TimeRestriction

from channelscribe.profiles import STAGES
from channelscribe.settings import get_settings
from channelscribe.stages.runner import parser

pytestmark = pytest.mark.airflow


def rendered_stage(dag, stage, **params):
    task = dag.get_task(f"ingest_video.{stage}")
    task.video_ids = ["youtube-abc", "youtube-def"]  # as the mapped group fills it in
    task.render_template_fields({"params": {"profile": "bundled", "force": False} | params, "task": task})
    return task


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("stage", list(STAGES))
def test_rendered_command_parses_under_the_stages_own_parser(dag, stage, force):
    task = rendered_stage(dag, stage, force=force)
    interpreter, minus_m, module, *arguments = task.command(task.video_ids)
    assert (minus_m, module) == ("-m", f"channelscribe.stages.{stage}")
    assert interpreter == (sys.executable if stage == "fetch_audio" else str(get_settings().stages_interpreter))
    options = parser(stage).parse_args(arguments)
    assert options.video_ids == ["youtube-abc", "youtube-def"]
    assert (options.profile, options.force) == ("bundled", force)
    assert options.data_root == get_settings().data_dir


def test_stages_follow_one_another_and_run_after_a_skip(dag):
    previous = "select_videos"
    for stage in (*(f"ingest_video.{name}" for name in STAGES), "ingest_video.load"):
        task = dag.get_task(stage)
        assert previous in task.upstream_task_ids
        # The rules that one upstream task can satisfy wait for, and fail with, all the batches: see the DAG.
        assert task.trigger_rule == "all_done"
        previous = stage
    assert dag.get_task("report_run").upstream_task_ids == {"ingest_video.load", "discover_speakers"}
    assert dag.get_task("report_run").trigger_rule == "all_done"


def test_in_containers_the_models_stages_take_the_image_that_was_pinned(load_dags, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_RUNTIME", "docker")
    dag = load_dags().dags["channel_ingest"]
    assert dag.get_task("pin_image").downstream_task_ids == {"select_videos"}
    for stage in STAGES:
        task = dag.get_task(f"ingest_video.{stage}")
        if stage == "fetch_audio":  # yt-dlp is in Airflow's environment, and stages have no network
            assert task.operator_class.__name__ == "ProcessStageOperator"
        else:
            assert task.operator_class.__name__ == "DockerStageOperator"
            assert task.image == "{{ ti.xcom_pull(task_ids='pin_image', map_indexes=-1) }}"


def test_a_profile_that_the_pool_cannot_hold_is_an_import_error(load_dags, monkeypatch, tmp_path):
    small = tmp_path / "airflow_settings.yaml"
    small.write_text("airflow:\n  pools:\n    - {pool_name: vram_gib, pool_slot: 1}\n")
    monkeypatch.setattr("channelscribe.pools.SETTINGS_FILE", small)
    bag = load_dags()
    assert "channel_ingest" not in bag.dags
    assert len(bag.import_errors) == 3  # all DAGs that have the stages
    (error,) = {error.splitlines()[-1] for error in bag.import_errors.values()}
    assert "diarize of the profile bundled needs 2 GiB of the device, but the pool vram_gib has 1" in error


def test_maintenance_reaps_where_there_are_containers(load_dags, monkeypatch):
    tasks = {"remove_unused_artifacts", "report_stopped_runs", "send_alerts"}
    assert set(load_dags().dags["maintenance"].task_ids) == tasks
    monkeypatch.setenv("CHANNELSCRIBE_RUNTIME", "docker")
    assert set(load_dags().dags["maintenance"].task_ids) == tasks | {"reap_containers"}


def test_starts_paused_one_run_at_a_time_without_catching_up(dag):
    assert dag.is_paused_upon_creation
    assert not dag.catchup
    assert dag.max_active_runs == 1


def test_the_deadline_is_a_setting_and_its_callback_can_be_imported(load_dags, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_ALERT_RUN_MINUTES", "45")
    (deadline,) = load_dags().dags["channel_ingest"].deadline
    assert deadline.interval == timedelta(minutes=45)
    assert inspect.iscoroutinefunction(pkgutil.resolve_name(deadline.callback.path))


def test_schedule_is_a_setting(load_dags, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_SCHEDULE", "30 6 * * 1")
    assert load_dags().dags["channel_ingest"].timetable.expression == "30 6 * * 1"


def test_a_bad_schedule_is_an_import_error(load_dags, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_SCHEDULE", "every day")
    bag = load_dags()
    assert len(bag.import_errors) == 5  # all DAGs read the settings
    assert all("CHANNELSCRIBE_SCHEDULE='every day' is not allowed" in error for error in bag.import_errors.values())
    assert not bag.dags


@pytest.mark.parametrize("minutes_after", [1, 60, 143, 600, 1430])
def test_unpausing_a_fresh_database_starts_nothing(dag, monkeypatch, minutes_after):
    timetable = coerce_to_core_timetable(dag.timetable)
    moment = datetime(2026, 3, 2, 4, 0, tzinfo=UTC) + timedelta(minutes=minutes_after)
    # What the scheduler asks of a timetable that came to it through the database.
    restored = type(timetable).deserialize(timetable.serialize())
    monkeypatch.setattr("airflow.timetables.trigger.utcnow", lambda: moment)
    info = restored.next_dagrun_info(
        last_automated_data_interval=None,
        restriction=TimeRestriction(earliest=None, latest=None, catchup=False),
    )
    assert info.run_after == datetime(2026, 3, 3, 4, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "params",
    [
        {"channels": "https://example.org/feed.xml"},
        {"channels": [1]},
        {"channels": [""]},
        {"channels": ["a channel"]},
        {"channels": ["ftp://example.org/feed.xml"]},
        {"channels": ["UC" + "a" * 21]},
        {"channels": ["PL" + "a" * 10 + "&x"]},
        {"limit": 0},
        {"limit": 1001},
        {"limit": "5"},
        {"newest_first": "yes"},
        {"since": "yesterday"},
        {"since": "2026-13-01"},
        {"profile": "gpu-that-nobody-has"},
        {"force": 1},
    ],
)
def test_bad_values_are_refused(dag, params):
    dag.params.validate()
    with pytest.raises(ParamValidationError):
        dag.params.update(params)
        dag.params.validate()


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"since": None},
        {"since": "2026-01-31"},
        {"channels": ["@handle"], "limit": 1},
        {"channels": ["HTTPS://example.org/feed.xml", " @handle"]},
        {"channels": ["UC" + "a" * 22, " PL" + "a_-" * 10 + " "]},
        {"limit": None, "newest_first": None},
        {"newest_first": False},
    ],
)
def test_good_values_are_taken(dag, params):
    dag.params.update(params)
    assert dag.params.validate()


def choose(dag, channels, conf=None):
    pushed = {}
    ti = SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))
    function = dag.get_task("choose_channels").python_callable
    return function(
        params={"channels": channels, "profile": "bundled"}, dag_run=SimpleNamespace(conf=conf), ti=ti
    ), pushed


@pytest.fixture
def archive_at_hand(archive_dsn, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", archive_dsn)
    get_settings.cache_clear()
    return archive_dsn


def test_channels_are_made_into_urls_each_once(archive_at_hand, load_dags):
    dag = load_dags().dags["channel_ingest"]
    chosen, _ = choose(dag, ["@handle", "https://www.youtube.com/@handle", "https://example.org/feed.xml"])
    assert chosen == ["https://www.youtube.com/@handle/videos", "https://example.org/feed.xml"]


@pytest.mark.parametrize(
    ("channels", "conf", "sentence"),
    [
        (["@a"], {"chanels": ["@a"]}, "There is no param 'chanels': did you mean 'channels'?"),
        (["@a"], {"x": 1}, "There is no param 'x': choose from channels, limit, newest_first, since, profile, force."),
        (["ftp://example.org"], {}, "only http and https URLs are polled"),
    ],
)
def test_bad_configuration_is_refused_in_one_sentence(archive_at_hand, load_dags, channels, conf, sentence):
    dag = load_dags().dags["channel_ingest"]
    with pytest.raises(AirflowFailException) as caught:
        choose(dag, channels, conf)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_dag_survives_the_database(dag):
    # What the scheduler and the UI work with is this, not the file.
    from airflow.serialization.serialized_objects import DagSerialization

    restored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert isinstance(restored, SerializedDAG)
    assert set(restored.task_dict) == set(dag.task_dict)
    assert restored.get_task("ingest_video.diarize").pool_slots == dag.get_task("ingest_video.diarize").pool_slots
