"""The pages in a real browser, within Airflow's own."""

import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900), pytest.mark.usefixtures("edits_taken_back")]

TEA = "/videos/a-mad-tea-party"
# "a writing-desk?" is said from 31 s on: the words of the utterance that begins at 28.5 s, half a second each.
WRITING_DESK_S = 31.0
DARK = "rgb(17, 19, 24)"
HOSTILE = '<img src=x onerror="document.title=1">"\'</script><script>document.title=2</script>{{ 7*7 }}'


def test_log_in_search_open_a_transcript_jump_rename_see_it_everywhere_and_export(live, open_page) -> None:
    page = open_page("/", role=None)
    page.fill("input[name=username]", "user")
    page.fill("input[name=password]", "user")
    page.click("button[type=submit]")
    page.wait_for_url(live.pages + "/")
    page.goto(live.url)
    page.get_by_role("link", name="Archive").click()
    frame = page.frame_locator("iframe")
    frame.get_by_label("Search for").fill("raven writing-desk")
    frame.get_by_role("button", name="Search").click()
    hit = frame.locator(".hits li").first
    hit.locator("mark").first.wait_for()
    assert hit.locator("mark").all_inner_texts() == ["raven", "writing", "desk"]
    assert hit.locator(".who").inner_text() == "Hatter"
    hit.get_by_role("link").click()
    _wait_for_time(frame, 30, 31)  # where the words that were searched begin

    frame.locator("#u7 .text").hover()
    frame.locator(".word", has_text="writing-desk").click()
    _wait_for_time(frame, WRITING_DESK_S, WRITING_DESK_S + 3)
    assert frame.locator("li[aria-current] .time").inner_text() in ("0:28", "0:32")

    frame.get_by_label("Name Speaker 1").click()
    frame.locator(".edit[open]").get_by_label("Whose voice").fill("Alice")
    frame.locator(".edit[open]").get_by_role("button", name="Save").click()
    frame.get_by_role("status").get_by_text("Speaker 1 is called Alice.").wait_for()
    assert frame.locator(".lines .who").all_inner_texts().count("Alice") == 5
    frame.get_by_role("link", name="Speakers").click()
    row = frame.get_by_role("row", name="Alice")
    assert "named by hand" in row.inner_text() and "4" in row.inner_text()
    row.get_by_role("link", name="Alice").click()
    frame.get_by_role("heading", name="Alice").wait_for()
    assert frame.get_by_role("row").count() == 5
    frame.get_by_role("link", name="Humpty dumpty", exact=True).click()
    frame.locator(".lines .who", has_text="Alice").first.wait_for()
    assert "Speaker 1" not in frame.locator("main").inner_text()

    with page.expect_download() as started:
        frame.get_by_role("link", name="WebVTT").click()
    assert "<v Alice>My name is Alice" in Path(started.value.path()).read_text()
    assert started.value.suggested_filename == "humpty-dumpty.vtt"

    frame.get_by_role("link", name="Speakers").click()
    frame.get_by_role("button", name="Undo").click()
    frame.get_by_role("row", name="Speaker 1").wait_for()


def _wait_for_time(frame, least: float, most: float) -> None:
    """Wait until the player stands between two seconds."""
    player = frame.locator("#player")
    player.wait_for()
    _wait_until(player.page, lambda: least <= player.evaluate("player => player.currentTime") <= most)


def _wait_until(page, condition) -> None:
    # Playwright's own way evaluates text within the page, which the pages' policy forbids.
    for _ in range(1200):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not come to be")


def _play_slowly(page) -> None:
    """A word of half a second would be over between two looks of a slow machine."""
    page.evaluate("document.getElementById('player').defaultPlaybackRate = 0.25")
    page.evaluate("document.getElementById('player').playbackRate = 0.25")


def test_the_transcript_is_worked_with_the_keyboard_alone(open_page) -> None:
    page = open_page(TEA)
    _play_slowly(page)
    page.locator("#u0 .time").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowLeft", "ArrowRight"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.textContent") == "isn't"
    page.keyboard.press("Enter")
    # "There isn't any.": the third utterance begins at 6.5 s.
    _wait_for_time(page, 7, 9)
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.textContent") == "0:03"


def test_the_words_are_followed_while_it_plays(open_page) -> None:
    page = open_page(f"{TEA}?t=98")
    assert page.locator("li[aria-current]").get_attribute("id") == "u14"
    assert page.locator(".word.now").inner_text() == "the"
    _play_slowly(page)
    page.evaluate("document.getElementById('player').play()")
    page.locator(".word.now", has_text="best").wait_for()
    page.locator("#u15[aria-current]").wait_for()
    assert page.locator("li[aria-current]").count() == 1


def test_the_timeline_jumps(open_page) -> None:
    page = open_page(TEA)
    lane = page.locator(".lane").first
    box = lane.bounding_box()
    lane.click(position={"x": box["width"] / 2, "y": 5})
    length = float(page.locator(".voices").get_attribute("data-length"))
    _wait_for_time(page, length / 2 - 1, length / 2 + 3)


def test_the_text_goes_with_timeline_and_player_through_the_parts_of_a_long_transcript(open_page, add_scene) -> None:
    # Of the two parts the second begins with utterance 500, at 501 s, and has 100 s.
    add_scene("long", "\n".join(f"Narrator: word{number}" for number in range(600)))
    page = open_page("/videos/long?t=3")
    lane = page.locator(".lane").first
    length, width = float(page.locator(".voices").get_attribute("data-length")), lane.bounding_box()["width"]

    def click(second: float) -> None:
        lane.click(position={"x": width * second / length, "y": 5})

    click(520)
    page.locator("li[aria-current][id^=u5]").wait_for()
    assert page.locator(".pager span").all_inner_texts() == ["Part 2 of 2"] * 2
    assert not page.evaluate("document.getElementById('player').paused")

    click(100)
    page.locator("#u99 .time").wait_for()
    assert page.locator(".pager span").all_inner_texts() == ["Part 1 of 2"] * 2

    page.evaluate("document.getElementById('player').currentTime = 500")
    page.locator("li[aria-current][id^=u5]").wait_for()
    assert page.locator(".lines li").count() == 100

    page.route("**/videos/long?t=*", lambda route: route.fulfill(body="", content_type="text/html"))
    click(100)
    page.locator("#follow:not(:checked)").wait_for()
    assert page.locator(".lines li").count() == 100


def test_a_sample_of_a_voice_plays_and_stops(open_page) -> None:
    page = open_page("/speakers")
    button = page.get_by_label("Listen to Hatter", exact=True)
    with page.expect_response("**/audio") as answer:
        button.click()
    assert answer.value.status == 206
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert button.get_attribute("aria-pressed") == "false"


def test_duplicates_are_merged_with_one_click_and_told_apart_again(open_page) -> None:
    page = open_page("/speakers/duplicates")
    assert page.locator(".pairs li").count() == 1
    page.get_by_role("button", name="Both are Hatter").click()
    page.get_by_text("The Hatter is Hatter.").wait_for()
    assert page.get_by_text("There are none.").is_visible()
    page.goto(page.url.replace("/speakers/duplicates", "/speaker").split("?")[0] + "?name=Hatter")
    assert page.locator("tbody tr").count() == 2
    page.get_by_role("link", name="All speakers").click()
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("link", name="The Hatter").wait_for()


def test_who_is_not_whom_is_no_duplicate_any_more(open_page) -> None:
    page = open_page("/speakers/duplicates")
    page.get_by_role("button", name="They are two").click()
    page.get_by_text("are two.").wait_for()
    assert page.locator(".pairs li").count() == 0
    page.get_by_role("button", name="Undo").click()
    page.locator(".pairs li").wait_for()


def test_youtubes_player_takes_the_place_of_audio_that_is_gone(open_page, add_scene) -> None:
    add_scene("gone", "Narrator: one two\nNarrator: three four", sound=False, url="https://youtu.be/abcdefghijk")
    page = open_page("/static/pages.css")
    page.route("https://www.youtube-nocookie.com/**", lambda route: route.fulfill(body="", content_type="text/html"))
    page.goto(page.url.replace("/static/pages.css", "/videos/gone"))
    assert page.locator("iframe").count() == 0
    page.get_by_role("button", name="Play from YouTube").click()
    start = "https://www.youtube-nocookie.com/embed/abcdefghijk?autoplay=1&start="
    assert page.locator("iframe").get_attribute("src") == start + "0"
    page.locator("#u1 .time").click()
    assert page.locator("iframe").get_attribute("src") == start + "2"


def test_a_link_to_elsewhere_leaves_airflows_frame_for_a_window_of_its_own(live, open_page) -> None:
    page = open_page("/")
    page.context.route("https://www.youtube.com/**", lambda route: route.fulfill(body="", content_type="text/html"))
    page.goto(live.url + "/plugin/channelscribe-archive")
    frame = page.frame_locator("iframe")
    frame.get_by_role("link", name="A mad tea party").click()
    with page.context.expect_page() as opened:
        frame.get_by_role("link", name="Open at the source").click()
    opened.value.wait_for_url("https://www.youtube.com/watch?v=a-mad-tea-party")
    assert frame.get_by_role("heading", name="A mad tea party").is_visible()


def test_hostile_titles_names_and_words_are_text(live, open_page, add_scene, form, archive_rows) -> None:
    add_scene("hostile", f"Mallory: {HOSTILE}", title=HOSTILE, channel_title=HOSTILE, url="javascript:document.title=3")
    client = live.client("admin")
    token = form(client, "/videos/hostile")["token"]
    client.post("/videos/hostile/voices/SPEAKER_00", data={"token": token, "name": HOSTILE})
    try:
        for path in ("/", "/?q=onerror", "/videos/hostile", "/speakers", "/speakers?part=script"):
            page = open_page(path)
            assert HOSTILE in page.locator("main").inner_text(), path
            assert "Channelscribe" in page.title()
            assert page.locator("main img, main script").count() == 0
        page.get_by_role("link", name="script").first.click()
        assert page.locator("h1").inner_text() == HOSTILE
        assert page.locator("a[href^=javascript]").count() == 0
        text = json.loads(client.get("/videos/hostile/export/json").text)
        assert HOSTILE in json.dumps(text, ensure_ascii=False).replace('\\"', '"')
    finally:
        client.post("/speakers/undo", data=form(client, "/speakers", "undo"))


def test_a_viewer_reads_and_plays_and_is_offered_no_change(open_page) -> None:
    page = open_page(TEA, role="viewer")
    assert page.locator("details, form[method=post]").count() == 0
    page.locator("#u1 .time").click()
    _wait_for_time(page, 3, 6)


def test_dark_follows_airflow_while_it_changes(live, open_page) -> None:
    page = open_page("/")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    other = page.context.new_page()
    other.goto(live.pages + "/speakers")
    other.evaluate("localStorage.setItem('theme', 'dark')")
    _wait_until(page, lambda: page.evaluate(ground) == DARK)
    other.evaluate("localStorage.removeItem('theme')")
    _wait_until(page, lambda: page.evaluate(ground) == "rgb(255, 255, 255)")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(ground) == DARK


def test_airflows_own_switch_of_the_colour_mode_is_the_one_that_is_followed(live, open_page) -> None:
    page = open_page("/")
    page.goto(live.url + "/plugin/channelscribe-archive")
    body = page.frame_locator("iframe").locator("body")
    body.wait_for()
    page.get_by_role("button", name="User").click()
    page.get_by_text("Appearance").click()
    page.get_by_text("Dark").first.click()
    _wait_until(page, lambda: body.evaluate("body => getComputedStyle(body).backgroundColor") == DARK)


@pytest.mark.parametrize(
    "path", ["/", "/?q=same+thing", TEA, "/speakers", "/speaker?name=Hatter", "/speakers/duplicates"]
)
@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_screen(open_page, path, mode, width) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(path, color_scheme=mode, viewport={"width": width, "height": 800}, bypass_csp=True)
    for summary in page.locator("summary").all()[:1]:
        summary.click()
    found = [
        (violation["id"], violation["impact"], violation["nodes"][0]["html"])
        for violation in Axe().run(page).response["violations"]
    ]
    assert found == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
