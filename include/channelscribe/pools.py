"""Airflow's pools, as airflow_settings.yaml declares them, and whether the profiles have room in them.

Airflow leaves a task that needs more slots than its pool has scheduled for ever, with a line in the scheduler's log.
"""

from math import inf

from channelscribe.airflow_settings import SETTINGS_FILE, read_settings
from channelscribe.errors import ChannelscribeError, MisconfiguredError
from channelscribe.profiles import Profile

VRAM_POOL = "vram_gib"


def pool_slots(name: str) -> float:
    """Slots of a pool; infinity where it has no limit.

    Raises:
        MisconfiguredError: the file is missing or bad, or declares no such pool.
    """
    try:
        slots = {pool.pool_name: pool.pool_slot for pool in read_settings(SETTINGS_FILE).pools}
    except ChannelscribeError as error:
        raise MisconfiguredError(str(error)) from error
    if name not in slots:
        raise MisconfiguredError(f"{SETTINGS_FILE} does not declare the pool {name}: take it back in.")
    return slots[name] if slots[name] >= 0 else inf


def require_room(profile: Profile) -> None:
    """Refuse a profile of which a stage would wait for ever.

    Raises:
        MisconfiguredError: a stage needs more of the device's memory than the pool has slots.
    """
    slots = pool_slots(VRAM_POOL)
    for name, spec in profile.stages.items():
        if spec.memory_gib > slots:
            raise MisconfiguredError(
                f"{name} of the profile {profile.name} needs {spec.memory_gib} GiB of the device, but the pool "
                f"{VRAM_POOL} has {slots}: raise its slots in {SETTINGS_FILE.name} to what the device has, or choose "
                "another profile."
            )


def require_reserved(profile: Profile, reserved: Profile) -> None:
    """Refuse a run with a profile that needs more memory than its tasks take slots for.

    Args:
        profile: of the run.
        reserved: of the DAG, as slots can't be templates.

    Raises:
        MisconfiguredError: a stage needs more.
    """
    for name, spec in profile.stages.items():
        if spec.memory_gib > reserved.stages[name].memory_gib:
            raise MisconfiguredError(
                f"{name} of the profile {profile.name} needs {spec.memory_gib} GiB, but its task takes the "
                f"{reserved.stages[name].memory_gib} of {reserved.name}: set CHANNELSCRIBE_PROFILE={profile.name} and "
                "start the stack anew."
            )
