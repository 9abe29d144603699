"""What the owner of a store does, and no tenant: move it, give it another embedder, count, erase.

>>> from rag_memory_plugins.admin import drop_index, migrate, open_admin, reembed
"""

from rag_memory_plugins.admin.admin import Admin, TenantStats, aopen_admin, open_admin
from rag_memory_plugins.admin.checking import Comparison, acompare, compare
from rag_memory_plugins.admin.migrating import Migration, amigrate, migrate
from rag_memory_plugins.admin.reembedding import (
    Dropped,
    Reembedded,
    adrop_index,
    areembed,
    drop_index,
    reembed,
)

__all__ = [
    "Admin",
    "Comparison",
    "Dropped",
    "Migration",
    "Reembedded",
    "TenantStats",
    "acompare",
    "adrop_index",
    "amigrate",
    "aopen_admin",
    "areembed",
    "compare",
    "drop_index",
    "migrate",
    "open_admin",
    "reembed",
]
