"""Render the messages of a part of a campaign: each person's variant, links and headers."""

from collections.abc import Iterator
from typing import Any

import msgspec

from waypost.clock import SECOND
from waypost.domain.campaigns.campaign import share_of
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.request import check_content
from waypost.domain.messaging.senders import SenderIdentity, fill_sender
from waypost.domain.templates.link_marks import LinkMarks
from waypost.domain.templates.template import CompiledTemplate, context_of, person_values
from waypost.domain.tracking.mail_tokens import MailTokens
from waypost.domain.values.ids import public
from waypost.engine.audience.recipients import Recipient, describe_recipient, find_address
from waypost.engine.campaigns.campaigns import MESSAGE_CHANNELS, campaign_look
from waypost.engine.campaigns.occurrences import OpenOccurrence
from waypost.engine.messaging.recording import NewMessage
from waypost.engine.tracking.links import NewLink, shorten_links
from waypost.engine.tracking.mail import NewUrl, make_mailing
from waypost.engine.tracking.settings import TrackingSettings
from waypost.errors import Error

_encode = msgspec.json.Encoder().encode


class Handed(msgspec.Struct):
    """What becomes of a recipient: a message, or the reason why there is none."""

    profile_id: int
    message: NewMessage | None = None
    reason: str | None = None
    variant: str | None = None
    #: The short links of a text, to be stored with it.
    links: list[NewLink] = []


class RenderJob(msgspec.Struct, kw_only=True):
    """Recipients who get the same campaign at the same time, with everything that their messages are made from."""

    one: OpenOccurrence
    connection_id: int
    #: How long messages of the connection are valid, in seconds.
    validity_s: int
    organization: dict[str, Any]
    sender: SenderIdentity | None
    tracking: TrackingSettings
    now: int
    winner: str | None
    #: The recipient, the id of the message, and the profile that the recipient was merged into, if it was merged.
    people: list[tuple[int, int, Recipient]]


class RenderedPart(msgspec.Struct):
    """What becomes of the recipients of a job, in their order, and the URLs to be stored with their messages."""

    handed: list[Handed]
    urls: list[NewUrl]


class PartRenderer:
    """Renders the messages of a job. It needs no database, so that another process can do it."""

    def __init__(self, job: RenderJob, template: CompiledTemplate, tokens: MailTokens, marks: LinkMarks) -> None:
        one = job.one
        self._job = job
        self._template = template
        self._variants = template.variants
        self._channel = MESSAGE_CHANNELS[one.channel]
        look = campaign_look(one.name, one.definition)
        self._parameters = job.tracking.parameters(one.name, look.utm)
        self._mailing = make_mailing(tokens, marks, job.tracking, one.workspace_id, job.now, look, self._channel)

    def run(self) -> Iterator[Handed]:
        """Yield what becomes of each recipient of the job."""
        for profile_id, message_id, person in self._job.people:
            yield self._render(profile_id, person, message_id)

    def _render(self, profile_id: int, person: Recipient, message_id: int) -> Handed:
        """Return the message of a recipient, whose due time and expiry are still relative; or why there is none."""
        job, template, winner = self._job, self._template, self._job.winner
        one, definition = job.one, job.one.definition
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
            context = context_of(known, {}, job.organization, {**definition.variables, **mail.values})
            content = template.render(context, variant=variant, now=job.now, marked=True)
            fill_sender(content, job.sender)
            mail.finish(content)
            if self._channel == "sms":
                links = shorten_links(
                    content,
                    job.tracking,
                    self._parameters,
                    job.now,
                    one.workspace_id,
                    message_id=message_id,
                    profile_id=profile_id,
                )
            check_content(self._channel, content)
        except Error as error:
            return Handed(profile_id, reason=error.code, variant=shown)
        content.recipient = describe_recipient(self._channel, address, person)
        message = NewMessage(
            id=message_id,
            workspace_id=one.workspace_id,
            profile_id=profile_id,
            channel=self._channel,
            connection_id=job.connection_id,
            pinned=definition.connection_id is not None,
            address=address,
            purpose=definition.purpose,
            status=Status.QUEUED,
            template_id=template.template_id,
            template_version=template.version,
            campaign=one.name,
            due_at=job.now,
            expires_at=(definition.validity or job.validity_s) * SECOND,
            throttle_id=one.throttle_id,
            occurrence_id=one.id,
            variant=shown,
            content=_encode(content).decode(),
        )
        return Handed(profile_id, message, variant=shown, links=links)

    def take_urls(self) -> list[NewUrl]:
        """Return the URLs of mails, to be stored with the messages."""
        return self._mailing.take_urls()
