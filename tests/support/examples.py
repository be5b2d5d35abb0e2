"""How many examples the property tests try: few in `make test`, many under the Hypothesis profile of `make test-full`."""

from __future__ import annotations

from typing import Final

from hypothesis import settings

FULL: Final = "full"

QUICK: Final = "quick"

# No deadlines: how long an example takes says how busy the machine is. What Hypothesis changes under CI stays.
settings.register_profile(QUICK, settings(), deadline=None)
settings.register_profile(FULL, settings(), max_examples=300, deadline=None)
settings.load_profile(QUICK)


def examples(quick: int, full: int) -> int:
    """Return the number that the profile of this run asks for. Test modules are imported after it is loaded."""
    return full if settings.get_current_profile_name() == FULL else quick
