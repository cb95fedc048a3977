"""Every decision is tested over both fronts, whole and streamed."""

from collections.abc import Callable
from functools import partial

import pytest

from .fakes import WAYS, Answer, Way, parse


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    """Give one front and portion size after the other."""
    way: Way = request.param
    return way


@pytest.fixture
def run(way: Way) -> Callable[..., Answer]:
    """Return `parse` along one way."""
    return partial(parse, way)
