"""What a `FaultServer` says of its models: Ollama's tags, ps and show, OpenAI's list."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Installed"]

MADE_AT: Final = "2026-01-01T00:00:00Z"
MADE: Final = 1_767_225_600


@dataclass(frozen=True)
class Installed:
    """A model that an Ollama server has. Sizes are bytes; `vram` is what a loaded one has there.

    >>> Installed("llama3.1:8b-q4_0", 4_700_000_000, "8.0B", "Q4_0", "llama").loaded
    False
    """

    name: str
    size: int = 4_700_000_000
    parameter_size: str = "8.0B"
    quantization_level: str = "Q4_0"
    family: str = "llama"
    loaded: bool = False
    vram: int = 0
    context_length: int = 131_072
    capabilities: tuple[str, ...] = ("completion", "tools")


def full_name(name: str) -> str:
    """The name with its tag, as Ollama completes it."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def find(models: Sequence[Installed], name: str) -> Installed | None:
    """The model of that name; a name without a tag is that of `latest`."""
    wanted = full_name(name)
    return next((model for model in models if full_name(model.name) == wanted), None)


def tags(models: Sequence[Installed]) -> dict[str, Any]:
    """`GET /api/tags`."""
    return {"models": [{**_entry(model), "modified_at": MADE_AT} for model in models]}


def running(models: Sequence[Installed]) -> dict[str, Any]:
    """`GET /api/ps`: the models that are loaded."""
    return {
        "models": [
            {
                **_entry(model),
                "expires_at": MADE_AT,
                "size_vram": model.vram,
                "context_length": min(model.context_length, 4096),
            }
            for model in models
            if model.loaded
        ]
    }


def shown(model: Installed) -> dict[str, Any]:
    """`POST /api/show`."""
    return {
        "details": _entry(model)["details"],
        "model_info": {
            "general.architecture": model.family,
            f"{model.family}.context_length": model.context_length,
        },
        "capabilities": list(model.capabilities),
        "modified_at": MADE_AT,
    }


def listed(models: Sequence[Installed]) -> dict[str, Any]:
    """`GET /v1/models`."""
    data = [
        {"id": model.name, "object": "model", "created": MADE, "owned_by": "library"}
        for model in models
    ]
    return {"object": "list", "data": data}


def _entry(model: Installed) -> dict[str, Any]:
    return {
        "name": model.name,
        "model": model.name,
        "size": model.size,
        "digest": hashlib.sha256(model.name.encode()).hexdigest(),
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": model.family,
            "families": [model.family],
            "parameter_size": model.parameter_size,
            "quantization_level": model.quantization_level,
        },
    }
