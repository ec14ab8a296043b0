"""Imports take files as people have them, say what is wrong with each row, and change nobody when they only check."""

import csv
import dataclasses
import gzip
import io
import json
from typing import Any

import httpx
import pytest

from tests.api.calling import eventually, ok, refused
from waypost.engine.audience import import_files


def packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


async def send(client: httpx.AsyncClient, content: bytes | str, kind: str = "text/csv", **query: Any) -> Any:
    """Import a file; return the import once it has ended."""
    body = content.encode() if isinstance(content, str) else content
    query = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in query.items()}
    made = await ok(client.post("/v1/imports", content=body, params=query, headers={"content-type": kind}), 202)
    assert made["state"] == "running"

    async def look():
        found = await ok(client.get(f"/v1/imports/{made['id']}"))
        return found if found["state"] != "running" else None

    return await eventually(look)


async def errors(client: httpx.AsyncClient, found: Any) -> list[dict[str, str]]:
    response = await client.get(f"/v1/imports/{found['id']}/errors")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(response.text.removeprefix("\ufeff"), newline="")))


async def people(client: httpx.AsyncClient) -> dict[str | None, Any]:
    return {one["email"]: one for one in (await ok(client.get("/v1/profiles?limit=1000")))["data"]}


async def test_imported_people_enter_tracked_segments(client):
    letters = await ok(client.post("/v1/lists", json={"name": "News"}), 201)
    await ok(client.post("/v1/profiles", json={"email": "bob@example.com", "traits": {"plan": "free"}}))
    segments = []
    for condition in ({"trait": "plan", "is": "pro"}, {"list": letters["id"]}, {"tag": "vip"}):
        body = {"name": "Some", "condition": condition, "tracked": True}
        segments.append((await ok(client.post("/v1/segments", json=body), 201))["id"])

    async def complete():
        return all([(await ok(client.get(f"/v1/segments/{id_}")))["complete"] for id_ in segments])

    await eventually(complete)
    # Somebody who is known joins the list, and nothing else changes.
    await send(client, "email\nbob@example.com\n", list=letters["id"])
    assert await members(client, segments[1]) == ["bob@example.com"]
    rows = "ada@example.com,pro,vip\nbob@example.com,pro,vip\neve@example.com,free,\n"
    await send(client, "email,plan,tags\n" + rows, list=letters["id"])
    entered = [one for one in (await ok(client.get("/v1/events")))["data"] if one["type"] == "segment.entered"]
    people_of = {id_: sorted(await members(client, id_)) for id_ in segments}
    some = ["ada@example.com", "bob@example.com"]
    assert list(people_of.values()) == [some, [*some, "eve@example.com"], some]
    assert len(entered) == 7


async def members(client: httpx.AsyncClient, segment: str) -> list[str]:
    return [one["email"] for one in (await ok(client.get(f"/v1/segments/{segment}/members")))["data"]]


async def test_columns_are_found_by_their_names(client):
    letters = await ok(client.post("/v1/lists", json={"name": "News"}), 201)
    text = (
        "Email Address,First Name,Mobile,Plan,age,Tags,zip\r\n"
        'ADA@example.com,Ada,+1 202 555 0101,pro,36,"vip;early",01067\r\n'
        "bob@example.com,Bob,,free,7.5,,10115\r\n"
    )
    found = await send(client, text, list=letters["id"])
    assert (found["state"], found["rows"], found["imported"], found["rejected"], found["created"]) == (
        "done",
        2,
        2,
        0,
        2,
    )
    assert found["bytes_read"] == found["bytes"]
    assert [column["target"] for column in found["columns"]] == [
        "email",
        "traits.first_name",
        "phone",
        "traits.Plan",
        "traits.age",
        "tags",
        "traits.zip",
    ]
    known = await people(client)
    ada = known["ada@example.com"]
    assert ada["traits"] == {"first_name": "Ada", "Plan": "pro", "age": 36, "zip": "01067"}
    assert (ada["phone"], ada["tags"]) == ("+12025550101", ["early", "vip"])
    assert known["bob@example.com"]["traits"] == {"first_name": "Bob", "Plan": "free", "age": 7.5, "zip": 10115}
    assert (await ok(client.get(f"/v1/lists/{letters['id']}")))["members"]["subscribed"] == 2
    (event,) = (await ok(client.get("/v1/events?type=import.finished")))["data"]
    assert event["data"]["import"]["imported"] == 2
    # No event for each row.
    assert len((await ok(client.get("/v1/events")))["data"]) == 1


async def test_a_mapping_says_what_columns_are(client):
    letters = await ok(client.post("/v1/lists", json={"name": "News"}), 201)
    mapping = {
        "Kontakt": "email",
        "Nr": "user_id",
        "Notiz": None,
        "Stufe": "traits.level:text",
        "Verteiler": "list",
        "Ja": "subscription.email",
        "seit": "traits.since",
    }
    text = (
        "Kontakt;Nr;Notiz;Stufe;Verteiler;Ja;seit\n"
        "ada@example.com;1;x;7;News;yes;2024\n"
        f"bob@example.com;2;x;8;{letters['id']};no;\n"
    )
    found = await send(client, text, map=mapping, source="fair")
    assert (found["delimiter"], found["imported"]) == (";", 2)
    known = await people(client)
    assert known["ada@example.com"]["traits"] == {"level": "7", "since": 2024}
    assert known["ada@example.com"]["user_id"] == "1"
    assert (await ok(client.get(f"/v1/lists/{letters['id']}")))["members"]["subscribed"] == 2
    for name, state in (("ada", "subscribed"), ("bob", "unsubscribed")):
        said = await ok(client.get(f"/v1/subscriptions?channel=email&address={name}@example.com"))
        assert (said["state"], said["source"]) == (state, "fair")


async def test_rejected_rows_come_back_as_a_file(client):
    text = (
        "email,phone,first_name\n"
        "ada@example.com,,Ada\n"
        "\n"
        "nobody,,=cmd|'/C calc'!A0\n"
        ",4.91512E+11,Bob\n"
        ",0171 1234567,Eve\n"
        ",,Nemo\n"
        "a@example.com,,x,y\n"
        "b@example.com,,Bea,\n"
    )
    found = await send(client, text)
    assert (found["rows"], found["imported"], found["rejected"]) == (7, 2, 5)
    rejected = await errors(client, found)
    assert [(row["row"], row["code"], row["column"]) for row in rejected] == [
        ("4", "invalid_email", "email"),
        ("5", "rounded_number", "phone"),
        ("6", "invalid_phone", "phone"),
        ("7", "no_identifier", ""),
        ("8", "too_many_cells", ""),
    ]
    assert "spreadsheet" in rejected[1]["reason"]
    # A spreadsheet that opens the file does not run the formula.
    assert rejected[0]["first_name"] == "'=cmd|'/C calc'!A0"


async def test_a_formula_is_kept_as_text(client):
    await send(client, 'email,note,code\nada@example.com,=1+1,"=""0123"""\n')
    assert (await people(client))["ada@example.com"]["traits"] == {"note": "=1+1", "code": "0123"}


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("email,name\nada@example.com,Zoë\n".encode(), "utf-8"),
        ("email,name\nada@example.com,Zoë\n".encode("utf-8-sig"), "utf-8"),
        ("sep=;\r\nemail;name\r\nada@example.com;Zoë\r\n".encode("utf-8-sig"), "utf-8"),
        ("email\tname\r\nada@example.com\tZoë\r\n".encode("utf-16"), "utf-8"),
        (b"\xfe\xff" + "email\tname\nada@example.com\tZoë\n".encode("utf-16-be"), "utf-8"),
        ("email\tname\nada@example.com\tZoë\n".encode("utf-16-le"), "utf-8"),
        ("email|name\nada@example.com|Zoë\n".encode("cp1252"), "cp1252"),
        (b"email,name\rada@example.com,Zo\xc3\xab\r", "utf-8"),
        (packed("email,name\nada@example.com,Zoë".encode()), "utf-8"),
        (packed(b"email,name\n") + packed("ada@example.com,Zoë".encode()), "utf-8"),
        ('"email","name",,\n"ada@example.com","Zoë",,\n,,,\n'.encode(), "utf-8"),
    ],
)
async def test_files_are_read_as_spreadsheets_write_them(content, encoding, client):
    found = await send(client, content)
    assert (found["encoding"], found["imported"], found["rejected"]) == (encoding, 1, 0), await errors(client, found)
    assert (await people(client))["ada@example.com"]["traits"] == {"name": "Zoë"}


async def test_objects_are_imported_too(client):
    lines = [
        {"email": "ada@example.com", "traits": {"plan": "pro", "orders": [1, 2]}, "tags": ["vip"]},
        {"user_id": 7, "first_name": "Bob", "active": True, "age": None},
        {"email": "x"},
        {"email": "a@example.com", "traits": {"big": 10**30}},
    ]
    text = "\n".join(map(json.dumps, lines)) + '\n[1]\n{"email": \n\n'
    found = await send(client, text, "application/x-ndjson")
    assert (found["rows"], found["imported"], found["rejected"]) == (6, 2, 4)
    assert [row["code"] for row in await errors(client, found)] == [
        "invalid_email",
        "invalid_number",
        "invalid_json",
        "invalid_json",
    ]
    known = await people(client)
    assert known["ada@example.com"]["traits"] == {"plan": "pro", "orders": [1, 2]}
    assert known["ada@example.com"]["tags"] == ["vip"]
    assert (known[None]["user_id"], known[None]["traits"]) == ("7", {"first_name": "Bob", "active": True})


async def test_a_dry_run_changes_nobody(client):
    found = await send(client, "email\nada@example.com\nnobody\n", dry_run=True)
    assert (found["dry_run"], found["imported"], found["rejected"]) == (True, 1, 1)
    assert len(await errors(client, found)) == 1
    assert await people(client) == {}
    assert (await ok(client.get("/v1/events")))["data"] == []


async def test_an_import_changes_people_that_are_known(client):
    await ok(client.post("/v1/profiles", json={"email": "ada@example.com", "traits": {"plan": "free", "city": "Bonn"}}))
    text = "email,plan\nada@example.com,pro\nADA@example.com,max\nbob@example.com,free\n"
    found = await send(client, text)
    assert (found["imported"], found["created"]) == (3, 1)
    known = await people(client)
    assert known["ada@example.com"]["traits"] == {"plan": "pro", "city": "Bonn"}
    assert set(known) == {"ada@example.com", "bob@example.com"}


async def test_an_import_does_not_bring_back_who_has_left(client):
    letters = await ok(client.post("/v1/lists", json={"name": "News"}), 201)
    place = f"/v1/lists/{letters['id']}/members"
    for name in ("ada", "bob"):
        await ok(client.post("/v1/profiles", json={"email": f"{name}@example.com"}))
    ada = {"people": [{"email": "ada@example.com"}]}
    await ok(client.post(place, json=ada))
    await ok(client.post(f"{place}/remove", json=ada | {"unsubscribe": True}))
    await send(client, "email\nada@example.com\nbob@example.com\n", list=letters["id"])
    found = await ok(client.get(place))
    assert {one["email"]: one["state"] for one in found["data"]} == {
        "ada@example.com": "unsubscribed",
        "bob@example.com": "subscribed",
    }


async def test_people_of_a_double_opt_in_list_are_pending(client):
    letters = await ok(client.post("/v1/lists", json={"name": "News", "double_opt_in": True}), 201)
    await send(client, "email\nada@example.com\n", list=letters["id"])
    await send(client, "email\nbob@example.com\n", list=letters["id"], confirmed=True)
    assert (await ok(client.get(f"/v1/lists/{letters['id']}")))["members"] == {
        "subscribed": 1,
        "pending": 1,
        "unsubscribed": 0,
    }


@pytest.mark.parametrize(
    ("content", "query", "code"),
    [
        (b"", {}, "empty_file"),
        (b"\n\n", {}, "empty_file"),
        (b"name\nx\n", {}, "no_identifier_column"),
        (b"email,mail\nx,y\n", {}, "ambiguous_columns"),
        (b"email\nx\n", {"map": '{"Mail": "email"}'}, "unknown_column"),
        (b"email\nx\n", {"map": '{"email": "mail"}'}, "invalid_mapping"),
        (b"email\nx\n", {"map": "[]"}, "invalid_mapping"),
        (b"email\nx\n", {"source": "a\x00"}, "invalid_parameter"),
        (b"e" * 300_000, {}, "invalid_column"),
        (b"email," + b",".join(b"c%d" % n for n in range(2000)) + b"\n", {}, "too_many_columns"),
        (b'email,"open\nx,y\n', {}, "invalid_header"),
        (b"\x1f\x8bbroken", {}, "invalid_file"),
        (packed(b"email\nada@example.com\n")[:-4], {}, "invalid_file"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused_at_once(content, query, code, client):
    await refused(
        client.post("/v1/imports", content=content, params=query, headers={"content-type": "text/csv"}), 400, code
    )
    assert (await ok(client.get("/v1/imports")))["data"] == []


async def test_what_is_not_a_file_of_people_is_refused(client):
    kind = {"content-type": "application/pdf"}
    await refused(client.post("/v1/imports", content=b"%PDF", headers=kind), 400, "invalid_content_type")
    packed = {"content-type": "text/csv", "content-encoding": "br"}
    await refused(client.post("/v1/imports", content=b"x", headers=packed), 400, "invalid_encoding")
    query = {"list": "lst_0000000000000001"}
    await refused(client.post("/v1/imports", content=b"email\n", params=query), 404, "unknown_list")


async def test_a_file_must_not_be_larger_than_the_limit(client, monkeypatch, engine):
    monkeypatch.setattr(import_files, "ALWAYS_BYTES", 100_000)
    bomb = packed(b"email\n" + b"\n" * 5_000_000)
    assert len(bomb) < 10_000
    await refused(client.post("/v1/imports", content=bomb), 413, "file_too_large")
    monkeypatch.setattr(engine, "settings", dataclasses.replace(engine.settings, import_mb=1))
    await refused(client.post("/v1/imports", content=b"email\n" + b"a@example.com\n" * 100_000), 413, "file_too_large")


async def test_an_endless_field_ends_the_import(client):
    text = "email\nada@example.com\n" + "x" * 1_000_000
    found = await send(client, text)
    assert (found["state"], found["reason"], found["imported"]) == ("failed", "row_too_long", 1)
    assert "Row 3" in found["detail"]


async def test_an_open_quotation_mark_costs_one_row(client):
    rows = [f"p{number}@example.com,x" for number in range(30_000)]
    rows[100] = 'p100@example.com,"open'
    found = await send(client, "email,note\n" + "\n".join(rows) + "\n")
    assert (found["state"], found["imported"], found["rejected"]) == ("done", 29_999, 1)
    (row,) = await errors(client, found)
    assert (row["row"], row["code"]) == ("102", "unbalanced_quotes")


async def test_wrong_bytes_reject_their_row(client):
    lines = b"email,name\n" + "ada@example.com,Zoë\n".encode() * 3 + b"bob@example.com,\xff\neve@example.com,a\x00b\n"
    found = await send(client, lines)
    assert (found["imported"], found["rejected"]) == (3, 2)
    assert [row["code"] for row in await errors(client, found)] == ["invalid_encoding", "invalid_text"]


async def test_a_repeated_request_imports_once(client):
    headers = {"content-type": "text/csv", "idempotency-key": "one"}
    first = await ok(client.post("/v1/imports", content=b"email\na@example.com\n", headers=headers), 202)
    assert await ok(client.post("/v1/imports", content=b"email\na@example.com\n", headers=headers), 202) == first
    assert len((await ok(client.get("/v1/imports")))["data"]) == 1
    await refused(
        client.post("/v1/imports", content=b"email\nb@example.com\n", headers=headers), 422, "idempotency_key_reused"
    )


async def test_an_import_can_be_cancelled_while_it_runs(client):
    text = "email\n" + "\n".join(f"p{number}@example.com" for number in range(100_000))
    made = await ok(client.post("/v1/imports", content=text.encode(), headers={"content-type": "text/csv"}), 202)
    stopped = await ok(client.post(f"/v1/imports/{made['id']}/cancel"))
    assert stopped["state"] == "cancelled"
    assert stopped["imported"] < 100_000
    await refused(client.post(f"/v1/imports/{made['id']}/cancel"), 409, "import_ended")
    assert await ok(client.get(f"/v1/imports/{made['id']}")) == stopped


async def test_an_import_of_another_workspace_does_not_exist(client, keys):
    found = await send(client, "email\nada@example.com\n")
    stranger = {"authorization": f"Bearer {keys.stranger}"}
    for path in (f"/v1/imports/{found['id']}", f"/v1/imports/{found['id']}/errors"):
        await refused(client.get(path, headers=stranger), 404, "not_found")
