"""`python -m rag_memory_plugins.cli`, where the command itself is not on the path."""

from __future__ import annotations

from rag_memory_plugins.cli.main import main

main()
