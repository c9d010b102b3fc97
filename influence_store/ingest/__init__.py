"""Inbound: files of instruction data, in whatever shape people keep them, become samples."""

from influence_store.ingest.reading import read, read_removed
from influence_store.ingest.reasons import count_reasons
from influence_store.ingest.rejects import write_rejects
from influence_store.ingest.rows import Rejected, Row

__all__ = ["Rejected", "Row", "count_reasons", "read", "read_removed", "write_rejects"]
