"""Packages that some tests need and no part of ours does."""

from __future__ import annotations

import importlib.util
import os

import pytest


def installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package around it
        return False


def needed(module: str, package: str) -> pytest.MarkDecorator:
    """Skips tests where a package is not installed; they fail there with RAG_MEMORY_REQUIRE_DATA=1."""
    required = os.environ.get("RAG_MEMORY_REQUIRE_DATA") == "1"
    reason = f"{package} is not installed: pip install {package}"
    return pytest.mark.skipif(not installed(module) and not required, reason=reason)
