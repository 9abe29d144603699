"""What a tenant's own answers were worth, and what that says about the next prompt.

```text
record     a prompt's vector, its prior, and what the weak or the strong model's answer was worth
report     each prompt foretold by all others; kNN is used from now on if that beats the prior
estimate   kNN's value, or the prior where kNN is not used, or the prompt is unlike what is known
```
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.router.examining import QualityReport, examine
from rag_memory_plugins.router.history import History

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

__all__ = ["Estimate", "Outcomes", "QualityReport"]

REPORT_EVERY: Final = 100  # outcomes, or a quarter of what is kept
NOT_MEASURED: Final = QualityReport(0, reason="not measured: no report was made")
UNIT: Final = 0.01
MOVED: Final = 0.25  # share of the latest prompts; usual is 0.1


@dataclass(frozen=True)
class Estimate:
    """How much a stronger model is worth it for a prompt, 0 to 1; higher is more.

    `support` is how many of the tenant's outcomes it rests on. `abstained`: it is the prior, and
    `reason` says why.
    """

    value: float
    support: int = 0
    abstained: bool = False
    reason: str = ""


class Outcomes:
    """What answers were worth, tenant by tenant, in this process; each knows its own alone.

    Keeps the newest `capacity` prompts of a tenant, 1.6 KB each, no text; above `most_bytes` those
    tenants that were silent the longest are dropped whole. kNN is used for a tenant once a `report`
    over at least `least` prompts with both answers' worth finds it better than the prior. All
    vectors are of one embedder: unit float32, `dimension` numbers. May be called from any thread.
    Raises `InvalidInput`.

    >>> import numpy as np
    >>> outcomes, ann = Outcomes(dimension=2), Scope("acme", "ann")
    >>> question = np.array([0.6, 0.8], np.float32)
    >>> outcomes.record(ann, question, prior=0.3, weak=0.0, strong=1.0)
    False
    >>> outcomes.estimate(ann, question, prior=0.3)
    Estimate(value=0.3, support=0, abstained=True, reason='not measured: no report was made')
    >>> outcomes.report(ann).reason
    "not enough: both answers' worth is known of 1 prompts, 200 are wanted"
    """

    def __init__(
        self,
        dimension: int = 384,
        *,
        capacity: int = 4_000,
        least: int = 200,
        most_bytes: int = 256 * 2**20,
        seed: int = 1,
    ) -> None:
        for name, value, low in (
            ("dimension", dimension, 1),
            ("capacity", capacity, 1),
            ("least", least, 2),
            ("most_bytes", most_bytes, 0),
            ("seed", seed, 0),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise InvalidInput(name, value, f"pass an int from {low}")
        if least > capacity:
            raise InvalidInput("least", least, f"pass at most capacity ({capacity})")
        self._dimension, self._capacity, self._least = dimension, capacity, least
        self._most, self._seed = most_bytes, seed
        self._lock = Lock()  # of the two below; a tenant's own is never waited for under it
        self._bytes = 0
        self._tenants: OrderedDict[str, _Tenant] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept of all tenants."""
        return self._bytes

    def record(
        self,
        scope: Scope,
        vector: Floats,
        prior: float,
        *,
        weak: float | None = None,
        strong: float | None = None,
    ) -> bool:
        """Keep what answers to a prompt were worth, 0 to 1; whether it is time for a `report`.

        1 for an answer that was accepted, 0 for one that was asked for again or could not be read,
        or a judge's score. None for a model that did not answer: a prompt that both did (a shadow
        call now and then, of prompts drawn at random) is what a report needs. `prior` is that of
        the prompt's text, which is not kept. Raises `InvalidInput`.
        """
        _check(scope)
        self._check_vector(vector)
        _check_share("prior", prior)
        if weak is None and strong is None:
            raise InvalidInput("weak", None, "say what one answer was worth at least: weak, strong")
        for name, worth in (("weak", weak), ("strong", strong)):
            if worth is not None:
                _check_share(name, worth)
        worths = [math.nan if worth is None else float(worth) for worth in (weak, strong)]
        tenant = self._tenant(scope.tenant)
        with tenant.lock:
            tenant.history.add(scope.user, vector, prior, worths)
            kept, fresh = len(tenant.history), tenant.history.fresh
        self._count(scope.tenant, tenant)
        return kept >= self._least and fresh >= max(REPORT_EVERY, kept // 4)

    def is_on(self, scope: Scope) -> bool:
        """Whether a report found the tenant's outcomes better than the prior."""
        _check(scope)
        with self._lock:
            tenant = self._tenants.get(scope.tenant)
        return tenant is not None and tenant.history.fit is not None

    def estimate(self, scope: Scope, vector: Floats, prior: float) -> Estimate:
        """The value of a prompt; the prior itself whenever kNN abstains. Raises `InvalidInput`."""
        _check(scope)
        self._check_vector(vector)
        _check_share("prior", prior)
        with self._lock:
            tenant = self._tenants.get(scope.tenant)
            if tenant is None:
                return Estimate(prior, 0, True, "no outcomes")
            self._tenants.move_to_end(scope.tenant)
        with tenant.lock:
            fit = tenant.history.fit
            if fit is None:
                return Estimate(prior, 0, True, tenant.report.reason)
            gain, close, support = tenant.history.near(vector, fit, prior)
            far = tenant.history.far
        if far > MOVED:
            moved = f"{far:.0%} of the latest prompts are unlike what is known"
            return Estimate(prior, 0, True, moved)
        if close < fit.floor:
            unlike = f"unlike what is known: cosine {close:.2f}, at least {fit.floor:.2f} is usual"
            return Estimate(prior, 0, True, unlike)
        return Estimate(fit.value(gain), support)

    def report(self, scope: Scope) -> QualityReport:
        """Measure the tenant's kNN by leave-one-out, and use it or not from now on.

        Takes a fraction of a second: call it in a worker thread. Raises `InvalidInput`.
        """
        _check(scope)
        with self._lock:
            tenant = self._tenants.get(scope.tenant)
        if tenant is None:
            return QualityReport(0, reason="no outcomes")
        with tenant.lock:
            columns, version = tenant.history.columns(), tenant.history.version
        report, fit = examine(*columns, least=self._least, seed=self._seed)
        with tenant.lock:
            if tenant.history.version == version:
                tenant.history.learn(fit)
                tenant.report = report
        return report

    def forget(self, scope: Scope) -> int:
        """Drop what is kept of a user, and what was learnt with it; how many prompts there were."""
        _check(scope)
        with self._lock:
            tenant = self._tenants.get(scope.tenant)
        if tenant is None:
            return 0
        with tenant.lock:
            gone = tenant.history.forget(scope.user)
            if gone:
                tenant.report = NOT_MEASURED
        self._count(scope.tenant, tenant)
        return gone

    def _tenant(self, name: str) -> _Tenant:
        with self._lock:
            tenant = self._tenants.get(name)
            if tenant is None:
                tenant = _Tenant(History(self._dimension, self._capacity))
                self._tenants[name] = tenant
            self._tenants.move_to_end(name)
            return tenant

    def _count(self, name: str, tenant: _Tenant) -> None:
        """Bring the sum of bytes up to date, and drop the tenants there is no room for."""
        with self._lock:
            if self._tenants.get(name) is not tenant:
                return
            held, tenant.counted = tenant.counted, tenant.history.nbytes
            self._bytes += tenant.counted - held
            while self._bytes > self._most and len(self._tenants) > 1:
                self._bytes -= self._tenants.popitem(last=False)[1].counted

    def _check_vector(self, vector: Floats) -> None:
        shape = getattr(vector, "shape", None)
        if shape != (self._dimension,) or str(vector.dtype) != "float32":
            got = shape if shape is not None else type(vector).__name__
            raise InvalidInput("vector", got, f"pass float32 of shape ({self._dimension},)")
        # Also refuses nan, which is near to nothing.
        if not abs(float(vector.dot(vector)) - 1.0) <= UNIT:
            raise InvalidInput("vector", float(vector.dot(vector)) ** 0.5, "pass a unit vector")


class _Tenant:
    """One tenant's history, its last report, and the lock of both."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.report = NOT_MEASURED
        self.counted = 0  # bytes
        self.lock = Lock()


def _check(scope: Scope) -> None:
    if not isinstance(scope, Scope):
        raise InvalidInput("scope", scope, "pass a rag_memory_plugins.Scope: whose outcomes")


def _check_share(name: str, value: object) -> None:
    good = isinstance(value, (int, float)) and 0 <= value <= 1  # nan is neither
    if not good:
        raise InvalidInput(name, value, "pass a number from 0 to 1")
