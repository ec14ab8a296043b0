"""Templates: create, list, get, update, delete, preview."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from msgspec import UNSET, Meta, UnsetType

from waypost.api.control.calls import KEYLESS, NAMES, Call, permit
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import iso
from waypost.domain.messaging.message import Content
from waypost.domain.messaging.sms import SmsMeasure
from waypost.domain.templates.liquid.context import UndefinedVariable
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
from waypost.errors import Invalid
from waypost.storage.database import Tx

#: More than any template has; the largest integer that both databases accept in any integer column.
MOST_VERSIONS = 2**31 - 1

Name = Annotated[str, Meta(description="A display name.", min_length=1, max_length=200)]
Channel = Annotated[str, Meta(description="`sms`, `email` or `event`.", pattern="^(sms|email|event)$")]
Weight = Annotated[
    float, Meta(description="How often the variant is chosen, relative to the other weights.", ge=0, le=1_000_000)
]
Text = Annotated[
    str, Meta(description="The text, in Liquid. For an email it is generated from the HTML if it is not given.")
]
MediaUrls = Annotated[list[str], Meta(description="URLs of media to send with a text message.", max_length=10)]
ClickUrl = Annotated[str, Meta(description="A link, for connectors that send it separately from the text.")]
Subject = Annotated[str, Meta(description="The subject of an email.")]
Preheader = Annotated[str, Meta(description="The preview text that email clients show next to the subject.")]
Html = Annotated[str, Meta(description="The email as HTML.")]
Mjml = Annotated[str, Meta(description="The email as MJML. It is converted to HTML when the template is saved.")]
Sender = Annotated[str, Meta(description="`Name <address>`; by default the sender of the connection.")]
ReplyTo = Annotated[str, Meta(description="The address for replies to an email.")]
Headers = Annotated[dict[str, str], Meta(description="Additional headers of an email.")]
Metric = Annotated[str, Meta(description="The name of the event.")]
Properties = Annotated[dict[str, Any], Meta(description="The properties of the event; each string in them is Liquid.")]
Version = Annotated[
    int,
    QueryParameter(
        name="version", ge=0, le=MOST_VERSIONS, description="The version to return; by default the current one."
    ),
]


class TemplateContent(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The content of a template. Which fields apply depends on the channel; null removes a field."""

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


class TemplateVariantInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One variant of a template."""

    name: Annotated[
        str,
        Meta(description="The name of the variant, unique within the template.", min_length=1, max_length=LONGEST_NAME),
    ]
    weight: Weight = 1.0
    content: TemplateContent


Variants = Annotated[
    list[TemplateVariantInput],
    Meta(description="Several variants of the content, instead of a single content.", min_length=1, max_length=20),
]


class CreateTemplate(TemplateContent, forbid_unknown_fields=True, kw_only=True):
    """The parameters of a new template: its content, or variants that each have a content."""

    name: Name
    channel: Channel
    variants: Variants | None = None


class UpdateTemplate(TemplateContent, forbid_unknown_fields=True, kw_only=True):
    """The fields to update. A change of the content creates a new version."""

    name: Name | UnsetType = UNSET
    variants: Variants | UnsetType = UNSET


class PreviewTemplate(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The data to render a template with."""

    profile_id: Annotated[str | None, Meta(description="The id of the profile to render for.")] = None
    person: Annotated[dict[str, Any] | None, Meta(description="The value of `person`, instead of a profile.")] = None
    event_id: Annotated[str | None, Meta(description="The id of the event to render with.")] = None
    event: Annotated[dict[str, Any] | None, Meta(description="The value of `event`, instead of an event id.")] = None
    variables: Annotated[dict[str, Any], Meta(description="The variables of the message.")] = {}
    variant: Annotated[
        str | None, Meta(description="The variant to render; by default the one that this person would get.")
    ] = None
    strict: Annotated[bool, Meta(description="Return an error if the template outputs an undefined variable.")] = False


class PreviewContent(PreviewTemplate, forbid_unknown_fields=True, kw_only=True):
    """Content that is not saved, and the data to render it with."""

    channel: Channel
    content: TemplateContent | None = None
    variants: Variants | None = None


class TemplateVariant(msgspec.Struct, kw_only=True):
    """A variant of a template."""

    name: str
    weight: float
    content: dict[str, Any]


class Template(msgspec.Struct, kw_only=True):
    """A message template."""

    id: str
    name: str
    channel: str
    version: int
    #: The version that new messages use.
    current_version: int
    variants: list[TemplateVariant]
    created_at: str
    updated_at: str


class TemplatePreview(msgspec.Struct, kw_only=True):
    """A rendered message; undefined variables appear in it as `⟦name⟧`."""

    variant: str
    content: Content
    undefined: list[UndefinedVariable]
    #: SMS only: the encoding, the length and the number of parts.
    sms: SmsMeasure | None


def template_id(text: str) -> int:
    """Return the internal id for a template id from the API."""
    return internal("tpl", text)


def _template_view(template: templates.Template) -> Template:
    return Template(
        id=public("tpl", template.id),
        name=template.name,
        channel=template.channel,
        version=template.version,
        current_version=template.current_version,
        variants=[
            TemplateVariant(
                name=variant.name,
                weight=variant.weight,
                content={name: getattr(variant.content, name) for name in FIELDS[template.channel]},
            )
            for variant in template.variants
        ],
        created_at=iso(template.created_at),
        updated_at=iso(template.updated_at),
    )


def _given(fields: TemplateContent) -> dict[str, Any]:
    """Return the given fields; a field that was set to null has its empty value."""
    empty = TemplateSource()
    return {
        name: getattr(empty, name) if value is None else value
        for name in TemplateContent.__struct_fields__
        if (value := getattr(fields, name)) is not UNSET
    }


def _variants(body: list[TemplateVariantInput] | None, fields: TemplateContent | None) -> list[Variant]:
    """Return the variants of a request: those of its list, or one made of its fields."""
    given = _given(fields) if fields is not None else {}
    if body is None:
        return [Variant(content=TemplateSource(**given))]
    if given:
        raise Invalid(
            f"A template has either variants or a content of its own. Remove {', '.join(given)}, or `variants`.",
            code="invalid_template",
            field=next(iter(given)),
        )
    return [
        Variant(name=one.name.strip(), weight=one.weight, content=TemplateSource(**_given(one.content))) for one in body
    ]


def _changed(template: templates.Template, body: UpdateTemplate) -> list[Variant]:
    """Return the variants of a template after an update."""
    if body.variants is not UNSET:
        return _variants(body.variants, body)
    given = _given(body)
    if not given:
        return template.variants
    if len(template.variants) > 1:
        raise Invalid(
            "This template has several variants. Give all of them in `variants`.",
            code="invalid_template",
            field=next(iter(given)),
        )
    only = template.variants[0]
    content = msgspec.structs.replace(only.content, **given, made_html="")
    return [Variant(name=only.name, weight=only.weight, content=content)]


@post("/v1/templates", summary="Create a template", opt={"body": CreateTemplate})
async def create_template(call: NamedDependency[Call]) -> Response[Template]:
    """Creates a template. The content is checked; an error names the field, line and column."""
    body = await call.body(CreateTemplate)
    name = templates.check_name(body.name)
    variants = _variants(body.variants, body)
    await _check(body.channel, variants)

    async def work(tx: Tx) -> Template:
        return _template_view(
            await templates.create_template(
                tx, call.engine.ids, call.workspace_id, name, body.channel, variants, call.now
            )
        )

    return await call.perform(201, work)


@get("/v1/templates", summary="List templates")
async def list_templates(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[Template]:
    """Returns templates, newest first."""
    found = await call.read(templates.list_templates, call.workspace_id, before("templates", after), limit + 1)
    return page("templates", found, limit, _template_view, lambda template: template.id)


@get("/v1/templates/{id:str}", summary="Get a template")
async def get_template(call: NamedDependency[Call], id: FromPath[str], version: Version = 0) -> Template:
    """Returns a template in its current version, or in the given version."""
    return _template_view(await call.read(templates.find_template, call.workspace_id, template_id(id), version))


@patch("/v1/templates/{id:str}", summary="Update a template", opt={"body": UpdateTemplate})
async def update_template(call: NamedDependency[Call], id: FromPath[str]) -> Response[Template]:
    """Updates a template. A change of the content creates a new version, which later messages use."""
    body = await call.body(UpdateTemplate)
    was = await call.read(templates.find_template, call.workspace_id, template_id(id))
    name = was.name if body.name is UNSET else templates.check_name(body.name)
    variants = _changed(was, body)
    await _check(was.channel, variants)

    async def work(tx: Tx) -> Template:
        return _template_view(await templates.change_template(tx, call.workspace_id, was, name, variants, call.now))

    return await call.perform(200, work)


@delete("/v1/templates/{id:str}", summary="Delete a template")
async def delete_template(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """Deletes a template. Messages that were created from it are still sent, unchanged."""
    await call.transact(templates.delete_template, call.workspace_id, template_id(id), call.now)


@post(
    "/v1/templates/{id:str}/preview",
    status_code=200,
    summary="Preview a template",
    opt={"body": PreviewTemplate, "permission": "templates.read", **KEYLESS},
)
async def preview_template(call: NamedDependency[Call], id: FromPath[str]) -> TemplatePreview:
    """Renders a template for a person and an event, and lists undefined variables. Nothing is sent."""
    body = await call.body(PreviewTemplate)
    template = await call.read(templates.find_template, call.workspace_id, template_id(id))
    return await _preview(call, body, template.channel, template.variants)


@post(
    "/v1/templates/preview",
    status_code=200,
    summary="Preview unsaved content",
    opt={"body": PreviewContent, "permission": "templates.read", **KEYLESS, **NAMES},
)
async def preview_content(call: NamedDependency[Call]) -> TemplatePreview:
    """Renders content that is not saved as a template, and lists undefined variables. Nothing is sent."""
    body = await call.body(PreviewContent)
    return await _preview(call, body, body.channel, _variants(body.variants, body.content))


async def _check(channel: str, variants: list[Variant]) -> CompiledTemplate:
    """Compile the variants; raise Invalid for the first error in them."""
    size = sum(len(variant.content.html) + len(variant.content.mjml) for variant in variants)
    return await templates.compile_aside(size, lambda: check_template(channel, variants))


async def _preview(call: Call, body: PreviewTemplate, channel: str, variants: list[Variant]) -> TemplatePreview:
    for one, other in (("profile_id", "person"), ("event_id", "event")):
        if getattr(body, one) is not None and getattr(body, other) is not None:
            raise Invalid(
                f"The body has both {one} and {other}. Give only one of them.", code="conflicting_fields", field=one
            )
    # What is rendered shows what is stored of them.
    if body.profile_id is not None:
        call.caller.require("people.read")
    if body.event_id is not None:
        call.caller.require("events.read")
    compiled = await _check(channel, variants)

    profile_id = None if body.profile_id is None else internal("pro", body.profile_id)
    event_id = None if body.event_id is None else internal("evt", body.event_id)
    seen = await call.read(templates.load_seen, call.workspace_id, profile_id, event_id)
    variables = call.engine.tracker.sample(call.workspace_id) | (body.variables or {})
    context = context_of(body.person or seen.person, body.event or seen.event, seen.organization, variables)
    choice = body.profile_id or 0.0
    made = compiled.preview(context, choice=choice, variant=body.variant, now=call.now)
    if body.strict and made.undefined:
        raise undefined_variables(made.undefined)
    return TemplatePreview(variant=made.variant, content=made.content, undefined=made.undefined, sms=made.sms)


ROUTES = permit(
    "templates",
    [
        create_template,
        list_templates,
        get_template,
        update_template,
        delete_template,
        preview_template,
        preview_content,
    ],
)
