"""Which variant of a model is asked: names, order, and what is remembered of memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins.router.ollama_choice import Choice
from rag_memory_plugins.router.ollama_models import (
    Unfit,
    Variant,
    bits,
    memory_said,
    ordered,
    variants_of,
)

GIB = 1024**3
LEVELS = ["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_0", "Q3_K_M", "Q2_K"]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def tag(name: str, parameters: str = "8.0B", level: str = "Q4_0", size: int = 4 * GIB) -> Variant:
    details = {"parameter_size": parameters, "quantization_level": level}
    return Variant.from_tag({"name": name, "size": size, "details": details})


def names(wanted: str, *installed: Variant) -> list[str]:
    return [variant.name for variant in variants_of(wanted, installed)]


def test_quantisations_are_in_the_order_of_their_quality() -> None:
    assert sorted(LEVELS, key=bits, reverse=True) == LEVELS


def test_a_bare_size_means_the_variants_that_follow_instructions() -> None:
    installed = [
        tag("llama3.1:8b-instruct-q4_0"),
        tag("llama3.1:8b-instruct-q8_0"),
        tag("llama3.1:8b-text-q4_0"),
        tag("llama3.1:70b-instruct-q4_0", "70.6B"),
        tag("llama3.2:8b-instruct-q4_0"),
    ]
    assert names("llama3.1:8b", *installed) == [
        "llama3.1:8b-instruct-q4_0",
        "llama3.1:8b-instruct-q8_0",
    ]


def test_a_text_model_is_not_taken_for_one_that_follows_instructions() -> None:
    installed = [tag("llama3.1:8b-text-q4_0"), tag("llama3.1:8b-instruct-q8_0")]
    assert names("llama3.1:8b-text", *installed) == ["llama3.1:8b-text-q4_0"]


@pytest.mark.parametrize(
    ("wanted", "latest", "same"),
    [
        ("llama3.1:8b", tag("llama3.1:latest", "8.0B"), True),
        ("llama3.1:70b", tag("llama3.1:latest", "8.0B"), False),
        ("qwen2.5:0.5b", tag("qwen2.5:latest", "494.03M"), True),
        ("gemma2:2b", tag("gemma2:latest", "2.6B"), True),
        ("llama3.1:8b", tag("llama3.1:latest", ""), False),
    ],
)
def test_the_latest_is_of_the_size_that_its_details_say(
    wanted: str, latest: Variant, same: bool
) -> None:
    assert bool(names(wanted, latest)) is same


def test_a_name_without_a_tag_takes_what_is_as_large_as_its_latest() -> None:
    installed = [
        tag("llama3.1:latest", "8.0B"),
        tag("llama3.1:8b-q8_0"),
        tag("llama3.1:70b", "70.6B"),
    ]
    assert names("llama3.1", *installed) == ["llama3.1:latest", "llama3.1:8b-q8_0"]


def test_a_name_that_could_be_of_two_sizes_is_neither() -> None:
    assert names("llama3.1", tag("llama3.1:8b"), tag("llama3.1:70b", "70.6B")) == []


def test_a_name_of_one_size_is_that() -> None:
    assert names("llama3.1", tag("llama3.1:8b-q4_0"), tag("llama3.1:8b-q8_0")) != []


def test_a_model_of_a_hub_matches_by_its_quantisation() -> None:
    installed = [tag("hf.co/someone/Small-GGUF:Q8_0", "1.2B", "unknown")]
    assert names("hf.co/someone/Small-GGUF:Q4_K_M", *installed) == ["hf.co/someone/Small-GGUF:Q8_0"]
    assert installed[0].quantisation == "q8_0"


def test_a_model_on_another_machine_is_not_taken_for_one_here() -> None:
    remote = replace(tag("gpt-oss:120b"), remote=True)
    assert names("gpt-oss:120b", remote) == []
    assert names("gpt-oss:120b-cloud", replace(remote, name="gpt-oss:120b-cloud")) != []


def test_the_very_tag_comes_first_and_then_the_best() -> None:
    variants = [tag(f"m:8b-{level.lower()}", level=level) for level in ("Q4_0", "Q8_0", "Q5_0")]
    variants.append(tag("m:8b", level="Q4_K_M"))
    order = [variant.name for variant in ordered("m:8b", variants)]
    assert order == ["m:8b", "m:8b-q8_0", "m:8b-q5_0", "m:8b-q4_0"]


def test_a_preferred_quantisation_comes_before_the_very_tag() -> None:
    variants = [tag("m:8b", level="Q8_0"), tag("m:8b-q4_0"), tag("m:8b-q4_K_M", level="Q4_K_M")]
    order = [variant.name for variant in ordered("m:8b", variants, "q4")]
    assert order == ["m:8b-q4_K_M", "m:8b-q4_0", "m:8b"]


def test_both_numbers_are_read_in_any_unit() -> None:
    text = "model requires more system memory (1.5 TiB) than is available (512 MiB)"
    assert memory_said(text) == (int(1.5 * 1024**4), 512 * 1024**2)


def test_numbers_that_are_none_are_unknown() -> None:
    text = "model requires more system memory (1.2.3 GiB) than is available (5 GiB)"
    assert memory_said(text) == (0, 5 * GIB)


def test_a_failure_is_forgotten_after_its_time() -> None:
    clock = Clock()
    unfit = Unfit(clock, seconds=60.0)
    unfit.note(tag("m:8b"), 4_096)
    clock.now += 59
    assert unfit.why(tag("m:8b"), 4_096)
    clock.now += 1
    assert unfit.why(tag("m:8b"), 4_096) == ""


def test_a_smaller_context_may_fit() -> None:
    unfit = Unfit(Clock())
    unfit.note(tag("m:8b"), 16_384)
    assert unfit.why(tag("m:8b"), 8_192) == ""
    assert unfit.why(tag("m:8b"), 32_768)


def test_a_lighter_variant_that_would_still_need_too_much_is_not_tried() -> None:
    unfit = Unfit(Clock())
    unfit.note(tag("m:8b-q8_0", size=8 * GIB), 4_096, needed=9 * GIB, available=4 * GIB)
    assert unfit.why(tag("m:8b-q5_0", size=5 * GIB), 4_096)
    assert unfit.why(tag("m:8b-q2_K", size=3 * GIB), 4_096) == ""


def test_a_reason_says_what_was_needed_and_for_how_long_it_holds() -> None:
    unfit = Unfit(Clock(), seconds=60.0)
    unfit.note(tag("m:8b"), 4_096, needed=8 * GIB, available=5 * GIB)
    assert unfit.why(tag("m:8b"), 4_096) == (
        "m:8b did not fit into memory with a context of 4096 tokens (8.0 GiB needed, 5.0 GiB free); "
        "tried again in 60 s"
    )


variants = st.lists(
    st.builds(
        lambda level, size: tag(f"m:8b-{level.lower()}", level=level, size=size),
        st.sampled_from(LEVELS),
        st.integers(1, 20),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda variant: variant.name,
)
steps = st.lists(
    st.tuples(st.integers(1, 60_000), st.integers(0, 20), st.integers(0, 200)), max_size=25
)


@given(variants, steps, st.sampled_from(["", "q4", "q8_0"]))
def test_what_is_known_not_to_fit_is_never_chosen_nor_anything_larger(
    installed: list[Variant], steps: list[tuple[int, int, int]], quantisation: str
) -> None:
    """A machine with room for so much refuses what is larger; time passes between the requests."""
    clock = Clock()
    choice = Choice("m:8b", None, quantisation, clock)
    order = choice.among(tuple(installed))
    failed: list[tuple[Variant, int, float]] = []
    for need, room, passed in steps:
        clock.now += passed
        live = [entry for entry in failed if clock.now < entry[2]]
        chosen = choice.first(order, need)
        if chosen is None:
            assert live
            assert choice.why_none(order, need)
            continue
        variant, num_ctx = chosen
        assert num_ctx >= need
        for other, other_ctx, _ in live:
            assert not (variant.weight >= other.weight and num_ctx >= other_ctx)
        if variant.size * num_ctx > room * 8_192:
            choice.too_large(variant, num_ctx)
            failed.append((variant, num_ctx, clock.now + 300.0))
        else:
            choice.worked(variant, need, num_ctx)


def test_a_context_stays_as_large_as_it_was_so_that_the_model_is_not_loaded_anew() -> None:
    clock = Clock()
    choice = Choice("m:8b", None, "", clock)
    model = tag("m:8b")
    choice.worked(model, 10_000, 16_384)
    assert choice.first([model], 100) == (model, 16_384)
    clock.now += 300
    assert choice.first([model], 100) == (model, 4_096)


def test_a_large_context_that_stays_is_not_made_to_last_by_small_prompts() -> None:
    clock = Clock()
    choice = Choice("m:8b", None, "", clock)
    model = tag("m:8b")
    choice.worked(model, 10_000, 16_384)
    clock.now += 200
    choice.worked(model, 100, 16_384)
    clock.now += 100
    assert choice.first([model], 100) == (model, 4_096)
