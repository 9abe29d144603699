"""The semantic cache: nothing without evidence, nothing against the guards, nothing of others."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_memory_plugins.chat import Answer, ChatRequest
from rag_memory_plugins.errors import EmbedderError, InvalidInput
from rag_memory_plugins.events import Event
from rag_memory_plugins.forgetting import Erased
from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.router.cache_rules import CacheRules
from rag_memory_plugins.router.caching import AnswerCache, Cached, ExactCache
from rag_memory_plugins.router.evidence import bounds, share
from rag_memory_plugins.router.semantic import SemanticCache
from rag_memory_plugins.testing.fakes import WordEmbedder
from rag_memory_plugins.types import Message
from tests.router import edits

ANN, BEN = Scope("acme", "ann"), Scope("acme", "ben")
RESET = "How do I reset my password?"
AGAIN = "Could you tell me how to reset my password?"
THIRD = "I was wondering how I reset a password."


class Everything:
    """An embedder for which all texts are the same: only the guards decide."""

    fingerprint, dimension = "everything", 4

    def __init__(self) -> None:
        self.fail = False

    async def aembed_query(self, text: str) -> Any:
        if self.fail:
            raise EmbedderError("told to fail")
        return np.array([1, 0, 0, 0], np.float32)

    async def aembed_documents(self, texts: Sequence[str]) -> list[Any]:
        return [(await self.aembed_query(text))[None, :] for text in texts]

    async def aclose(self) -> None: ...


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def ask(text: str = RESET, scope: Scope | None = ANN, system: str = "") -> ChatRequest:
    first = (Message("system", system),) if system else ()
    return ChatRequest((*first, Message("user", text)), scope=scope)


def said(text: str = "In settings.") -> Answer:
    return Answer(Message("assistant", text), "stop", model="small")


def cache(embedder: Any = None, rules: CacheRules | None = None, **values: Any) -> SemanticCache:
    """Errors cost nothing and nothing is sampled, unless `values` say otherwise."""
    rules = rules or CacheRules(["small"])
    clock = values.get("clock", Clock())
    free = {"max_error": 0.999, "confirmations": 1, "chance": lambda: 0.0, "clock": clock}
    exact = ExactCache(rules, clock=clock)
    return SemanticCache(exact, embedder or Everything(), rules, **{**free, **values})


async def asked(of: AnswerCache, request: ChatRequest, model: str = "In settings.") -> str:
    """What a router would do: "model", or the kind of the hit, with "sampled" before it."""
    found = await of.alook(request)
    if found is None or found.sampled:
        if found is not None:
            await of.acompare(request, found, said(model))
        await of.akeep(request, said(model))
        return "model" if found is None else f"sampled {found.kind}"
    return found.kind


async def test_other_words_are_answered_after_evidence_and_not_before() -> None:
    answers = cache(confirmations=2)
    assert isinstance(answers, AnswerCache)
    assert await asked(answers, ask(RESET)) == "model"
    assert await asked(answers, ask(AGAIN)) == "model"
    assert await asked(answers, ask(RESET)) == "exact"
    assert await asked(answers, ask(THIRD)) == "model"
    assert await asked(answers, ask("Hi, can you explain how to reset the password?")) == "semantic"
    assert answers.report(ANN).served == 1


async def test_case_spaces_and_the_end_sign_need_no_evidence() -> None:
    answers = cache(max_error=0.001, confirmations=9)
    await asked(answers, ask(RESET))
    assert await asked(answers, ask("how do I  reset my password")) == "semantic"
    await asked(answers, ask("Wie ist die Hauptstadt von Peru?"))
    assert await asked(answers, ask("wie ist die Hauptstadt von Peru ?")) == "semantic"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Is the id aB3 in it?", "Is the id AB3 in it?"),
        ("What is it in US law?", "What is it in us law?"),
        ("What is 5!?", "What is 5?"),
        ("Run this:\n  if x:\n    y", "Run this:\nif x:\n  y"),
        ("x" * 2_001 + " aB3", "x" * 2_001 + " ab3"),
    ],
)
async def test_a_case_or_a_sign_that_matters_is_no_spelling(one: str, two: str) -> None:
    answers = cache()
    await asked(answers, ask(one))
    assert await asked(answers, ask(two)) == "model"


async def test_an_answer_that_differed_raises_the_threshold_again() -> None:
    answers = cache()
    await asked(answers, ask(RESET))
    await asked(answers, ask(AGAIN), "Elsewhere.")
    assert await asked(answers, ask(THIRD), "By phone.") == "model"
    assert (
        await asked(answers, ask("Please tell me how I reset my password"), "No idea.") == "model"
    )
    assert answers.report(ANN).served == 0


async def test_a_threshold_is_as_low_as_its_farthest_confirmation() -> None:
    class Angles(Everything):
        async def aembed_query(self, text: str) -> Any:
            cosine = {RESET: 1.0, AGAIN: 0.95, THIRD: 0.90}.get(text, 0.97)
            return np.array([cosine, (1 - cosine**2) ** 0.5, 0, 0], np.float32)

    answers = cache(Angles())
    await asked(answers, ask(RESET))
    await asked(answers, ask(AGAIN))
    nearer = await answers.alook(ask("Please tell me how I reset my password"))
    assert nearer is not None
    assert nearer.similarity >= 0.95
    answers = cache(Angles())
    await asked(answers, ask(RESET))
    await asked(answers, ask(AGAIN))
    assert await asked(answers, ask(THIRD)) == "model"


async def test_what_is_far_away_is_not_compared() -> None:
    class Apart(Everything):
        async def aembed_query(self, text: str) -> Any:
            return np.eye(4, dtype=np.float32)[len(text) % 4]

    answers = cache(Apart())
    assert {len(text) % 4 for text in (RESET, AGAIN)} == {3}
    await asked(answers, ask(RESET))
    await asked(answers, ask(THIRD))
    assert await asked(answers, ask(THIRD + " Thanks, bye")) == "model"


@pytest.mark.parametrize(
    "other",
    [
        ask(AGAIN, system="Be rude."),
        ask(AGAIN, scope=BEN),
        ask(AGAIN, scope=Scope("acme/ann", "ann")),
        ChatRequest((Message("user", AGAIN),), scope=ANN, max_tokens=5),
        ChatRequest(
            (Message("user", "Hi"), Message("assistant", "Hi"), Message("user", AGAIN)), scope=ANN
        ),
        ChatRequest((Message("user", AGAIN), Message("assistant", "Well:")), scope=ANN),
        ChatRequest((Message("user", AGAIN),)),
    ],
    ids=["system", "user", "tenant", "limit", "history", "prefill", "nobody"],
)
async def test_all_but_the_last_users_words_must_be_equal(other: ChatRequest) -> None:
    answers = cache()
    await asked(answers, ask(RESET))
    await asked(answers, ask(THIRD))
    assert await answers.alook(ask(AGAIN)) is not None
    assert await answers.alook(other) is None


async def warm(answers: SemanticCache, prompt: str, rng: random.Random) -> None:
    """Have a prompt asked, and asked again with the same answer: its threshold is open."""
    for text in (prompt, edits.asked_again(prompt, rng)):
        await asked(answers, ask(text, system=prompt), prompt)


async def heard(answers: SemanticCache, prompt: str, text: str) -> bool:
    return await answers.alook(ask(text, system=prompt)) is not None


async def test_ten_thousand_edits_get_no_false_hit_when_only_the_guards_decide() -> None:
    """Every vector is the same, every threshold is open, nothing is sampled."""
    rules = CacheRules(["small"], volatile=lambda _: False)
    answers = cache(rules=rules)
    rng = random.Random(1)
    false, again, prompts, prompt = [], 0, 0, ""
    for case in edits.cases(10_000, each=8):
        if case.prompt != prompt:
            prompt = case.prompt
            prompts += 1
            await warm(answers, prompt, rng)
            again += await heard(answers, prompt, edits.asked_again(prompt, rng))
        if await heard(answers, prompt, case.edited):
            false.append(case)
    assert false == []
    assert again >= 0.95 * prompts > 900


async def test_edits_get_no_false_hit_with_the_local_embedder() -> None:
    pytest.importorskip("onnxruntime")
    from rag_memory_plugins.retrieval.embedding import MiniLM

    minilm = MiniLM()
    answers = cache(minilm, CacheRules(["small"], volatile=lambda _: False))
    rng = random.Random(2)
    similar, false = [], []
    for case in edits.cases(60, seed=3):
        await warm(answers, case.prompt, rng)
        one, two = [await minilm.aembed_query(text) for text in (case.prompt, case.edited)]
        similar.append(float(one @ two))
        if await heard(answers, case.prompt, case.edited):
            false.append(case)
    await minilm.aclose()
    assert false == []
    assert np.median(similar) > 0.92  # paraphrases: 0.95


async def test_free_paraphrases_are_answered_once_their_wording_was_confirmed() -> None:
    """Forty by hand: the guards refuse half of them, and some are farther than the floor."""
    pytest.importorskip("onnxruntime")
    from rag_memory_plugins.retrieval.embedding import MiniLM

    minilm = MiniLM()
    answers = cache(minilm, CacheRules(["small"], volatile=lambda _: False))
    rng = random.Random(6)
    at_once = learned = 0
    for number, (prompt, paraphrase) in enumerate(edits.PARAPHRASES):
        prompt_of = f"{number}. {prompt}"
        for text in (prompt, edits.asked_again(prompt, rng)):
            await asked(answers, ask(text, system=prompt_of), prompt)
        at_once += await heard(answers, prompt_of, paraphrase)
        for before in ("Hi, ", "Please tell me: ", "So, ", "Thanks, ", "Hey, ", "Ok, "):
            small = before + paraphrase[0].lower() + paraphrase[1:]
            await asked(answers, ask(small, system=prompt_of), prompt)
        last = await answers.alook(ask(f"Well, {paraphrase}", system=prompt_of))
        learned += last is not None
    await minilm.aclose()
    assert at_once >= 3
    assert learned >= 18


async def test_hits_are_sampled_at_their_rate_and_measured() -> None:
    rng = random.Random(4)
    answers = cache(sample=0.2, chance=rng.random)
    await asked(answers, ask(RESET))
    await asked(answers, ask(THIRD))
    for _ in range(200):
        found = await answers.alook(request := ask(AGAIN))
        assert found is not None
        if found.sampled:
            await answers.acompare(request, found, said())
    report = answers.report(ANN)
    assert report.served + report.sampled == 200
    assert 20 <= report.sampled <= 60
    assert (report.different, report.rate, report.low, report.on) == (0, 0.0, 0.0, True)
    assert 0 < report.high < 0.2


async def test_few_trials_allow_few_answers_and_many_allow_all() -> None:
    rng = random.Random(5)
    answers = cache(max_error=0.05, chance=rng.random)
    await asked(answers, ask(RESET))
    await asked(answers, ask(THIRD))
    sampled = []
    for _ in range(600):
        found = await answers.alook(request := ask(AGAIN))
        assert found is not None
        sampled.append(found.sampled)
        if found.sampled:
            await answers.acompare(request, found, said())
    assert sum(sampled[:20]) >= 15
    assert sum(sampled[-100:]) <= 25


async def test_wrong_hits_switch_the_partition_off_and_no_other() -> None:
    events: list[Event] = []
    answers = cache(
        max_error=0.05, chance=lambda: 0.999, same=lambda a, b: a == b, hooks=[events.append]
    )
    outcomes = []
    for number in range(4):
        system = f"Case {number}"
        for scope in (ANN, BEN):
            for text in (RESET, THIRD):
                await asked(answers, ask(text, scope, system))
        outcomes.append(await asked(answers, ask(AGAIN, ANN, system), "Elsewhere."))
    # One error of one trial may be chance (it is at least 2.5 % likely); two of two are not.
    assert outcomes == ["sampled semantic", "sampled semantic", "model", "model"]
    seen = answers.report(ANN)
    assert (seen.sampled, seen.different, seen.rate, seen.on) == (2, 2, 1.0, False)
    assert seen.low > 0.05
    off = [event for event in events if event.name == "cache.off"]
    assert [(event.scope, event.data["different"]) for event in off] == [("acme/ann", 2)]
    assert answers.report(BEN).on
    assert await asked(answers, ask(AGAIN, BEN, "Case 0")) == "sampled semantic"
    await answers.aforget(ANN)
    assert answers.report(ANN).on


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("In settings.", "in settings", True),
        ("It takes 5 days.", "It takes 5 days, usually.", True),
        ("It takes 5 days.", "It takes 6 days.", False),
        ("Yes, it does.", "No, it does not.", False),
    ],
)
async def test_answers_are_compared_by_text_facts_and_meaning(
    a: str, b: str, *, same: bool
) -> None:
    answers = cache()
    await asked(answers, ask(RESET), a)
    await asked(answers, ask(AGAIN), b)
    assert (await answers.alook(ask(THIRD)) is not None) is same


async def test_a_comparison_that_fails_costs_the_lesson_and_not_the_answer() -> None:
    events: list[Event] = []

    def broken(_: str, __: str) -> bool:
        raise RuntimeError

    answers = cache(same=broken, hooks=[events.append])
    await asked(answers, ask(RESET))
    assert await asked(answers, ask(AGAIN)) == "model"
    assert events[-1] == Event("cache.degraded", "acme/ann", data={"error": "RuntimeError"})
    assert await asked(answers, ask(THIRD)) == "model"


async def test_an_embedder_that_fails_costs_the_hit_and_says_so() -> None:
    events: list[Event] = []
    embedder = Everything()
    answers = cache(embedder, hooks=[events.append])
    await asked(answers, ask(RESET))
    await asked(answers, ask(THIRD))
    embedder.fail = True
    assert await asked(answers, ask(AGAIN)) == "model"
    assert events[-1] == Event("cache.degraded", "acme/ann", data={"error": "EmbedderError"})
    assert await asked(answers, ask(AGAIN)) == "exact"


async def test_answers_end_with_their_time() -> None:
    clock = Clock()
    answers = cache(ttl=60, clock=clock)
    await asked(answers, ask(RESET))
    await asked(answers, ask(THIRD))
    assert await answers.alook(ask(AGAIN)) is not None
    clock.now += 60
    assert await answers.alook(ask(AGAIN)) is None
    await asked(answers, ask("Who wrote Hamlet?"))
    assert len(answers) == 1


async def test_memory_is_bounded_by_rows_entries_and_bytes() -> None:
    def questions() -> list[ChatRequest]:
        return [
            ask(f"What is the root of {number}?", Scope("acme", f"u{number % 4}"))
            for number in range(80)
        ]

    for bound, most in (({"rows": 5}, 20), ({"max_entries": 30}, 30), ({"max_bytes": 30_000}, 24)):
        answers = cache(**bound)
        for request in questions():
            assert await asked(answers, request) == "model"
            assert len(answers) <= most
        assert len(answers) >= most - 3
        assert await answers.aforget("acme") > 0
        assert len(answers) == 0


async def test_forgetting_reaches_both_caches_and_what_is_being_answered() -> None:
    answers = cache(rules=CacheRules(["small"], per="tenant"))
    for scope, text in ((ANN, RESET), (ANN, THIRD), (BEN, "Who wrote Hamlet?")):
        await asked(answers, ask(text, scope))
    underway = ask("What is HTTP?")
    assert await answers.alook(underway) is None
    answers.forget(Erased(Namespace("acme", "ann", "monday")))
    await answers.akeep(underway, said())
    assert len(answers) == 1
    assert [await asked(answers, ask(text, BEN)) for text in (RESET, "What is HTTP?")] == [
        "model"
    ] * 2
    assert await asked(answers, ask("Who wrote Hamlet?")) == "exact"
    assert await answers.aforget("acme") == 6
    assert len(answers) == 0


USERS = st.sampled_from(["a", "b", "a/b", "b/a", "a%2Fb", "*", "A"])
TEXTS = st.sampled_from(
    [RESET, AGAIN, THIRD, "Who wrote Hamlet?", "Please tell me who wrote Hamlet."]
)


@settings(max_examples=60)
@given(st.lists(st.tuples(USERS, USERS, TEXTS), max_size=30), st.sampled_from(["user", "tenant"]))
async def test_a_hit_is_always_of_the_same_partition(steps: Any, per: Any) -> None:
    answers = cache(rules=CacheRules(["small"], per=per), same=lambda *_: True)
    for tenant, user, text in steps:
        mine = f"{tenant}|{user if per == 'user' else ''}"
        request = ask(text, Scope(tenant, user))
        found = await answers.alook(request)
        if found is None:
            await answers.akeep(request, said(mine))
        else:
            assert found.answer.message.content == mine


def test_sixty_four_threads_agree() -> None:
    answers = cache(max_entries=25, same=lambda *_: True)
    wrong: list[Cached] = []
    barrier = threading.Barrier(64)
    texts = [RESET, AGAIN, THIRD, "Who wrote Hamlet?", "What is 5 times 7?", "What is 5 times 8?"]

    async def work(seed: int) -> None:
        for step in range(20):
            user = f"u{(seed + step) % 5}"
            text = texts[(seed * 7 + step) % len(texts)]
            kind = text if text not in texts[:3] else "reset"
            request = ask(text, Scope("acme", user))
            found = await answers.alook(request)
            if found is None:
                await answers.akeep(request, said(f"{user} {kind}"))
            elif found.answer.message.content != f"{user} {kind}":
                wrong.append(found)
            if step % 10 == 9:
                await answers.aforget(Scope("acme", user))

    def run(seed: int) -> None:
        barrier.wait()
        asyncio.run(work(seed))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(answers) <= 25


@given(st.integers(0, 60), st.integers(1, 60))
def test_an_interval_holds_the_measured_rate_and_narrows(errors: int, trials: int) -> None:
    errors = min(errors, trials)
    low, high = bounds(errors, trials)
    assert 0 <= low <= errors / trials <= high <= 1
    wide = bounds(errors, trials, 0.01)
    assert wide[0] <= low <= high <= wide[1]
    more = bounds(errors * 4, trials * 4)
    assert more[1] - more[0] < high - low or high - low == 0


def test_the_interval_is_the_published_one() -> None:
    # Clopper and Pearson (1934), 95 %: 1 of 10 gives 0.0025 to 0.4450, 0 of 10 an upper end of 0.3085.
    assert [round(end, 4) for end in bounds(1, 10)] == [0.0025, 0.4450]
    assert round(bounds(0, 10)[1], 4) == 0.3085


@given(st.integers(0, 20), st.integers(0, 2_000))
def test_what_is_answered_keeps_the_expected_error_under_the_bound(
    errors: int, trials: int
) -> None:
    errors = min(errors, trials)
    answered = share(errors, trials, 0.01)
    assert 0.01 <= answered <= 1
    if trials:
        assert answered * (errors / trials) <= 0.01 + 1e-9
    assert share(errors, trials + 100, 0.01) >= answered - 1e-9


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_error", 0), ("sample", 1), ("floor", 2), ("confirmations", 0), ("ttl", -1), ("rows", 0)],
)
def test_bad_settings_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}"):
        cache(**{field: value})


async def test_the_doubles_embedder_works_too() -> None:
    answers = cache(WordEmbedder(), floor=0.3)
    await asked(answers, ask(RESET))
    assert await asked(answers, ask(AGAIN)) == "model"
    await answers.aclose()
    assert len(answers) == 0
