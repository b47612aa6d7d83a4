"""Why no broker answers: from what the client says of its tries, else by trying the address.

The client itself answers every question with a time-out. What it met is told beside: the host is
not known, nothing listens, the password is refused. What can pass by itself is a `RetriableError`;
what a person has to mend is a `LogError`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from processor.connectors.listening import Address, answers, speaks_tls
from processor.errors import LogError, RetriableError

# Asks which requests a broker knows: the one that each answers, to anybody.
_HELLO: Final = bytes.fromhex("0000000a 0012 0000 00000007 ffff")
_ANSWER: Final = bytes.fromhex("00000007")
_SAID: Final = re.compile(
    r"(?:\w+://)?(?P<place>[^/\s]+)/\w+: (?P<why>.*?)(?: \(after .*)?", re.DOTALL
)

_LISTENER: Final = "or give the port of the other listener"
_TLS_PLAIN: Final = (
    "it does not speak TLS",
    f"say --kafka security.protocol=plaintext (sasl_plaintext with a user), {_LISTENER}",
)
_PLAIN_TLS: Final = (
    "it speaks TLS, and the client does not",
    f"say --kafka security.protocol=ssl (sasl_ssl with a user), {_LISTENER}",
)
_NO_USER: Final = (
    "it answers, and hangs up on who gives no user",
    f"say --kafka security.protocol=sasl_plaintext (or sasl_ssl) and sasl.*, {_LISTENER}",
)
_NO_KAFKA: Final = (
    "what listens there is no Kafka broker",
    "correct host and port in --bootstrap-servers",
)
_START: Final = "correct host and port in --bootstrap-servers, or start the broker"

# What sort of error it is, what is told of the broker, and what to do.
_Verdict: TypeAlias = tuple[type[LogError], str, str]
_Told: TypeAlias = tuple[str, type[LogError], str, str]
_WORDS: Final[Sequence[_Told]] = (
    (
        r"Unsupported SASL mechanism: broker's supported mechanisms: (.*)",
        LogError,
        r"it does not take the mechanism; it takes \1",
        "correct --kafka sasl.mechanism",
    ),
    (
        r"Request not valid in current SASL state",
        LogError,
        "it takes no user: its listener has no SASL",
        f"leave out sasl.* and say --kafka security.protocol=plaintext (or ssl), {_LISTENER}",
    ),
    (
        r"SASL authentication error: (.*)",
        LogError,
        r"it refused the user or the password (\1)",
        "correct --kafka sasl.username and sasl.password",
    ),
    (
        r"certificate verify failed",
        LogError,
        "its certificate is signed by an authority that is not known here, or is for another name",
        (
            "say --kafka ssl.ca.location=FILE, with the authority's certificate, and in "
            "--bootstrap-servers the name that the certificate has"
        ),
    ),
    (r"wrong version number|http request|packet length too long", LogError, *_TLS_PLAIN),
    (r"connecting to a PLAINTEXT broker listener", RetriableError, *_TLS_PLAIN),
    (
        r"alert (?:certificate required|bad certificate|unknown ca|handshake failure)",
        LogError,
        "it wants a certificate of the client's that it knows",
        "say --kafka ssl.certificate.location and ssl.key.location",
    ),
    (r"Invalid response size", LogError, *_NO_KAFKA),
    (
        r"Failed to resolve .*?: (.*)",
        RetriableError,
        r"no such host is known (\1)",
        "correct --bootstrap-servers, or the brokers' advertised.listeners if they gave the name",
    ),
    (r"Connection refused", RetriableError, "nothing listens there (connection refused)", _START),
    (
        r"(?:SSL|SASL)(?: \w+)* (?:failed|error): (.*)",
        RetriableError,
        r"the handshake failed: \1",
        "correct the settings of security with --kafka security.protocol, ssl.* and sasl.*",
    ),
)


@dataclass(slots=True)
class Heard:
    """What the client's callback heard of its tries to connect, the latest of each broker."""

    _said: dict[str, _Verdict] = field(default_factory=dict)

    def __call__(self, error: Any) -> None:
        """Note an error: the client's ``error_cb``."""
        match = _SAID.fullmatch(error.str())
        if match is not None:
            self._said.pop(match["place"], None)
            self._said[match["place"]] = _judged(match["why"])

    def clear(self) -> None:
        """Forget: what comes next is about another question."""
        self._said.clear()

    def __bool__(self) -> bool:
        """Whether anything was heard."""
        return bool(self._said)

    @property
    def lasting(self) -> bool:
        """Whether something was heard that does not pass by itself."""
        return any(kind is LogError for kind, _, _ in self._said.values())

    def why(self, servers: str, protocol: str, *, first: bool) -> LogError:
        """The error to raise, from what was heard.

        With ``first``, while no broker has ever answered, the addresses are tried too. Later on
        everything may pass by itself: a broker that starts refuses passwords that it will take.
        """
        said = dict(self._said)
        if first and not self.lasting:
            # The client cannot tell a listener of another kind from a broker that goes away.
            tried = _tried(servers, protocol)
            said = {p: t for p, t in tried.items() if t[0] is LogError} or said or tried
        shown = {place: told for place, told in said.items() if told[0] is LogError} or said
        if not shown:
            return RetriableError(
                f"no Kafka broker answered at {servers}",
                remedy="see that the brokers run and can be reached from here, also at the "
                "addresses that they give themselves (advertised.listeners)",
            )
        kind, _, remedy = next(iter(shown.values()))
        reasons = "; ".join(f"{place}: {why}" for place, (_, why, _) in shown.items())
        what = f"no Kafka broker answered at {servers}: {reasons}"
        return (kind if first else RetriableError)(what, remedy=remedy)


def _judged(why: str) -> _Verdict:
    for pattern, kind, said, remedy in _WORDS:
        match = re.search(pattern, why, re.DOTALL)
        if match is not None:
            return kind, match.expand(said), remedy
    return RetriableError, why, _START


def _tried(servers: str, protocol: str) -> dict[str, _Verdict]:
    """What those say that take a connection; for the rest there is nothing to add."""
    found = {}
    for server in servers.split(","):
        place = re.sub(r"^\w+://", "", server.strip())
        host, _, port = place.rpartition(":") if not place.endswith("]") else (place, "", "")
        address = (host.strip("[]") or place, int(port) if port.isdigit() else 9092)
        judged = _listener(address, protocol)
        if judged is not None:
            found[place] = judged
    return found


def _listener(address: Address, protocol: str) -> _Verdict | None:
    try:
        heard = [answer[4:8] == _ANSWER for answer in answers(address, _HELLO, times=2)]
        tls = not heard and speaks_tls(address)
    except TimeoutError:
        return RetriableError, "it takes the connection, but gives no answer", _START
    except OSError as error:
        return RetriableError, f"it cannot be reached ({error.strerror or error})", _START
    return (_of_tls if protocol.endswith("ssl") else _of_plain)(heard, protocol, tls=tls)


def _of_tls(heard: list[bool], protocol: str, *, tls: bool) -> _Verdict | None:
    # Of a handshake that failed the client would have told.
    if heard[:1] == [True]:
        return LogError, *_TLS_PLAIN
    return (RetriableError, *_NO_USER) if tls and protocol == "ssl" else None


def _of_plain(heard: list[bool], protocol: str, *, tls: bool) -> _Verdict | None:
    if heard[:1] == [True]:
        # Who has not said who he is, may ask once what a listener with SASL can do.
        return (LogError, *_NO_USER) if protocol == "plaintext" and len(heard) == 1 else None
    if tls or heard:
        return LogError, *(_PLAIN_TLS if tls else _NO_KAFKA)
    return RetriableError, "it takes the connection, but hangs up", _START
