from dataclasses import replace
from types import MappingProxyType

import pytest

from channelscribe import pools
from channelscribe.errors import MisconfiguredError
from channelscribe.profiles import BUNDLED, PROFILES


def heavy(memory_gib):
    stages = BUNDLED.stages | {"diarize": replace(BUNDLED.stages["diarize"], memory_gib=memory_gib)}
    return replace(BUNDLED, name="heavy", stages=MappingProxyType(stages))


def write_pools(path, text):
    path.write_text(f"airflow:\n  pools:\n{text}")


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "airflow_settings.yaml"
    monkeypatch.setattr(pools, "SETTINGS_FILE", path)
    write_pools(path, "    - {pool_name: vram_gib, pool_slot: 4}\n")
    return path


def test_the_projects_own_file_has_room_for_the_bundled_profiles_and_names_the_remedy_for_others():
    for name in ("bundled", "bundled-cuda"):
        pools.require_room(PROFILES[name])
    for name in ("gpu", "gpu-reference"):
        with pytest.raises(MisconfiguredError, match=r"raise its slots in airflow_settings\.yaml"):
            pools.require_room(PROFILES[name])


def test_a_stage_that_would_wait_for_ever_is_refused(file):
    pools.require_room(heavy(4))
    with pytest.raises(MisconfiguredError) as caught:
        pools.require_room(heavy(5))
    assert str(caught.value) == (
        "diarize of the profile heavy needs 5 GiB of the device, but the pool vram_gib has 4: raise its slots in "
        "airflow_settings.yaml to what the device has, or choose another profile."
    )


def test_a_pool_without_a_limit_holds_all(file):
    write_pools(file, "    - {pool_name: vram_gib, pool_slot: -1}\n")
    pools.require_room(heavy(500))


@pytest.mark.parametrize("text", ["    - {pool_name: other, pool_slot: 4}\n", "    - nonsense\n", "  - :\n {"])
def test_a_file_without_the_pool_is_refused(file, text):
    write_pools(file, text)
    with pytest.raises(MisconfiguredError, match=r"airflow_settings\.yaml"):
        pools.require_room(BUNDLED)


def test_a_run_may_not_need_more_than_its_tasks_take_slots_for():
    pools.require_reserved(BUNDLED, BUNDLED)
    pools.require_reserved(BUNDLED, heavy(5))
    with pytest.raises(MisconfiguredError, match=r"needs 5 GiB, but its task takes the 2 of bundled: set "):
        pools.require_reserved(heavy(5), BUNDLED)
