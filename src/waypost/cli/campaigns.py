"""`waypost campaigns`: list, watch, launch and stop campaigns."""

import asyncio
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from waypost.cli.accounts import LAST, print_json
from waypost.cli.options import data_option, json_option, open_secrets, opened
from waypost.clock import iso, iso_or_none, now_us
from waypost.domain.campaigns.campaign import CampaignAction, CampaignState
from waypost.domain.campaigns.launch import incomplete
from waypost.domain.values.ids import internal, public
from waypost.engine.accounts.workspaces import require_workspace
from waypost.engine.campaigns.campaigns import (
    Campaign,
    act,
    find_campaign,
    list_campaigns,
    list_occurrences,
    lock_campaign,
)
from waypost.engine.campaigns.counts import count_done
from waypost.engine.campaigns.launch import find_missing
from waypost.engine.providers.registry import ConnectionRegistry
from waypost.engine.templates.templates import Templates
from waypost.settings import Settings
from waypost.storage.database import Database, Tx

#: Seconds between two looks at a campaign.
LOOK_S = 0.5

workspace_option = click.option(
    "--workspace", default="ws_0000000000000001", show_default=True, help="The workspace of the campaign."
)


@click.group("campaigns")
def campaigns() -> None:
    """List, watch, launch, pause, resume and cancel campaigns. A running server sends them."""


@campaigns.command("list")
@data_option
@workspace_option
@click.option("--state", type=click.Choice([state.value for state in CampaignState]), help="Only those in this state.")
@json_option
async def list_(data: str | None, workspace: str, state: str | None, as_json: bool) -> None:
    """List the campaigns of a workspace, newest first."""
    workspace_id = internal("ws", workspace)

    async def work(tx: Tx) -> list[dict[str, Any]]:
        await require_workspace(tx, workspace_id)
        return [await _view(tx, one) for one in await list_campaigns(tx, workspace_id, state or "", LAST, 1000)]

    async with opened(data) as (database, _):
        views = await database.read(work)
    if as_json:
        print_json({"data": views, "next": None})
        return
    for view in views:
        Console().print(_line(view), highlight=False, soft_wrap=True)


@campaigns.command("show")
@data_option
@workspace_option
@click.argument("campaign")
@json_option
async def show(data: str | None, workspace: str, campaign: str, as_json: bool) -> None:
    """Show a campaign (cmp_…). On a terminal, a progress bar follows a live one until it pauses or ends."""
    workspace_id, id_ = internal("ws", workspace), internal("cmp", campaign)
    console = Console()
    async with opened(data) as (database, _):
        view = await _read(database, workspace_id, id_)
        if view["state"] == CampaignState.LIVE and console.is_terminal and not as_json:
            view = await _watch(database, workspace_id, id_, console)
    _print(view, as_json)


@campaigns.command("launch")
@data_option
@workspace_option
@click.argument("campaign")
@json_option
async def launch(data: str | None, workspace: str, campaign: str, as_json: bool) -> None:
    """Launch a campaign (cmp_…) by its schedule. If something is missing, all of it is named."""
    workspace_id, id_ = internal("ws", workspace), internal("cmp", campaign)
    async with opened(data) as (database, settings):
        draft = await database.read(find_campaign, workspace_id, id_)
        if draft.state is CampaignState.DRAFT:
            await _check(database, settings, draft)
        view = await _act(database, workspace_id, id_, CampaignAction.LAUNCH)
    _print(view, as_json)


@campaigns.command("pause")
@data_option
@workspace_option
@click.argument("campaign")
@json_option
async def pause(data: str | None, workspace: str, campaign: str, as_json: bool) -> None:
    """Pause a campaign (cmp_…). Messages that a provider is being given now are still sent."""
    async with opened(data) as (database, _):
        view = await _act(database, internal("ws", workspace), internal("cmp", campaign), CampaignAction.PAUSE)
    _print(view, as_json)


@campaigns.command("resume")
@data_option
@workspace_option
@click.argument("campaign")
@json_option
async def resume(data: str | None, workspace: str, campaign: str, as_json: bool) -> None:
    """Let a paused campaign (cmp_…) go on where it stopped."""
    async with opened(data) as (database, _):
        view = await _act(database, internal("ws", workspace), internal("cmp", campaign), CampaignAction.RESUME)
    _print(view, as_json)


@campaigns.command("cancel")
@data_option
@workspace_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.argument("campaign")
@json_option
async def cancel(data: str | None, workspace: str, yes: bool, campaign: str, as_json: bool) -> None:
    """End a campaign (cmp_…). Who has not got it yet does not get it."""
    if not yes:
        click.confirm(f"Cancel {campaign}?", abort=True, err=True)
    async with opened(data) as (database, _):
        view = await _act(database, internal("ws", workspace), internal("cmp", campaign), CampaignAction.CANCEL)
    _print(view, as_json)


async def _check(database: Database, settings: Settings, campaign: Campaign) -> None:
    """Raise Invalid if a draft lacks something that a launch needs."""
    encryption = await open_secrets(database, settings)
    connections = ConnectionRegistry(database, encryption, settings.data_center_urls)
    await connections.refresh([campaign.workspace_id])
    if missing := await find_missing(database, Templates(database), connections, campaign, now_us()):
        raise incomplete(missing)


async def _act(database: Database, workspace_id: int, id_: int, action: CampaignAction) -> dict[str, Any]:
    async def work(tx: Tx) -> dict[str, Any]:
        campaign = await lock_campaign(tx, workspace_id, id_)
        return await _view(tx, await act(tx, campaign, action, now_us()))

    return await database.transact(work)


async def _read(database: Database, workspace_id: int, id_: int) -> dict[str, Any]:
    async def work(tx: Tx) -> dict[str, Any]:
        return await _view(tx, await find_campaign(tx, workspace_id, id_))

    return await database.read(work)


async def _watch(database: Database, workspace_id: int, id_: int, console: Console) -> dict[str, Any]:
    """Show how far a campaign is while it is live; return its last state."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=None)
        while True:
            view = await _read(database, workspace_id, id_)
            found = view["progress"]
            progress.update(
                task, description=escape(view["name"]), total=found["audience"] or None, completed=found["done"]
            )
            if view["state"] != CampaignState.LIVE:
                return view
            await asyncio.sleep(LOOK_S)


def _print(view: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(view)
        return
    console = Console()
    console.print(_line(view), highlight=False, soft_wrap=True)
    for label, name in (("next", "next_at"), ("launched", "launched_at"), ("ended", "ended_at"), ("reason", "reason")):
        if view[name] is not None:
            console.print(f"  {label:9} {view[name]}", highlight=False, soft_wrap=True)


def _line(view: dict[str, Any]) -> str:
    found = view["progress"]
    sent = f"{found['done']:,} of {found['audience']:,}"
    return f"{view['id']}  {view['state']:9}  {view['channel']:7}  {sent:>17}  {escape(view['name'])}"


async def _view(tx: Tx, campaign: Campaign) -> dict[str, Any]:
    """Return a campaign with the progress of its latest occurrence, as the API shows them."""
    latest = await list_occurrences(tx, campaign.id, 1)
    done = await count_done(tx, {one.id: one.audience for one in latest})
    return {
        "id": public("cmp", campaign.id),
        "name": campaign.name,
        "channel": campaign.channel,
        "state": campaign.state,
        "reason": campaign.reason,
        "progress": {"audience": sum(one.audience for one in latest), "done": sum(done.values())},
        "next_at": iso_or_none(campaign.next_at),
        "launched_at": iso_or_none(campaign.launched_at),
        "ended_at": iso_or_none(campaign.ended_at),
        "created_at": iso(campaign.created_at),
        "updated_at": iso(campaign.updated_at),
    }
