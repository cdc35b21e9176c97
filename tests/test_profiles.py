import pytest

from channelscribe.errors import MisconfiguredError
from channelscribe.models import ENGINES
from channelscribe.profiles import PROFILES, STAGES, get_profile, profiles_with


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_a_profile_does_every_stage_with_an_engine_that_is_there(profile) -> None:
    assert list(profile.stages) == list(STAGES)
    assert {spec.engine for name, spec in profile.stages.items() if name != "fetch_audio"} <= set(ENGINES)
    assert all(spec.revision and spec.memory_gib >= 1 for spec in profile.stages.values())


def test_stages_stand_behind_the_stages_they_read() -> None:
    done: set[str] = set()
    for name, definition in STAGES.items():
        assert set(definition.inputs) <= done
        done.add(name)


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(MisconfiguredError, match=r"no profile 'best'; choose one of bundled"):
        get_profile("best")


def test_a_model_is_known_by_its_name_and_its_revision() -> None:
    spec = PROFILES["bundled"].stages["embed_text"]
    found = profiles_with("embed_text", spec.model, spec.revision)
    assert [profile.name for profile in found] == ["bundled", "bundled-cuda"]
    assert profiles_with("embed_text", spec.model, "another") == []
    assert profiles_with("transcribe", spec.model, spec.revision) == []
