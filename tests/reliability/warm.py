"""A warm parent for killed children: imports are paid once, then every process is one fork.

Preloaded by the fork server and imported by nobody else. It imports and configures, and does no
work: a thread pool started here would be missing in every child. LanceDB, whose import takes
seconds, keeps one idle thread and starts it again after a fork.
"""

from __future__ import annotations

import logging
import warnings

warnings.filterwarnings("ignore", message="lance is not fork-safe")
warnings.filterwarnings("ignore", message="lancedb fork support is experimental")
logging.getLogger("lance").setLevel(logging.ERROR)

import lance  # noqa: E402, F401
import lancedb  # noqa: E402, F401
from sqlalchemy.orm import configure_mappers  # noqa: E402

import influence_store.cli  # noqa: E402
import influence_store.embedding.hashing  # noqa: E402
import influence_store.jobs.embed  # noqa: E402
import influence_store.jobs.gc  # noqa: E402
import influence_store.jobs.ingest  # noqa: E402
import influence_store.store.store  # noqa: E402, F401

configure_mappers()
