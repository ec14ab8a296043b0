"""Templates: each version is compiled once, the cache is bounded, and templates see profiles and events."""

import asyncio
from typing import Any

import pytest

from tests.engine.conftest import World
from waypost.clock import now_us
from waypost.domain.templates.template import TemplateSource, Variant, check_template
from waypost.engine.templates import templates
from waypost.engine.templates.templates import Template, Templates
from waypost.errors import Conflict, Invalid, NotFound

WORKSPACE = 1


def sms(text: str) -> list[Variant]:
    variants = [Variant(content=TemplateSource(text=text))]
    check_template("sms", variants)
    return variants


async def make(world: World, text: str = "Hi {{ person.first_name }}", workspace: int = WORKSPACE) -> Template:
    return await world.database.transact(
        templates.create_template, world.engine.ids, workspace, "Hello", "sms", sms(text), now_us()
    )


async def change(world: World, template: Template, text: str) -> Template:
    return await world.database.transact(
        templates.change_template, WORKSPACE, template, template.name, sms(text), now_us()
    )


async def test_a_version_is_compiled_once(world: World):
    kept = Templates(world.database)
    made = await make(world)
    first = await kept.get(WORKSPACE, made.id)
    assert await kept.get(WORKSPACE, made.id) is first
    assert (first.template_id, first.version, first.channel) == (made.id, 1, "sms")
    assert first.render({"person": {"first_name": "Ada"}}).text == "Hi Ada"


async def test_who_asks_at_the_same_time_gets_the_same(world: World):
    kept = Templates(world.database)
    long = await make(world, "{% comment %}" + "x" * 9_000 + "{% endcomment %}Hi")
    found = await asyncio.gather(*(kept.get(WORKSPACE, long.id) for _ in range(20)))
    assert all(one is found[0] for one in found)
    assert kept.kept[0] == 1


async def test_a_change_holds_at_once_and_the_old_version_stays(world: World):
    kept = Templates(world.database)
    made = await make(world)
    await kept.get(WORKSPACE, made.id)
    changed = await change(world, made, "Bye")
    assert (changed.version, changed.current_version) == (2, 2)
    assert (await kept.get(WORKSPACE, made.id)).render({}).text == "Bye"
    assert (await kept.get(WORKSPACE, made.id, 1)).render({}).text == "Hi "


async def test_the_same_content_makes_no_new_version(world: World):
    made = await make(world, "a")
    assert (await change(world, made, "a")).current_version == 1


async def test_two_who_change_the_same_version_do_not_overwrite_each_other(world: World):
    made = await make(world, "a")
    await change(world, made, "b")
    with pytest.raises(Conflict) as caught:
        await change(world, made, "c")
    assert caught.value.code == "template_changed"


async def test_a_template_of_another_workspace_is_not_there(world: World):
    kept = Templates(world.database)
    made = await make(world)
    await kept.get(WORKSPACE, made.id)
    for version in (None, 1):
        with pytest.raises(NotFound) as caught:
            await kept.get(2, made.id, version)
        assert caught.value.code == "unknown_template"
    with pytest.raises(NotFound):
        await world.database.read(templates.find_template, 2, made.id)
    with pytest.raises(NotFound):
        await world.database.transact(templates.delete_template, 2, made.id, now_us())


async def test_a_deleted_template_is_gone_but_its_versions_are_not(world: World):
    kept = Templates(world.database)
    made = await make(world)
    await kept.get(WORKSPACE, made.id)
    await world.database.transact(templates.delete_template, WORKSPACE, made.id, now_us())
    with pytest.raises(NotFound):
        await kept.get(WORKSPACE, made.id)
    assert (await Templates(world.database).get(WORKSPACE, made.id, 1)).version == 1


async def test_many_are_looked_up_together(world: World):
    kept = Templates(world.database)
    made = [await make(world, f"{n}") for n in range(5)]
    found = await kept.get_many(WORKSPACE, [*(one.id for one in made), made[0].id, 12345])
    assert {id_: one.render({}).text for id_, one in found.items()} == {one.id: f"{n}" for n, one in enumerate(made)}
    assert await kept.get_many(WORKSPACE, []) == {}


async def test_what_is_kept_is_bounded_in_number_and_in_bytes(world: World):
    kept = Templates(world.database, most=3)
    made = [await make(world, f"{n}") for n in range(4)]
    first = await kept.get(WORKSPACE, made[0].id)
    for one in (made[1], made[2], made[0], made[3]):
        await kept.get(WORKSPACE, one.id)
    assert kept.kept[0] == 3
    assert await kept.get(WORKSPACE, made[0].id) is first
    size = first.size
    small = Templates(world.database, most_bytes=2 * size)
    for one in made:
        await small.get(WORKSPACE, one.id)
    assert small.kept == (2, 2 * size)
    tiny = Templates(world.database, most_bytes=1)
    for one in made:
        await tiny.get(WORKSPACE, one.id)
    assert tiny.kept[0] == 1


def test_the_content_of_a_message_is_compiled_once(world: World):
    kept = Templates(world.database)
    fields = {"text": "Hi {{ person.first_name }}", "media_urls": ["https://x.example/{{ code }}"]}
    first = kept.compile_inline("sms", fields)
    assert kept.compile_inline("sms", dict(reversed(fields.items()))) is first
    assert kept.compile_inline("sms", {"text": "Hi"}) is not first
    assert first.template_id == first.version == 0
    content = first.render({"person": {"first_name": "Ada"}, "code": 1})
    assert (content.text, content.media_urls) == ("Hi Ada", ["https://x.example/1"])


@pytest.mark.parametrize("fields", [{"text": "{{"}, {"colour": "red"}, {"text": 5}, {"headers": {"a": 1}}])
def test_content_that_is_wrong_is_refused(world: World, fields: dict[str, Any]):
    with pytest.raises(Invalid) as caught:
        Templates(world.database).compile_inline("sms", fields)
    assert caught.value.code == "invalid_template"


async def test_a_workspace_has_so_many_templates_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(templates, "MOST_TEMPLATES", 1)
    await make(world)
    with pytest.raises(Conflict) as caught:
        await make(world)
    assert caught.value.code == "too_many_templates"
    await make(world, workspace=2)


async def test_what_is_not_there_is_not_found(world: World):
    for profile_id, event_id, code in ((12345, None, "unknown_profile"), (None, 12345, "unknown_event")):
        with pytest.raises(NotFound) as caught:
            await world.database.read(templates.load_seen, WORKSPACE, profile_id, event_id)
        assert caught.value.code == code
