"""Shared by the tests of campaigns: people, a list, a mail server, a template, and campaigns that are complete."""

from typing import Any

import httpx

from tests.api.calling import eventually, ok
from tests.engine.mailserver import MailServer

HTML = (
    '<html><body><p>Hi {{ person.first_name }}</p><a href="https://shop.example/spring">Spring</a>'
    '<a href="{{ unsubscribe_url }}">Unsubscribe</a></body></html>'
)


class Outreach:
    """A workspace that can send mail campaigns, as a marketer sees it."""

    def __init__(self, client: httpx.AsyncClient, server: MailServer, template: str, connection: str) -> None:
        self.client = client
        self.server = server
        self.template = template
        self.connection = connection
        self._people = 0

    async def person(self, email: str | None = None, **traits: Any) -> str:
        """Record a person; return the id of the profile. Without an email, one is made up; "" stands for none."""
        self._people += 1
        user = f"user-{self._people}"
        address = f"{user}@example.com" if email is None else email
        known = {"first_name": f"P{self._people}"} | ({"email": address} if address else {}) | traits
        await ok(self.client.post("/v1/identify", json={"userId": user, "traits": known}))
        return str((await ok(self.client.get(f"/v1/profiles?user_id={user}")))["data"][0]["id"])

    async def people(self, count: int) -> list[str]:
        """Record people with addresses; return the ids of their profiles."""
        return [await self.person() for _ in range(count)]

    async def list_of(self, profiles: list[str], name: str = "Customers") -> str:
        """Create a list of these people; return its id."""
        made = await ok(self.client.post("/v1/lists", json={"name": name}), 201)
        members = {"people": [{"profile_id": profile} for profile in profiles]}
        await ok(self.client.post(f"/v1/lists/{made['id']}/members", json=members))
        return str(made["id"])

    async def draft(self, profiles: list[str] | None = None, **fields: Any) -> Any:
        """Create a campaign for these people."""
        body = {
            "name": "Spring",
            "channel": "email",
            "template_id": self.template,
            "audience": {"profiles": profiles or []},
        }
        return await ok(self.client.post("/v1/campaigns", json=body | fields), 201)

    async def launched(self, profiles: list[str] | None = None, **fields: Any) -> Any:
        """Create a campaign and launch it."""
        made = await self.draft(profiles, **fields)
        return await ok(self.client.post(f"/v1/campaigns/{made['id']}/launch"))

    async def get(self, campaign: Any) -> Any:
        return await ok(self.client.get(f"/v1/campaigns/{campaign['id']}"))

    async def act(self, campaign: Any, action: str) -> Any:
        return await ok(self.client.post(f"/v1/campaigns/{campaign['id']}/{action}"))

    async def came_to(self, campaign: Any, state: str) -> Any:
        """Return the campaign once it is in this state."""

        async def look() -> Any:
            found = await self.get(campaign)
            return found if found["state"] == state else None

        return await eventually(look)

    async def overview(self, campaign: Any, **query: Any) -> Any:
        return await ok(self.client.get(f"/v1/campaigns/{campaign['id']}/overview", params=query))

    async def recipients(self, campaign: Any, **query: Any) -> list[Any]:
        found = await ok(self.client.get(f"/v1/campaigns/{campaign['id']}/recipients", params=query))
        return list(found["data"])


async def make_outreach(client: httpx.AsyncClient, server: MailServer, port: int) -> Outreach:
    """Create a mail connection and a template."""
    config = {"host": "127.0.0.1", "port": port, "security": "none", "from_email": "shop@example.com"}
    connection = {"name": "mail", "connector": "smtp", "config": config, "skip_check": True}
    made = await ok(client.post("/v1/connections", json=connection), 201)
    template = {"name": "News", "channel": "email", "subject": "Hi {{ person.first_name }}", "html": HTML}
    return Outreach(client, server, (await ok(client.post("/v1/templates", json=template), 201))["id"], made["id"])
