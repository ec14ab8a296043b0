"""Gather what the checks of a launch need to know."""

from waypost.domain.campaigns.launch import FEWEST_PEOPLE, Lacking, LaunchFacts, find_lacking
from waypost.domain.templates.template import has_unsubscribe_link
from waypost.domain.values.ids import internal
from waypost.engine.campaigns.audience import find_unknown, page_of_campaign
from waypost.engine.campaigns.campaigns import Campaign, template_number
from waypost.engine.providers.registry import ConnectionRegistry
from waypost.engine.templates.templates import Templates
from waypost.errors import NotFound
from waypost.storage.database import Database, Tx


async def find_missing(
    database: Database, templates: Templates, connections: ConnectionRegistry, campaign: Campaign, now: int
) -> list[Lacking]:
    """Return everything that a campaign lacks for its launch."""
    facts = await gather_facts(database, templates, connections, campaign, now)
    return find_lacking(campaign.definition, campaign.channel, campaign.message_channel, facts, now)


async def gather_facts(
    database: Database, templates: Templates, connections: ConnectionRegistry, campaign: Campaign, now: int
) -> LaunchFacts:
    """Return the facts about a campaign that is to be launched."""
    definition, workspace_id = campaign.definition, campaign.workspace_id
    # A connection that another process has just made counts.
    await connections.refresh([workspace_id])
    unknown, people = await database.read(_size_up, campaign, now)
    facts = LaunchFacts(
        template_channel=None, has_unsubscribe_link=False, people=people, unknown=unknown, connected=False
    )
    if (number := template_number(definition)) is not None:
        try:
            template = await templates.get(workspace_id, number)
            facts.template_channel = template.channel
            facts.has_unsubscribe_link = has_unsubscribe_link(template)
        except NotFound:
            pass
    if definition.connection_id is None:
        facts.connected = bool(connections.preferred(workspace_id, campaign.message_channel))
        return facts
    connection = None
    try:
        connection = connections.get(workspace_id, internal("con", definition.connection_id))
    except NotFound as error:
        facts.connection_problem = error.detail
        return facts
    if connection is None:
        facts.connection_problem = "There is no such connection in this workspace; GET /v1/connections lists them."
    elif connection.channel != campaign.message_channel:
        facts.connection_problem = f"The connection {connection.name!r} is for {connection.channel}."
    elif connection.status != "enabled":
        facts.connection_problem = f"The connection {connection.name!r} is {connection.status}; repair or enable it."
    else:
        facts.connected = True
    return facts


async def _size_up(tx: Tx, campaign: Campaign, now: int) -> tuple[list[tuple[str, str]], int]:
    """Return which lists and segments do not exist, and how many people the audience has, at most a few."""
    unknown = await find_unknown(tx, campaign.workspace_id, campaign.definition)
    if unknown:
        return unknown, 0
    audience = campaign.definition.audience
    return [], len(await page_of_campaign(tx, campaign.workspace_id, audience, 0, FEWEST_PEOPLE, now))
