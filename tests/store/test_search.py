"""Search on the real server."""

import io
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
from psycopg2 import sql
from rich.console import Console

from channelscribe.errors import BadInputError, MisconfiguredError
from channelscribe.profiles import BUNDLED
from channelscribe.store.connection import open_connection
from channelscribe.store.models import find_model
from channelscribe.store.search.hybrid import search
from channelscribe.store.search.narrowing import Narrowing
from channelscribe.store.search.nearest import by_index
from channelscribe.store.search.presentation import as_json, print_hits

SPEC = BUNDLED.stages["embed_text"]
MODEL = (SPEC.model, SPEC.revision)
TALE = (
    ("SPEAKER_00", 0.0, "It was the best of times, it was the worst of times"),
    ("SPEAKER_01", 10.0, "it was the spring of hope, it was the winter of despair"),
    ("SPEAKER_00", 20.0, "we had everything before us"),
)


def axis(number: int, dimension: int = 384) -> np.ndarray:
    vector = np.zeros(dimension, np.float32)
    vector[number] = 1
    return vector


def towards(*weights: float, dimension: int = 384) -> np.ndarray:
    vector = np.zeros(dimension, np.float32)
    vector[: len(weights)] = weights
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.fixture
def tale(studio, script):
    studio.add(script(TALE))
    return studio.connection


def test_an_empty_archive_has_no_answer(archive):
    assert search(archive, "anything", None, MODEL) == []
    assert search(archive, "anything", axis(0), MODEL) == []


def test_an_archive_without_its_tables_says_what_to_do(empty_dsn):
    with pytest.raises(MisconfiguredError, match="channelscribe migrate"):
        search(open_connection(empty_dsn), "anything", None, MODEL)


def test_a_hit_begins_at_the_word_and_says_who_and_where(tale):
    (hit,) = search(tale, "winters and DESPAIR", None, MODEL)
    assert (hit.video_id, hit.title, hit.channel) == ("v1", "Title of v1", "Classics")
    assert hit.start_s == 10.0 + 0.5 * 9  # "winter" is the tenth word of its utterance
    assert hit.speakers == ("SPEAKER_01",)
    assert hit.text == TALE[1][2]
    assert hit.highlighted == "it was the spring of hope, it was the **winter** of **despair**"
    assert hit.link == "https://www.youtube.com/watch?v=v1&t=14s"


def test_words_that_are_not_all_there_do_not_match(tale):
    assert search(tale, "spring elephants", None, MODEL) == []
    assert search(tale, '"hope of spring"', None, MODEL) == []
    assert [hit.start_s for hit in search(tale, '"spring of hope" -summer', None, MODEL)] == [11.5]


def test_a_chunk_of_several_voices_names_first_who_says_it(studio, script):
    studio.add(script(TALE, lines_per_chunk=3))
    (hit,) = search(studio.connection, "spring of hope", None, MODEL)
    assert hit.speakers == ("SPEAKER_01", "SPEAKER_00")
    assert hit.start_s == 11.5


def test_meaning_alone_finds_what_no_word_does(studio, script):
    vectors = {TALE[0][2]: axis(0), TALE[1][2]: axis(1), TALE[2][2]: axis(2)}
    studio.add(script(TALE, text_vectors=vectors))
    hits = search(studio.connection, "zzz", towards(0.1, 0.5, 0.9), MODEL)
    assert [hit.start_s for hit in hits] == [20.0, 10.0, 0.0]
    assert hits[0].highlights == ()


SEASONS = (
    ("SPEAKER_00", 0.0, "summers are long"),
    ("SPEAKER_01", 10.0, "spring of hope"),
    ("SPEAKER_00", 20.0, "winter of despair"),
)


@pytest.mark.parametrize(
    ("words", "starts"),
    [
        ("season", [0.0, 10.0, 20.0]),
        ("season -summer", [10.0, 20.0]),
        ('season -summer -"winter of despair"', [10.0]),
        ('season -"despair of winter"', [0.0, 10.0, 20.0]),
        ("season -summer or -winter", [0.0, 10.0, 20.0]),
        ("season -summer or time -winter -summer", [10.0, 20.0]),
        ("season -the", [0.0, 10.0, 20.0]),
        ("season -50%", [0.0, 10.0, 20.0]),
        (r"season -'\%s\'", [0.0, 10.0, 20.0]),
    ],
)
@pytest.mark.parametrize("filters", [{}, {"channel": "Classics"}, {"speaker": "SPEAKER_00"}])
def test_what_must_not_be_there_is_not_found_by_its_meaning_either(studio, script, words, starts, filters):
    near = {text: towards(1.0, number / 10) for number, (_, _, text) in enumerate(SEASONS)}
    studio.add(script(SEASONS, text_vectors=near))
    studio.rows("SET enable_seqscan = off")
    studio.rows("SET enable_sort = off")
    hits = search(studio.connection, words, axis(0), MODEL, **filters)
    said = {start_s for speaker, start_s, _ in SEASONS if filters.get("speaker", speaker) == speaker}
    assert [hit.start_s for hit in hits] == [start_s for start_s in starts if start_s in said]


def test_what_must_not_be_there_is_stemmed_by_each_language(studio, script):
    for video_id, language, text in (("de", "de", "die Häuser"), ("en", "en", "the Häuser"), ("fr", "fr", "maison")):
        lines = (("SPEAKER_00", 0.0, text),)
        studio.add(script(lines, video_id=video_id, language=language, text_vectors={text: axis(0)}))
    hits = search(studio.connection, "zzz -haus", axis(0), MODEL)
    assert {hit.video_id for hit in hits} == {"en", "fr"}


def test_the_merged_order_is_that_of_reciprocal_ranks(studio, script):
    """By words: B, then A. By meaning: C, A, B. Then A = 1/62 + 1/62, B = 1/61 + 1/63 is first by a hair, C last."""
    lines = (
        ("SPEAKER_00", 0.0, "hope is one of many other words in a very long line"),
        ("SPEAKER_00", 20.0, "hope hope hope"),
        ("SPEAKER_00", 30.0, "an unrelated line"),
    )
    vectors = {lines[0][2]: towards(0.8, 0.6), lines[1][2]: towards(0.6, 0.8), lines[2][2]: axis(0)}
    studio.add(script(lines, text_vectors=vectors))
    by_words = search(studio.connection, "hope", None, MODEL)
    assert [hit.start_s for hit in by_words] == [20.0, 0.0]
    by_meaning = search(studio.connection, "zzz", axis(0), MODEL)
    assert [hit.start_s for hit in by_meaning] == [30.0, 0.0, 20.0]
    both = search(studio.connection, "hope", axis(0), MODEL)
    assert [hit.start_s for hit in both] == [20.0, 0.0, 30.0]
    assert [hit.score for hit in both] == pytest.approx([1 / 61 + 1 / 63, 1 / 62 + 1 / 62, 1 / 61])


def test_limit_bounds_the_hits(studio, script):
    studio.add(script([("SPEAKER_00", 5.0 * n, f"hope number {n}") for n in range(20)]))
    assert len(search(studio.connection, "hope", axis(0), MODEL, limit=3)) == 3
    assert len(search(studio.connection, "hope", None, MODEL, limit=200)) == 20


def test_speaker_filters_by_label_and_by_name(studio, script, voice):
    studio.enroll("Ada Lovelace", voice("SPEAKER_01"))
    studio.add(script(TALE, lines_per_chunk=3))
    for speaker in ("ada lovelace", "SPEAKER_01", "speaker_01"):
        (hit,) = search(studio.connection, "it was", axis(0), MODEL, speaker=speaker)
        assert hit.start_s == 10.0  # not 0.0, where someone else says the same
        assert hit.speakers[0] == "Ada Lovelace"
    assert search(studio.connection, "best times", None, MODEL, speaker="SPEAKER_01") == []
    assert search(studio.connection, "best times", axis(0), MODEL, speaker="Nobody") == []


def test_of_a_cluster_of_two_voices_each_is_found_by_its_own_name(studio, script, voice):
    studio.enroll("Ada", voice("a"))
    studio.enroll("Bob", voice("b"))
    lines = (("SPEAKER_00", 0.0, "spring of hope"), ("SPEAKER_00", 5.0, "winter of hope"))
    mixed = {"SPEAKER_00": 0.9}
    studio.add(script(lines, lines_per_chunk=2, variances=mixed, turn_voices={0.0: voice("a"), 5.0: voice("b")}))
    (hit,) = search(studio.connection, "hope", axis(0), MODEL, speaker="Bob")
    assert (hit.start_s, hit.speakers) == (6.0, ("Bob", "Ada"))
    assert search(studio.connection, "spring", None, MODEL, speaker="Bob") == []
    (hit,) = search(studio.connection, "spring hope", None, MODEL)
    assert hit.speakers == ("Ada", "Bob")


def test_channel_filters_by_title_url_and_handle(studio, script):
    studio.add(script(TALE))
    other = {"channel_url": "https://example.org/feed.xml", "channel_title": "Other_"}
    studio.add(script(TALE, video_id="v2", video=other))

    def found(channel: str) -> set[str]:
        return {hit.video_id for hit in search(studio.connection, "spring", axis(0), MODEL, channel=channel)}

    assert found("classics") == found("@classics") == found("https://www.youtube.com/@classics/videos/") == {"v1"}
    assert found("https://youtube.com/@Classics") == found("https://m.youtube.com/@classics/videos?si=x") == {"v1"}
    assert found("Other_") == found("https://example.org/feed.xml") == {"v2"}
    assert found("OtherX") == found("%") == found("@class") == set()


def test_since_keeps_that_day_and_later(studio, script):
    for video_id, day in (("v1", 1), ("v2", 2), ("v3", 3)):
        studio.add(script(TALE, video_id=video_id, video={"published_at": datetime(2026, 5, day, tzinfo=UTC)}))
    studio.add(script(TALE, video_id="v4", video={"published_at": None}))
    hits = search(studio.connection, "spring", axis(0), MODEL, since=date(2026, 5, 2), limit=50)
    assert {hit.video_id for hit in hits} == {"v2", "v3"}


def test_until_keeps_that_day_and_earlier(studio, script):
    for video_id, moment in (
        ("v1", datetime(2026, 5, 1, 12, tzinfo=UTC)),
        ("v2", datetime(2026, 5, 2, 23, 59, 59, tzinfo=UTC)),
        ("v3", datetime(2026, 5, 3, tzinfo=UTC)),
    ):
        studio.add(script(TALE, video_id=video_id, video={"published_at": moment}))
    hits = search(studio.connection, "spring", axis(0), MODEL, until=date(2026, 5, 2), limit=50)
    assert {hit.video_id for hit in hits} == {"v1", "v2"}
    both = {"since": date(2026, 5, 2), "until": date(2026, 5, 2)}
    assert {hit.video_id for hit in search(studio.connection, "spring", axis(0), MODEL, **both)} == {"v2"}


def test_video_filters_by_id_and_url(studio, script):
    for video_id in ("v1", "v2"):
        studio.add(script(TALE, video_id=video_id, video={"url": f"https://example.org/{video_id}.mp3"}))

    def found(video: str) -> set[str]:
        return {hit.video_id for hit in search(studio.connection, "spring", axis(0), MODEL, video=video)}

    assert found("v2") == found("https://example.org/v2.mp3") == {"v2"}
    assert found("v") == found("https://example.org/") == set()


def test_hits_of_one_video_can_be_shown_together(studio, script):
    studio.add(script(TALE, video={"title": "The first"}))
    studio.add(script(TALE, video_id="v2", video={"title": "The second"}))
    hits = search(studio.connection, "spring or everything", None, MODEL, limit=50)
    printed = Console(file=io.StringIO(), width=200)
    print_hits(printed, hits, by_video=True)
    lines = printed.file.getvalue().splitlines()
    titles = [line for line in lines if line.startswith("The ")]
    assert len(titles) == 2 and {title[:9] for title in titles} == {"The first", "The secon"}
    times = [line.split()[0] for line in lines if "SPEAKER_" in line]
    assert len(times) == len(hits)
    half = len(times) // 2
    assert times[:half] == sorted(times[:half]) and times[half:] == sorted(times[half:])


@pytest.mark.parametrize(
    "words",
    [
        "'; DROP TABLE videos; --",
        "%s %(x)s {0}",
        '"unbalanced',
        "a & | ! ( :*",
        "<b>hope</b>",
        "\\",
        "the of",
        "🦊" * 500,
    ],
)
def test_hostile_words_are_only_words(tale, words):
    search(tale, words, axis(0), MODEL, speaker=words, channel=words)
    search(tale, words, axis(0), MODEL)
    assert len(search(tale, "spring", None, MODEL)) == 1


def test_a_hostile_text_is_shown_as_it_is(studio, script):
    text = "<script>hope</script> \x02hope\x03 <b>spring</b>"
    studio.add(script((("SPEAKER_00", 0.0, text), ("SPEAKER_00", 30.0, "<i>hope</i> & <spring>"))))
    assert {hit.text for hit in search(studio.connection, "hope", None, MODEL)} >= {text}
    (marked,) = [hit for hit in search(studio.connection, "hope", None, MODEL) if hit.start_s == 30.0]
    assert marked.highlighted == "<i>**hope**</i> & <spring>"


@pytest.mark.parametrize("words", ["", "  \n", "a\x00b"])
def test_no_words_are_refused(archive, words):
    with pytest.raises(BadInputError, match="give some words"):
        search(archive, words, None, MODEL)


def test_words_to_leave_out_alone_are_refused(archive):
    with pytest.raises(BadInputError, match="only say what to leave out"):
        search(archive, "-summer", None, MODEL)


def test_an_embedding_of_another_size_is_refused(tale):
    with pytest.raises(BadInputError, match=r"shape \(8,\), but the archive's vectors have 384"):
        search(tale, "hope", axis(0, 8), MODEL)


def test_each_language_is_stemmed_as_its_own(studio, script):
    studio.add(script((("SPEAKER_00", 0.0, "die Häuser der Stadt"),), video_id="de", language="de"))
    studio.add(script((("SPEAKER_00", 0.0, "the houses of the city"),), video_id="en", language="en-GB"))
    studio.add(script((("SPEAKER_00", 0.0, "家 yok houses"),), video_id="xx", language="xx"))
    assert [hit.video_id for hit in search(studio.connection, "haus", None, MODEL)] == ["de"]
    assert [hit.video_id for hit in search(studio.connection, "house", None, MODEL)] == ["en"]


def test_two_models_side_by_side_each_use_their_own_index(studio, script, text_model):
    other = text_model(BUNDLED, "other")
    lines = [("SPEAKER_00", 5.0 * n, f"line number {n}") for n in range(3)]
    texts = [line[2] for line in lines]
    studio.add(script(lines, text_vectors=dict(zip(texts, map(axis, (0, 1, 2)), strict=True))))
    vectors = {text: axis(n, 8) for text, n in zip(texts, (2, 1, 0), strict=True)}
    studio.add(script(lines, profile=other, text_dimension=8, text_vectors=vectors))

    connection = studio.connection
    assert search(connection, "zzz", axis(0), MODEL)[0].start_s == 0.0
    assert search(connection, "zzz", axis(0, 8), ("other", "1"))[0].start_s == 10.0
    with connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        for (name, revision), vector in ((MODEL, axis(0)), (("other", "1"), axis(0, 8))):
            model = find_model(cursor, "text", name, revision)
            statement = by_index(model, Narrowing())
            cursor.execute(sql.SQL("EXPLAIN ") + statement, {"vector": vector, "candidates": 10})
            plan = "\n".join(row[0] for row in cursor)
            assert f"Index Scan using text_embeddings_hnsw_{model.model_id} on text_embeddings" in plan


def test_a_model_of_many_dimensions_is_indexed_in_half_precision(studio, script, text_model):
    large = text_model(BUNDLED, "large")
    studio.add(script(TALE, profile=large, text_dimension=2048, text_vectors={TALE[1][2]: axis(7, 2048)}))
    assert search(studio.connection, "zzz", axis(7, 2048), ("large", "1"))[0].start_s == 10.0
    (definition,) = studio.rows("SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'text_embeddings_hnsw_%%'")[0]
    assert "halfvec(2048)" in definition


def test_a_filter_still_finds_what_is_far_from_the_query(studio, script):
    """600 nearer chunks of another video do not push the only allowed one out of an index scan."""
    crowd = [("SPEAKER_00", 1.0 * n, f"crowd {n}") for n in range(600)]
    random = np.random.default_rng(0)
    near = {text: towards(1.0, *random.normal(size=383) / 10) for _, _, text in crowd}
    studio.add(script(crowd, video_id="crowd", text_vectors=near))
    far = {"channel_title": "Far", "channel_url": "https://example.org/far"}
    studio.add(
        script(
            (("SPEAKER_00", 0.0, "far away"),),
            video_id="far",
            video=far,
            text_vectors={"far away": towards(0.2, *random.normal(size=383) / 10)},
        )
    )
    # So few rows would be sorted; those of a large archive come from the index.
    studio.rows("SET enable_seqscan = off")
    studio.rows("SET enable_sort = off")
    hits = search(studio.connection, "zzz", axis(0), MODEL, channel="Far")
    assert [hit.video_id for hit in hits] == ["far"]


def test_what_the_site_no_longer_has_is_marked(studio, script):
    studio.add(script())
    assert search(studio.connection, "best", None, MODEL)[0].availability is None
    studio.rows(
        "INSERT INTO listed_videos (video_id, source_id, url, title, kind, availability) "
        "VALUES ('v1', 'v1', 'u', 't', 'video', 'removed')"
    )
    (hit,) = search(studio.connection, "best", None, MODEL)
    assert as_json(hit)["availability"] == "removed"
    for by_video in (False, True):
        console = Console(file=io.StringIO(), width=200)
        print_hits(console, [hit, replace(hit, availability="public")], by_video=by_video)
        assert console.file.getvalue().count("(Classics, 2026-01-01, removed at the source)") == 1
