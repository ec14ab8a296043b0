"""Render the messages of a part of a campaign: each person's variant, links and headers."""

import msgspec

from waypost.clock import SECOND
from waypost.domain.campaigns.campaign import share_of
from waypost.domain.messaging.message import Content, Status
from waypost.domain.messaging.request import check_content
from waypost.domain.messaging.senders import fill_sender
from waypost.domain.providers.connection import Connection
from waypost.domain.templates.template import CompiledTemplate, context_of, person_values
from waypost.domain.texts.links import check_length, fill_marks, mark_links
from waypost.domain.values.ids import public
from waypost.engine.audience.recipients import Recipient, Recipients, describe_recipient, find_address
from waypost.engine.campaigns.campaigns import MESSAGE_CHANNELS
from waypost.engine.campaigns.occurrences import OpenOccurrence
from waypost.engine.messaging.recording import NewMessage
from waypost.engine.messaging.senders import SenderRegistry
from waypost.engine.tracking.links import LinkTarget, NewLink, add_links, new_links
from waypost.engine.tracking.mail import MailTracker, NewUrl
from waypost.engine.tracking.settings import TrackingRegistry, UtmParameters
from waypost.errors import Error
from waypost.storage.database import Tx

_encode = msgspec.json.Encoder().encode


class Handed(msgspec.Struct):
    """What becomes of a recipient: a message, or the reason why there is none."""

    profile_id: int
    message: NewMessage | None = None
    reason: str | None = None
    variant: str | None = None
    #: The short links of a text, to be stored with it.
    links: list[NewLink] = []


class PartRenderer:
    """Renders the messages of recipients who get the same campaign at the same time."""

    def __init__(
        self,
        one: OpenOccurrence,
        template: CompiledTemplate,
        connection: Connection,
        people: Recipients,
        tracker: MailTracker,
        tracking: TrackingRegistry,
        senders: SenderRegistry,
        now: int,
    ) -> None:
        self._one = one
        self._template = template
        self._variants = template.variants
        self._connection = connection
        self._organization = people.organization
        self._now = now
        self._channel = MESSAGE_CHANNELS[one.channel]
        self._sender = senders.default(one.workspace_id, self._channel)
        definition = one.definition
        utm = None if definition.utm is None else UtmParameters(**msgspec.structs.asdict(definition.utm))
        self._settings = tracking.get(one.workspace_id)
        self._parameters = self._settings.parameters(one.name, utm)
        lists = definition.audience.numbers("lists")
        self._mailing = tracker.mailing(
            one.workspace_id,
            now,
            purpose=definition.purpose,
            channel=self._channel,
            campaign=one.name,
            list_id=lists[0] if len(lists) == 1 else 0,
            utm=utm,
        )

    def render(self, profile_id: int, person: Recipient, message_id: int, winner: str | None) -> Handed:
        """Return the message of a recipient, whose due time and expiry are still relative; or why there is none.

        `person` is the profile that the recipient was merged into, if it was merged.
        """
        one, template, definition = self._one, self._template, self._one.definition
        address, reason = find_address(self._channel, None, person)
        if reason is not None:
            return Handed(profile_id, reason=reason)
        variant = winner if winner in self._variants else None
        shown = None
        if len(self._variants) > 1:
            shown = variant = variant or template.pick(share_of(one.campaign_id, "variant", profile_id))
        links: list[NewLink] = []
        try:
            mail = self._mailing.mail(message_id, address, profile_id, person.traits)
            known = person_values(public("pro", person.id), person.traits, person.identifiers)
            context = context_of(known, {}, self._organization, {**definition.variables, **mail.values})
            content = template.render(context, variant=variant, now=self._now, marked=True)
            fill_sender(content, self._sender)
            mail.finish(content)
            if self._channel == "sms":
                links = self._shorten(content, message_id, profile_id)
            check_content(self._channel, content)
        except Error as error:
            return Handed(profile_id, reason=error.code, variant=shown)
        content.recipient = describe_recipient(self._channel, address, person)
        message = NewMessage(
            id=message_id,
            workspace_id=one.workspace_id,
            profile_id=profile_id,
            channel=self._channel,
            connection_id=self._connection.id,
            pinned=definition.connection_id is not None,
            address=address,
            purpose=definition.purpose,
            status=Status.QUEUED,
            template_id=template.template_id,
            template_version=template.version,
            campaign=one.name,
            due_at=self._now,
            expires_at=(definition.validity or self._connection.validity_s) * SECOND,
            throttle_id=one.throttle_id,
            occurrence_id=one.id,
            variant=shown,
            content=_encode(content).decode(),
        )
        return Handed(profile_id, message, variant=shown, links=links)

    def take_urls(self) -> list[NewUrl]:
        """Return the URLs of mails, to be stored with the messages."""
        return self._mailing.take_urls()

    def _shorten(self, content: Content, message_id: int, profile_id: int) -> list[NewLink]:
        """Put short links in place of the links of a text; return them."""
        marked, urls = mark_links(content.text, content.click_url, self._parameters)
        if not urls:
            return []
        targets = [
            LinkTarget(workspace_id=self._one.workspace_id, url=url, message_id=message_id, profile_id=profile_id)
            for url in urls
        ]
        links = new_links(targets, self._now, self._settings.link_days)
        content.text = fill_marks(marked, [link.short_url(self._settings.base_url) for link in links])
        content.click_url = ""
        check_length(content.text)
        return links


async def store_links(tx: Tx, handed: list[Handed]) -> None:
    """Store the short links of texts. One whose id is taken gets another one, also in its text."""
    links = [link for result in handed for link in result.links]
    if not links:
        return
    messages = {result.message.id: result.message for result in handed if result.message is not None}
    for link, before in await add_links(tx, links):
        message = messages.get(link.target.message_id or 0)
        if message is not None:
            message.content = message.content.replace(before, link.short_url("").rpartition("/")[2])
