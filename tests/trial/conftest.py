from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def tiny(tiny_llm):
    from influence_store.influence.llm import load_llm

    return load_llm(tiny_llm, device="cpu")


@pytest.fixture(scope="session")
def small(small_llm):
    from influence_store.influence.llm import load_llm

    return load_llm(small_llm, device="cpu")
