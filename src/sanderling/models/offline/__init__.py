"""A few rules that write Python, so that everything works without a model server or weights."""

from sanderling.models.offline.model import OfflineModel

__all__ = ["OfflineModel"]
