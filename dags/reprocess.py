"""# reprocess

Does stages again for videos that the archive has: with other models, or the same ones. Nothing is fetched again.

**What it does.** `select_videos` looks at the videos of the archive, and says in its log which of them it would do
again, what of each, how many hours of audio that is, and about how long it would take. **A dry run, the default, ends
there and changes nothing.** With `dry_run` false they go, in batches, through `diarize`, `transcribe`,
`identify_speakers`, `embed_text` and `load`. What was loaded before stays, and is searched, until the new result of a
video takes its place in one transaction; a video that fails on the way keeps the old one.

Without `stages` it does what the profile would make otherwise than it was made: after an upgrade, or with another
profile. With `stages` it does those again although their results are there. What depends on a result that became
another follows by itself. More than one run's worth is taken run by run, those done longest ago first.

Search finds all videos by their meaning throughout, also while some have the text embeddings of one model and the rest
those of another: docs/reprocess.md.

## Params

| param | meaning |
| --- | --- |
| `channels` | URLs, or @handles or ids of YouTube; if empty, the whole archive |
| `since` | leave out what was published before this day (UTC) |
| `stages` | stages to do again although their results are there; if empty, what is missing |
| `profile` | which engine and model does each stage |
| `limit` | videos of this run |
| `done_before` | leave out what was done on this day (UTC) or later; for redoing `stages` over several runs |
| `dry_run` | only say what would be done |

For example, to transcribe a channel's videos of this year again:

    {"channels": ["https://www.youtube.com/@handle"], "since": "2026-01-01", "stages": ["transcribe"], "dry_run": false}

## A re-run

Without `stages`, does what is still missing. With them, does them again, but for what `done_before` leaves out.

## When it fails

As with `channel_ingest`: the log of `report_run` names every failed video with the reason, and the table below says
what each means. Clear the red task with what follows it, or trigger it again without `stages`. A video whose audio is
gone is named and left out: ingest it again. A video that another run is at work on waits for the next run.
"""

import logging
from datetime import date, timedelta

from airflow.sdk import DAG, Param, task

from channelscribe.profiles import STAGES, get_profile
from channelscribe.settings import get_settings
from channelscribe_airflow import params as params_of
from channelscribe_airflow.outcomes import expected_errors
from channelscribe_airflow.runbook import with_runbook
from channelscribe_airflow.video_tasks import (
    MAX_VIDEOS,
    VIDEO_DAG,
    discover_speakers,
    in_containers,
    ingest_video,
    pin_image,
)

SETTINGS = get_settings()
PROFILE = get_profile(SETTINGS.profile)
# Nothing is fetched.
REDO = [stage for stage in STAGES if stage != "fetch_audio"]

logger = logging.getLogger(__name__)

params = {
    "channels": params_of.channels("the whole archive."),
    "since": params_of.day("Since", "Leave out what was published before this day (UTC)."),
    "stages": Param(
        [],
        type="array",
        items={"type": "string", "enum": REDO},
        uniqueItems=True,
        examples=REDO,
        title="Stages",
        description="Do these again although their results are there. Without any, what the profile has no result of.",
    ),
    "profile": params_of.profile(SETTINGS.profile),
    "limit": params_of.limit(f"Videos of this run, those done longest ago first. Empty: {MAX_VIDEOS}.", MAX_VIDEOS),
    "done_before": params_of.day(
        "Done before", "Leave out what was done on this day (UTC) or later: for redoing stages over several runs."
    ),
    "dry_run": Param(
        True,
        type="boolean",
        title="Dry run",
        description="Only say what would be done, in the log of select_videos.",
    ),
}

with DAG(
    "reprocess",
    description="Does stages again for videos of the archive, without fetching them again. A dry run first.",
    doc_md=with_runbook(__doc__),
    schedule=None,
    # It runs only when somebody asks.
    is_paused_upon_creation=False,
    params=params,
    **VIDEO_DAG,
) as dag:
    # Looks at every artifact of the archive's videos.
    @task(trigger_rule="all_done", execution_timeout=timedelta(hours=1))
    def select_videos(ti=None, params=None, dag_run=None) -> list[list[str]]:
        """The ids of the videos to do again, in batches; none in a dry run."""
        from channelscribe.pools import require_reserved
        from channelscribe.store.redo import RedoRequest
        from channelscribe_airflow.conf import refuse_unknown
        from channelscribe_airflow.selection import select_archived_videos

        with expected_errors(ti):
            refuse_unknown(dag_run.conf or {}, dag.params)
            profile = get_profile(params["profile"])
            require_reserved(profile, PROFILE)
            days = {name: params[name] and date.fromisoformat(params[name]) for name in ("since", "done_before")}
            request = RedoRequest(tuple(params["channels"]), stages=frozenset(params["stages"]), **days)
            return select_archived_videos(ti, dag_run, params, request, profile)

    @task(trigger_rule="all_done", retries=0)
    def report_run(params=None, dag_run=None, ti=None) -> None:
        """What was loaded, what failed and why, and where the time went. Fails if anything did."""
        from channelscribe_airflow.ingest_report import conclude_redo

        conclude_redo(ti, dag_run, params, get_profile(params["profile"]))

    selected = select_videos()
    if in_containers():
        pin_image() >> selected
    force = {stage: f"{{{{ '{stage}' in params.stages }}}}" for stage in REDO}
    done, report = ingest_video("{{ params.profile }}", force).expand(video_ids=selected), report_run()
    done >> discover_speakers("{{ params.profile }}") >> report
    done >> report
