from datetime import date
from pathlib import Path

import pytest

from channelscribe.channels.options import ChannelOptions, parse_options, read_channels_file
from channelscribe.contracts import ListedVideo, Video
from channelscribe.errors import BadInputError
from channelscribe.settings import PROJECT_ROOT

HANDLE = "https://www.youtube.com/@a/videos"


def video(title: str = "A talk", minutes: float | None = 10, kind: str = "video", url: str = HANDLE) -> ListedVideo:
    found = Video(
        video_id="v", source_id="v", url="https://example.org/v", title=title, channel_url=url, channel_title="A",
        duration_s=None if minutes is None else minutes * 60,
    )  # fmt: skip
    return ListedVideo(video=found, kind=kind)


def test_of_a_youtube_channel_only_the_kinds_asked_for_are_taken() -> None:
    for kind, option in (("short", "shorts"), ("recording", "recordings")):
        assert not ChannelOptions().takes(video(kind=kind))
        assert ChannelOptions(**{option: True}).takes(video(kind=kind))
        assert ChannelOptions().takes(video(kind=kind, url="https://www.youtube.com/playlist?list=x"))


def test_without_options_all_is_taken() -> None:
    assert ChannelOptions().takes(video())
    assert ChannelOptions().takes(video(minutes=None))


@pytest.mark.parametrize(("minutes", "taken"), [(4.9, False), (5, True), (60, True), (61, False), (None, True)])
def test_durations_bound_what_is_known(minutes: float | None, taken: bool) -> None:
    assert ChannelOptions(min_minutes=5, max_minutes=60).takes(video(minutes=minutes)) is taken


@pytest.mark.parametrize(("title", "taken"), [("An EPISODE", True), ("A clip", False), ("Talks: 1", True)])
def test_titles_are_searched_whatever_their_case(title: str, taken: bool) -> None:
    assert ChannelOptions(title="episode|^talk").takes(video(title)) is taken


def test_tabs_are_of_youtube_channels_only() -> None:
    wide = ChannelOptions(shorts=True, recordings=True)
    channel = "https://www.youtube.com/@a"
    assert ChannelOptions().pages(HANDLE) == [HANDLE]
    assert wide.pages(HANDLE) == [HANDLE, f"{channel}/shorts", f"{channel}/streams"]
    for other in ("https://example.org/videos", "https://www.youtube.com/playlist?list=x", f"{channel}/streams"):
        assert wide.pages(other) == [other]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"limits": 3}, "limits: there is no such option; there are shorts, recordings"),
        ({"limit": 0}, "limit: "),
        ({"since": "yesterday"}, "since: "),
        ({"title": "("}, "title: it is no regular expression"),
        ({"language": "english"}, "language: 'english' is no language that Whisper knows: give its ISO 639 code"),
        ({"language": 7}, "language: "),
        ({"min_minutes": 9, "max_minutes": 8}, "min_minutes is more than max_minutes"),
    ],
)
def test_bad_options_are_one_line(values: dict[str, object], says: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_options(HANDLE, values)
    assert says in str(caught.value) and str(caught.value).startswith(HANDLE) and "\n" not in str(caught.value)


def test_a_file_lists_channels_with_and_without_options(tmp_path: Path) -> None:
    path = tmp_path / "channels.yaml"
    path.write_text(
        'channels:\n  - "@a"\n  - channel: https://example.org/feed\n    since: 2026-01-31\n    newest_first: false\n'
    )
    assert read_channels_file(path) == {
        HANDLE: ChannelOptions(),
        "https://example.org/feed": ChannelOptions(since=date(2026, 1, 31), newest_first=False),
    }


@pytest.mark.parametrize("text", ["", "channels:\n", "channels: []\n"])
def test_an_empty_file_lists_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "channels.yaml"
    path.write_text(text)
    assert read_channels_file(path) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("channels: [", "channels.yaml, line 1, column 12 is not YAML: expected the node content"),
        ("channels:\n  - channel: '@a'\n     limit: 3", "line 3, column 6 is not YAML: "),
        ("channels:\n  - @a", "line 2, column 5 is not YAML: found character '@' that cannot start any token."),
        ("channels:\n\t- '@a'", "line 2, column 1 is not YAML: "),
        ("channels: \x01", "channels.yaml is not YAML: "),
        ("a: b: c", "Compare it with channels.example.yaml; text with a colon"),
        ("- '@a'", "a list named `channels`"),
        ("channels: '@a'", "a list named `channels`"),
        ("chanels: []", "a list named `channels`"),
        ("channels: [{limit: 3}]", "names no channel"),
        ("channels: [3]", "names no channel"),
        ("channels: ['@a', 'https://youtube.com/@a']", "twice"),
        ("channels: ['file:///etc/passwd']", "only http and https"),
        ("channels: [{channel: '@a', x: 1}]", "there is no such option"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "channels.yaml"
    path.write_text(text)
    with pytest.raises(BadInputError) as caught:
        read_channels_file(path)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_the_example_is_right_when_it_is_uncommented(tmp_path: Path) -> None:
    example = (PROJECT_ROOT / "channels.example.yaml").read_text(encoding="utf-8")
    assert read_channels_file(PROJECT_ROOT / "channels.example.yaml") == {}
    path = tmp_path / "channels.yaml"
    lines = example.splitlines()
    at = lines.index("channels:")
    path.write_text(
        "\n".join([lines[at], *(line.replace("# -", "-").replace("#   ", "  ") for line in lines[at + 1 :])])
    )
    found = read_channels_file(path)
    assert len(found) == 3
    given = found["https://www.youtube.com/@another/videos"].model_dump(exclude_defaults=True)
    assert set(given) == set(ChannelOptions.model_fields) - {"shorts"}


@pytest.mark.parametrize(("given", "code"), [("de", "de"), (" EN", "en"), ("yue", "yue"), (False, "no"), (None, None)])
def test_a_language_is_a_code(given: object, code: str | None) -> None:
    assert parse_options(HANDLE, {"language": given}).language == code


def test_norwegian_needs_no_quotes(tmp_path: Path) -> None:
    path = tmp_path / "channels.yaml"
    path.write_text("channels:\n  - channel: '@a'\n    language: no\n")
    assert read_channels_file(path) == {HANDLE: ChannelOptions(language="no")}
