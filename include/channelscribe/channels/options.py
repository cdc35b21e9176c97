"""What is taken of a channel, and the file that lists channels with it."""

import re
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from channelscribe.channels.source import normalise_channel
from channelscribe.contracts import Contract, ListedVideo
from channelscribe.errors import BadInputError
from channelscribe.languages import LANGUAGES
from channelscribe.settings import PROJECT_ROOT

CHANNELS_FILE = PROJECT_ROOT / "channels.yaml"

_YOUTUBE_VIDEOS = re.compile(r"https://www\.youtube\.com/.+/videos")


class ChannelOptions(Contract):
    """The options of one channel; docs/channels.md is made from the descriptions."""

    shorts: bool = Field(False, description="Of a YouTube channel: its shorts, too.")
    recordings: bool = Field(False, description="Of a YouTube channel: recordings of its live streams, too.")
    since: date | None = Field(None, description="Leave out what was published before this day (UTC).")
    limit: int | None = Field(
        None, ge=1, le=1000, description="New videos taken in one run; the setting CHANNELSCRIBE_LIMIT if unset."
    )
    newest_first: bool = Field(True, description="Take the newest; the oldest if false.")
    backfill: int | None = Field(
        None, ge=1, le=1000, description="The DAG backfill takes this many more of its oldest videos every day."
    )
    min_minutes: float | None = Field(None, ge=0, description="Leave out what is shorter.")
    max_minutes: float | None = Field(None, gt=0, description="Leave out what is longer.")
    title: str | None = Field(
        None, min_length=1, max_length=200, description="Take only titles in which this regular expression is found."
    )
    language: str | None = Field(None, description="The language of its videos, such as en; detected if unset.")

    @field_validator("title")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"it is no regular expression: {error}") from None
        return value

    @field_validator("language", mode="before")
    @classmethod
    def _is_known(cls, value: object) -> object:
        # Norwegian's code without quotes is "false" to YAML.
        code = "no" if value is False else value
        if isinstance(code, str) and (code := code.strip().lower()) not in LANGUAGES:
            raise ValueError(f"{value!r} is no language that Whisper knows: give its ISO 639 code, such as en or de")
        return code

    @model_validator(mode="after")
    def _has_room(self) -> "ChannelOptions":
        if self.min_minutes is not None and self.max_minutes is not None and self.min_minutes > self.max_minutes:
            raise ValueError("min_minutes is more than max_minutes")
        return self

    def takes(self, listed: ListedVideo) -> bool:
        """Whether kind, title and duration fit. What is not known of a video does not speak against it."""
        video = listed.video
        if _YOUTUBE_VIDEOS.fullmatch(video.channel_url) and not {
            "video": True, "short": self.shorts, "recording": self.recordings,
        }[listed.kind]:  # fmt: skip
            return False
        minutes = None if video.duration_s is None else video.duration_s / 60
        return (
            (self.title is None or re.search(self.title, video.title, re.IGNORECASE) is not None)
            and (minutes is None or self.min_minutes is None or minutes >= self.min_minutes)
            and (minutes is None or self.max_minutes is None or minutes <= self.max_minutes)
        )

    def pages(self, channel_url: str) -> list[str]:
        """What is listed of a channel: itself, and other tabs of a YouTube channel."""
        if not _YOUTUBE_VIDEOS.fullmatch(channel_url):
            return [channel_url]
        channel = channel_url.removesuffix("/videos")
        tabs = {"shorts": self.shorts, "streams": self.recordings}
        return [channel_url, *(f"{channel}/{tab}" for tab, wanted in tabs.items() if wanted)]


def parse_options(channel: str, values: dict[str, Any]) -> ChannelOptions:
    """Options as a person gives them.

    Raises:
        BadInputError: a name is not one of them, or a value is not allowed.
    """
    try:
        return ChannelOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        reason = str(first["msg"]).removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            reason = f"there is no such option; there are {', '.join(ChannelOptions.model_fields)}"
        raise BadInputError(f"{channel}: {f'{name}: ' if name else ''}{reason}.") from None


def read_channels_file(path: Path) -> dict[str, ChannelOptions]:
    """The channels of a file, by canonical URL: a list whose items are a channel, or a channel with its options.

    Raises:
        BadInputError: the file is not such a list.
    """
    try:
        listed = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _not_yaml(path, error) from None
    entries = listed.get("channels") or [] if isinstance(listed, dict) else None
    if not isinstance(entries, list) or set(listed) - {"channels"}:
        raise BadInputError(f"{path} holds something else than a list named `channels`: see docs/channels.md.")
    found: dict[str, ChannelOptions] = {}
    for entry in entries:
        if isinstance(entry, str):
            entry = {"channel": entry}
        if not isinstance(entry, dict) or not isinstance(entry.get("channel"), str):
            raise BadInputError(f"{path}: {entry!r} names no channel: write `- channel: URL or @handle`.")
        url = normalise_channel(entry["channel"])
        if url in found:
            raise BadInputError(f"{path} lists {url} twice: leave one out.")
        found[url] = parse_options(url, {name: value for name, value in entry.items() if name != "channel"})
    return found


def _not_yaml(path: Path, error: yaml.YAMLError | UnicodeDecodeError) -> BadInputError:
    where, what = str(path), str(error)
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        where += f", line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
        what = error.problem or what
    return BadInputError(
        f"{where} is not YAML: {' '.join(what.split())}. Compare it with channels.example.yaml; text with a colon, @, "
        "# or % needs quotes."
    )
