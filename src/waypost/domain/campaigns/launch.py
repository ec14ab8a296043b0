"""What a campaign needs before it goes live."""

from collections.abc import Callable

import msgspec

from waypost.domain.campaigns.campaign import Definition, check_test
from waypost.domain.campaigns.schedule import check_schedule
from waypost.errors import Invalid

#: A campaign needs more than one person: one person is told by a message.
FEWEST_PEOPLE = 2


class Lacking(msgspec.Struct):
    """Something that a campaign lacks before it can be launched."""

    code: str
    field: str
    detail: str


class LaunchFacts(msgspec.Struct, kw_only=True):
    """What the checks of a launch need to know."""

    #: The channel of the template; None if there is no such template.
    template_channel: str | None
    #: Whether the template has a link by which a person can unsubscribe.
    has_unsubscribe_link: bool
    #: How many people the audience has, at most `FEWEST_PEOPLE`.
    people: int
    #: Lists and segments that do not exist, with their fields.
    unknown: list[tuple[str, str]]
    #: Whether a connection for the channel is enabled; the name of the one that is set and is not.
    connected: bool
    connection_problem: str | None = None


def find_lacking(
    definition: Definition, channel: str, message_channel: str, facts: LaunchFacts, now: int
) -> list[Lacking]:
    """Return everything that a campaign lacks, in the order in which a marketer sets it."""
    found: list[Lacking] = []

    def lacks(code: str, field: str, detail: str) -> None:
        found.append(Lacking(code, field, detail))

    if definition.template_id is None:
        lacks("no_template", "template_id", f"Choose a template for {message_channel}.")
    elif facts.template_channel is None:
        lacks("unknown_template", "template_id", "There is no such template in this workspace.")
    elif facts.template_channel != message_channel:
        lacks(
            "wrong_channel",
            "template_id",
            f"The template is for {facts.template_channel}, the campaign needs one for {message_channel}.",
        )
    elif channel == "email" and definition.purpose == "promotional" and not facts.has_unsubscribe_link:
        lacks(
            "no_unsubscribe_link",
            "template_id",
            "Promotional mail needs a link by which people can unsubscribe: write {{ unsubscribe_url }} or "
            "{{ preferences_url }} in the template.",
        )
    if definition.audience.empty:
        lacks("no_audience", "audience", "Choose at least one list, segment or profile.")
    for field, detail in facts.unknown:
        lacks("unknown_audience", field, detail)
    if not definition.audience.empty and not facts.unknown and facts.people < FEWEST_PEOPLE:
        lacks(
            "small_audience",
            "audience",
            f"The audience has {'one person' if facts.people else 'nobody'}; a campaign needs at least "
            f"{FEWEST_PEOPLE}. Send one message with POST /v1/messages.",
        )
    if facts.connection_problem is not None:
        lacks("connection_not_ready", "connection_id", facts.connection_problem)
    elif not facts.connected:
        lacks(
            "no_connection",
            "connection_id",
            f"The workspace has no enabled connection for {message_channel}; POST /v1/connections makes one.",
        )
    checks: tuple[Callable[[], None], ...] = (
        lambda: check_schedule(definition.schedule, now),
        lambda: check_test(definition, channel),
    )
    for check in checks:
        try:
            check()
        except Invalid as error:
            lacks(error.code, str(error.extra.get("field", "schedule")), error.detail)
    return found


def incomplete(missing: list[Lacking]) -> Invalid:
    """Return the error that names everything that is missing."""
    return Invalid(
        "The campaign cannot be launched yet: " + " ".join(one.detail for one in missing),
        code="campaign_incomplete",
        missing=missing,
    )
