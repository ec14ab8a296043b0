"""Tracking: how a workspace makes short links and tracks emails."""

from typing import Annotated

import msgspec
from litestar import get, put
from litestar.di import NamedDependency
from msgspec import Meta

from waypost.api.control.calls import Call, permit
from waypost.domain.tracking.utm import location
from waypost.engine.providers.registry import GLOBAL
from waypost.engine.tracking.settings import MailTracking, UtmParameters, save_settings
from waypost.errors import Invalid

#: The longest tracking domain, and the longest validity in days.
LONGEST_BASE, MOST_DAYS = 200, 3650

UtmValue = Annotated[str, Meta(max_length=200)]


class Utm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """UTM parameters, added to links that lack them. An empty one is not added."""

    source: UtmValue = ""
    medium: UtmValue = ""
    campaign: Annotated[str, Meta(max_length=200, description="If empty, the purpose of the message.")] = ""


class SetTracking(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The tracking settings of a workspace. What is left out gets its default."""

    base_url: (
        Annotated[
            str,
            Meta(
                max_length=LONGEST_BASE,
                description="The tracking domain: a URL that leads to this server. Short links begin with it.",
            ),
        ]
        | None
    ) = None
    data_center: Annotated[
        str, Meta(description="The data center whose public URL is the tracking domain if there is no `base_url`.")
    ] = GLOBAL
    link_days: Annotated[int, Meta(ge=1, le=MOST_DAYS, description="Days for which new links are valid.")] | None = None
    utm: Utm | None = None
    opens: Annotated[bool, Meta(description="Whether promotional emails have a pixel that shows opens.")] = True
    clicks: Annotated[bool, Meta(description="Whether clicks on the links of promotional emails are counted.")] = True
    transactional: Annotated[
        bool, Meta(description="Whether the same holds for transactional emails. They are not tracked otherwise.")
    ] = False
    bait: Annotated[
        bool, Meta(description="Whether promotional emails have a link that no person sees, to find out machines.")
    ] = False
    opt_out_text: Annotated[
        str,
        Meta(
            max_length=100,
            description="What ends promotional texts that do not say how to opt out, such as Reply STOP to opt out.",
        ),
    ] = ""


class Tracking(msgspec.Struct, kw_only=True):
    """The tracking settings of a workspace, with the defaults filled in."""

    base_url: str
    link_days: int
    utm: Utm | None
    opens: bool
    clicks: bool
    transactional: bool
    bait: bool
    opt_out_text: str
    data_center: str
    #: What holds where nothing is set: the public URL of each data center, and the days for which links are valid.
    data_centers: dict[str, str]
    default_link_days: int


@get("/v1/tracking", summary="Get the tracking settings")
async def get_tracking(call: NamedDependency[Call]) -> Tracking:
    """Returns how the workspace makes short links and tracks emails."""
    await call.refresh()
    return _tracking_view(call)


@put("/v1/tracking", summary="Set the tracking settings", opt={"body": SetTracking})
async def set_tracking(call: NamedDependency[Call]) -> Tracking:
    """Sets how the workspace makes short links and tracks emails. Links that exist keep working."""
    given = await call.body(SetTracking)
    engine = call.engine
    if given.data_center not in engine.tracking_settings.data_centers:
        known = ", ".join(sorted(engine.tracking_settings.data_centers))
        raise Invalid(
            f"There is no data center {given.data_center[:80]!r}; there are {known}.",
            code="unknown_data_center",
            field="data_center",
        )
    base_url = None if given.base_url is None else _check_base(given.base_url)
    utm = None
    if given.utm is not None:
        utm = UtmParameters(**msgspec.structs.asdict(given.utm))
        if "\0" in "".join(msgspec.structs.astuple(utm)):
            raise Invalid(
                "A UTM parameter cannot contain the character U+0000. Remove it.", code="invalid_text", field="utm"
            )
    if not given.opt_out_text.isprintable():
        raise Invalid(
            "opt_out_text must be one line of printable characters.", code="invalid_text", field="opt_out_text"
        )
    mail = MailTracking(
        opens=given.opens,
        clicks=given.clicks,
        transactional=given.transactional,
        bait=given.bait,
        opt_out_text=given.opt_out_text,
    )
    await call.transact(
        save_settings,
        call.workspace_id,
        call.now,
        base_url=base_url,
        data_center=given.data_center,
        link_days=given.link_days,
        utm=utm,
        mail=mail,
    )
    await call.refresh()
    return _tracking_view(call)


def _check_base(url: str) -> str:
    try:
        plain = location(url)
    except Invalid as error:
        raise error.copy(field="base_url") from error
    if plain != url or "?" in url or "#" in url:
        raise Invalid(
            "The base_url must be a URL such as https://s.example.com, in ASCII, without query or fragment.",
            code="invalid_url",
            field="base_url",
        )
    return url.rstrip("/")


def _tracking_view(call: Call) -> Tracking:
    registry = call.engine.tracking_settings
    found = registry.get(call.workspace_id)
    return Tracking(
        base_url=found.base_url,
        link_days=found.link_days,
        utm=None if found.utm is None else Utm(**msgspec.structs.asdict(found.utm)),
        **msgspec.structs.asdict(found.mail),
        data_center=found.data_center,
        data_centers=registry.data_centers,
        default_link_days=registry.default.link_days,
    )


ROUTES = permit("settings", [get_tracking, set_tracking])
