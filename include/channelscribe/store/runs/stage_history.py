"""What the stages took in past runs, by which a present one is called slow."""

from channelscribe.alerts.budgets import Usual
from channelscribe.store.connection import Connection, errors_in_words

# Old runs were on another machine, or with other code.
LAST_VIDEOS = 20

_USUAL = """
SELECT stage,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY work_s / (audio_s / 60)),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY start_s) FILTER (WHERE start_s > 0),
       count(*),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY n_bytes / fetch_s) FILTER (WHERE n_bytes > 0 AND fetch_s > 0)
FROM (
    SELECT stage, audio_s,
           coalesce((processing_s->>'total')::float, 0) - coalesce((processing_s->>'wait')::float, 0) AS work_s,
           coalesce((processing_s->>'container')::float, 0) + coalesce((processing_s->>'start')::float, 0)
           + coalesce((processing_s->>'import')::float, 0) + coalesce((processing_s->>'load')::float, 0) AS start_s,
           (metrics->>'n_bytes')::float AS n_bytes, (processing_s->>'fetch')::float AS fetch_s,
           row_number() OVER (PARTITION BY stage ORDER BY finished_at DESC) AS age
    FROM stage_runs
    WHERE profile = %s AND audio_s > 0 AND NOT empty
) AS runs
WHERE age <= %s
GROUP BY stage
"""


def usual_times(connection: Connection, profile: str) -> dict[str, Usual]:
    """What each stage took with a profile, as medians over its last videos; stages without any are left out.

    The wait for a turn at a site counts for no work. Of a batch, the first video carries what the start took.
    """
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(_USUAL, (profile, LAST_VIDEOS))
        return {
            stage: Usual(work_s_per_min, start_s or 0.0, n_videos, bytes_per_s)
            for stage, work_s_per_min, start_s, n_videos, bytes_per_s in cursor
        }
