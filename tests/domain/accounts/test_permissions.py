"""Permissions of roles and of key scopes, and callers who lack one."""

import pytest

from waypost.domain.accounts.callers import Caller
from waypost.domain.accounts.permissions import (
    NAMES,
    TABLE,
    Role,
    check_role,
    check_scopes,
    role_permissions,
    scope_permissions,
)
from waypost.errors import Forbidden, Invalid

#: The roles of each permission besides the owner: said once more, as a reader of the documentation would.
EXPECTED = {
    "events.send": {"admin", "developer"},
    "people.write": {"admin", "marketer"},
    "templates.write": {"admin", "marketer", "developer"},
    "campaigns.write": {"admin", "marketer"},
    "messages.send": {"admin", "marketer", "developer"},
    "connections.write": {"admin", "developer"},
    "webhooks.write": {"admin", "developer"},
    "webhooks.secrets": {"admin", "developer"},
    "settings.write": {"admin", "developer"},
    "keys.write": {"admin", "developer"},
    "users.write": {"admin"},
    "audit.read": {"admin", "developer"},
    "workspace.delete": set(),
}


@pytest.mark.parametrize("permission", sorted(NAMES))
def test_each_permission_has_its_roles(permission):
    others = {role.value for role in Role if permission in role_permissions(role)} - {"owner"}
    expected = EXPECTED.get(permission, {"admin", "marketer", "developer", "viewer"})
    assert others == expected
    assert permission in role_permissions(Role.OWNER)
    assert permission in EXPECTED or permission.endswith(".read")


def test_names_occur_once_and_each_says_what_it_is_for():
    assert len(NAMES) == len(TABLE)
    assert all(row.description.endswith(".") for row in TABLE)


@pytest.mark.parametrize(
    ("scopes", "may", "may_not"),
    [
        (["ingest"], {"events.send"}, {"events.read", "messages.send"}),
        (["read"], {"people.read", "audit.read"}, {"events.send", "people.write", "webhooks.secrets"}),
        (["manage"], NAMES - {"workspace.delete"}, {"workspace.delete"}),
        (["read", "messages.send"], {"people.read", "messages.send"}, {"people.write"}),
        (["people.write"], {"people.write"}, {"people.read"}),
        (["workspace.delete"], {"workspace.delete"}, {"people.read"}),
        (["from a newer version"], set(), NAMES),
        ([], set(), NAMES),
    ],
)
def test_scopes_stand_for_permissions(scopes, may, may_not):
    found = scope_permissions(scopes)
    assert may <= found
    assert not may_not & found


def test_an_unknown_role_may_nothing():
    assert role_permissions("from a newer version") == frozenset()


@pytest.mark.parametrize(
    ("user_id", "who"), [(0, "This key has the scopes read"), (7, "Your role is read; ask an owner")]
)
def test_a_caller_without_the_permission_is_told_what_is_missing(user_id, who):
    caller = Caller(workspace_id=1, permissions=frozenset({"people.read"}), grants="read", user_id=user_id)
    caller.require("people.read")
    with pytest.raises(Forbidden, match=r"people\.write") as caught:
        caller.require("people.write")
    assert who in caught.value.detail
    assert caught.value.extra == {"permission": "people.write"}


def test_scopes_are_kept_once_and_in_order():
    assert check_scopes(["people.read", "manage", "ingest", "manage"]) == ["ingest", "manage", "people.read"]


@pytest.mark.parametrize("scopes", [[], ["admin"], ["read", "admin"], ["READ"], [""], ["workspace.delete"]])
def test_unknown_scopes_are_refused_with_those_there_are(scopes):
    with pytest.raises(Invalid, match="ingest, read, manage") as caught:
        check_scopes(scopes)
    assert caught.value.code == "invalid_scopes"


def test_unknown_roles_are_refused_with_those_there_are():
    assert check_role("marketer") is Role.MARKETER
    with pytest.raises(Invalid, match="owner, admin, marketer, developer, viewer"):
        check_role("king")
