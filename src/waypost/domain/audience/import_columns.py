"""The columns of an import: which identifier, trait, list, tag or subscription each of them sets."""

import re

import msgspec

from waypost.errors import Invalid

#: The most columns of a file.
MOST_COLUMNS = 1000
#: The most characters of the name of a column or a trait.
LONGEST_NAME = 200
IDENTIFIERS = ("user_id", "email", "phone")
#: Targets other than `traits.…`; `first_name` and the like are traits that have a name of their own.
NAMES = (
    "first_name",
    "last_name",
    "name",
    "title",
    "gender",
    "birthday",
    "company",
    "street",
    "city",
    "region",
    "postal_code",
    "country",
    "language",
    "timezone",
)
TARGETS = (*IDENTIFIERS, *NAMES, "tags", "list", "subscription.sms", "subscription.email")
#: How the text of a trait is read; without one of these, numbers and true or false are recognised.
KINDS = ("text", "number", "boolean")

#: By target: the names of columns that mean it, without case, spaces and punctuation.
_SPELLINGS = {
    "user_id": "userid externalid customerid",
    "email": "email emailaddress mail mailaddress emailadresse emails primaryemail workemail",
    "phone": "phone phonenumber mobile mobilephone mobilenumber mobilephonenumber cell cellphone tel telephone "
    "telephonenumber sms smsnumber handy handynummer telefon telefonnummer primaryphone",
    "first_name": "firstname givenname forename fname vorname prenom",
    "last_name": "lastname surname familyname lname nachname",
    "tags": "tags",
    "subscription.sms": "subscriptionsms smssubscription smsconsent smsoptin",
    "subscription.email": "subscriptionemail emailsubscription emailconsent emailoptin",
}
_BY_SPELLING = {spelling: target for target, words in _SPELLINGS.items() for spelling in words.split()}
_PUNCTUATION = re.compile(r"[\W_]+")
_TRAIT = re.compile(r"traits\.(?P<name>.+?)(?::(?P<kind>\w+))?", re.DOTALL)


class Column(msgspec.Struct, frozen=True):
    """What a column of a file sets."""

    #: The name in the first row of the file, or the key of an object.
    name: str
    #: One of TARGETS, `trait`, or an empty text for a column that is ignored.
    target: str
    #: The name of the trait.
    trait: str = ""
    #: One of KINDS, or empty.
    kind: str = ""


def read_column(name: str, mapping: dict[str, str | None] | None) -> Column:
    """Return what the column of this name sets: what the mapping says, else what the name means, else a trait.

    Raise Invalid for a target that does not exist.
    """
    if mapping is not None and name in mapping:
        target = mapping[name]
        return Column(name, "") if target is None else read_target(name, target)
    spelling = _PUNCTUATION.sub("", name.casefold())
    known = _BY_SPELLING.get(spelling)
    if known is not None:
        return read_target(name, known)
    snake = _PUNCTUATION.sub("_", name.casefold()).strip("_")
    if snake in NAMES:
        return Column(name, "trait", snake, "text")
    if name.startswith("traits."):
        return read_target(name, name)
    return Column(name, "trait", name) if name else Column(name, "")


def read_target(name: str, target: str) -> Column:
    """Return the column of a target such as `email`, `traits.plan` or `traits.age:number`; raise Invalid otherwise."""
    if target in NAMES:
        return Column(name, "trait", target, "text")
    if target in TARGETS:
        return Column(name, target)
    found = _TRAIT.fullmatch(target)
    kind = (found["kind"] or "") if found else ""
    if found is None or (kind and kind not in KINDS) or len(found["name"]) > LONGEST_NAME or "\0" in found["name"]:
        raise Invalid(
            f"A column cannot become {target[:80]!r}. Use one of {', '.join(TARGETS)}, `traits.NAME`, "
            f"`traits.NAME:KIND` with one of the kinds {', '.join(KINDS)}, or null to ignore the column.",
            code="invalid_mapping",
            parameter="map",
        )
    return Column(name, "trait", found["name"], kind)


def read_columns(names: list[str], mapping: dict[str, str | None] | None) -> list[Column]:
    """Return the columns of a file with these names; raise Invalid for names that cannot be used."""
    cleaned = [name.strip().removeprefix("\ufeff").strip() for name in names]
    while cleaned and not cleaned[-1]:
        # Spreadsheets write empty columns at the end.
        cleaned.pop()
    if not cleaned:
        raise Invalid("The first row of the file has no names of columns.", code="no_columns")
    if len(cleaned) > MOST_COLUMNS:
        raise Invalid(
            f"The file has {len(cleaned)} columns; at most {MOST_COLUMNS} are allowed. Leave out those that you do not "
            "need.",
            code="too_many_columns",
        )
    for name in cleaned:
        if len(name) > LONGEST_NAME or "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
            raise Invalid(
                f"The name of a column, {name[:40]!r}, has more than {LONGEST_NAME} characters, U+0000, or bytes that "
                "are not text.",
                code="invalid_column",
            )
    if missing := sorted(set(mapping or {}) - set(cleaned)):
        raise Invalid(
            f"`map` names columns that the file does not have: {', '.join(missing)[:200]}. "
            f"It has {', '.join(name for name in cleaned if name)[:500]}.",
            code="unknown_column",
        )
    columns = [read_column(name, mapping) for name in cleaned]
    require_identifier(columns)
    used: dict[tuple[str, str], str] = {}
    for column in columns:
        place = (column.target, column.trait)
        if column.target and column.target not in ("tags", "list") and place in used:
            raise Invalid(
                f"Two columns, {used[place]!r} and {column.name!r}, set {column.trait or column.target}. "
                "Say with `map` which one counts, and map the other one to null.",
                code="ambiguous_columns",
                columns=[one.name for one in columns],
            )
        used[place] = column.name
    return columns


def require_identifier(columns: list[Column]) -> None:
    """Raise Invalid if no column identifies people."""
    if not any(column.target in IDENTIFIERS for column in columns):
        raise Invalid(
            "No column has email addresses, phone numbers or user ids. Name one `email`, `phone` or `user_id`, or "
            "say with `map` which column it is.",
            code="no_identifier_column",
            columns=[column.name for column in columns],
        )
