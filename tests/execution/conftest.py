"""One Ray cluster of two workers for all these tests, and stores of a few dozen samples."""

from __future__ import annotations

import os

import pytest

from influence_store.execution import LOCAL


@pytest.fixture(scope="session")
def needs_ray():
    """For tests that start a cluster, and those take minutes: `make test-ray`."""
    if "INFLUENCE_STORE_TEST_RAY" not in os.environ:
        pytest.skip("no cluster is started: make test-ray")
    pytest.importorskip("ray", reason="pip install 'influence-store[ray]'")


@pytest.fixture(scope="session")
def cluster(backend, needs_ray):
    """An executor with two workers on this machine, which its first work starts."""
    import shop
    from ray import cloudpickle

    from influence_store.execution.ray import RayExecutor

    # Workers do not see the folder of these tests.
    cloudpickle.register_pickle_by_value(shop)

    with RayExecutor(workers=2) as executor:
        yield executor


@pytest.fixture(params=["local", "ray"])
def executor(request):
    """Each of the engines."""
    return LOCAL if request.param == "local" else request.getfixturevalue("cluster")


@pytest.fixture
def lethal(tmp_path):
    """A folder that ends so many workers as it is told."""

    def make(deaths):
        folder = tmp_path / "deaths"
        folder.mkdir()
        for k in range(deaths):
            (folder / str(k)).touch()
        return str(folder)

    return make
