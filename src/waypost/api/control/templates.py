"""Templates: made, changed, previewed with a person and an event before anybody gets a message made with them."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from msgspec import UNSET, Meta, UnsetType

from waypost.api.control.calls import KEYLESS, NAMES, Call
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import iso
from waypost.domain.messaging.message import Content
from waypost.domain.messaging.sms import SmsMeasure
from waypost.domain.templates.liquid.environment import UndefinedVariable
from waypost.domain.templates.template import (
    FIELDS,
    LONGEST_NAME,
    CompiledTemplate,
    TemplateSource,
    Variant,
    check_template,
    context_of,
    undefined_variables,
)
from waypost.domain.values.ids import internal, public
from waypost.engine.templates import templates
from waypost.engine.templates.templates import Template
from waypost.errors import Invalid
from waypost.storage.database import Tx

#: More than any template has; the largest whole number that both databases take in a column of any kind.
MOST_VERSIONS = 2**31 - 1

Name = Annotated[str, Meta(description="For you.", min_length=1, max_length=200)]
Channel = Annotated[str, Meta(description="`sms`, `email` or `event`.", pattern="^(sms|email|event)$")]
Weight = Annotated[float, Meta(description="How often it is taken, in proportion to the others.", ge=0, le=1_000_000)]
Text = Annotated[str, Meta(description="The text, in Liquid. Of a mail: made from the HTML when it is not given.")]
MediaUrls = Annotated[list[str], Meta(description="Pictures and the like to go with a text message.", max_length=10)]
ClickUrl = Annotated[str, Meta(description="A link for connectors that take one apart from the text.")]
Subject = Annotated[str, Meta(description="The subject of a mail.")]
Preheader = Annotated[str, Meta(description="What mail programs show beside the subject.")]
Html = Annotated[str, Meta(description="The mail as HTML.")]
Mjml = Annotated[str, Meta(description="The mail as MJML, made into HTML when the template is saved.")]
Sender = Annotated[str, Meta(description="`Name <address>`; what the connection says when it is not given.")]
ReplyTo = Annotated[str, Meta(description="Where answers to a mail go.")]
Headers = Annotated[dict[str, str], Meta(description="Headers of a mail beyond the usual ones.")]
Metric = Annotated[str, Meta(description="The name of the event.")]
Properties = Annotated[dict[str, Any], Meta(description="Its properties; each text in them is Liquid.")]
Version = Annotated[
    int, QueryParameter(name="version", ge=0, le=MOST_VERSIONS, description="Another version than the present one.")
]


class ContentFields(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a template says. Which fields count depends on its channel; null takes one back."""

    text: Text | UnsetType | None = UNSET
    media_urls: MediaUrls | UnsetType | None = UNSET
    click_url: ClickUrl | UnsetType | None = UNSET
    subject: Subject | UnsetType | None = UNSET
    preheader: Preheader | UnsetType | None = UNSET
    html: Html | UnsetType | None = UNSET
    mjml: Mjml | UnsetType | None = UNSET
    sender: Sender | UnsetType | None = UNSET
    reply_to: ReplyTo | UnsetType | None = UNSET
    headers: Headers | UnsetType | None = UNSET
    metric: Metric | UnsetType | None = UNSET
    properties: Properties | UnsetType | None = UNSET


class VariantGiven(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One of several contents."""

    name: Annotated[str, Meta(description="Its name in this template.", min_length=1, max_length=LONGEST_NAME)]
    weight: Weight = 1.0
    content: ContentFields


Variants = Annotated[
    list[VariantGiven], Meta(description="Several contents instead of one.", min_length=1, max_length=20)
]


class NewTemplate(ContentFields, forbid_unknown_fields=True, kw_only=True):
    """A template to be made: with its content, or with variants that each have one."""

    name: Name
    channel: Channel
    variants: Variants | None = None


class TemplateChange(ContentFields, forbid_unknown_fields=True, kw_only=True):
    """What is to change. Other content makes a new version."""

    name: Name | UnsetType = UNSET
    variants: Variants | UnsetType = UNSET


class PreviewAsked(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """For whom a template is looked at."""

    profile_id: Annotated[str | None, Meta(description="A profile.")] = None
    person: Annotated[dict[str, Any] | None, Meta(description="What is seen as `person`, instead of a profile.")] = None
    event_id: Annotated[str | None, Meta(description="An event.")] = None
    event: Annotated[dict[str, Any] | None, Meta(description="What is seen as `event`, instead of an event.")] = None
    variables: Annotated[dict[str, Any], Meta(description="Variables of the message.")] = {}
    variant: Annotated[str | None, Meta(description="Which variant; else the one this person would get.")] = None
    strict: Annotated[bool, Meta(description="Refuse when a variable is put out that is not defined.")] = False


class UnsavedPreview(PreviewAsked, forbid_unknown_fields=True, kw_only=True):
    """A template that is not saved, and for whom it is looked at."""

    channel: Channel
    content: ContentFields | None = None
    variants: Variants | None = None


class VariantShown(msgspec.Struct, kw_only=True):
    """One of the contents of a template."""

    name: str
    weight: float
    content: dict[str, Any]


class TemplateShown(msgspec.Struct, kw_only=True):
    """A template."""

    id: str
    name: str
    channel: str
    version: int
    #: The version that messages are made with now.
    current_version: int
    variants: list[VariantShown]
    created_at: str
    updated_at: str


class TemplatePreview(msgspec.Struct, kw_only=True):
    """What a message would say; missing variables stand in it as `⟦name⟧`."""

    variant: str
    content: Content
    undefined: list[UndefinedVariable]
    #: Of a text message: its encoding, its length, and the parts it is sent in.
    sms: SmsMeasure | None


def template_id(text: str) -> int:
    """The template that a path names."""
    return internal("tpl", text)


def _show(template: Template) -> TemplateShown:
    return TemplateShown(
        id=public("tpl", template.id),
        name=template.name,
        channel=template.channel,
        version=template.version,
        current_version=template.current_version,
        variants=[
            VariantShown(
                name=variant.name,
                weight=variant.weight,
                content={name: getattr(variant.content, name) for name in FIELDS[template.channel]},
            )
            for variant in template.variants
        ],
        created_at=iso(template.created_at),
        updated_at=iso(template.updated_at),
    )


def _given(fields: ContentFields) -> dict[str, Any]:
    """The fields that were given; what was taken back has the value of one that is not there."""
    empty = TemplateSource()
    return {
        name: getattr(empty, name) if value is None else value
        for name in ContentFields.__struct_fields__
        if (value := getattr(fields, name)) is not UNSET
    }


def _variants(asked: list[VariantGiven] | None, fields: ContentFields | None) -> list[Variant]:
    """The variants that were asked for: those of the list, or one of the fields."""
    given = _given(fields) if fields is not None else {}
    if asked is None:
        return [Variant(content=TemplateSource(**given))]
    if given:
        raise Invalid(
            f"A template has variants or a content of its own; leave out {', '.join(given)}.",
            code="invalid_template",
            field=next(iter(given)),
        )
    return [
        Variant(name=one.name.strip(), weight=one.weight, content=TemplateSource(**_given(one.content)))
        for one in asked
    ]


def _changed(template: Template, asked: TemplateChange) -> list[Variant]:
    """The variants after a change."""
    if asked.variants is not UNSET:
        return _variants(asked.variants, asked)
    given = _given(asked)
    if not given:
        return template.variants
    if len(template.variants) > 1:
        raise Invalid(
            "This template has several variants; give all of them as `variants`.",
            code="invalid_template",
            field=next(iter(given)),
        )
    only = template.variants[0]
    content = msgspec.structs.replace(only.content, **given, made_html="")
    return [Variant(name=only.name, weight=only.weight, content=content)]


@post("/v1/templates", summary="Create a template", opt={"body": NewTemplate})
async def create_template(call: NamedDependency[Call]) -> Response[TemplateShown]:
    """Everything is parsed and checked; what is wrong is refused with its field, line and column."""
    asked = await call.body(NewTemplate)
    name = templates.check_name(asked.name)
    variants = _variants(asked.variants, asked)
    await _check(asked.channel, variants)

    async def work(tx: Tx) -> TemplateShown:
        return _show(
            await templates.create_template(
                tx, call.engine.ids, call.workspace_id, name, asked.channel, variants, call.now
            )
        )

    return await call.perform(201, work)


@get("/v1/templates", summary="List templates")
async def list_templates(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[TemplateShown]:
    """The newest first."""
    found = await call.read(templates.list_templates, call.workspace_id, before("templates", after), limit + 1)
    return page("templates", found, limit, _show, lambda template: template.id)


@get("/v1/templates/{id:str}", summary="Get a template")
async def get_template(call: NamedDependency[Call], id: FromPath[str], version: Version = 0) -> TemplateShown:
    """As it is now, or as it was in another version."""
    return _show(await call.read(templates.find_template, call.workspace_id, template_id(id), version))


@patch("/v1/templates/{id:str}", summary="Change a template", opt={"body": TemplateChange})
async def change_template(call: NamedDependency[Call], id: FromPath[str]) -> Response[TemplateShown]:
    """Other content makes a new version, which holds from the next message on; earlier messages stay as they are."""
    asked = await call.body(TemplateChange)
    was = await call.read(templates.find_template, call.workspace_id, template_id(id))
    name = was.name if asked.name is UNSET else templates.check_name(asked.name)
    variants = _changed(was, asked)
    await _check(was.channel, variants)

    async def work(tx: Tx) -> TemplateShown:
        return _show(await templates.change_template(tx, call.workspace_id, was, name, variants, call.now))

    return await call.perform(200, work)


@delete("/v1/templates/{id:str}", summary="Delete a template")
async def delete_template(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """Messages that were made with it are still sent, and keep what they say."""
    await call.engine.database.transact(templates.delete_template, call.workspace_id, template_id(id), call.now)


@post(
    "/v1/templates/{id:str}/preview",
    status_code=200,
    summary="Preview a template",
    opt={"body": PreviewAsked, **KEYLESS},
)
async def preview_template(call: NamedDependency[Call], id: FromPath[str]) -> TemplatePreview:
    """What the message would say to this person about this event, and which variables are missing."""
    asked = await call.body(PreviewAsked)
    template = await call.read(templates.find_template, call.workspace_id, template_id(id))
    return await _preview(call, asked, template.channel, template.variants)


@post(
    "/v1/templates/preview",
    status_code=200,
    summary="Preview content",
    opt={"body": UnsavedPreview, **KEYLESS, **NAMES},
)
async def preview_content(call: NamedDependency[Call]) -> TemplatePreview:
    """The same for content that is not saved."""
    asked = await call.body(UnsavedPreview)
    return await _preview(call, asked, asked.channel, _variants(asked.variants, asked.content))


async def _check(channel: str, variants: list[Variant]) -> CompiledTemplate:
    """The variants compiled; Invalid for what is wrong with them."""
    size = sum(len(variant.content.html) + len(variant.content.mjml) for variant in variants)
    return await templates.compile_aside(size, lambda: check_template(channel, variants))


async def _preview(call: Call, asked: PreviewAsked, channel: str, variants: list[Variant]) -> TemplatePreview:
    for one, other in (("profile_id", "person"), ("event_id", "event")):
        if getattr(asked, one) is not None and getattr(asked, other) is not None:
            raise Invalid(f"Give {one} or {other}, not both.", code="invalid_body", field=one)
    compiled = await _check(channel, variants)

    profile_id = None if asked.profile_id is None else internal("pro", asked.profile_id)
    event_id = None if asked.event_id is None else internal("evt", asked.event_id)
    seen = await call.read(templates.load_seen, call.workspace_id, profile_id, event_id)
    context = context_of(asked.person or seen.person, asked.event or seen.event, seen.organization, asked.variables)
    choice = asked.profile_id or 0.0
    made = compiled.preview(context, choice=choice, variant=asked.variant, now=call.now)
    if asked.strict and made.undefined:
        raise undefined_variables(made.undefined)
    return TemplatePreview(variant=made.variant, content=made.content, undefined=made.undefined, sms=made.sms)


ROUTES = [
    create_template,
    list_templates,
    get_template,
    change_template,
    delete_template,
    preview_template,
    preview_content,
]
