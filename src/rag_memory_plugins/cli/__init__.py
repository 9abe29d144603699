"""The `rag-memory` command."""
