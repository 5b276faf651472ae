"""The two ways between a probability and its logit agree with scipy's, and with each other."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from clsl_core.arrays import logit, sigmoid

REALS = st.floats(-1e4, 1e4, width=32)


@given(z=REALS)
def test_sigmoid_is_scipys_within_its_limit(z: float) -> None:
    expected = special.expit(np.clip(z, -30, 30))
    np.testing.assert_allclose(sigmoid(np.array([z], np.float64)), expected, rtol=1e-12)


@given(z=REALS, limit=st.floats(1, 15))
def test_no_logit_is_certain(z: float, limit: float) -> None:
    p = float(sigmoid(np.array(z, np.float32), limit))
    assert 0 < p < 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sigmoid_keeps_the_dtype(dtype: type[np.floating]) -> None:
    assert sigmoid(np.zeros((2, 3), dtype)).dtype == dtype


def test_sigmoid_without_a_limit_tells_far_logits_apart() -> None:
    near, far = np.array([-40.0]), np.array([-50.0])
    assert sigmoid(near, math.inf) > sigmoid(far, math.inf)
    assert sigmoid(near) == sigmoid(far)


@given(p=st.floats(1e-5, 1 - 1e-5))
def test_logit_is_scipys_and_undone_by_sigmoid(p: float) -> None:
    np.testing.assert_allclose(logit(np.array([p])), special.logit(p), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sigmoid(logit(np.array([p]))), p, rtol=1e-3)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_logit_of_certainty_is_finite(p: float) -> None:
    assert np.isfinite(logit(np.array([p]))).all()
