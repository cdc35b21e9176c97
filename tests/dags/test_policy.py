"""What must be true of every DAG, whoever writes the next one."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from airflow.sdk import BaseOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator

from channelscribe.failure_reasons import REASONS
from channelscribe.profiles import PROFILES, STAGES
from channelscribe_airflow.alerting import deliver_after_failed_run, deliver_after_run

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).resolve().parents[2]
DAGS = ["backfill", "channel_ingest", "enroll_speakers", "maintenance", "reprocess"]
KNOWN_OPERATORS = ("ProcessStageOperator", "DockerStageOperator", "_PythonDecoratedOperator")
SECTIONS = ("What it does", "Params", "A re-run", "When it fails")

# Runs in a process of its own: what is imported cannot be un-imported, and what is blocked stays blocked.
PARSE = """
import json, socket, sqlite3, sys
def refuse(*arguments, **named):
    raise AssertionError("parsing reached for the network or the database")
import airflow.dag_processing.dagbag as dagbag
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from airflow import settings
settings.Session = refuse
bag = dagbag.DagBag(dag_folder=sys.argv[1])
heavy = {"torch", "pyannote", "numpy", "yt_dlp", "psycopg2", "av", "senko", "sentence_transformers", "moonshine_voice"}
from_us = [name for name, module in sys.modules.items() if name.startswith("channelscribe")]
print(json.dumps({
    "errors": bag.import_errors, "dags": sorted(bag.dags), "ours": from_us, "heavy": sorted(heavy & set(sys.modules)),
}))
"""


def tasks_of(dags):
    return [task for dag in dags.values() for task in dag.tasks]


def test_the_dags_and_no_import_errors(load_dags):
    bag = load_dags()
    assert set(bag.dags) == set(DAGS)
    assert bag.import_errors == {}


def test_parsing_is_light_and_touches_neither_network_nor_database():
    result = subprocess.run(
        [sys.executable, "-c", PARSE, str(ROOT / "dags")],
        env={**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////nowhere/airflow.db"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = json.loads(result.stdout.splitlines()[-1])
    assert (found["errors"], found["dags"]) == ({}, DAGS)
    assert found["heavy"] == []
    # The packages that import something heavy at their first line.
    lazy = ("channelscribe.store", "channelscribe.models", "channelscribe.channels", "channelscribe.stages")
    assert not [name for name in found["ours"] if name.startswith(lazy)]


def test_what_a_run_found_wrong_is_told_once_it_is_over(load_dags):
    with_report = [dag for dag in load_dags().dags.values() if dag.has_task("report_run")]
    assert sorted(dag.dag_id for dag in with_report) == ["backfill", "channel_ingest", "reprocess"]
    for dag in with_report:
        assert dag.on_success_callback is deliver_after_run, dag.dag_id
        assert dag.on_failure_callback is deliver_after_failed_run, dag.dag_id


def test_every_task_has_owner_limits_and_retries_that_help(load_dags):
    for task in tasks_of(load_dags().dags):
        assert task.owner == "channelscribe", task.task_id
        assert task.execution_timeout and timedelta(0) < task.execution_timeout <= timedelta(hours=12), task.task_id
        assert 0 <= task.retries <= 3, task.task_id
        if task.pool == "downloads":
            # The network: it may be back in a while, and sites want to be left alone for a while.
            assert (task.retries, task.retry_exponential_backoff) == (3, 2), task.task_id
            assert task.max_retry_delay, task.task_id


def test_every_mapped_task_names_its_indexes(load_dags):
    for task in tasks_of(load_dags().dags):
        in_mapped_group = next(task.iter_mapped_task_groups(), None) is not None
        if in_mapped_group or isinstance(task, MappedOperator):
            assert task.map_index_template, task.task_id


def test_finished_videos_go_first(load_dags):
    for task in tasks_of(load_dags().dags):
        assert task.weight_rule == "upstream", task.task_id


def test_docstrings_have_their_sections(load_dags):
    for dag in load_dags().dags.values():
        assert [section for section in SECTIONS if section not in dag.doc_md] == []
        assert [name for name in dag.params if f"`{name}`" not in dag.doc_md] == []


def test_the_pages_of_dags_that_take_videos_are_a_runbook(load_dags):
    for name in ("backfill", "channel_ingest", "reprocess"):
        page = load_dags().dags[name].doc_md
        assert "## What to press" in page
        assert [reason.name for reason in REASONS if f"| {reason.name} | {reason.cause} |" not in page] == []
        assert "](" not in page  # what would lead nowhere in the UI


def test_pools_hold_what_the_tasks_and_the_bundled_profiles_ask_for(load_dags):
    content = yaml.safe_load((ROOT / "airflow_settings.yaml").read_text())
    slots = {pool["pool_name"]: pool["pool_slot"] for pool in content["airflow"]["pools"]}
    slots["default_pool"] = 128
    for task in tasks_of(load_dags().dags):
        assert task.pool_slots <= slots[task.pool], task.task_id
    # Those of hub models need the pool that is set for a GPU: docs/gpu-box.md. A smaller one is an import error.
    for profile in (PROFILES["bundled"], PROFILES["bundled-cuda"]):
        for name, spec in profile.stages.items():
            assert spec.memory_gib <= slots["vram_gib"], (profile.name, name)


def test_model_stages_take_the_pool_of_the_device(load_dags):
    profile = PROFILES["bundled"]
    dag = load_dags().dags["channel_ingest"]
    for stage in STAGES:
        task = dag.get_task(f"ingest_video.{stage}")
        if stage == "fetch_audio":
            assert task.pool == "downloads"
        else:
            assert (task.pool, task.pool_slots) == ("vram_gib", profile.stages[stage].memory_gib)
        assert task.execution_timeout == timedelta(minutes=profile.stages[stage].hard_limit_min)


def test_voices_are_embedded_in_the_pool_of_the_device(load_dags):
    task = load_dags().dags["enroll_speakers"].get_task("enroll_voice")
    assert (task.pool, task.pool_slots) == ("vram_gib", PROFILES["bundled"].stages["identify_speakers"].memory_gib)


def test_params_have_type_title_and_description(load_dags):
    for dag in load_dags().dags.values():
        for name in dag.params:
            param = dag.params.get_param(name)
            assert param.schema.get("type"), name
            assert param.schema.get("title"), name
            assert param.description, name


def test_operators_are_known(load_dags):
    # A task must be one of ours or a @task: anything else needs its own look at timeouts, kills and exit codes.
    for task in tasks_of(load_dags().dags):
        operator = task.operator_class if isinstance(task, MappedOperator) else type(task)
        assert issubclass(operator, BaseOperator)
        assert operator.__name__ in ("ProcessStageOperator", "DockerStageOperator", "_PythonDecoratedOperator"), (
            task.task_id
        )
