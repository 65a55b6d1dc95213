"""What a snapshot keeps of an object."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.claude_enhancer.rollout.plugins.filter.without_server_fields import without_server_fields


def test_status_and_what_the_server_owns_are_gone_and_the_rest_is_kept() -> None:
    spec = {"subsets": [{"name": "stable", "labels": {"version": "5.0"}}]}
    item = {
        "kind": "DestinationRule",
        "metadata": {"name": "a", "labels": {"x": "y"}, "uid": "1", "resourceVersion": "7", "managedFields": [{}]},
        "spec": spec,
        "status": {"ready": True},
    }
    assert without_server_fields(item) == {
        "kind": "DestinationRule",
        "metadata": {"name": "a", "labels": {"x": "y"}},
        "spec": spec,
    }
    assert "uid" in item["metadata"], "the object itself must stay as it was"


@pytest.mark.parametrize("item", [None, "text", {}, {"metadata": "name"}])
def test_what_is_no_object_is_refused(item: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="takes a Kubernetes object"):
        without_server_fields(item)
