"""Several devices for the tests of the runtime: this CPU, four times."""

from __future__ import annotations

import jax

jax.config.update("jax_num_cpu_devices", 4)
