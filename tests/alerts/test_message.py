from channelscribe.alerts.alert import Alert
from channelscribe.alerts.message import compose, plain


def failed(title: str, reason: str = "It has no sound.", link: str = "http://ui/runs/1") -> Alert:
    return Alert("video_failed", title, f"{title} failed", (reason,), link, "1")


def test_one_alert_is_its_title_its_lines_and_its_page() -> None:
    message = compose([failed("A talk")])
    assert message.title == "Channelscribe: A talk failed"
    assert message.body == "It has no sound.\nhttp://ui/runs/1"


def test_several_are_one_message_with_a_block_each() -> None:
    message = compose([failed("A talk"), failed("{n} tales", "It is cut off.")])
    assert message.title == "Channelscribe: 2 videos failed"
    assert message.body == (
        "A talk failed\nIt has no sound.\nhttp://ui/runs/1\n\n{n} tales failed\nIt is cut off.\nhttp://ui/runs/1"
    )


def test_of_very_many_the_rest_is_counted() -> None:
    message = compose([failed(f"Video {number}") for number in range(25)])
    assert "Video 19 failed" in message.body and "Video 20 failed" not in message.body
    assert message.body.endswith("... and 5 more: `channelscribe alerts list --limit 1000` has them.")


def test_several_of_a_kind_that_has_no_plural() -> None:
    alerts = [Alert("disk_low", path, "The disk is {nearly} full") for path in "ab"]
    assert compose(alerts).title == "Channelscribe: 2 times: The disk is {nearly} full"


def test_hostile_titles_call_nobody_and_start_no_line() -> None:
    text = plain("@everyone <@123> look\nat \x1b[31mthis\u202e, mail a@b.org or https://www.youtube.com/@handle")
    assert "@everyone" not in text and "<@1" not in text
    assert "\n" not in text and "\x1b" not in text and "\u202e" not in text
    assert "a@b.org" in text and "https://www.youtube.com/@handle" in text
    assert len(plain("x" * 10_000)) == 600
