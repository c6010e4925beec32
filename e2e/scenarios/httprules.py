# SPDX-License-Identifier: Apache-2.0
"""Random HTTP rules, and requests that meet them or just miss them."""

from dataclasses import dataclass, replace

from e2e.scenarios.dice import Dice
from e2e.scenarios.scenario import HOST, Object, Request

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression with texts that it matches and texts that it does not."""

    regex: str
    hits: tuple[str, ...]
    misses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeaderTerm:
    """A line of ``headers`` or an object of ``headerMatches``, with headers that meet it or not."""

    written: str | Object
    hit: Headers
    misses: tuple[Headers, ...]


PATHS = (
    Pattern("/", ("/",), ("/a", "/?x=1")),
    Pattern("/a", ("/a",), ("/", "/a/", "/ab", "/a?x=1", "/A")),
    Pattern("/a.html", ("/a.html", "/a-html"), ("/a.htm", "/a.html2", "/ahtml")),
    Pattern(r"/a\.html", ("/a.html",), ("/a-html",)),
    Pattern("/api/v[12]/.*", ("/api/v1/", "/api/v2/x/y?z=1"), ("/api/v3/x", "/api/v1", "/api/v12/x")),
    Pattern("/item/[0-9]{1,3}", ("/item/7", "/item/123"), ("/item/1234", "/item/", "/item/x")),
    Pattern("/(a|b)", ("/a", "/b"), ("/c", "/(a|b)")),
    Pattern("/a|/b", ("/a", "/b"), ("/a/b", "/ab")),
    Pattern("^/public$", ("/public",), ("/publicity", "/public/x")),
    Pattern("/public.*", ("/public", "/public/x?y"), ("/Public", "/x/public")),
    Pattern("(?i)/Mixed", ("/mixed", "/MIXED"), ("/mixe", "/mixed2")),
    Pattern(r"/[\w-]+/\d+", ("/a_b-c/42",), ("/a.b/42", "/a/b")),
    Pattern("/x(/y)?", ("/x", "/x/y"), ("/x/", "/x/y/z")),
    Pattern(".*", ("/", "/any/thing"), ()),
    Pattern("/[^/]*", ("/", "/x"), ("/x/y",)),
    Pattern("", (), ("/",)),
    Pattern(".*secret.*", ("/secret", "/a/secrets"), ("/secre", "/SECRET")),
    Pattern("/a+b{2}c?", ("/abb", "/aaabbc"), ("/ab", "/abbb", "/bb")),
)
METHODS = (
    Pattern("GET", ("GET",), ("POST", "HEAD", "PUT")),
    Pattern("POST", ("POST",), ("GET", "PUT")),
    Pattern("GET|POST", ("GET", "POST"), ("DELETE", "HEAD")),
    Pattern("P.*", ("PUT", "POST", "PATCH"), ("GET", "OPTIONS")),
    Pattern("(?i)get", ("GET",), ("POST",)),
    Pattern("get", (), ("GET",)),
    Pattern("HEAD", ("HEAD",), ("GET",)),
)
HOSTS = (
    Pattern("server", ("server",), ("Server", "server:80", "server2", "other")),
    Pattern(r".*\.example\.com", ("a.example.com", "a.b.example.com"), ("example.com", "a.example.org")),
    Pattern("a.example.com", ("a.example.com", "axexample.com"), ("b.example.com", "a.example.com:80")),
    Pattern(r"server(:\d+)?", ("server", "server:8080"), ("server:", "serve")),
    Pattern("(?i)server", ("SERVER", "server"), ("servers",)),
    Pattern(".+", ("anything",), ()),
)
HEADERS = (
    HeaderTerm("X-Token: 42", (("X-Token", "42"),), ((("X-Token", "43"),), (("X-Token", "4 2"),), ())),
    HeaderTerm("X-Token 42", (("x-token", "42"),), ((("X-Token", "042"),), ())),
    HeaderTerm("X-Token", (("X-TOKEN", "any"),), ((), (("X-Tokens", "42"),))),
    HeaderTerm("x-mode: a b", (("X-Mode", "a b"),), ((("X-Mode", "a"),), (("X-Mode", "A B"),))),
    HeaderTerm("X-Mode:", (), ((("X-Mode", "a"),), ())),
    HeaderTerm("X-Foo:bar", (), ((("X-Foo", "bar"),), ())),
    HeaderTerm("X-Empty ", (("X-Empty", ""),), ((("X-Empty", "1"),), ())),
    HeaderTerm("Host: server", (), ()),
    HeaderTerm("Accept: text/html", (("Accept", "text/html"),), ((("Accept", "text/html, */*"),), ())),
)
MATCHES = (
    HeaderTerm({"name": "X-Token", "value": "42"}, (("X-Token", "42"),), ((("X-Token", "43"),), ())),
    HeaderTerm({"name": "x-token"}, (("X-Token", "1"),), ((),)),
    HeaderTerm({"name": "X-Mode", "value": ""}, (("X-Mode", "a"),), ((),)),
    HeaderTerm({"name": "X-Mode", "value": "a b"}, (("X-Mode", "a b"),), ((("X-Mode", "a"),), ())),
)
REWRITES = tuple(
    HeaderTerm(
        {"name": "X-Mode", "value": "a", "mismatch": action}, (("X-Mode", "a"),), ((("X-Mode", "b"),), ())
    )
    for action in ("LOG", "ADD", "DELETE", "REPLACE")
)
FIELDS = {"path": PATHS, "method": METHODS, "host": HOSTS}
MORE_HEADERS: tuple[Headers, ...] = (
    (),
    (),
    (("User-Agent", "curl/8"),),
    (("Accept", "*/*"), ("X-Other", "1")),
)


def http_rule(dice: Dice) -> Object:
    """Return one entry of ``rules.http``; sometimes the one that lets everything pass."""
    rule: Object = {}
    if dice.chance(0.04):
        return rule
    for field, share in (("path", 0.92), ("method", 0.6), ("host", 0.15)):
        if dice.chance(share):
            rule[field] = dice.one(FIELDS[field]).regex
    if dice.chance(0.2):
        rule["headers"] = [term.written for term in dice.some(HEADERS, 0, 2)]
    if dice.chance(0.12):
        rule["headerMatches"] = [term.written for term in dice.some(MATCHES, 0, 2)]
    if dice.chance(0.01):
        rule["headerMatches"] = [dice.one(REWRITES).written]
    return rule


def request_for(dice: Dice, rule: Object) -> Request:
    """Return a request that the rule allows, or one that differs in a single thing."""
    request = Request(path=dice.one(("/", "/a", "/b?x=1", "/public")), headers=dice.one(MORE_HEADERS))
    spoiled = dice.one((*rule, "")) if dice.chance(0.7) else ""
    texts = {field: _text(dice, field, rule[field], spoiled) for field in FIELDS if field in rule}
    request = replace(
        request,
        method=texts.get("method", request.method),
        path=texts.get("path", request.path),
        host=texts.get("host", request.host),
    )
    for field, terms in (("headers", HEADERS), ("headerMatches", MATCHES + REWRITES)):
        for written in rule.get(field, ()):
            term = next(each for each in terms if each.written == written)
            missed = field == spoiled and term.misses
            more = dice.one(term.misses) if missed else term.hit
            request = replace(request, headers=_joined(request.headers, more))
    return request


def stray_request(dice: Dice) -> Request:
    """Return a request that no rule was looked at for."""
    pattern = dice.one(PATHS)
    return Request(
        method=dice.weighted({"GET": 6, "POST": 2, "PUT": 1, "HEAD": 1, "DELETE": 1}),
        path=dice.one(pattern.hits + pattern.misses),
        host=dice.weighted({HOST: 6, "a.example.com": 1, "": 0.1}),
        headers=dice.one((*MORE_HEADERS, *(term.hit for term in HEADERS))),
    )


def odd_request(dice: Dice) -> Request:
    """Return a request that a careful server refuses, or that BPFast does."""
    return dice.one(
        (
            Request(host=None),
            Request(path="//a"),
            Request(path="/x/../a"),
            Request(path="/%61"),
            Request(path="/a%2Fb"),
            Request(path="/a#b"),
            Request(headers=(("X-Token", "42"), ("X-Token", "42"))),
            Request(headers=(("X-Token", "42"), ("X-Token", "43"))),
            Request(method="BREW"),
            Request(headers=(("Host", "other"),)),
        )
    )


def _text(dice: Dice, field: str, regex: str, spoiled: str) -> str:
    pattern = next(each for each in FIELDS[field] if each.regex == regex)
    texts = pattern.misses if field == spoiled else pattern.hits
    return dice.one(texts or pattern.hits or pattern.misses)


def _joined(headers: Headers, more: Headers) -> Headers:
    """Add headers; one that is there already stays as it is."""
    names = {name.lower() for name, _value in headers}
    return headers + tuple(each for each in more if each[0].lower() not in names)
