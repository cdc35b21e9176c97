"""A digest of Channelscribe's own code, by which an image that was built of other code is noticed.

The contracts between Airflow's side and the stages change with the code: an image of yesterday's can't read the
artifacts of today's. With the standard library alone, as the script that builds images calls it.
"""

import hashlib
from pathlib import Path


def code_digest() -> str:
    """16 hexadecimal digits over the names and contents of this package's modules."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
