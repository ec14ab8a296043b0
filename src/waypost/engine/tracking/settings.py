"""How each workspace makes short links: its tracking domain, how long links are valid, and its UTM parameters."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from waypost.domain.tracking.mail_tokens import UNSUBSCRIBE_PATH
from waypost.domain.tracking.tokens import short_url
from waypost.engine.providers.registry import GLOBAL
from waypost.engine.runtime.configurations import changed_versions
from waypost.storage.database import Database, Tx

AREA = "tracking"

_encode = msgspec.json.Encoder().encode


class UtmParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters that are added to links which lack them. An empty one is not added."""

    source: str = ""
    medium: str = ""
    #: Empty: the purpose of the message.
    campaign: str = ""

    def named(self, purpose: str = "") -> dict[str, str]:
        """Return the parameters by their names in a URL; `purpose` stands for a campaign that is not set."""
        return {"utm_source": self.source, "utm_medium": self.medium, "utm_campaign": self.campaign or purpose}


class MailTracking(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How emails are tracked, unless a message says otherwise, and how people opt out of texts."""

    #: Whether promotional emails have a pixel, and links that are counted.
    opens: bool = True
    clicks: bool = True
    #: Whether transactional emails have both, too.
    transactional: bool = False
    #: Whether promotional emails have a link that no person sees, for machines that follow all links.
    bait: bool = False
    #: What ends promotional texts that do not say how to opt out; empty for nothing.
    opt_out_text: str = ""


class TrackingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The tracking settings of a workspace, with the defaults of the server filled in."""

    #: The URL before the path of a short link, without a slash at the end.
    base_url: str
    #: The data center whose public URL that is, unless the workspace has one of its own.
    data_center: str = GLOBAL
    link_days: int
    utm: UtmParameters | None = None
    mail: MailTracking = MailTracking()

    @property
    def unsubscribe_url(self) -> str:
        """What links to unsubscribe begin with."""
        return self.base_url + UNSUBSCRIBE_PATH

    def short_url(self, link_id: int) -> str:
        """Return the short link of a link."""
        return short_url(self.base_url, link_id)

    def parameters(self, campaign: str, utm: UtmParameters | None = None) -> dict[str, str]:
        """Return the parameters that links get if they lack them: those of `utm`, else of the workspace, else none."""
        chosen = utm or self.utm
        return chosen.named(campaign) if chosen is not None else {}


_utm = msgspec.json.Decoder(UtmParameters)
_mail = msgspec.json.Decoder(MailTracking)


class TrackingRegistry:
    """The tracking settings of all workspaces, in memory; changes made elsewhere are known after the next `refresh`."""

    def __init__(self, database: Database, data_centers: Mapping[str, str], link_days: int) -> None:
        self._database = database
        #: Public URLs by name of the data center.
        self.data_centers = dict(data_centers)
        self.default = TrackingSettings(base_url=self.data_centers[GLOBAL], link_days=link_days)
        self._versions: dict[int, int] = {}
        self._settings: dict[int, TrackingSettings] = {}

    def get(self, workspace_id: int) -> TrackingSettings:
        """Return the settings of a workspace."""
        return self._settings.get(workspace_id, self.default)

    async def refresh(self, workspaces: Iterable[int] | None = None) -> None:
        """Read the settings of workspaces that changed; of all workspaces if none are given."""
        given = None if workspaces is None else list(workspaces)
        versions, rows = await self._database.read(self._load, given)
        for workspace_id, *values in rows:
            if versions[workspace_id] > self._versions.get(workspace_id, 0):
                self._versions[workspace_id] = versions[workspace_id]
                self._settings[workspace_id] = self._complete(*values)

    async def _load(self, tx: Tx, workspaces: list[int] | None) -> tuple[dict[int, int], list[tuple[Any, ...]]]:
        versions = await changed_versions(tx, AREA, self._versions, workspaces)
        return versions, await tx.rows("tracking_settings.of_workspaces", ids=sorted(versions)) if versions else []

    def _complete(
        self, base_url: str | None, data_center: str, link_days: int | None, utm: str | None, mail: str | None
    ) -> TrackingSettings:
        center = data_center if data_center in self.data_centers else GLOBAL
        return TrackingSettings(
            base_url=base_url or self.data_centers[center],
            data_center=center,
            link_days=link_days or self.default.link_days,
            utm=None if utm is None else _utm.decode(utm),
            mail=MailTracking() if mail is None else _mail.decode(mail),
        )


async def save_settings(
    tx: Tx,
    workspace_id: int,
    now: int,
    *,
    base_url: str | None,
    data_center: str,
    link_days: int | None,
    utm: UtmParameters | None,
    mail: MailTracking | None = None,
) -> None:
    """Store the tracking settings of a workspace; processes learn of them by their version."""
    await tx.run(
        "tracking_settings.set",
        workspace_id=workspace_id,
        base_url=base_url,
        data_center=data_center,
        link_days=link_days,
        utm=None if utm is None else _encode(utm).decode(),
        mail=None if mail is None else _encode(mail).decode(),
        now=now,
    )
    await tx.run("configurations.touch", area=AREA, workspace_id=workspace_id)
