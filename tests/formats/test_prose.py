"""Text and Markdown; the latter as a renderer shows it."""

import re

import pytest
from markdown_it import MarkdownIt

from channelscribe.formats import written

NAMES = {"SPEAKER_00": "Ada Lovelace"}


def shown(markdown: str) -> list[str]:
    """The kinds of blocks of a page, and what a reader sees of each, emphasis and addresses apart."""
    blocks = []
    for token in MarkdownIt("commonmark").parse(markdown):
        if token.type == "inline":
            blocks.append("".join(child.content for child in token.children))
            assert {child.type for child in token.children} <= {
                "text", "text_special", "strong_open", "strong_close", "link_open", "link_close",
            }  # fmt: skip
        else:
            assert re.fullmatch("(paragraph|heading)_(open|close)", token.type), token
    return blocks


def addresses(markdown: str) -> list[str]:
    tokens = MarkdownIt("commonmark").parse(markdown)
    links = (child for token in tokens for child in token.children or () if child.type == "link_open")
    return [str(link.attrs["href"]) for link in links]


def test_text_has_a_line_for_every_utterance(recording):
    made = recording(("SPEAKER_00", 59.9, "Hello."), ("SPEAKER_01", 3661.0, "Hi\nthere"), names=NAMES)
    assert written(made, "txt") == "[0:00:59] Ada Lovelace: Hello.\n[1:01:01] SPEAKER_01: Hi there\n"


def test_hostile_text_stays_on_its_line(hostile):
    text = written(hostile, "txt")
    assert text.splitlines() == text.split("\n")[:-1] and len(text.splitlines()) == 2
    assert text.startswith("[0:00:00] <b>Ada & Bob</b> --> x 2 ")
    assert text.endswith("\n[0:00:09] SPEAKER_01: Yes.\n")
    assert [c for c in text if not c.isprintable() and c != "\n"] == []


def test_markdown_has_a_paragraph_for_every_stretch_of_a_speaker(recording):
    made = recording(
        ("SPEAKER_00", 0.0, "It was the best of times,"),
        ("SPEAKER_00", 5.0, "it was the worst of times."),
        ("SPEAKER_01", 65.5, "Was it?"),
        ("SPEAKER_00", 70.0, "It was."),
        names=NAMES,
    )
    text = written(made, "md")
    assert shown(text) == [
        "A tale",
        "Classics · 2026-01-02 · 1:02:05 · https://www.youtube.com/watch?v=v1",
        "Ada Lovelace (0:00:00): It was the best of times, it was the worst of times.",
        "SPEAKER_01 (0:01:05): Was it?",
        "Ada Lovelace (0:01:10): It was.",
    ]
    assert addresses(text) == [
        made.url, f"{made.url}&t=0s", f"{made.url}&t=65s", f"{made.url}&t=70s",
    ]  # fmt: skip
    assert "SPEAKER_01" in text  # readable as it is, too


def test_hostile_markdown_is_shown_as_it_is(hostile):
    text = written(hostile, "md")
    blocks = shown(text)
    assert blocks[0] == "# T [x](javascript:1) # U `"
    assert blocks[1].startswith("*C* · 2026-01-02 · ")
    assert blocks[2].startswith("<b>Ada & Bob</b> --> x 2 ")
    assert blocks[2].endswith(r": <i>1 < 2</i> & {\p1}drawn --> \N \h C:\new &amp; back")
    assert blocks[3:] == ["SPEAKER_01 (0:00:09): Yes."]
    assert addresses(text)[1:] == [
        f"https://example.org/a%20b%3E(x)?t=1#%20%3Cscript%3E&t={second}" for second in (0, 9)
    ]
    assert [c for c in text if not c.isprintable() and c != "\n"] == []


@pytest.mark.parametrize(
    "text", ["_a_ b_c *d* **e**", "1. x", "- x", "~~~ x", "a  b\\", "![x](y)", "&lt; &#35;", "<a>", "C #"]
)
def test_any_text_is_shown_as_it_was_said(recording, text):
    page = written(recording(("SPEAKER_00", 0.0, text), title=text, channel=text), "md")
    expected = " ".join(text.split())
    title, facts, said = shown(page)
    assert (title, facts.split(" · ")[0], said) == (expected, expected, f"SPEAKER_00 (0:00:00): {expected}")


@pytest.mark.parametrize("url", ["javascript:alert(1)", "http://[", "", "file:///etc/passwd"])
def test_what_no_browser_should_open_is_no_link(recording, url):
    page = written(recording(("SPEAKER_00", 0.0, "x"), url=url), "md")
    assert addresses(page) == [] and "SPEAKER_00 (0:00:00): x" in shown(page)


def test_a_video_without_utterances_has_a_title_and_a_link(recording):
    assert written(recording(), "txt") == ""
    text = written(recording(title="", channel="", published_at=None), "md")
    assert shown(text) == ["youtube-v1", "1:02:05 · https://www.youtube.com/watch?v=v1"]


def test_markdown_says_what_the_site_no_longer_has(recording):
    facts = shown(written(recording(availability="removed"), "md"))[1]
    assert facts.endswith("https://www.youtube.com/watch?v=v1 · removed at the source")
    for other in ("public", "private", None):
        assert "removed" not in written(recording(availability=other), "md")
