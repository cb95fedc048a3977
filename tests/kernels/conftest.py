"""What the kernels' tests share."""

import pytest

from sglang_kimi.kernels.native.library import native_library


@pytest.fixture
def with_kernels() -> None:
    """Skip a test where this machine has no compiled kernels."""
    if native_library() is None:
        pytest.skip("no kernel on this CPU, or no compiler")
