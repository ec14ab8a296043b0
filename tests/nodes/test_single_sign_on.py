"""Single sign-on with two nodes on one PostgreSQL: begun on one, finished on the other, and good once on both."""

import asyncio
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from tests.nodes.conftest import Pair
from tests.oidc import CLIENT_ID, CLIENT_SECRET, OidcProvider, oidc_provider
from waypost.clock import now_us
from waypost.domain.accounts.permissions import Role
from waypost.domain.accounts.single_sign_on import SignOnProvider, SignOnRefused
from waypost.engine.accounts import sign_on_settings
from waypost.errors import Unauthorized

pytestmark = pytest.mark.postgres


@pytest.fixture
def provider():
    with oidc_provider() as found:
        yield found


async def set_up(pair: Pair, provider: OidcProvider, **changes: object) -> None:
    settings = {
        "workspace_id": 1,
        "label": "Acme",
        "issuer": provider.issuer,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "domains": ("example.com",),
        "role": Role.VIEWER,
        "owners": False,
        "trusts_mfa": False,
        "updated_at": now_us(),
    }
    node = pair.one
    found = SignOnProvider(**settings | changes)  # type: ignore[arg-type]
    await node.database.transact(sign_on_settings.set_provider, node.engine.encryption, found, now_us())


async def begin(node):
    """Return the cookie of a browser, and the answer that the provider sends it back with."""
    url, cookie = await node.engine.sign_on.begin(1, "/people", "192.0.2.7", fresh=False)
    async with httpx.AsyncClient() as outside:
        response = await outside.get(url)
    return cookie, dict(parse_qsl(urlsplit(response.headers["location"]).query))


async def finish(node, cookie, answer):
    """Return what came of it, or the code of the refusal."""
    try:
        return await node.engine.sign_on.finish(cookie, answer, "192.0.2.7", "test")
    except SignOnRefused as error:
        return error.code


async def test_a_sign_in_that_one_node_has_begun_is_finished_by_the_other(pair, provider):
    await set_up(pair, provider)
    back = await finish(pair.other, *await begin(pair.one))
    assert (back.path, back.session.sign_on_id) == ("/people", 1)
    for node in pair.nodes:
        found = await node.engine.sessions.find(back.cookie, "192.0.2.7")
        assert (found.user_id, [one.workspace_id for one in found.workspaces]) == (back.session.user_id, [1])
    await pair.one.database.transact(sign_on_settings.delete_provider, 1)
    pair.other.engine.sessions.forget()
    with pytest.raises(Unauthorized):
        await pair.other.engine.sessions.find(back.cookie, "192.0.2.7")


async def test_it_is_good_once_on_both_nodes(pair, provider):
    await set_up(pair, provider)
    provider.codes_last = True
    begun = await begin(pair.one)
    found = await asyncio.gather(*(finish(pair.nodes[number % 2], *begun) for number in range(6)))
    assert found.count("sign_on_state") == 5


async def test_two_browsers_of_a_new_person_make_one_user(pair, provider):
    await set_up(pair, provider)
    begun = [await begin(node) for node in pair.nodes]
    found = await asyncio.gather(*(finish(node, *each) for node, each in zip(pair.nodes, begun, strict=True)))
    users = {back.session.user_id for back in found if not isinstance(back, str)}
    assert len(users) == 1
    again = await finish(pair.other, *await begin(pair.one))
    assert {again.session.user_id} == users
