"""An archive to look at: scenes from Lewis Carroll's two books about Alice, and a page of Dickens, as if recorded.

The texts are real and out of copyright; times, voices and sound are made: half a second a word, a vector for each
speaker, a tone for each second.
"""

import io
import math
import runpy
import shutil
import struct
import wave
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from channelscribe.contracts import Audio
from channelscribe.store.connection import connect
from channelscribe.store.loader import load_video
from channelscribe.store.speakers.discovered import identify_all
from channelscribe.store.speakers.edits import name_cluster
from channelscribe.store.speakers.enrollments import enroll
from channelscribe.workspace import Workspace

_store = runpy.run_path(str(Path(__file__).parents[1] / "store" / "conftest.py"))
Script, write_script, enrollment = (_store[name] for name in ("Script", "write_script", "enrollment"))
unit_vector, WORD_S = _store["unit_vector"], _store["WORD_S"]

SCENES = {
    "advice-from-a-caterpillar": """
        Caterpillar: Who are you?
        Alice: I hardly know, sir, just at present, at least I know who I was when I got up this morning, but I think I
            must have been changed several times since then.
        Caterpillar: What do you mean by that? Explain yourself!
        Alice: I can't explain myself, I'm afraid, sir, because I'm not myself, you see.
        Caterpillar: I don't see.
        Alice: I'm afraid I can't put it more clearly, for I can't understand it myself to begin with, and being so many
            different sizes in a day is very confusing.
        Caterpillar: It isn't.
        Alice: Well, perhaps you haven't found it so yet, but when you have to turn into a chrysalis, you will some day,
            you know, and then after that into a butterfly, I should think you'll feel it a little queer, won't you?
        Caterpillar: Not a bit. You! Who are you? Keep your temper. So you think you're changed, do you?
        Alice: I'm afraid I am, sir. I can't remember things as I used, and I don't keep the same size for ten minutes
            together!
        Caterpillar: One side will make you grow taller, and the other side will make you grow shorter.
    """,
    "the-cheshire-cat": """
        Alice: Cheshire Puss, would you tell me, please, which way I ought to go from here?
        Cheshire Cat: That depends a good deal on where you want to get to.
        Alice: I don't much care where.
        Cheshire Cat: Then it doesn't matter which way you go.
        Alice: So long as I get somewhere.
        Cheshire Cat: Oh, you're sure to do that, if you only walk long enough.
        Alice: What sort of people live about here?
        Cheshire Cat: In that direction lives a Hatter, and in that direction lives a March Hare. Visit either you like:
            they're both mad.
        Alice: But I don't want to go among mad people.
        Cheshire Cat: Oh, you can't help that. We're all mad here. I'm mad. You're mad.
        Alice: How do you know I'm mad?
        Cheshire Cat: You must be, or you wouldn't have come here.
    """,
    "a-mad-tea-party": """
        March Hare: Have some wine.
        Alice: I don't see any wine.
        March Hare: There isn't any.
        Alice: Then it wasn't very civil of you to offer it.
        March Hare: It wasn't very civil of you to sit down without being invited.
        Hatter: Your hair wants cutting.
        Alice: You should learn not to make personal remarks, it's very rude.
        Hatter: Why is a raven like a writing-desk?
        Alice: I'm glad they've begun asking riddles. I believe I can guess that.
        March Hare: Do you mean that you think you can find out the answer to it? Then you should say what you mean.
        Alice: I do, at least I mean what I say, that's the same thing, you know.
        Hatter: Not the same thing a bit! You might just as well say that I see what I eat is the same thing as I eat
            what I see!
        Dormouse: You might just as well say that I breathe when I sleep is the same thing as I sleep when I breathe!
        Hatter: It is the same thing with you. What day of the month is it? Two days wrong! I told you butter wouldn't
            suit the works!
        March Hare: It was the best butter.
        Hatter: Yes, but some crumbs must have got in as well: you shouldn't have put it in with the bread-knife.
    """,
    "who-stole-the-tarts": """
        King: Take off your hat.
        The Hatter: It isn't mine.
        King: Stolen!
        The Hatter: I keep them to sell. I've none of my own. I'm a hatter.
        King: Give your evidence, and don't be nervous, or I'll have you executed on the spot.
        The Hatter: I'm a poor man, your Majesty, and I hadn't begun my tea, not above a week or so, and what with the
            bread-and-butter getting so thin, and the twinkling of the tea.
        King: The twinkling of the what?
        The Hatter: It began with the tea.
        King: Of course twinkling begins with a T! Do you take me for a dunce? Go on!
        The Hatter: I'm a poor man, and most things twinkled after that, only the March Hare said.
    """,
    "humpty-dumpty": """
        Humpty Dumpty: Don't stand there chattering to yourself like that, but tell me your name and your business.
        Alice: My name is Alice, but.
        Humpty Dumpty: It's a stupid enough name! What does it mean?
        Alice: Must a name mean something?
        Humpty Dumpty: Of course it must. My name means the shape I am, and a good handsome shape it is, too.
        Alice: Why do you sit out here all alone? Don't you think you'd be safer down on the ground?
        Humpty Dumpty: When I use a word, it means just what I choose it to mean, neither more nor less.
        Alice: The question is whether you can make words mean so many different things.
        Humpty Dumpty: The question is which is to be master, that's all. Impenetrability! That's what I say!
        Alice: Would you tell me, please, what that means?
    """,
    "the-period": """
        Narrator: It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of
            foolishness, it was the epoch of belief, it was the epoch of incredulity.
        Narrator: It was the season of Light, it was the season of Darkness, it was the spring of hope, it was the
            winter of despair, we had everything before us, we had nothing before us.
    """,
}
_CHANNELS = {"humpty-dumpty": "Looking-glass hour", "the-period": "A page a day"}
ENROLLED = "Humpty Dumpty"
REMOVED = "the-period"
# Two names for one voice, as two people may have given them.
_NAMED = {("a-mad-tea-party", "SPEAKER_02"): "Hatter", ("who-stole-the-tarts", "SPEAKER_01"): "The Hatter"}


def fill(dsn: str, data_root: Path) -> None:
    """Load the scenes into a migrated archive, with their sound in the workspace."""
    workspace = Workspace(data_root)
    with closing(connect(dsn)) as connection:
        for number, (name, text) in enumerate(SCENES.items()):
            _load(connection, workspace, scene(name, text, number))
        for key, speaker in _NAMED.items():
            name_cluster(connection, key, speaker)
        enroll(
            connection, ENROLLED, enrollment("humpty.wav", 2), np.array([voice(ENROLLED, "a"), voice(ENROLLED, "b")])
        )
        identify_all(connection)
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO listed_videos (video_id, source_id, url, title, kind, availability, reason) "
                "SELECT video_id, source_id, url, title, 'video', 'removed', 'Gone.' FROM videos WHERE video_id = %s",
                (REMOVED,),
            )


def load(dsn: str, data_root: Path, script, *, sound: bool) -> None:
    """Load one more video, whose sound is kept or not."""
    workspace = Workspace(data_root)
    with closing(connect(dsn)) as connection:
        _load(connection, workspace, script)
    if not sound:
        shutil.rmtree(workspace.stage_dir(script.video_id, "fetch_audio"))


def _load(connection, workspace: Workspace, script) -> None:
    length_s = max(start + len(text.split()) * WORD_S for _, start, text in script.lines) + 1
    audio = Audio(file_name="audio.wav", codec="pcm_s16le", sample_rate_hz=8000, n_channels=1, duration_s=length_s)
    files = {"audio.json": audio, "audio.wav": tones(length_s), "audio.mp3": None}
    write_script(workspace, script, {"fetch_audio": files})
    load_video(connection, workspace, script.video_id, script.profile)


def scene(name: str, text: str, number: int):
    """A scene as a script: who speaks gets a cluster in the order of appearance, and the voice of the name."""
    spoken: list[tuple[str, str]] = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        who, colon, words = line.partition(": ")
        if colon and who.replace(" ", "").isalpha() and who[0].isupper() and len(who) < 20:
            spoken.append((who, words))
        else:
            spoken[-1] = (spoken[-1][0], f"{spoken[-1][1]} {line}")
    clusters = {who: f"SPEAKER_{n:02}" for n, who in enumerate(dict.fromkeys(who for who, _ in spoken))}
    lines, at = [], 1.0
    for who, words in spoken:
        lines.append((clusters[who], at, words))
        at += len(words.split()) * WORD_S + 0.5
    return Script(
        lines, video_id=name,
        voices={cluster: voice(who, name) for who, cluster in clusters.items()},
        variances={cluster: 0.05 + 0.02 * n for n, cluster in enumerate(clusters.values())},
        video={
            "title": name.replace("-", " ").capitalize(), "url": f"https://www.youtube.com/watch?v={name}",
            "channel_title": _CHANNELS.get(name, "Wonderland readings"),
            "channel_url": f"https://www.youtube.com/@{_CHANNELS.get(name, 'wonderland').replace(' ', '')}",
            "published_at": datetime(2026, 1, 20 - number, 12, tzinfo=UTC),
        },
    )  # fmt: skip


def voice(who: str, video: str) -> np.ndarray:
    """A speaker's voice, a little different in each video."""
    vector = unit_vector(who.removeprefix("The "), 192) + 0.35 * unit_vector(f"{who} in {video}", 192)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def tones(length_s: float, rate: int = 8000) -> bytes:
    """A WAV file with another tone each second."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, rate, 0, "NONE", ""))
        for second in range(math.ceil(length_s)):
            pitch = 220 * 2 ** ((second % 12) / 12)
            wanted = min(rate, round((length_s - second) * rate))
            samples = (int(3000 * math.sin(2 * math.pi * pitch * n / rate)) for n in range(wanted))
            sound.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return file.getvalue()
