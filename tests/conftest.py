"""Settings of all tests."""

from __future__ import annotations

import os

import hypothesis
import pytest

# An example may take long on a busy machine: no test asserts on time. `make fuzz` has thousands of
# examples for each property of tokenizers, packing and readers.
hypothesis.settings.register_profile(
    "house", deadline=None, max_examples=int(os.environ.get("FUZZ_EXAMPLES", "100"))
)
hypothesis.settings.load_profile("house")


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps what commands cache out of the user's folders, of started commands too."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
