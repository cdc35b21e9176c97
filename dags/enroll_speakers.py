"""# enroll_speakers

Makes a voice known by its name: in videos to come, and in all that are in the archive already.

**What it does.** `enroll_voice` checks the clips (enough speech, not clipped, little noise), takes voice embeddings of
those that are good enough, and stores them in the archive under the name; its log has a line for each clip, with the
reason for each that was refused. `relabel_archive` then compares every voice of the archive with those enrolled, and
writes the names that change. It touches no audio.

The clips are read by a program of the stages: with `CHANNELSCRIBE_RUNTIME=docker` in a container of the stages' image,
which may do no more than a stage's may, otherwise in a child process.

## Params

| param | meaning |
| --- | --- |
| `name` | whose voice it is |
| `clips` | recordings in which only this voice speaks: paths in the folder `enrollments` of the data root |
| `profile` | which profile's voice model knows the voice; enroll it for each that is in use |

For example, with `ada/interview.wav` copied into that folder:

    {"name": "Ada Lovelace", "clips": ["ada/interview.wav"]}

Paths that lead out of the folder are refused.

## A re-run

Replaces what the same clips gave before, and writes only the labels that differ. More clips of the same name add to it.

## When it fails

The log says why. No clip is good enough: record others, and see docs/speakers.md for what makes a good one. A clip is
enrolled under another name: leave it out, or `channelscribe forget` that name. If `relabel_archive` was stopped, clear
it: it goes on with what is left.
"""

import logging
from contextlib import closing
from datetime import timedelta

from airflow.sdk import DAG, Param, task

from channelscribe.pools import VRAM_POOL
from channelscribe.profiles import PROFILES, get_profile
from channelscribe.settings import get_settings
from channelscribe_airflow.outcomes import expected_errors

SETTINGS = get_settings()
PROFILE = get_profile(SETTINGS.profile)

logger = logging.getLogger(__name__)

params = {
    "name": Param(type="string", minLength=1, maxLength=100, title="Name", description="Whose voice it is."),
    "clips": Param(
        type="array",
        items={"type": "string", "minLength": 1},
        minItems=1,
        maxItems=100,
        title="Clips",
        description="Recordings in which only this voice speaks, in the folder `enrollments` of the data root.",
    ),
    "profile": Param(
        SETTINGS.profile,
        type="string",
        enum=list(PROFILES),
        title="Profile",
        description="Which profile's voice model knows the voice.",
    ),
}

with DAG(
    "enroll_speakers",
    description="Makes a voice known by its name, in the whole archive.",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    # It runs only when somebody asks.
    is_paused_upon_creation=False,
    params=params,
    tags=["channelscribe"],
    default_args={
        "owner": "channelscribe",
        "retries": 1,
        "retry_delay": timedelta(seconds=30),
        "execution_timeout": timedelta(minutes=20),
        "weight_rule": "upstream",
    },
) as dag:

    @task(pool=VRAM_POOL, pool_slots=PROFILE.stages["identify_speakers"].memory_gib)
    def enroll_voice(params=None, dag_run=None, ti=None) -> None:
        """The voice's embeddings of the clips that are good enough."""
        from channelscribe.pools import require_reserved
        from channelscribe.store.connection import archive_dsn, connect
        from channelscribe.store.speakers.enrolling import enroll_clips
        from channelscribe.workspace import Workspace
        from channelscribe_airflow.conf import refuse_unknown
        from channelscribe_airflow.programs import programs_for

        with expected_errors():
            refuse_unknown(dag_run.conf or {}, dag.params)
            require_reserved(get_profile(params["profile"]), PROFILE)
            clips = [Workspace(SETTINGS.data_dir).enrollment_clip(clip) for clip in params["clips"]]
            with closing(connect(archive_dsn(SETTINGS))) as connection:
                enroll_clips(
                    connection, SETTINGS, params["name"], clips, params["profile"], logger.info, programs_for(ti)
                )

    @task(execution_timeout=timedelta(hours=2))
    def relabel_archive(params=None) -> None:
        """The names of all voices in the archive that the enrolled ones decide."""
        from channelscribe.store.connection import archive_dsn, connect
        from channelscribe.store.speakers.discovered import identify_all
        from channelscribe.store.speakers.enrolling import voice_model

        with expected_errors(), closing(connect(archive_dsn(SETTINGS))) as connection:
            labelled, _ = identify_all(connection, voice_model(params["profile"]))
        logger.info("Relabelled %d clusters and %d utterances", labelled.n_clusters, labelled.n_utterances)

    enroll_voice() >> relabel_archive()
