"""The compiled writer gives an outcome the bytes of fastavro."""

import io
from typing import Any

from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from linkspan.kernel.codec import MARKER, OutcomeCodec
from linkspan.kernel.schemas import COMMON, SchemaCatalog, packaged_schemas, schema_fingerprint

CATALOG = SchemaCatalog(packaged_schemas())
CODEC = OutcomeCodec(CATALOG)
NEWEST = CATALOG.latest(COMMON, "Outcome").definition
PARSED = parse_schema(NEWEST, _force=True)
KINDS = {
    "bytes": st.binary(max_size=16),
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    "long": st.integers(-(2**63), 2**63 - 1),
    "int": st.integers(-(2**31), 2**31 - 1),
}


def fitting(schema: Any) -> st.SearchStrategy[Any]:
    if isinstance(schema, list):
        return st.one_of(*(fitting(branch) for branch in schema))
    if isinstance(schema, dict):
        return st.sampled_from(schema["symbols"]) if schema["type"] == "enum" else fitting(schema["type"])
    return st.none() if schema == "null" else KINDS[schema]


FIELDS = {item["name"]: fitting(item["type"]) for item in NEWEST["fields"]}
NEEDED = ("kind", "offset", "at")
OPTIONAL = {name: values for name, values in FIELDS.items() if name not in NEEDED}


@given(st.fixed_dictionaries({name: FIELDS[name] for name in NEEDED}, optional=OPTIONAL))
def test_an_outcome_has_the_bytes_of_fastavro_and_reads_back(outcome: dict[str, Any]) -> None:
    wanted = io.BytesIO()
    schemaless_writer(wanted, PARSED, outcome)
    value = CODEC.encode(outcome)
    assert value == MARKER + schema_fingerprint(NEWEST) + wanted.getvalue()
    assert CODEC.decode(value).items() >= outcome.items()
