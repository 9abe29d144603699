"""What a model's tokens cost, from the data that `genai-prices` ships: nothing is looked up.

Of a model whose price depends on the length of its prompt this is the price of short ones.
"""

from __future__ import annotations

import functools
import importlib
from datetime import datetime, timezone
from typing import Any

from rag_memory_plugins.router.models import Price

__all__ = ["price_of"]

# What may follow a name at OpenRouter and leaves its price alone; ":free" does not.
_ROUTED = (":nitro", ":floor", ":online", ":exacto")


@functools.lru_cache(maxsize=256)
def price_of(provider: str, model: str) -> Price | None:
    """The price of a model at "groq", "openrouter", "openai" or another provider's name.

    None where the extra `prices` is not installed, or does not know the model.
    """
    try:
        # Its update from the network is a thread that nobody starts here.
        data: Any = importlib.import_module("genai_prices.data_snapshot")
    except ImportError:
        return None
    name = model
    for suffix in _ROUTED:
        name = name.removesuffix(suffix)
    try:
        _, found = data.get_snapshot().find_provider_model(name, None, provider, None)
    except LookupError:
        return None
    prices = found.get_prices(datetime.now(timezone.utc))
    cached = _dollars(getattr(prices, "cache_read_mtok", None))
    told = _dollars(getattr(prices, "input_mtok", None))
    made = _dollars(getattr(prices, "output_mtok", None))
    if told is None and made is None and not name.endswith(":free"):
        return None  # it is not paid by the token
    return Price(told or 0.0, made or 0.0, cached)


def _dollars(price: Any) -> float | None:
    """A price, or of a tiered one the price of its first tier."""
    if price is None:
        return None
    return float(getattr(price, "base", price))
