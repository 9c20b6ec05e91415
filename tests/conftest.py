"""Settings of all tests."""

from __future__ import annotations

import hypothesis

# An example may take long on a busy machine: no test asserts on time.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")
