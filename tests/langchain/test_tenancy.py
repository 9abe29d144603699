"""Whatever ids, texts and filters: two tenants of one store never meet."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from langchain_core.documents import Document

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.langchain import TenantVectorStore
from tests.langchain.stores import in_memory

IDS = st.sampled_from(["", "a", "b", "acme", "tenant", "a/b"])
TENANTS = st.sampled_from(["acme", "globex"])
FILTERS = st.sampled_from(
    [None, lambda _: True, lambda document: document.metadata.get("tenant") != "acme"]
)


class TwoTenants(RuleBasedStateMachine):
    """Both tenants add, get, search and delete; what each holds is written down beside."""

    @initialize()
    def open(self) -> None:
        shared = in_memory()
        self.views = {name: TenantVectorStore(shared, name) for name in ("acme", "globex")}
        self.held: dict[str, dict[str, str]] = {"acme": {}, "globex": {}}
        self.count = 0

    def other(self, tenant: str) -> dict[str, str]:
        return self.held["globex" if tenant == "acme" else "acme"]

    @rule(tenant=TENANTS, ids=st.lists(IDS, min_size=1, max_size=3))
    def add(self, tenant: str, ids: list[str]) -> None:
        self.count += 1
        documents = [
            Document(f"{tenant} {self.count} {at}", id=name or None) for at, name in enumerate(ids)
        ]
        try:
            added = self.views[tenant].add_documents(documents)
        except InvalidInput:
            assert set(ids) & set(self.other(tenant))
            return
        assert not set(ids) & set(self.other(tenant))
        for name, document in zip(added, documents, strict=True):
            self.held[tenant][name] = document.page_content

    @rule(tenant=TENANTS, ids=st.lists(IDS, max_size=4))
    def get(self, tenant: str, ids: list[str]) -> None:
        found = self.views[tenant].get_by_ids(ids)
        own = self.held[tenant]
        assert {d.id: d.page_content for d in found} == {i: own[i] for i in ids if i in own}

    @rule(tenant=TENANTS, ids=st.lists(IDS, max_size=4))
    def delete(self, tenant: str, ids: list[str]) -> None:
        self.views[tenant].delete(ids)
        for name in ids:
            self.held[tenant].pop(name, None)

    @rule(tenant=TENANTS, stated=FILTERS)
    def search(self, tenant: str, stated: Any) -> None:
        retriever = self.views[tenant].as_retriever(search_kwargs={"k": 99})
        found = retriever.invoke("?", filter=stated)
        assert {d.page_content for d in found} <= set(self.held[tenant].values())

    @invariant()
    def each_has_what_it_stored(self) -> None:
        for tenant, view in getattr(self, "views", {}).items():
            found = {d.id: d.page_content for d in view.similarity_search("?", k=99)}
            assert found == self.held[tenant]


TestTwoTenants = TwoTenants.TestCase
TestTwoTenants.settings = settings(max_examples=40, stateful_step_count=12)
