"""The rules of rate limits, and whose window a call falls in."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from rag_memory_plugins.errors import InvalidInput, nearest
from rag_memory_plugins.namespace import Scope, SharedUser
from rag_memory_plugins.router.rate_windows import Key

__all__ = ["Asked", "Per", "RateLimit", "identity"]

Per: TypeAlias = Literal["all", "tenant", "user", "model"]
_PER: Final = ("all", "tenant", "user", "model")
_OF: Final = ("requests", "tokens")


@dataclass(frozen=True)
class RateLimit:
    """One rule: `rate` as `limits` reads it ("30/minute", "5 per 2 hours"), a month being 30 days.

    `per` says who shares one window: everybody, a tenant, a tenant's user, a model (an endpoint),
    or a combination. `tenants` and `models` narrow it to those named. Raises `InvalidInput`.

    >>> RateLimit("30/minute", per="tenant").amount
    30
    >>> RateLimit("200000/minute", per=("user", "model"), of="tokens").name
    '200000/minute of tokens per user and model'
    """

    rate: str
    per: Per | tuple[Per, ...] = "all"
    of: Literal["requests", "tokens"] = "requests"
    tenants: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    amount: int = field(init=False, repr=False)
    seconds: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        from limits import parse

        try:
            rate = parse(self.rate)
        except (ValueError, TypeError) as error:
            remedy = 'pass a rate such as "30/minute" or "5 per 2 hours"'
            raise InvalidInput("rate", self.rate, remedy) from error
        if rate.amount < 1 or rate.get_expiry() < 1:
            raise InvalidInput("rate", self.rate, "pass an amount and a time, each at least 1")
        object.__setattr__(self, "amount", rate.amount)
        object.__setattr__(self, "seconds", rate.get_expiry())
        per = self.per if isinstance(self.per, tuple) else (self.per,)
        for name in per:
            if name not in _PER:
                raise InvalidInput("per", self.per, nearest(str(name), _PER))
        if not per or (len(per) > 1 and "all" in per):
            raise InvalidInput("per", self.per, 'pass "all" alone, or some of the others')
        if self.of not in _OF:
            raise InvalidInput("of", self.of, nearest(str(self.of), _OF))
        for label in ("tenants", "models"):
            names = getattr(self, label)
            if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
                raise InvalidInput(label, names, "pass a tuple of names")

    @property
    def apart(self) -> frozenset[str]:
        """Whose windows are told apart; empty for one window of all."""
        return frozenset(self.per if isinstance(self.per, tuple) else (self.per,)) - {"all"}

    @property
    def name(self) -> str:
        """The rule in words."""
        whose = " and ".join(name for name in _PER if name in self.apart)
        return f"{self.rate} of {self.of}" + (f" per {whose}" if whose else "")


class Asked:
    """A rule as it is asked for every call."""

    __slots__ = ("_apart", "_model", "_models", "_tenant", "_tenants", "number", "of_tokens")

    def __init__(self, number: int, rule: RateLimit) -> None:
        self.number = number
        self.of_tokens = rule.of == "tokens"
        self._tenants = frozenset(rule.tenants)
        self._models = frozenset(rule.models)
        self._model = "model" in rule.apart
        self._tenant = bool(rule.apart & {"tenant", "user"})
        self._apart = "user" in rule.apart

    def applies(self, scope: Scope | None, model: str) -> bool:
        if self._models and model not in self._models:
            return False
        if not (self._tenant or self._tenants):
            return True
        if not isinstance(scope, Scope):
            remedy = "a rate limit asks whose call it is; pass Scope(tenant, user)"
            raise InvalidInput("scope", scope, remedy)
        return not self._tenants or scope.tenant in self._tenants

    def key(self, scope: Scope | None, model: str) -> Key:
        whose: Key = ()
        if self._tenant and scope is not None:
            whose = (scope.tenant,)
            if self._apart:
                user = scope.user
                whose = (scope.tenant, None if isinstance(user, SharedUser) else user)
        return (*whose, model) if self._model else whose


def identity(rule: RateLimit) -> str:
    """What a rule is called in a store: the same in every process that states it."""
    return json.dumps(
        [rule.amount, rule.seconds, rule.of, sorted(rule.apart), rule.tenants, rule.models]
    )
