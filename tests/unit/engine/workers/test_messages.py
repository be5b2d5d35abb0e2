"""A batch arrives as it was sent."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shortlist.engine.workers.messages import pack, pack_values, unpack
from shortlist.types import Ids, TokenPrefix, TokenPrompt, num_batch_tokens

JOBS = st.lists(st.tuples(st.integers(0, 5), st.lists(st.integers(1, 5), min_size=1, max_size=4)), min_size=1, max_size=4)


def ids(length: int, seed: int) -> Ids:
    return np.random.default_rng(seed).integers(0, 150_000, length).astype(np.int32)


@given(JOBS)
def test_prompts_arrive_in_order_with_shared_prefixes(jobs: list[tuple[int, list[int]]]) -> None:
    prompts = []
    for seed, (num_prefix, lengths) in enumerate(jobs):
        prefix = TokenPrefix(ids(num_prefix, seed))
        prompts += [TokenPrompt(prefix, ids(length, seed + place)) for place, length in enumerate(lengths)]
    found = unpack(pack(prompts))
    assert num_batch_tokens(found) == num_batch_tokens(prompts)
    arrived = [prompt for prompt in found if isinstance(prompt, TokenPrompt)]
    assert len({id(each.prefix) for each in arrived}) == len(jobs)
    for ours, theirs in zip(prompts, arrived, strict=True):
        np.testing.assert_array_equal(theirs.prefix.ids, ours.prefix.ids)
        np.testing.assert_array_equal(theirs.ids, ours.ids)
        assert theirs.ids.dtype == np.int32


def test_vectors_travel_as_one_array_and_scores_as_they_are() -> None:
    vectors = [np.full(3, number, np.float32) for number in range(4)]
    packed = pack_values(vectors)
    assert isinstance(packed, np.ndarray)
    np.testing.assert_array_equal(packed, vectors)
    assert pack_values([0.1, 0.2]) == [0.1, 0.2]
