"""One machine's configuration: defaults, then a TOML file, then `FAUXFAX_…`, then `--set KEY=VALUE`.

Every key is `TABLE.NAME`, the same in the file (`[smtp]` / `domain = …`), in the environment (`FAUXFAX_SMTP_DOMAIN`)
and on the command line (`--set smtp.domain=…`). All faults of all sources are reported at once, each with its path.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import cattrs
from attrs import field, frozen, validators

from fauxfax.clock import parse_clock
from fauxfax.errors import FauxfaxError, Misuse
from fauxfax.faults import parse_rule
from fauxfax.models import DEFAULT_MODEL, MODELS

PREFIX = "FAUXFAX_"


class ConfigError(FauxfaxError):
    """One or more faults of a configuration; `faults` holds a line for each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("the configuration has " + ("a fault" if len(faults) == 1 else f"{len(faults)} faults"))
        self.faults = faults


def _clock(_: object, __: attrs.Attribute[str], value: str) -> None:
    parse_clock(value)


def _rules(_: object, __: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    for rule in value:
        parse_rule(rule)


def _at_least(low: int | float, why: str) -> Any:
    def check(_: object, __: attrs.Attribute[Any], value: float) -> None:
        if value < low:
            raise ValueError(f"{value} is below {low}: {why}")

    return check


LEFT_OUT = -1
_SECRET = "not of the form this key wants; it is a secret, so it is not shown"
WAYS = ("smtp", "raw", "lpd", "ftp", "usbip", "usbredir", "parallel", "control")
_PORT = validators.and_(validators.ge(0), validators.le(65535))
_PORT_OR_LEFT_OUT = validators.and_(validators.ge(LEFT_OUT), validators.le(65535))


@frozen(kw_only=True)
class Machine:
    """Which machine it is. With `jbig` it reads TIFF of profile J, too, which the family does not."""

    model: str = field(default=DEFAULT_MODEL, validator=validators.in_(tuple(MODELS)))
    name: str = field(default="fax1", validator=validators.matches_re(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}"))
    clock: str = field(default="real", validator=_clock)
    faults: tuple[str, ...] = field(default=(), validator=_rules)
    fax_number: str = field(default="", validator=validators.matches_re(r"\+?[0-9]{0,20}"))
    jbig: bool = False


@frozen(kw_only=True)
class Smtp:
    """The receiver, and who may send. With `inspect` a message is decoded before it is accepted: 554 if it fails.

    `text_line` is the longest line of a message, its CRLF included.
    """

    domain: str = field(default="", validator=validators.matches_re(r"[A-Za-z0-9.-]*"))
    durable: bool = True
    sink: bool = False
    sessions: int = field(default=32, validator=_at_least(1, "nobody could connect"))
    sessions_per_address: int = field(default=32, validator=_at_least(1, "nobody could connect"))
    max_message: int = field(default=0, validator=_at_least(0, "0 means as much as the image memory holds"))
    text_line: int = field(default=1000, validator=validators.and_(validators.ge(1000), validators.le(65536)))
    repair_bare_line_ends: bool = False
    inspect: bool = False
    aliases: dict[str, str] = field(factory=dict)
    groups: dict[str, tuple[str, ...]] = field(factory=dict)
    address_book: dict[str, str] = field(factory=dict)
    relay_domains: tuple[str, ...] = ()
    relay_password: str = field(default="", repr=False)


@frozen(kw_only=True)
class Outbox:
    """Where receipts go: an SMTP server. Without a host no receipt leaves, and the journal says so.

    `tls` is none, starttls (the submission port, 587) or tls (465); `ca` a file of certificates to trust instead of the
    system's. `user` and `password` log in, with TLS only.
    """

    host: str = ""
    port: int = field(default=25, validator=_PORT)
    tls: str = field(default="none", validator=validators.in_(("none", "starttls", "tls")))
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""


@frozen(kw_only=True)
class Engine:
    """The print engine."""

    pages_per_minute: float = field(default=0.0, validator=_at_least(0, "0 means as fast as the model"))


@frozen(kw_only=True)
class Update:
    """The firmware update."""

    password: str = field(default="", repr=False, validator=validators.matches_re(r"[0-9]{0,10}"))
    layout: str = field(default="staged", validator=validators.in_(("staged", "dual")))
    by_mail: bool = False
    dialect: str = field(default="reference", validator=validators.in_(("reference", "capture")))


@frozen(kw_only=True)
class Usb:
    """The USB plug."""

    speed: str = field(default="high", validator=validators.in_(("high", "full")))


@frozen(kw_only=True)
class Capture:
    """What goes over the wires, in a pcapng file of at most `limit` octets; a USB transfer of up to `snap` octets
    is kept whole, of a longer one the first KiB.

    `trace` is a signal trace (VCD) of the parallel cable. An empty path writes no file.
    """

    file: str = ""
    trace: str = ""
    limit: int = field(default=1 << 30, validator=_at_least(1 << 16, "there would be no room for the first packets"))
    snap: int = field(default=1 << 13, validator=_at_least(0, "0 keeps the headers only"))


@frozen(kw_only=True)
class Ports:
    """Where the ways in listen: loopback unless `address` says otherwise. Port 0 picks a free one; -1 leaves it out.

    `serial` is the path of a link to a pseudo-terminal; empty leaves it out.
    """

    address: str = "127.0.0.1"
    smtp: int = field(default=2525, validator=_PORT_OR_LEFT_OUT)
    raw: int = field(default=9100, validator=_PORT_OR_LEFT_OUT)
    lpd: int = field(default=5515, validator=_PORT_OR_LEFT_OUT)
    ftp: int = field(default=2121, validator=_PORT_OR_LEFT_OUT)
    usbip: int = field(default=3240, validator=_PORT_OR_LEFT_OUT)
    usbredir: int = field(default=4000, validator=_PORT_OR_LEFT_OUT)
    parallel: int = field(default=4001, validator=_PORT_OR_LEFT_OUT)
    control: int = field(default=8025, validator=_PORT)
    serial: str = ""

    def listeners(self) -> dict[str, int]:
        """Way in to configured port, those left out excepted."""
        ports = {way: int(getattr(self, way)) for way in WAYS}
        return {way: port for way, port in ports.items() if port != LEFT_OUT}

    def all_free(self) -> Ports:
        """The same ways in, each on a port the system picks."""
        free: dict[str, Any] = {way: 0 if way in self.listeners() else LEFT_OUT for way in WAYS}
        return attrs.evolve(self, **free)


@frozen(kw_only=True)
class Config:
    """Everything that can be set, one table a field."""

    machine: Machine = field(factory=Machine)
    smtp: Smtp = field(factory=Smtp)
    outbox: Outbox = field(factory=Outbox)
    engine: Engine = field(factory=Engine)
    update: Update = field(factory=Update)
    usb: Usb = field(factory=Usb)
    ports: Ports = field(factory=Ports)
    capture: Capture = field(factory=Capture)


class Setting(NamedTuple):
    """One key's value and where it came from, for `fauxfax config show`."""

    key: str
    value: object
    source: str


def is_secret(key: str) -> bool:
    """Whether a key's value is shown to nobody."""
    return key.endswith("password")


def keys() -> dict[str, Any]:
    """Every key and its type, `smtp.domain` and so on."""
    hints = _hints()
    return {f"{t}.{name}": kind for t, table in hints.items() for name, kind in table.items()}


def load(
    file: Path | None = None, environ: Mapping[str, str] | None = None, sets: Iterable[str] = ()
) -> tuple[Config, list[Setting]]:
    """The configuration and the source of each value. Raises ConfigError with every fault."""
    faults: list[str] = []
    values: dict[str, tuple[object, str]] = {}
    known = keys()
    if file is not None:
        values |= _from_file(file, known, faults)
    for name, text in (environ or {}).items():
        key = _environment_key(name, known)
        if key is not None:
            values[key] = (_parse_text(text, known[key]), name)
    for assignment in sets:
        key, equals, text = assignment.partition("=")
        if not equals or key not in known:
            faults.append(f"--set {assignment}: " + (_unknown(key, known) if equals else "expected KEY=VALUE"))
        else:
            values[key] = (_parse_text(text, known[key]), "--set")
    config = _structure(values, faults)
    if faults:
        raise ConfigError(faults)
    settings = [
        Setting(key, getattr(getattr(config, key.split(".")[0]), key.split(".")[1]), values.get(key, (0, "default"))[1])
        for key in known
    ]
    return config, settings


def _hints() -> dict[str, dict[str, Any]]:
    attrs.resolve_types(Config)
    tables: dict[str, dict[str, Any]] = {}
    for table in attrs.fields(Config):
        assert table.type is not None
        attrs.resolve_types(table.type)
        tables[table.name] = {f.name: f.type for f in attrs.fields(table.type)}
    return tables


def _from_file(file: Path, known: dict[str, Any], faults: list[str]) -> dict[str, tuple[object, str]]:
    try:
        with file.open("rb") as stream:
            tables = tomllib.load(stream)
    except OSError as error:
        raise ConfigError([f"{file}: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{file}: this is not TOML: {error}"]) from None
    found: dict[str, tuple[object, str]] = {}
    for table, content in tables.items():
        for name, value in content.items() if isinstance(content, dict) else [("", content)]:
            key = f"{table}.{name}" if name else table
            if key in known:
                found[key] = (value, str(file))
            else:
                faults.append(f"{file}: {key}: {_unknown(key, known)}")
    return found


def _unknown(key: str, known: dict[str, Any]) -> str:
    import difflib

    near = difflib.get_close_matches(key, known, n=1)
    return f"no such key; did you mean {near[0]}?" if near else "no such key; `fauxfax config show` lists them"


def _environment_key(name: str, known: dict[str, Any]) -> str | None:
    if not name.startswith(PREFIX):
        return None
    table, _, rest = name[len(PREFIX) :].lower().partition("_")
    key = f"{table}.{rest}"
    return key if key in known else None


def _parse_text(text: str, kind: object) -> object:
    """A value given as text: TOML where it reads as TOML, else the text itself."""
    if kind is str:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _strict(kind: type, name: str) -> Any:
    def convert(value: object, _: object) -> object:
        if isinstance(value, bool) is not (kind is bool) or not isinstance(
            value, (int, float) if kind is float else kind
        ):
            raise TypeError(f"expected {name}, not {value!r}")
        return kind(value)

    return convert


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True)
    for kind, name in ((int, "a whole number"), (float, "a number"), (bool, "true or false"), (str, "a text")):
        converter.register_structure_hook(kind, _strict(kind, name))
    return converter


def _structure(values: Mapping[str, tuple[object, str]], faults: list[str]) -> Config:
    """Build each table; every value is checked by itself so that one fault does not hide another."""
    converter = _converter()
    tables: dict[str, dict[str, object]] = {}
    for key, (value, source) in values.items():
        table, name = key.split(".")
        kind = next(f.type for f in attrs.fields(Config) if f.name == table)
        try:
            checked = converter.structure({name: value}, kind)  # type: ignore[arg-type]
        except cattrs.BaseValidationError as error:
            lines = [_SECRET] if is_secret(key) else _lines(error)
            faults += [f"{source}: {key}: {line}" for line in lines]
        except (ValueError, TypeError, Misuse) as error:
            faults.append(f"{source}: {key}: {_first(error)}")
        else:
            tables.setdefault(table, {})[name] = getattr(checked, name)
    return Config(**{f.name: f.type(**tables.get(f.name, {})) for f in attrs.fields(Config) if f.type is not None})


def _lines(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [line for inner in error.exceptions for line in _lines(inner)]
    return [_first(error)]


def _first(error: BaseException) -> str:
    return str(error.args[0]) if error.args else str(error)
