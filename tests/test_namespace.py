"""Namespaces: any id, kept apart, read back."""

from __future__ import annotations

import itertools
import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rag_memory_plugins import SHARED, Namespace, Scope
from rag_memory_plugins.errors import InvalidNamespace

ids = st.text(
    st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=256
) | st.sampled_from(["*", "/", "a/b", "a:b", "%2A", "..", " ", "tenant1", "tenant10", "A", "a"])


@given(ids, ids, ids)
def test_a_key_reads_back_as_its_namespace(tenant, user, session):
    namespace = Namespace(tenant, user, session)
    assert Namespace.from_key(namespace.key) == namespace
    assert Scope.from_key(namespace.scope.key) == namespace.scope


@given(ids, ids | st.just(SHARED), ids)
def test_items_are_a_scope_beside_what_was_said(tenant, user, path):
    namespace, said = Namespace(tenant, user, path, items=True), Namespace(tenant, user, path)
    assert Namespace.from_key(namespace.key) == namespace
    assert Scope.from_key(namespace.scope.key) == namespace.scope
    assert (namespace == said, namespace.scope == said.scope) == (False, False)
    assert namespace.scope.key not in (said.scope.key, Scope(tenant, f"{user}@").key)


@given(st.tuples(ids, ids, ids), st.tuples(ids, ids, ids))
@example(("a:b", "c", "s"), ("a", "b:c", "s"))
@example(("a/b", "c", "s"), ("a", "b/c", "s"))
@example(("tenant1", "0", "s"), ("tenant10", "s", "s"))
def test_different_namespaces_never_share_a_key(one, two):
    assert (one == two) == (Namespace(*one).key == Namespace(*two).key)


def test_normal_forms_and_cases_stay_apart():
    names = ["caf\u00e9", "cafe\u0301", "CAF\u00c9", "\uff43afe", "cafe", "cafe "]
    keys = {Scope(name, "u").key for name in names}
    assert len(keys) == len(names)


@pytest.mark.parametrize(
    "value", ["", None, 7, b"a", "a\x00b", "a\nb", "\x85", "\ud800", "x" * 257, ("a",)]
)
@pytest.mark.parametrize("field", ["tenant", "user", "session"])
def test_an_unusable_id_is_refused_and_named(field, value):
    parts = {"tenant": "t", "user": "u", "session": "s", field: value}
    with pytest.raises(InvalidNamespace, match=f"^{field}: got "):
        Namespace(**parts)


def test_the_shared_user_is_no_string():
    shared = Namespace("acme", SHARED, "s")
    assert Namespace.from_key(shared.key).user is SHARED
    others = [Namespace("acme", name, "s").key for name in ("*", "SHARED", "shared", "%2A")]
    assert shared.key not in others


@pytest.mark.parametrize("key", ["", "a", "a/b/c/d", "*/b/c", "a/b/*", "a/b/%", "a/B%2f/c", "a//c"])
def test_a_key_that_was_not_made_here_is_refused(key):
    with pytest.raises(InvalidNamespace):
        Namespace.from_key(key)


def test_a_namespace_is_a_frozen_value():
    one, two = Namespace("a", "b", "c"), Namespace("a", "b", "c")
    assert one == two
    assert hash(one) == hash(two)
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(AttributeError):
        one.tenant = "x"


def test_every_part_is_required():
    for count in range(3):
        with pytest.raises(TypeError):
            Namespace(*itertools.repeat("x", count))
