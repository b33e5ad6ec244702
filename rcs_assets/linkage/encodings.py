"""Encodings in the place of identifiers, for a council that may not send any.

Belongs here: making them (at the council, with a key that stays there), reading the files of them,
and linking two. Does not belong here: scoring and assignment (`engine.py`), the command's words.

An encoding (a cryptographic long-term key, Schnell, Bachteler & Reiher 2011) is a Bloom filter of
one record: each piece of a field (two neighbouring letters, a part of a date) sets some bits, which
a keyed hash chooses. Records that are alike share bits, so that errors are survived; which piece a
bit stands for is known to nobody without the key. Hardened as `data/encodings.yaml` says: bits by
HMAC-SHA256 for each field apart (no double hashing, whose patterns give pieces away), both halves
folded into one by exclusive or, and a share of all bits turned over at random for each record.

Both files are encoded under one key by whoever holds it; the linker never does. `scheme` names
rules and key by a hash, so that files of different keys are refused and not compared.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rcs_assets.codebook import Codebook, Dataset
from rcs_assets.errors import ConfigurationError, InputError
from rcs_assets.intake.contracts import refuse_columns
from rcs_assets.intake.encoded import LEFT_OUT, encoded_columns, takes_encodings
from rcs_assets.linkage.engine import Links, link, sealed_connection
from rcs_assets.linkage.left_out import OptOuts, read_opt_outs, records_to_leave_out
from rcs_assets.linkage.settings import LinkSettings
from rcs_assets.linkage.standardise import standardised
from rcs_assets.programme.datafile import DataFolder, read_rules
from rcs_assets.storage import write_atomically

FILE = "encodings.yaml"
KEY_BYTES = 32
COLUMNS = ("record_id", "scheme", "clk")
_INDEX_BYTES = 4
_BLOCK_ROWS = 20_000
PIECES = ("letters", "date", "whole")


@dataclass(frozen=True)
class FieldRule:
    """How one field is cut (letters, date, whole) and how many bits a piece sets."""

    pieces: str
    bits: int


@dataclass(frozen=True)
class EncodingRules:
    """`bits`: before folding; `flip_share`: of the folded bits turned over at random.

    `auto_weight`: from which a pair is linked; `shared_fields`: from how many a record may be an
    opted-out child's. Neither changes an encoding.
    """

    version: str
    bits: int
    flip_share: float
    auto_weight: float
    shared_fields: int
    fields: Mapping[str, FieldRule]

    @property
    def folded(self) -> int:
        """Bits of an encoding."""
        return self.bits // 2


def load_encoding_rules(overlay: Path | None = None) -> EncodingRules:
    """The rules with an adopter's file in `overlay` over them.

    Raises:
        ConfigurationError: the file contradicts itself.
    """
    defaults = Path(str(resources.files("rcs_assets.linkage"))) / "data"
    return read_rules(
        DataFolder("linkage", defaults, overlay),
        FILE,
        lambda raw: EncodingRules(
            str(raw["version"]),
            int(raw["bits"]),
            float(raw["flip_share"]),
            float(raw["auto_weight"]),
            int(raw["shared_fields"]),
            {name: FieldRule(**entry) for name, entry in raw["fields"].items()},
        ),
        _problems,
        "both files of a linkage are made by the same rules",
    )


def _problems(rules: EncodingRules) -> list[str]:
    sound = {
        "bits: a multiple of 16, at most 65536": rules.bits % 16 == 0 and 0 < rules.bits <= 2**16,
        "flip_share: 0 to 0.2": 0 <= rules.flip_share <= 0.2,
        "shared_fields: 1 to 4": 1 <= rules.shared_fields <= 4,
        "fields: at least one": bool(rules.fields),
        "pieces: letters, date or whole": all(f.pieces in PIECES for f in rules.fields.values()),
        "bits of a field: 1 to 64": all(0 < f.bits <= 64 for f in rules.fields.values()),
    }
    return [name for name, is_sound in sound.items() if not is_sound]


def encode(
    table: Any, key: bytes, rules: EncodingRules | None = None, *, noise: bytes | None = None
) -> pa.Table:
    """Encode the records of a table.

    Args:
        table: pyarrow.Table with `record_id` (unique, never null) and any of the fields of the
            rules, as text or date; other columns are left alone.
        key: 32 bytes, which stay where the identifiers are.
        rules: the shipped ones by default.
        noise: seed of the bits that are turned over; by default nobody can repeat it.

    Returns:
        record_id, scheme, clk (hexadecimal), ordered by record_id; clk is null where a record has
        no field at all.

    Raises:
        InputError: no record_id, an id that is null or stands twice, no field of the rules, no
            rows, a key of another length.
    """
    rules = rules or load_encoding_rules()
    if len(key) != KEY_BYTES:
        raise InputError("The key is not one of 32 bytes", fix="make one: rcs encodings key FILE")
    fields = [name for name in rules.fields if name in table.column_names]
    con = sealed_connection(LinkSettings())
    try:
        con.register("delivered", table)
        _refuse_table(con, table.column_names, fields)
        pieces = _pieces(con, rules, fields)
    except duckdb.Error as error:
        raise InputError(
            f"The records cannot be read ({type(error).__name__})",
            why="the engine's message is withheld, since it can hold values of records",
        ) from None
    finally:
        con.close()
    return _encoded(pieces, key, rules, noise or secrets.token_bytes(KEY_BYTES))


def scheme_of(key: bytes, rules: EncodingRules) -> str:
    """Names rules and key; whoever has neither learns nothing from it."""
    made_by = asdict(replace(rules, auto_weight=0))
    del made_by["shared_fields"]
    told = json.dumps(made_by, sort_keys=True).encode()
    return f"clk-{rules.version}-{hmac.new(key, b'scheme ' + told, 'sha256').hexdigest()[:16]}"


def link_encodings(left: pa.Table, right: pa.Table, settings: LinkSettings | None = None) -> Links:
    """Link two tables of encodings one-to-one, by the engine.

    Args:
        left, right: record_id, scheme, clk, as `encode` makes them.
        settings: of the engine; the shipped model, and the threshold of the rules.

    Raises:
        InputError: encodings of different keys or rules, or tables that are none.
    """
    schemes = set()
    for side, table in (("left", left), ("right", right)):
        if set(table.column_names) != set(COLUMNS):
            raise InputError(
                "This is no file of encodings", where=side, why=f"columns: {', '.join(COLUMNS)}"
            )
        schemes |= set(table["scheme"].to_pylist())
    if len(schemes) != 1 or None in schemes:
        raise InputError(
            "The encodings were made under different keys or rules",
            where="column scheme",
            why="no two of them can be compared",
            fix="encode both files with one key file and one version of the rules",
        )
    chosen = settings or LinkSettings(
        training="fixed", auto_weight=load_encoding_rules().auto_weight
    )
    columns = ["record_id", "clk"]
    return link(left.select(columns), right.select(columns), chosen)


def new_key(file: Path) -> None:
    """Make a key file, mode 0600; one that is there is never replaced.

    Raises:
        ConfigurationError: there is a file.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(
            "There is a file already",
            where=str(file),
            why="another key would make encodings that fit to none made before",
            fix="name another file",
        ) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(secrets.token_bytes(KEY_BYTES).hex() + "\n")


def read_key_file(file: Path) -> bytes:
    """The key in a file.

    Raises:
        ConfigurationError: no file, no key in it, or others may read it.
    """
    if not file.is_file():
        raise ConfigurationError(
            "There is no key file", where=str(file), fix="make one: rcs encodings key FILE"
        )
    if file.stat().st_mode & 0o077:
        raise ConfigurationError(
            "Others may read the key", where=str(file), fix=f"run: chmod 600 {file}"
        )
    try:
        key = bytes.fromhex(file.read_text("utf-8").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(
            "This is no key", where=str(file), why="a key is 64 hexadecimal characters"
        )
    return key


@dataclass(frozen=True)
class LeavingOut:
    """Whose records are left out before encoding: opt-outs, and the pupils' sample file in clear.

    `payloads` are the files whose rows follow the records; they are copied without theirs.
    """

    opt_outs: OptOuts
    pupils: pa.Table
    payloads: tuple[Path, ...] = ()


def leaving_out(
    opt_outs: Path, pupils: Path, payloads: Sequence[Path], codebook: Codebook
) -> LeavingOut:
    """Read the list of opt-outs and the sample file.

    Raises:
        InputError: one of them cannot be read.
    """
    return LeavingOut(read_opt_outs(opt_outs, codebook), _read_csv(pupils), tuple(payloads))


def encode_file(
    source: Path,
    key_file: Path,
    target: Path,
    id_column: str = "record_id",
    contract: Dataset | None = None,
    without: LeavingOut | None = None,
) -> tuple[int, int]:
    """Encode a CSV of identifiers into a CSV of encodings, mode 0600: whole or not at all.

    Copies of files that follow are written first. A call that was cut off between may leave some,
    and no encodings: remove them, then call again.

    Args:
        source: UTF-8, a header, the fields of the rules under their names.
        key_file: made by `new_key`.
        target: a file that is not there yet.
        id_column: the column of the record's id.
        contract: of the delivery that it is to be: its key is the record's id, and columns that
            hold no identifier stay beside the encodings. None: id and encoding alone.
        without: children who opted out. Records that may be theirs are not encoded, and the rows
            that follow them are not in the copies, which lie beside the target.

    Returns:
        Number of records encoded, and of records left out.

    Raises:
        ConfigurationError: the key file, or a target that is there.
        InputError: the file cannot be read, has a column that is no field of the contract, or
            `encode` refuses it.
    """
    key = read_key_file(key_file)
    copies = {file: target.parent / file.name for file in (without.payloads if without else ())}
    for file in (target, *copies.values()):
        _refuse_present(file)
    table = _read_csv(source)
    id_column = contract.key[0] if contract else id_column
    if id_column not in table.column_names:
        raise InputError(
            f"There is no column {id_column}",
            where=f"file {source.name}",
            fix="name the column of the record's id: --id COLUMN",
        )
    if contract:
        _refuse_columns(source.name, table.column_names, contract)
    gone: frozenset[str] = frozenset()
    if without:
        _refuse_without_extract(source.name, contract)
        gone = records_to_leave_out(
            _named(table, id_column),
            without.pupils,
            without.opt_outs,
            load_encoding_rules().shared_fields,
        )
    followers = {copy: _without(_read_csv(file), gone, file) for file, copy in copies.items()}
    table = _without(table, gone, source, id_column)
    encoded = encode(_named(table, id_column), key)
    blank = encoded["clk"].null_count
    if blank:
        raise InputError(
            f"{blank} records have no field that could be encoded",
            where=f"file {source.name}",
            fix="fill them, or leave the records out",
        )
    delivery = _delivery(table, encoded, contract) if contract else encoded
    if without:
        declared = pa.array([without.opt_outs.declared] * delivery.num_rows, pa.string())
        delivery = delivery.append_column(LEFT_OUT, declared)
    for copy, rows in followers.items():
        _write_csv(rows, copy)
    _write_csv(delivery, target)
    return int(encoded.num_rows), len(gone)


def _named(table: pa.Table, id_column: str) -> pa.Table:
    """The table with its record ids under their name."""
    kept = [n for n in table.column_names if n == id_column or n != "record_id"]
    return table.select(kept).rename_columns(["record_id" if n == id_column else n for n in kept])


def _without(
    table: pa.Table, gone: frozenset[str], file: Path, id_column: str = "record_id"
) -> pa.Table:
    """The rows of other records; a row without an id could be anybody's, and goes with them."""
    if id_column not in table.column_names:
        raise InputError(
            f"There is no column {id_column}",
            where=f"file {file.name}",
            fix="give the files that follow the identifiers, with their record ids",
        )
    if not gone:
        return table
    ids = _trimmed(table[id_column])
    left = _trimmed(pa.array(sorted(gone), pa.string()))
    return table.filter(pc.and_(pc.not_equal(ids, ""), pc.invert(pc.is_in(ids, left))))


def _trimmed(ids: Any) -> Any:
    """As intake reads them: spaces around an id are none of it (`contracts.py`)."""
    return pc.utf8_trim(pc.replace_substring(pc.fill_null(ids, ""), "\u00a0", " "), " ")


def _refuse_without_extract(file: str, contract: Dataset | None) -> None:
    if contract is None or LEFT_OUT not in {field.name for field in contract.fields}:
        raise InputError(
            "Opt-outs are applied to a council's extracts only",
            where=f"file {file}",
            why="in the sample file every child has a UID, by which the platform takes him out; "
            "other files declare nothing",
            fix="leave --opt-outs out, or name --out like the extract that it is to be",
        )


def _refuse_columns(file: str, header: Sequence[str], contract: Dataset) -> None:
    """Refuse what would stand in clear beside the encodings, or could not be told apart.

    Raises:
        InputError: a column that the contract does not have in this spelling, or that stands twice.
    """
    fields = [field.column for field in contract.fields]
    refuse_columns(
        file,
        f"The columns do not fit the contract of {contract.title}",
        header,
        fields,
        {
            # Fields that the file has not are no fault here: the council may not hold them.
            "missing": [],
            "not in the contract (they would go out in clear)": [
                name for name in header if name not in fields
            ],
            "twice": [name for name in dict.fromkeys(header) if header.count(name) > 1],
        },
        f"leave these columns out, or spell them as the contract does: {', '.join(fields)}",
    )


def contract_of(file: Path, codebook: Codebook) -> Dataset | None:
    """The contract with encodings that a file's name belongs to, if any."""
    return next(
        (
            dataset
            for dataset in codebook.datasets.values()
            if takes_encodings(dataset) and re.fullmatch(dataset.file_pattern, file.name)
        ),
        None,
    )


def _delivery(table: pa.Table, encoded: pa.Table, contract: Dataset) -> pa.Table:
    """The delivered columns that stay, with the encodings of their rows, ordered by the id."""
    replaced = {*encoded_columns(contract), *COLUMNS[1:], LEFT_OUT}
    kept = table.select([name for name in table.column_names if name not in replaced])
    ordered = kept.sort_by(contract.key[0])
    # `encode` orders by the id as well, and refuses one that stands twice.
    return ordered.append_column("scheme", encoded["scheme"]).append_column("clk", encoded["clk"])


def read_encodings(file: Path) -> pa.Table:
    """A file that `encode_file` wrote.

    Raises:
        InputError: another file, or an encoding that is cut.
    """
    table = _read_csv(file)
    rules = load_encoding_rules()
    digits = {len(value or "") for value in table["clk"].to_pylist()} if _is_encoded(table) else {0}
    if digits != {rules.folded // 4}:
        raise InputError(
            "This is no whole file of encodings",
            where=f"file {file.name}",
            why=f"columns {', '.join(COLUMNS)}; each clk has {rules.folded // 4} characters",
            fix="ask for the file that rcs encodings make wrote",
        )
    return table


def link_files(left: Path, right: Path, target: Path) -> Links:
    """Link two files of encodings and write the pairs: all or none.

    Raises:
        ConfigurationError: the target is there.
        InputError: what `read_encodings`, `link_encodings` and `link` refuse.
    """
    _refuse_present(target)
    links = link_encodings(read_encodings(left), read_encodings(right))
    _write_csv(links.table, target)
    return links


def _is_encoded(table: pa.Table) -> bool:
    return bool(set(table.column_names) == set(COLUMNS) and table.num_rows)


def _refuse_present(target: Path) -> None:
    if target.exists():
        raise ConfigurationError(
            "There is a file already", where=str(target), fix="name another file"
        )


def _read_csv(file: Path) -> pa.Table:
    import pyarrow.csv as arrow_csv

    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:
            names = next(csv.reader(handle), [])
        return arrow_csv.read_csv(
            file,
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: pa.string() for name in names},
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
    except (OSError, UnicodeDecodeError, pa.ArrowInvalid) as error:
        raise InputError(
            "The file cannot be read",
            where=f"file {file.name}",
            why=f"a CSV in UTF-8 with a header is needed ({type(error).__name__})",
        ) from None


def _write_csv(table: pa.Table, target: Path) -> None:
    import pyarrow.csv as arrow_csv

    sink = pa.BufferOutputStream()
    arrow_csv.write_csv(table, sink, arrow_csv.WriteOptions(quoting_style="needed"))
    write_atomically(target, sink.getvalue().to_pybytes().decode("utf-8"))


def _refuse_table(
    con: duckdb.DuckDBPyConnection, columns: Sequence[str], fields: Sequence[str]
) -> None:
    if "record_id" not in columns:
        raise InputError(
            "The file has no column record_id", fix="name the column of the record's id"
        )
    if not fields:
        raise InputError(
            "The file has no field that is encoded",
            why="fields: " + ", ".join(load_encoding_rules().fields),
        )
    rows, filled, ids = con.execute(
        "select count(*), count(nullif(trim(record_id::varchar), '')), "
        "count(distinct record_id) from delivered"
    ).fetchall()[0]
    if not rows:
        raise InputError("The file has no rows")
    if not rows == filled == ids:
        raise InputError(
            "record_id is blank or stands twice", why=f"{rows} rows have {ids} different ids"
        )


def _pieces(
    con: duckdb.DuckDBPyConnection, rules: EncodingRules, fields: Sequence[str]
) -> tuple[Any, Any, Any]:
    """Record ids in order, the distinct pieces, and which record has which piece."""
    con.execute(
        "create temp table records as select row_number() over (order by record_id) - 1 as place, "
        "record_id, "
        + ", ".join(f"{standardised(name, name)} as {name}" for name in fields)
        + " from (select record_id::varchar as record_id, * exclude (record_id) from delivered)"
    )
    parts = " union all ".join(
        f"select place, '{name}' as field, "
        f"unnest({_cut(rules.fields[name].pieces, name)}) as piece "
        f"from records where {name} is not null"
        for name in fields
    )
    con.execute(f"create temp table cut as select distinct * from ({parts})")
    con.execute("create temp table known as select distinct field, piece from cut order by all")
    ids = con.execute("select record_id from records order by place").to_arrow_table()
    known = con.execute("select field, piece from known order by all").fetchall()
    has = con.execute(
        "select place, number from cut inner join "
        "(select *, row_number() over (order by field, piece) - 1 as number from known) "
        "using (field, piece) order by all"
    ).fetchnumpy()
    return ids["record_id"], known, has


def _cut(pieces: str, name: str) -> str:
    if pieces == "letters":
        text = f"'_' || {name} || '_'"
        return f"list_transform(range(1, length({text})), i -> substr({text}, i, 2))"
    if pieces == "date":
        day = f"strftime({name}, '%Y%m%d')"
        parts = f"['y' || left({day}, 4), 'm' || substr({day}, 5, 2), 'd' || right({day}, 2)]"
        digits = f"list_transform(range(3, 9), i -> i || substr({day}, i, 1))"
        return f"list_concat({parts}, {digits})"
    return f"[{name}::varchar]"


def _encoded(
    pieces: tuple[Any, Any, Any], key: bytes, rules: EncodingRules, noise: bytes
) -> pa.Table:
    ids, known, has = pieces
    most = max(field.bits for field in rules.fields.values())
    # A piece that sets fewer bits than the most repeats its first: the matrix stays square.
    chosen = np.array([_positions(key, field, piece, rules, most) for field, piece in known])
    encoded = []
    for start in range(0, len(ids), _BLOCK_ROWS):
        end = min(start + _BLOCK_ROWS, len(ids))
        low, high = np.searchsorted(has["place"], [start, end])
        bits = np.zeros((end - start, rules.bits), dtype=bool)
        bits[
            (has["place"][low:high] - start)[:, None].astype(np.int64),
            chosen[has["number"][low:high].astype(np.int64)],
        ] = True
        is_blank: Any = ~bits.any(axis=1)
        folded = bits[:, : rules.folded] ^ bits[:, rules.folded :]
        folded ^= _flips(noise, ids[start:end].to_pylist(), rules)
        packed = np.packbits(folded, axis=1)
        encoded += [
            None if blank else row.tobytes().hex()
            for row, blank in zip(packed, is_blank, strict=True)
        ]
    scheme = scheme_of(key, rules)
    return pa.table(
        {
            "record_id": ids,
            "scheme": pa.array([scheme] * len(ids), pa.string()),
            "clk": pa.array(encoded, pa.string()),
        }
    )


def _positions(key: bytes, field: str, piece: str, rules: EncodingRules, most: int) -> list[int]:
    """The bits of a piece, each from its own part of a stream of HMACs."""
    wanted = rules.fields[field].bits
    stream = b"".join(
        hmac.new(key, f"{field}\x1f{piece}\x1f{block}".encode(), hashlib.sha256).digest()
        for block in range(-(-wanted * _INDEX_BYTES // 32))
    )
    places = np.frombuffer(stream, dtype=">u4")[:wanted] % rules.bits
    return [*places.tolist(), *[int(places[0])] * (most - wanted)]


def _flips(noise: bytes, ids: Sequence[str], rules: EncodingRules) -> Any:
    """The bits of each record that are turned over, by its id and the seed."""
    if not rules.flip_share:
        return np.zeros((len(ids), rules.folded), dtype=bool)
    seeds = [hmac.new(noise, record.encode(), hashlib.sha256).digest()[:16] for record in ids]
    return np.array(
        [
            np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big"))).random(rules.folded)
            < rules.flip_share
            for seed in seeds
        ]
    )
