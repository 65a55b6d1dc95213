"""Fixtures of the API server's unit tests."""

from __future__ import annotations

import pytest

from tests.unit.cluster.cluster_api import Api


@pytest.fixture
def api() -> Api:
    return Api()
