"""Identifying voices anew after an edit: what it teaches about the rest of the archive takes seconds on a large one."""

import logging
import threading
from contextlib import closing

from channelscribe.settings import get_settings
from channelscribe.store.connection import archive_dsn, connect
from channelscribe.store.speakers.discovered import identify_all

logger = logging.getLogger(__name__)


class Identifying:
    """Does it in a thread of its own, once for all that was asked for meanwhile.

    If the server stops in between, the next run of the DAG does it, as every run does.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = False
        self._running = False

    def ask(self) -> None:
        """Have it done after what was just written, without waiting."""
        with self._lock:
            self._wanted = True
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="identify voices", daemon=True).start()

    def _run(self) -> None:
        while self._take():
            try:
                with closing(connect(archive_dsn(get_settings()))) as connection:
                    identify_all(connection)
            except Exception:
                logger.exception("Voices were not identified anew; the next run of the DAG does it.")

    def _take(self) -> bool:
        with self._lock:
            self._running = self._wanted
            self._wanted = False
            return self._running


identifying = Identifying()
