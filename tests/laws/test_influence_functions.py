"""What every influence method of the registry promises, asked of each by the conformance kit."""

from __future__ import annotations

from functools import partial

import pytest

from influence_store.influence import METHODS
from influence_store.schema.identity import sample_id
from influence_store.schema.sample import Sample
from influence_store.testing import check_facts, check_method, check_spec

NAMES = sorted(METHODS.builtin)
SAMPLES = [
    Sample.of(f"What is {k} times {k}?", f"It is {k * k}{', a long number' * (k % 3)}.")
    for k in (2, 3, 4, 50, 600, 7000)
]
FIT = [Sample.of(f"What is {k} plus one?", f"{k + 1}, I say.") for k in (3, 50, 999, 12345)]
HELD_OUT = [Sample.of(f"What is {k} less one?", f"It is {k - 1}.") for k in (7, 80)]
#: What a method needs besides, to have something to say, and soon, on random weights.
SETTINGS = {
    "dealrec": {"damping": 0.9, "scale": 400.0, "steps": 50},
    "forgetting": {"threshold": 0.02},
    **{name: {"dim": 16} for name in ("less", "tracin", "gradient-cosine", "trak")},
}
#: The tiny LLM reads 512 tokens of one character each.
TOO_LONG = Sample.of("How long is this?" * 40, "Very." * 10)


@pytest.fixture(scope="module")
def llm(tiny_llm):
    from influence_store.influence.llm import load_llm

    return load_llm(tiny_llm, device="cpu")


@pytest.fixture(scope="module")
def learner(llm):
    """A fresh learner per call, so that no method sees what another left behind."""
    from influence_store.influence.lora import LoraLm

    return partial(LoraLm, llm, rank=1, target_modules=("v_proj",))


@pytest.fixture(scope="module")
def checkpoints(learner):
    return partial(_trained, learner)


def _trained(learner, *, blind):
    from influence_store.influence.checkpoints import Recipe

    one = learner()
    recipe = Recipe(epochs=2, batch_size=2, learning_rate=1e-2, n_checkpoints=2, blind=blind)
    return one.train([one.read(sample) for sample in FIT], recipe)


@pytest.fixture
def make(request, name):
    """Builds the method anew from what its entry says it needs."""
    needs = METHODS.builtin[name].needs
    given = [] if "llm" not in needs else [request.getfixturevalue("llm")]
    named = {}
    if "checkpoints" in needs:
        told = request.getfixturevalue("checkpoints")
        given = [request.getfixturevalue("learner"), told(blind=False)]
    if "null_checkpoints" in needs:
        named["null_checkpoints"] = told(blind=True)
    if "seen" in needs:
        named["seen"] = frozenset(map(sample_id, FIT))
    if "fit" in needs:
        named["fit"] = FIT
    if "targets" in needs:
        named["targets"] = HELD_OUT
    if "embedding" in needs:
        given = ["0" * 32]

    def build():
        fresh = [one() if isinstance(one, partial) else one for one in given]
        return METHODS.get(name)(*fresh, **named, **SETTINGS.get(name, {}))

    return build


@pytest.mark.parametrize("name", NAMES)
def test_the_entry_says_what_the_spec_says(name):
    entry, spec = METHODS.builtin[name], check_spec(METHODS.get(name))
    assert (spec.name, spec.kind, spec.needs) == (name, entry.kind, entry.needs)
    assert spec.higher_means == entry.higher_means


@pytest.mark.parametrize(
    "name", [name for name in NAMES if "embedding" not in METHODS.builtin[name].needs]
)
def test_method_keeps_every_law(make, name):
    check_method(make, SAMPLES, too_long=TOO_LONG)


@pytest.mark.parametrize(
    "name", [name for name in NAMES if "embedding" in METHODS.builtin[name].needs]
)
def test_facts_of_a_method_on_embeddings_name_the_embedder(make, name):
    assert "0" * 32 in check_facts(make).values()


def test_every_kind_is_asked():
    asked = [METHODS.builtin[name] for name in NAMES]
    kinds = {method.kind for method in asked if "embedding" not in method.needs}
    assert kinds == {"pointwise", "bilinear", "pairwise"}
